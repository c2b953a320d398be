//! What a client's command does.

use std::sync::Arc;

use rand::RngCore as _;
use ullim_auth::{Identity, Rejection};
use ullim_broker::{Answer, PublishError, PublishRequest};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes;
use ullim_protocol::command::{Command, Publish, Refusal, Request};
use ullim_protocol::outgoing::{Connected, Outgoing, Reply};
use ullim_protocol::session::SessionId;

use crate::config::NamespaceConfig;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Finished, Pipeline, Stage, Ticket, Unanswered, Work};
use crate::session::Session;

impl<O: Outlet, E: Encode> Hub<O, E> {
    /// Carries a request out, or queues it behind those that wait.
    pub(crate) fn take(&mut self, id: ConnectionId, request: Request) {
        let overlaps = matches!(request.command, Command::Publish(_));
        let waits = self.pipeline(id).is_some_and(|pipeline| !(overlaps && pipeline.is_publishing_only()));
        let sequence = self.sequence();
        let stage = match waits {
            true => Some(Stage::Queued(request.command)),
            false => self.begin(id, request.id, sequence, request.command),
        };
        if let Some(stage) = stage {
            self.wait(id, Unanswered { id: request.id, sequence, stage });
        }
    }

    /// Answers with a refusal, in its turn.
    pub(crate) fn refuse(&mut self, id: ConnectionId, number: Option<u64>, refusal: Refusal) {
        match number {
            Some(number) if self.pipeline(id).is_some() => {
                let sequence = self.sequence();
                self.wait(id, Unanswered { id: number, sequence, stage: Stage::Refused(refusal) });
            }
            _ => self.tell(id.slot, &Outgoing::Error(number, &refusal)),
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

    fn wait(&mut self, id: ConnectionId, command: Unanswered) {
        let Some(session) = self.session(id) else {
            return;
        };
        let pipeline = session.pipeline.get_or_insert_default();
        pipeline.push(command);
        if pipeline.is_full() {
            self.pause(id);
        }
    }

    /// Answers and begins what can be, from the first unanswered command on.
    pub(crate) fn proceed(&mut self, id: ConnectionId) {
        while let Some(command) = self.pipeline(id).and_then(Pipeline::take_ready) {
            let Unanswered { id: number, sequence, stage } = command;
            let waits = match stage {
                Stage::Queued(command) => self.begin(id, number, sequence, command),
                Stage::Refused(refusal) => {
                    self.tell(id.slot, &Outgoing::Error(Some(number), &refusal));
                    None
                }
                Stage::Published => {
                    self.reply(id, number, Reply::Publish);
                    None
                }
                Stage::Subscribing { many, results, .. } => {
                    self.reply_subscribed(id, number, many, &results);
                    None
                }
                Stage::Publishing => None,
            };
            if let Some(stage) = waits
                && let Some(session) = self.session(id)
            {
                let command = Unanswered { id: number, sequence, stage };
                session.pipeline.get_or_insert_default().put_back(command);
            }
        }
        let Some(session) = self.session(id) else {
            return;
        };
        let has_room = session.pipeline.as_ref().is_none_or(|pipeline| pipeline.has_room());
        if session.pipeline.as_ref().is_some_and(|pipeline| pipeline.is_empty()) {
            session.pipeline = None;
        }
        if has_room {
            self.resume(id);
        }
    }

    /// Begins a command: answers it, or returns what it waits for.
    fn begin(&mut self, id: ConnectionId, number: u64, sequence: u64, command: Command) -> Option<Stage> {
        let connected = self.session(id).is_some();
        match command {
            Command::Connect { token } if !connected => self.connect(id, number, token.as_deref()),
            Command::Connect { .. } => {
                let refusal = Refusal::new(&codes::ALREADY_CONNECTED, "this connection has a session already");
                self.tell(id.slot, &Outgoing::Error(Some(number), &refusal));
            }
            _ if !connected => {
                let refusal = Refusal::new(&codes::NOT_CONNECTED, "the first command must be connect");
                self.tell(id.slot, &Outgoing::Error(Some(number), &refusal));
            }
            Command::Subscribe(channel) => {
                return self.subscribe(id, number, sequence, vec![channel], false);
            }
            Command::SubscribeMany(channels) => {
                return self.subscribe(id, number, sequence, channels, true);
            }
            Command::Unsubscribe(channel) => self.unsubscribe(id, number, &channel),
            Command::Publish(publish) => return self.publish(id, number, sequence, publish),
            Command::Ping => self.reply(id, number, Reply::Ping),
        }
        None
    }

    pub(crate) fn reply(&mut self, id: ConnectionId, number: u64, reply: Reply<'_>) {
        self.tell(id.slot, &Outgoing::Reply(number, reply));
    }

    fn connect(&mut self, id: ConnectionId, number: u64, token: Option<&str>) {
        let identity = match self.verifier.verify(token) {
            Ok(identity) => identity,
            Err(rejection) => {
                self.counters.auth_failures += 1;
                let code = match rejection {
                    Rejection::Expired => &codes::TOKEN_EXPIRED,
                    Rejection::Missing | Rejection::Invalid(_) => &codes::BAD_TOKEN,
                };
                let refusal = Refusal::new(code, rejection.to_string());
                return self.tell(id.slot, &Outgoing::Error(Some(number), &refusal));
            }
        };
        let mut session = SessionId([0; 16]);
        rand::rng().fill_bytes(&mut session.0);
        let connected = Connected {
            session,
            user: identity.user.as_deref(),
            ping_ms: self.config.ping_interval.as_millis() as u64,
            message_bytes: self.message_bytes,
            subscriptions: self.config.subscriptions,
        };
        self.tell(id.slot, &Outgoing::Reply(number, Reply::Connect(connected)));
        if let Some(connection) = self.connection(id) {
            let session = Session { id: session, identity, subscriptions: Vec::new(), pipeline: None };
            connection.session = Some(Box::new(session));
        }
    }

    fn publish(&mut self, id: ConnectionId, number: u64, sequence: u64, publish: Publish) -> Option<Stage> {
        let Publish { channel, data, headers, echo } = publish;
        let name = match self.permitted(id, &channel, "publishing to", |namespace| namespace.publish) {
            Ok(name) => name,
            Err(refusal) => return self.publish_ended(id, number, Err(refusal)),
        };
        let session = self.session(id).map(|session| session.id);
        let exclude = session.filter(|_| !echo);
        match self.broker.publish(PublishRequest { channel: name, data, headers, exclude }) {
            Answer::Ready(result) => self.publish_ended(id, number, result.map_err(|error| refused(&error))),
            Answer::Pending(answer) => {
                let ticket = Ticket { connection: id, sequence };
                self.work.push(Work(Box::pin(async move { Finished { ticket, result: answer.await } })));
                Some(Stage::Publishing)
            }
        }
    }

    /// Answers a publication, unless others before it are unanswered still: then it waits for its turn.
    fn publish_ended(&mut self, id: ConnectionId, number: u64, result: Result<(), Refusal>) -> Option<Stage> {
        let stage = match result {
            Ok(()) => Stage::Published,
            Err(refusal) => Stage::Refused(refusal),
        };
        if self.pipeline(id).is_some_and(|pipeline| !pipeline.is_empty() && pipeline.is_publishing_only()) {
            return Some(stage);
        }
        match stage {
            Stage::Refused(refusal) => self.tell(id.slot, &Outgoing::Error(Some(number), &refusal)),
            _ => self.reply(id, number, Reply::Publish),
        }
        None
    }

    /// A piece of [`Work`] has ended.
    pub fn finished(&mut self, finished: Finished) {
        let Finished { ticket, result } = finished;
        let pipeline = self.pipeline(ticket.connection);
        if let Some(command) = pipeline.and_then(|pipeline| pipeline.find(ticket.sequence)) {
            command.stage = match result {
                Ok(()) => Stage::Published,
                Err(error) => Stage::Refused(refused(&error)),
            };
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
        let identity = self.session(id).map_or(Identity { user: None }, |session| session.identity.clone());
        if !audience(namespace).includes(&identity) {
            let text = format!("{doing} {channel:?} is not allowed to this session");
            return Err(Refusal::new(&codes::PERMISSION_DENIED, text));
        }
        Ok(name)
    }
}

fn refused(error: &PublishError) -> Refusal {
    match error {
        PublishError::Refused(_) => Refusal::new(&codes::BAD_DATA, error.to_string()),
        PublishError::Unreachable | PublishError::Timeout => unavailable(&error.to_string()),
    }
}

pub(crate) fn unavailable(text: &str) -> Refusal {
    Refusal::new(&codes::UNAVAILABLE, text)
}
