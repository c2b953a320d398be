//! A shard that is to end sends its clients elsewhere, one after the other: all at once would be a storm for the other
//! nodes. Each is told when its turn comes, so that it can go at a good moment, and is closed then at the latest.

use std::collections::VecDeque;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use ullim_protocol::codes;
use ullim_protocol::outgoing::Outgoing;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};

/// How long whoever was sent elsewhere may take to come back before others are told that they have left: enough for
/// some failed attempts with back-off and a new token, short enough for those who do not come back to be missed.
const ABSENCE: Duration = Duration::from_secs(15);

/// Who is still here, and until when, by the shard's clock. The next first.
pub(crate) type Draining = VecDeque<(Duration, ConnectionId)>;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Sends every client elsewhere, evenly over `window`: each with a session is told `reconnect` at once, with the time
    /// that it has, and is closed with 1001 after that. Those without one are closed at once. Whoever comes from now on
    /// should not be let in. Means nothing the second time.
    pub fn drain(&mut self, window: Duration) {
        if self.draining.is_some() {
            return;
        }
        let ids = self.connections.iter().filter(|(_, connection)| !connection.closing);
        let ids = ids.map(|(slot, connection)| ConnectionId { slot: slot as u32, generation: connection.generation });
        let (mut open, unknown): (Vec<_>, Vec<_>) = ids.partition(|id| self.is_connected(*id));
        open.shuffle(&mut rand::rng());
        let places = open.len().max(1) as f64;
        let places = (1..).map(|place| window.mul_f64(f64::from(place) / places));
        let turns: Vec<_> = places.zip(open).collect();
        self.draining = Some(turns.iter().map(|(delay, id)| (self.now + *delay, *id)).collect());
        for (delay, id) in turns {
            self.tell(id.slot, &Outgoing::Reconnect(delay.as_millis() as u64));
        }
        self.uncork();
        for id in unknown {
            self.send_away(id);
        }
        self.send_away_in_turn();
    }

    fn is_connected(&self, id: ConnectionId) -> bool {
        self.connections.get(id.slot as usize).is_some_and(|connection| connection.session.is_some())
    }

    /// Closes those whose turn has come.
    pub(crate) fn send_away_in_turn(&mut self) {
        let now = self.now;
        while let Some((_, id)) = self.draining.as_mut().and_then(|turns| turns.pop_front_if(|(due, _)| *due <= now)) {
            self.send_away(id);
        }
    }

    fn send_away(&mut self, id: ConnectionId) {
        if self.connection(id).is_some() {
            self.close(id, &codes::GOING_AWAY, "reconnect: this node is shutting down, go to another");
        }
    }

    /// How long a session whose connection ends may be away before others are told.
    pub(crate) fn absence(&self) -> Duration {
        match self.draining {
            Some(_) => ABSENCE,
            None => Duration::ZERO,
        }
    }
}
