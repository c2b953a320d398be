//! Commands of one session that are not answered yet. Answers keep the order of the commands: behind a command that
//! waits for the broker the others queue, except that publications and subscriptions overlap.

use std::collections::VecDeque;
use std::pin::Pin;

use ullim_broker::PublishError;
use ullim_protocol::command::{Command, Refusal};

use crate::connection::ConnectionId;

/// How many commands may be unanswered before the transport stops reading.
const MAX_UNANSWERED: usize = 64;

/// How many bytes of publications may queue before the transport stops reading.
const MAX_QUEUED_BYTES: usize = 256 << 10;

/// A command that waits, as what it waits for knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) connection: ConnectionId,
    pub(crate) sequence: u64,
}

/// Something to wait for, outside the hub. What comes of it goes to [`Hub::finished`](crate::Hub::finished).
pub struct Work(pub(crate) Pin<Box<dyn Future<Output = Finished> + Send>>);

impl Work {
    /// What waits for it.
    pub fn into_future(self) -> Pin<Box<dyn Future<Output = Finished> + Send>> {
        self.0
    }
}

/// A piece of [`Work`] that has ended.
#[derive(Debug)]
pub struct Finished {
    pub(crate) ticket: Ticket,
    pub(crate) result: Result<(), PublishError>,
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
    /// The broker has its publication.
    Publishing,
    /// The broker has still to confirm some of its channels.
    Subscribing { many: bool, results: Vec<(String, Outcome)> },
    /// It can be answered in its turn.
    Ready(Answer),
}

/// What became of one channel of a subscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The subscription stands.
    Stands,
    /// The broker has to confirm it.
    Awaited,
    /// There is none.
    Refused(Refusal),
}

/// What a command is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Connected,
    Subscribed { many: bool, results: Vec<(String, Outcome)> },
    Unsubscribed,
    Published,
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
            Command::Subscribe(_) | Command::SubscribeMany(_) => stages.all(among_both),
            _ => self.is_empty(),
        }
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
    match command {
        Command::Connect { token } => token.as_ref().map_or(0, String::len),
        Command::Subscribe(channel) | Command::Unsubscribe(channel) => channel.len(),
        Command::SubscribeMany(channels) => channels.iter().map(|channel| channel.len() + 32).sum(),
        Command::Publish(publish) => publish.channel.len() + publish.data.bytes().len(),
        Command::Ping => 0,
    }
}
