//! Commands of one session that are not answered yet. Answers keep the order of the commands: behind a command that
//! waits for the broker the others queue, except that publications overlap.

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
    pub(crate) id: u64,
    pub(crate) sequence: u64,
    pub(crate) stage: Stage,
}

#[derive(Debug)]
pub(crate) enum Stage {
    /// It has not begun.
    Queued(Command),
    /// The broker has its publication.
    Publishing,
    /// The broker has still to confirm `missing` of its channels.
    Subscribing { many: bool, results: Vec<(String, Result<(), Refusal>)>, missing: usize },
    /// It is refused, but those before it are not answered yet.
    Refused(Refusal),
    /// It is published, but those before it are not answered yet.
    Published,
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

    /// Whether a publication may begin now: only publications are before it.
    pub(crate) fn is_publishing_only(&self) -> bool {
        self.commands.iter().all(|command| matches!(command.stage, Stage::Publishing | Stage::Published))
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
        let ready = match &self.commands.front()?.stage {
            Stage::Queued(_) | Stage::Refused(_) | Stage::Published => true,
            Stage::Publishing => false,
            Stage::Subscribing { missing, .. } => *missing == 0,
        };
        let command = ready.then(|| self.commands.pop_front()).flatten()?;
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
