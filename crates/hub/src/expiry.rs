//! Sessions and subscriptions that end when their tokens do. No timer per connection: two sets in the order of time.

use std::collections::BTreeSet;
use std::time::Duration;

use ullim_protocol::codes;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::registry::ChannelKey;

/// How often the sets are looked at, at most.
const INTERVAL: Duration = Duration::from_millis(250);

/// How many sessions and subscriptions end in one turn. Each is told so, and its members leave.
const PER_TURN: usize = 1024;

/// What ends when, in Unix seconds by the broker's clock. A slot stands here no longer than its session is open.
#[derive(Debug, Default)]
pub(crate) struct Expiries {
    sessions: BTreeSet<(u64, u32)>,
    permits: BTreeSet<(u64, u32, ChannelKey)>,
    /// When they were last looked at, by the shard's clock.
    checked: Duration,
    /// The last turn has left some that are due.
    behind: bool,
}

impl Expiries {
    /// The end of a slot's session is set, or moved.
    pub(crate) fn move_session(&mut self, slot: u32, from: Option<u64>, to: Option<u64>) {
        if let Some(expires) = from {
            self.sessions.remove(&(expires, slot));
        }
        self.sessions.extend(to.map(|expires| (expires, slot)));
    }

    /// The end of what a subscription token allows is set, or moved.
    pub(crate) fn move_permit(&mut self, slot: u32, key: ChannelKey, from: Option<u64>, to: Option<u64>) {
        if let Some(expires) = from {
            self.permits.remove(&(expires, slot, key));
        }
        self.permits.extend(to.map(|expires| (expires, slot, key)));
    }

    /// Whether it is time to look at them.
    fn is_time(&mut self, now: Duration) -> bool {
        let is_time = self.behind || now >= self.checked + INTERVAL;
        self.behind = false;
        if !is_time || self.sessions.is_empty() && self.permits.is_empty() {
            return false;
        }
        self.checked = now;
        true
    }

    fn next_session(&mut self, now: u64) -> Option<u32> {
        self.sessions
            .first()
            .is_some_and(|(expires, _)| *expires <= now)
            .then(|| self.sessions.pop_first())?
            .map(|it| it.1)
    }

    fn next_permit(&mut self, now: u64) -> Option<(u32, ChannelKey)> {
        let is_due = self.permits.first().is_some_and(|(expires, ..)| *expires <= now);
        is_due.then(|| self.permits.pop_first())?.map(|(_, slot, key)| (slot, key))
    }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// The broker's clock, in Unix seconds.
    pub(crate) fn unix_seconds(&self) -> u64 {
        self.broker.now() / 1000
    }

    /// Ends what has expired, so many at a time.
    pub(crate) fn expire(&mut self) {
        if !self.expiries.is_time(self.now) {
            return;
        }
        let now = self.unix_seconds();
        let mut left = PER_TURN;
        while left > 0
            && let Some(slot) = self.expiries.next_session(now)
        {
            left -= 1;
            if let Some(id) = self.connection_in(slot as usize) {
                self.close(id, &codes::SESSION_EXPIRED, "connect again with a new token");
            }
        }
        while left > 0
            && let Some((slot, key)) = self.expiries.next_permit(now)
        {
            left -= 1;
            if let Some(id) = self.connection_in(slot as usize) {
                self.permit_expired(id, key);
            }
        }
        self.expiries.behind = left == 0;
    }

    /// Whether the time should be told again at once: more has expired than one turn ends.
    pub fn is_behind(&self) -> bool {
        self.expiries.behind
    }

    /// What the token allowed is over, and with it the subscription if it stood on nothing else.
    fn permit_expired(&mut self, id: ConnectionId, key: ChannelKey) {
        let subscription = self.session(id).and_then(|session| session.subscription(key));
        let permit = subscription.and_then(|subscription| subscription.set_permit(None));
        if permit.is_some_and(|permit| permit.needed) {
            self.end_subscription(id, key, &codes::SUBSCRIPTION_EXPIRED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_due_in_order_and_those_that_were_moved_are_not() {
        let mut expiries = Expiries::default();
        for (slot, expires) in [(1, 100), (2, 50), (3, 60)] {
            expiries.move_session(slot, None, Some(expires));
        }
        expiries.move_session(2, Some(50), Some(200));
        assert_eq!(expiries.next_session(59), None);
        assert_eq!(expiries.next_session(100), Some(3));
        assert_eq!(expiries.next_session(100), Some(1));
        assert_eq!(expiries.next_session(199), None);
        expiries.move_session(2, Some(200), None);
        assert!(expiries.sessions.is_empty(), "nothing is left of sessions that have ended");
    }
}
