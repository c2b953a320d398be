//! A channel as the table knows it, and the places in it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::sync::oneshot;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

use super::departures::Departure;
use crate::{Entry, PresenceError};

#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) places: AHashMap<SessionId, Place>,
    /// It is among the node's channels.
    pub(super) is_registered: bool,
    pub(super) is_queued: bool,
    pub(super) departure: Option<Departure>,
    /// How often what others left here is being looked at.
    pub(super) adopting: u32,
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) wanted: Wanted,
    /// Rises with each change of what is wanted.
    pub(super) version: u64,
    pub(super) is_queued: bool,
    /// Redis may have an entry.
    pub(super) was_sent: bool,
    /// Redis has said that it has the entry.
    pub(super) is_written: bool,
    /// Redis had it, and may not have it now.
    pub(super) is_suspect: bool,
    pub(super) since: u64,
    pub(super) waiting: Vec<oneshot::Sender<Result<(), PresenceError>>>,
}

#[derive(Debug, Clone)]
pub(super) enum Wanted {
    In(Arc<Entry>),
    Out { user: Arc<str>, grace: Duration },
}

/// The room of a channel; a new one is to be registered.
pub(super) fn room<'a>(
    rooms: &'a mut AHashMap<ChannelName, Room>,
    unregistered: &mut VecDeque<ChannelName>,
    channel: &ChannelName,
) -> &'a mut Room {
    let room = rooms.entry(channel.clone()).or_default();
    room.register(channel, unregistered);
    room
}

impl Room {
    pub(super) fn register(&mut self, channel: &ChannelName, unregistered: &mut VecDeque<ChannelName>) {
        if !self.is_registered && !std::mem::replace(&mut self.is_queued, true) {
            unregistered.push_back(channel.clone());
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.places.is_empty() && self.departure.is_none() && self.adopting == 0
    }
}

impl Place {
    pub(super) fn answer(&mut self, result: &Result<(), PresenceError>) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
    }
}
