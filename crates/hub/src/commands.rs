//! What a client's command does.

use ullim_broker::{PublishError, PublishRequest};
use ullim_protocol::codes;
use ullim_protocol::command::{Command, Publish, Refusal, Request};
use ullim_protocol::outgoing::{Outgoing, Reply};
use ullim_protocol::position::Position;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::pipeline::{Answer, Pipeline, Stage, Ticket, Unanswered};
use crate::session::Session;
use crate::work::Ended;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Carries a request out, or queues it behind those that wait.
    pub(crate) fn take(&mut self, id: ConnectionId, request: Request) {
        let Request { id: number, command } = request;
        // Where a refusal is the end nothing behind it is carried out.
        let is_over = self.refusals_end(id) && self.pipeline(id).is_some_and(|pipeline| pipeline.has_refusal());
        let may_begin = !is_over && self.pipeline(id).is_none_or(|pipeline| pipeline.lets_begin(&command));
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

    pub(crate) fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    /// The unanswered commands of a connection, if there are any.
    pub(crate) fn pipeline(&mut self, id: ConnectionId) -> Option<&mut Pipeline> {
        match self.session(id).is_some() {
            true => self.session(id)?.pipeline.as_deref_mut(),
            false => self.connecting.get_mut(&id).map(Box::as_mut),
        }
    }

    /// The same, begun where there are none; `None` if the connection is closing, or gone.
    fn pipeline_or_new(&mut self, id: ConnectionId) -> Option<&mut Pipeline> {
        if self.session(id).is_some() {
            return self.session(id).map(|session| &mut **session.pipeline.get_or_insert_default());
        }
        let is_open = self.connection(id).is_some_and(|connection| !connection.closing);
        is_open.then(|| &mut **self.connecting.entry(id).or_default())
    }

    fn forget_pipeline(&mut self, id: ConnectionId) {
        match self.session(id) {
            Some(session) => session.pipeline = None,
            None => drop(self.connecting.remove(&id)),
        }
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
        let Some(pipeline) = self.pipeline_or_new(id) else { return };
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
                Stage::Ready(Answer::Subscribed { many, wanted }) => {
                    self.ripe(Ticket { connection: id, sequence }, many, wanted)
                }
                stage => stage,
            };
            match stage {
                Stage::Ready(answer) => self.answer(id, number, answer),
                stage => {
                    if let Some(pipeline) = self.pipeline_or_new(id) {
                        pipeline.put_back(Unanswered { number, sequence, stage });
                    }
                }
            }
        }
        let has_room = self.pipeline(id).is_none_or(|pipeline| pipeline.has_room());
        if self.pipeline(id).is_some_and(|pipeline| pipeline.is_empty()) {
            self.forget_pipeline(id);
        }
        if has_room {
            self.resume(id);
        }
    }

    /// Begins a command. It is not answered yet, but an acknowledgement may make room for what waits.
    fn begin(&mut self, ticket: Ticket, command: Command) -> Stage {
        let id = ticket.connection;
        let connected = self.session(id).is_some();
        let refused = |code, text: &str| Stage::Ready(Answer::Refused(Refusal::new(code, text)));
        match command {
            Command::Connect { .. } | Command::Login { .. } if connected => {
                refused(&codes::ALREADY_CONNECTED, "this connection has a session already")
            }
            Command::Connect { token, resume } => self.connect(ticket, token.as_deref(), resume.as_deref()),
            Command::Login { login, passcode } => self.login(ticket, login.as_deref(), passcode.as_deref()),
            _ if !connected => refused(&codes::NOT_CONNECTED, "the first command must be connect"),
            Command::Subscribe(channel) => self.subscribe(ticket, vec![channel], false),
            Command::SubscribeMany(channels) => self.subscribe(ticket, channels, true),
            Command::Unsubscribe(channel) => {
                self.unsubscribe(id, &channel);
                Stage::Ready(Answer::Unsubscribed)
            }
            Command::Withdraw { channel, label } => {
                self.withdraw(id, &channel, label);
                Stage::Ready(Answer::Unsubscribed)
            }
            Command::Acknowledge(acknowledge) => Stage::Ready(match self.acknowledge(id, &acknowledge) {
                true => Answer::Pong,
                false => Answer::Refused(not_outstanding()),
            }),
            Command::Refresh { token } => self.refresh(ticket, &token),
            Command::Publish(publish) => self.publish(ticket, publish),
            Command::History(wanted) => self.history(ticket, wanted),
            Command::Presence(wanted) => self.members(ticket, wanted),
            Command::PresenceCount(channel) => self.count_members(ticket, &channel),
            Command::Ping => Stage::Ready(Answer::Pong),
        }
    }

    fn answer(&mut self, id: ConnectionId, number: u64, answer: Answer) {
        let (page, part);
        let reply = match answer {
            Answer::Connected { resumed } => return self.tell_connected(id, number, resumed),
            Answer::Refreshed => return self.tell_refreshed(id, number),
            Answer::Subscribed { many, wanted } => return self.tell_subscribed(id, number, many, wanted),
            Answer::Refused(refusal) => return self.tell(id.slot, &Outgoing::Error(Some(number), &refusal)),
            Answer::Unsubscribed => Reply::Unsubscribe,
            Answer::Published(position) => Reply::Publish(position),
            Answer::Members(members) => {
                page = members;
                Reply::Presence(&page)
            }
            Answer::History(found) => {
                part = found;
                Reply::History(&part)
            }
            Answer::Counted(counted) => Reply::PresenceCount(counted),
            Answer::Pong => Reply::Ping,
        };
        self.tell(id.slot, &Outgoing::Reply(number, reply));
    }

    fn publish(&mut self, ticket: Ticket, publish: Publish) -> Stage {
        let id = ticket.connection;
        let Publish { channel, data, headers, echo, id: publication_id } = publish;
        let channel = match self.may_publish(id, &channel) {
            Ok(name) => name,
            Err(refusal) => return Stage::Ready(Answer::Refused(refusal)),
        };
        let session = self.session(id).map(|session| session.id);
        let exclude = session.filter(|_| !echo);
        match self.broker.publish(PublishRequest { channel, data, headers, exclude, id: publication_id }) {
            ullim_broker::Answer::Ready(result) => Stage::published(result),
            pending => {
                self.wait_for(pending, move |result| Ended::Published(ticket, result));
                Stage::Publishing
            }
        }
    }
}

impl Stage {
    /// The broker has taken a publication, or not.
    pub(crate) fn published(result: Result<Option<Position>, PublishError>) -> Self {
        Self::Ready(match result {
            Ok(position) => Answer::Published(position),
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
}

fn not_outstanding() -> Refusal {
    Refusal::new(&codes::BAD_MESSAGE, "this message was not sent, or is not to be acknowledged")
}

pub(crate) fn unavailable(text: &str) -> Refusal {
    Refusal::new(&codes::UNAVAILABLE, text)
}
