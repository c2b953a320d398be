//! The places that Redis is to be told of, in turn, each once.

use std::collections::BTreeMap;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::session::SessionId;

use super::place::Place;

/// A place that is removed is to be [forgotten](Self::forget), so that this never holds more than there are places.
#[derive(Debug, Default)]
pub(super) struct Due {
    turns: BTreeMap<u64, (ChannelName, SessionId)>,
    next: u64,
}

impl Due {
    pub(super) fn push(&mut self, place: &mut Place, channel: &ChannelName, session: SessionId) {
        if place.turn.is_none() {
            place.turn = Some(self.next);
            self.turns.insert(self.next, (channel.clone(), session));
            self.next += 1;
        }
    }

    pub(super) fn forget(&mut self, place: &Place) {
        if let Some(turn) = place.turn {
            self.turns.remove(&turn);
        }
    }

    /// The next place. It keeps its turn until [`Place::turn`] is taken.
    pub(super) fn pop(&mut self) -> Option<(u64, (ChannelName, SessionId))> {
        self.turns.pop_first()
    }

    /// Places that were popped are to have their turns later.
    pub(super) fn put_back(&mut self, popped: Vec<(u64, (ChannelName, SessionId))>) {
        self.turns.extend(popped);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }
}
