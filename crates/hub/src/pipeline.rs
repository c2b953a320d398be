//! Commands of one session that are not answered yet. Answers keep the order of the commands: behind a command that
//! waits for the broker the others queue, except that publications and subscriptions overlap.

use std::collections::VecDeque;

use ullim_auth::Resumable;
use ullim_broker::{HistoryPart, Recovery};
use ullim_protocol::command::{Command, Label, Refusal, Subscribe};
use ullim_protocol::outgoing::{HistoryPage, Subscribed};
use ullim_protocol::position::Position;
use ullim_protocol::presence::{MembersPage, Occupancy};

use crate::connection::ConnectionId;

/// How many commands may be unanswered before the transport stops reading.
const MAX_UNANSWERED: usize = 64;

/// How many bytes of commands may queue before the transport stops reading.
const MAX_QUEUED_BYTES: usize = 256 << 10;

/// A command that waits, as what it waits for knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) connection: ConnectionId,
    pub(crate) sequence: u64,
}

/// One channel of a command that subscribes to several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ticket: Ticket,
    pub(crate) place: usize,
}

/// One unanswered command.
#[derive(Debug)]
pub(crate) struct Unanswered {
    /// The client's number for it.
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) stage: Stage,
}

/// How far a command has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It has not begun.
    Queued(Command),
    /// The token of a `connect` is judged; the session that it may resume.
    Connecting(Option<Box<Resumable>>),
    /// The token of a `refresh` is judged.
    Refreshing,
    /// The broker has its publication.
    Publishing,
    /// Some of its channels are open.
    Subscribing { many: bool, wanted: Vec<Wanted> },
    /// Presence or history was asked.
    Asking,
    /// It can be answered in its turn.
    Ready(Answer),
}

/// One channel of a subscribe.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) channel: String,
    /// Whether the members are wanted.
    pub(crate) presence: bool,
    /// Whether joins and leaves are.
    pub(crate) events: bool,
    /// What the client has heard last, if it wants to hear what came behind.
    pub(crate) recover: Option<Position>,
    /// How what comes is addressed, if it is. Taken when the subscription has begun.
    pub(crate) label: Option<Box<Label>>,
    pub(crate) past: Past,
    pub(crate) outcome: Outcome,
}

/// What a subscribe has learned from the history.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// How often it was read.
    pub(crate) reads: usize,
    /// It was seen what it needs, since it last got something.
    pub(crate) looked_at: bool,
    pub(crate) found: Found,
}

/// What was found in the history.
#[derive(Debug, Clone, Default)]
pub(crate) enum Found {
    /// It was not read.
    #[default]
    Nothing,
    /// What the client has missed.
    Missed(Recovery),
    /// It does not say what the client has missed.
    Lost,
    /// The latest publication.
    Latest(HistoryPart),
}

impl Wanted {
    pub(crate) fn new(subscribe: Subscribe) -> (Self, Option<String>) {
        let Subscribe { channel, token, presence, events, recover, label } = subscribe;
        let past = Past::default();
        (Self { channel, presence, events, recover, label, past, outcome: Outcome::Verifying }, token)
    }
}

/// What became of one channel of a subscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its token is judged.
    Verifying,
    /// The broker has to confirm it, or presence to write it.
    Awaited,
    /// It stands; its members are read.
    Listing,
    /// It stands; its history is read, or what is relayed has to come as far as the client is.
    Reading(Subscribed),
    /// The subscription stands.
    Stands(Subscribed),
    /// There is none.
    Refused(Refusal),
}

impl Outcome {
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self, Self::Stands(_) | Self::Refused(_))
    }
}

/// What a command is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Connected { resumed: bool },
    Refreshed,
    Subscribed { many: bool, wanted: Vec<Wanted> },
    Unsubscribed,
    Published(Option<Position>),
    Members(MembersPage),
    History(HistoryPage),
    Counted(Occupancy),
    Pong,
    Refused(Refusal),
}

#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    commands: VecDeque<Unanswered>,
    queued_bytes: usize,
}

impl Pipeline {
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether the transport should stop reading.
    pub(crate) fn is_full(&self) -> bool {
        self.commands.len() >= MAX_UNANSWERED || self.queued_bytes > MAX_QUEUED_BYTES
    }

    /// Whether the transport may go on reading.
    pub(crate) fn has_room(&self) -> bool {
        self.commands.len() <= MAX_UNANSWERED / 2 && self.queued_bytes <= MAX_QUEUED_BYTES / 2
    }

    /// Whether a command may begin before those in front of it are answered: publications may among publications, and
    /// subscriptions among both. What else there is must see what came before it done.
    pub(crate) fn lets_begin(&self, command: &Command) -> bool {
        let among_publications = |stage: &Stage| matches!(stage, Stage::Publishing | Stage::Ready(_));
        let among_both = |stage: &Stage| among_publications(stage) || matches!(stage, Stage::Subscribing { .. });
        let mut stages = self.commands.iter().map(|command| &command.stage);
        match command {
            Command::Publish(_) => stages.all(among_publications),
            Command::Acknowledge(_) | Command::Subscribe(_) | Command::SubscribeMany(_) => stages.all(among_both),
            _ => self.is_empty(),
        }
    }

    /// Whether a command was refused, and that has not been told yet.
    pub(crate) fn has_refusal(&self) -> bool {
        self.commands.iter().any(|command| matches!(command.stage, Stage::Ready(Answer::Refused(_))))
    }

    pub(crate) fn push(&mut self, command: Unanswered) {
        if let Stage::Queued(command) = &command.stage {
            self.queued_bytes += size(command);
        }
        self.commands.push_back(command);
    }

    pub(crate) fn find(&mut self, sequence: u64) -> Option<&mut Unanswered> {
        self.commands.iter_mut().find(|command| command.sequence == sequence)
    }

    /// The commands of this connection that have open channels.
    pub(crate) fn subscribing(&self, connection: ConnectionId) -> Vec<Ticket> {
        let open = self.commands.iter().filter(|command| matches!(command.stage, Stage::Subscribing { .. }));
        open.map(|command| Ticket { connection, sequence: command.sequence }).collect()
    }

    /// The channels of all subscribes that have begun.
    pub(crate) fn begun(&mut self) -> impl Iterator<Item = &mut Wanted> {
        self.commands.iter_mut().flat_map(|command| match &mut command.stage {
            Stage::Subscribing { wanted, .. } | Stage::Ready(Answer::Subscribed { wanted, .. }) => {
                wanted.as_mut_slice()
            }
            _ => &mut [],
        })
    }

    /// Takes the first command if it can be answered or begun now.
    pub(crate) fn take_ready(&mut self) -> Option<Unanswered> {
        if !matches!(self.commands.front()?.stage, Stage::Queued(_) | Stage::Ready(_)) {
            return None;
        }
        let command = self.commands.pop_front()?;
        if let Stage::Queued(command) = &command.stage {
            self.queued_bytes -= size(command);
        }
        Some(command)
    }

    /// Puts a command that was taken, and now waits, back to the front.
    pub(crate) fn put_back(&mut self, command: Unanswered) {
        self.commands.push_front(command);
    }
}

fn size(command: &Command) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let label = |label: &Option<Box<Label>>| label.as_ref().map_or(0, |label| label.text.len());
    let subscribe =
        |subscribe: &Subscribe| subscribe.channel.len() + length(&subscribe.token) + label(&subscribe.label) + 64;
    match command {
        Command::Connect { token, resume } => length(token) + length(resume),
        Command::Login { login, passcode } => length(login) + length(passcode),
        Command::Refresh { token } => token.len(),
        Command::Subscribe(channel) => subscribe(channel),
        Command::SubscribeMany(channels) => channels.iter().map(subscribe).sum(),
        Command::Unsubscribe(channel) | Command::Withdraw { channel, .. } | Command::PresenceCount(channel) => {
            channel.len()
        }
        Command::Acknowledge(acknowledge) => acknowledge.channel.len(),
        Command::Publish(publish) => {
            let headers = publish.headers.as_ref().map_or(0, |headers| headers.bytes());
            publish.channel.len() + publish.data.bytes().len() + headers
        }
        Command::History(wanted) => wanted.channel.len(),
        Command::Presence(wanted) => wanted.channel.len() + length(&wanted.cursor),
        Command::Ping => 0,
    }
}
