//! What happens because time passes.

use std::time::Duration;

use ullim_protocol::codes;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Time has passed: `now` is measured from the shard's start. Call it at every turn, before anything else, so that
    /// what follows happens now.
    pub fn advance(&mut self, now: Duration) {
        self.now = now;
        while let Some(id) = self.connect_deadlines.next_due(now) {
            if self.connection(id).is_some_and(|connection| connection.session.is_none() && !connection.closing) {
                self.close(id, &codes::CONNECT_TIMEOUT, "send connect first, with a token that is accepted");
            }
        }
        while let Some(ticket) = self.subscribe_deadlines.next_due(now) {
            self.subscribe_timed_out(ticket);
        }
        while let Some(id) = self.replace_deadlines.next_due(now) {
            self.replace_timed_out(id);
        }
        while let Some(key) = self.repair_deadlines.next_due(now) {
            self.registry.repairs.wait(key);
        }
        while let Some(id) = self.slow_deadlines.next_due(now) {
            self.slowed_down(id);
        }
        self.repair();
        self.expire();
        self.send_away_in_turn();
        while let Some(id) = self.close_deadlines.next_due(now) {
            self.remove_if_there(id);
        }
        self.beat();
        self.uncork();
    }

    fn remove_if_there(&mut self, id: ConnectionId) {
        if self.connection(id).is_some() {
            self.remove(id);
        }
    }
}
