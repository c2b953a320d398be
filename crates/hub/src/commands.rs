//! What a client's command does.

use std::sync::Arc;

use rand::RngCore as _;
use ullim_auth::Rejection;
use ullim_broker::{PublishError, PublishRequest};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes;
use ullim_protocol::command::{Command, Publish, Refusal, Request};
use ullim_protocol::outgoing::{Connected, Outgoing, Reply};
use ullim_protocol::session::SessionId;

use crate::config::NamespaceConfig;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Answer, Finished, Pipeline, Stage, Ticket, Unanswered, Work};
use crate::session::Session;

impl<O: Outlet, E: Encode> Hub<O, E> {
    /// Carries a request out, or queues it behind those that wait.
    pub(crate) fn take(&mut self, id: ConnectionId, request: Request) {
        let Request { id: number, command } = request;
        let may_begin = self.pipeline(id).is_none_or(|pipeline| pipeline.lets_begin(&command));
        let sequence = self.sequence();
        let stage = match may_begin {
            true => self.begin(Ticket { connection: id, sequence }, command),
            false => Stage::Queued(command),
        };
        self.answer_in_turn(id, Unanswered { number, sequence, stage });
    }

    /// Answers with a refusal, in its turn.
    pub(crate) fn refuse(&mut self, id: ConnectionId, number: Option<u64>, refusal: Refusal) {
        match number {
            Some(number) => {
                let (sequence, stage) = (self.sequence(), Stage::Ready(Answer::Refused(refusal)));
                self.answer_in_turn(id, Unanswered { number, sequence, stage });
            }
            None => self.tell(id.slot, &Outgoing::Error(None, &refusal)),
        }
    }

    fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    /// The session's unanswered commands, if there are any.
    pub(crate) fn pipeline(&mut self, id: ConnectionId) -> Option<&mut Pipeline> {
        self.session(id)?.pipeline.as_deref_mut()
    }

    pub(crate) fn session(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.connection(id)?.session.as_deref_mut()
    }

    /// Answers a command at once if it is ready and no other is before it.
    fn answer_in_turn(&mut self, id: ConnectionId, command: Unanswered) {
        if self.pipeline(id).is_none()
            && let Stage::Ready(answer) = command.stage
        {
            return self.answer(id, command.number, answer);
        }
        let Some(session) = self.session(id) else { return };
        let pipeline = session.pipeline.get_or_insert_default();
        pipeline.push(command);
        if pipeline.is_full() {
            self.pause(id);
        }
    }

    /// Answers and begins what can be, from the first unanswered command on.
    pub(crate) fn proceed(&mut self, id: ConnectionId) {
        while let Some(command) = self.pipeline(id).and_then(Pipeline::take_ready) {
            let Unanswered { number, sequence, stage } = command;
            let stage = match stage {
                Stage::Queued(command) => self.begin(Ticket { connection: id, sequence }, command),
                stage => stage,
            };
            match stage {
                Stage::Ready(answer) => self.answer(id, number, answer),
                stage => {
                    if let Some(session) = self.session(id) {
                        let command = Unanswered { number, sequence, stage };
                        session.pipeline.get_or_insert_default().put_back(command);
                    }
                }
            }
        }
        let Some(session) = self.session(id) else { return };
        let has_room = session.pipeline.as_ref().is_none_or(|pipeline| pipeline.has_room());
        if session.pipeline.as_ref().is_some_and(|pipeline| pipeline.is_empty()) {
            session.pipeline = None;
        }
        if has_room {
            self.resume(id);
        }
    }

    /// Begins a command; tells nobody anything yet.
    fn begin(&mut self, ticket: Ticket, command: Command) -> Stage {
        let id = ticket.connection;
        let connected = self.session(id).is_some();
        let refused = |code, text: &str| Stage::Ready(Answer::Refused(Refusal::new(code, text)));
        match command {
            Command::Connect { .. } if connected => {
                refused(&codes::ALREADY_CONNECTED, "this connection has a session already")
            }
            Command::Connect { token } => self.connect(id, token.as_deref()),
            _ if !connected => refused(&codes::NOT_CONNECTED, "the first command must be connect"),
            Command::Subscribe(channel) => self.subscribe(ticket, vec![channel], false),
            Command::SubscribeMany(channels) => self.subscribe(ticket, channels, true),
            Command::Unsubscribe(channel) => {
                self.unsubscribe(id, &channel);
                Stage::Ready(Answer::Unsubscribed)
            }
            Command::Publish(publish) => self.publish(ticket, publish),
            Command::Ping => Stage::Ready(Answer::Pong),
        }
    }

    fn answer(&mut self, id: ConnectionId, number: u64, answer: Answer) {
        let reply = match answer {
            Answer::Connected => return self.tell_connected(id, number),
            Answer::Subscribed { many, results } => return self.tell_subscribed(id, number, many, results),
            Answer::Refused(refusal) => return self.tell(id.slot, &Outgoing::Error(Some(number), &refusal)),
            Answer::Unsubscribed => Reply::Unsubscribe,
            Answer::Published => Reply::Publish,
            Answer::Pong => Reply::Ping,
        };
        self.tell(id.slot, &Outgoing::Reply(number, reply));
    }

    fn connect(&mut self, id: ConnectionId, token: Option<&str>) -> Stage {
        let identity = match self.verifier.verify(token).at_once() {
            Ok(identity) => identity,
            Err(rejection) => {
                self.counters.auth_failures += 1;
                let code = match rejection {
                    Rejection::Expired => &codes::TOKEN_EXPIRED,
                    Rejection::Missing | Rejection::Invalid(_) => &codes::BAD_TOKEN,
                };
                return Stage::Ready(Answer::Refused(Refusal::new(code, rejection.to_string())));
            }
        };
        let mut session = SessionId([0; 16]);
        rand::rng().fill_bytes(&mut session.0);
        if let Some(connection) = self.connection(id) {
            let session = Session { id: session, identity, subscriptions: Vec::new(), pipeline: None };
            connection.session = Some(Box::new(session));
        }
        Stage::Ready(Answer::Connected)
    }

    fn tell_connected(&mut self, id: ConnectionId, number: u64) {
        let Some(session) = self.session(id) else { return };
        let (session, user) = (session.id, session.identity.user.clone());
        let connected = Connected {
            session,
            user: user.as_deref(),
            ping_ms: self.config.ping_interval.as_millis() as u64,
            message_bytes: self.message_bytes,
            subscriptions: self.config.subscriptions,
        };
        self.tell(id.slot, &Outgoing::Reply(number, Reply::Connect(connected)));
    }

    fn publish(&mut self, ticket: Ticket, publish: Publish) -> Stage {
        let id = ticket.connection;
        let Publish { channel, data, headers, echo } = publish;
        let channel = match self.permitted(id, &channel, "publishing to", |namespace| namespace.publish) {
            Ok(name) => name,
            Err(refusal) => return Stage::Ready(Answer::Refused(refusal)),
        };
        let session = self.session(id).map(|session| session.id);
        let exclude = session.filter(|_| !echo);
        match self.broker.publish(PublishRequest { channel, data, headers, exclude }) {
            ullim_broker::Answer::Ready(result) => published(result),
            ullim_broker::Answer::Pending(answer) => {
                self.work.push(Work(Box::pin(async move { Finished { ticket, result: answer.await } })));
                Stage::Publishing
            }
        }
    }

    /// A piece of [`Work`] has ended.
    pub fn finished(&mut self, finished: Finished) {
        let Finished { ticket, result } = finished;
        let pipeline = self.pipeline(ticket.connection);
        if let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) {
            command.stage = published(result);
            self.proceed(ticket.connection);
        }
        self.uncork();
    }

    /// The channel's name, if the client may do there what it asks for.
    pub(crate) fn permitted(
        &mut self,
        id: ConnectionId,
        channel: &str,
        doing: &str,
        audience: impl FnOnce(&NamespaceConfig) -> ullim_auth::Audience,
    ) -> Result<ChannelName, Refusal> {
        let name = ChannelName::parse(channel).map_err(|error| Refusal::new(&codes::BAD_CHANNEL, error.to_string()))?;
        let namespaces = Arc::clone(&self.namespaces);
        let Some(namespace) = namespaces.0.get(name.namespace()) else {
            let text = format!("there is no namespace {:?}: the node's configuration names them", name.namespace());
            return Err(Refusal::new(&codes::UNKNOWN_NAMESPACE, text));
        };
        let identity = self.session(id).map(|session| session.identity.clone()).unwrap_or_default();
        if !audience(namespace).includes(&identity, &name) {
            let text = format!("{doing} {channel:?} is not allowed to this session");
            return Err(Refusal::new(&codes::PERMISSION_DENIED, text));
        }
        Ok(name)
    }
}

fn published(result: Result<(), PublishError>) -> Stage {
    Stage::Ready(match result {
        Ok(()) => Answer::Published,
        Err(error @ PublishError::TooLarge { .. }) => {
            Answer::Refused(Refusal::new(&codes::BAD_DATA, error.to_string()))
        }
        Err(PublishError::Refused(reason)) => {
            // The broker's own words are the operator's: they may name its users and keys.
            tracing::debug!(reason, "the broker refused a client's publication");
            Answer::Refused(unavailable("the broker refused the publication"))
        }
        Err(error @ (PublishError::Unreachable | PublishError::Timeout)) => {
            Answer::Refused(unavailable(&error.to_string()))
        }
    })
}

pub(crate) fn unavailable(text: &str) -> Refusal {
    Refusal::new(&codes::UNAVAILABLE, text)
}
