//! Heartbeats without a timer per connection: the slots are walked once per interval, a few at a time.

use std::time::Duration;

use ullim_protocol::codes;

use crate::hub::Hub;
use crate::outlet::{Encode, Outlet, Patience};

/// Into how many parts the slots are divided: those with the same remainder beat together.
const PARTS: u32 = 256;

/// Which part beats when.
#[derive(Debug)]
pub(crate) struct Wheel {
    step: Duration,
    /// How many parts have beaten since the start.
    beaten: u64,
}

impl Wheel {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { step: (interval / PARTS).max(Duration::from_millis(1)), beaten: 0 }
    }

    /// The next part that is due. Parts that are late by more than a round are left out.
    fn next_due(&mut self, now: Duration) -> Option<u32> {
        let due = (now.as_nanos() / self.step.as_nanos()) as u64;
        self.beaten = self.beaten.max(due.saturating_sub(u64::from(PARTS)));
        (self.beaten < due).then(|| {
            self.beaten += 1;
            (self.beaten % u64::from(PARTS)) as u32
        })
    }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    pub(crate) fn beat(&mut self) {
        while let Some(part) = self.wheel.next_due(self.now) {
            let end = self.connections.capacity();
            for slot in (part as usize..end).step_by(PARTS as usize) {
                self.beat_one(slot);
            }
        }
    }

    fn beat_one(&mut self, slot: usize) {
        let Some(id) = self.connection_in(slot) else {
            return;
        };
        let Some(connection) = self.connection(id).filter(|connection| !connection.closing) else {
            return;
        };
        if connection.paused {
            // It is not read from, so that it cannot be heard.
            connection.missed = 0;
        }
        let (missed, wire) = (connection.missed, connection.wire);
        connection.missed = missed.saturating_add(1);
        let patience = self.connections.get(slot).map(|connection| self.encode.patience(wire, &connection.outlet));
        if let Some(Patience::Heartbeats(most)) = patience
            && missed >= most
        {
            return self.close(id, &codes::HEARTBEAT_TIMEOUT, &format!("nothing was heard for {most} heartbeats"));
        }
        self.corked(slot as u32, |encode, connection, out| {
            encode.heartbeat(connection.wire, &mut connection.outlet, out);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_beats_once_per_interval() {
        let mut wheel = Wheel::new(Duration::from_secs(25));
        let mut beats = [0; PARTS as usize];
        for ms in (0..=25_000).step_by(7) {
            while let Some(part) = wheel.next_due(Duration::from_millis(ms)) {
                beats[part as usize] += 1;
            }
        }
        while let Some(part) = wheel.next_due(Duration::from_secs(25)) {
            beats[part as usize] += 1;
        }
        assert_eq!(beats, [1; PARTS as usize]);
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let mut wheel = Wheel::new(Duration::from_secs(1));
        let beats = std::iter::from_fn(|| wheel.next_due(Duration::from_secs(100))).count();
        assert_eq!(beats, PARTS as usize);
    }
}
