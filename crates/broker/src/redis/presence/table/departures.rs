//! When somebody is to be told as gone: the deadlines that this node has to act on.

use std::time::Duration;

use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;

use super::{LEASE, Table};

/// How much later than a deadline Redis is asked to act on it, so that it has passed there too.
const SLACK: Duration = Duration::from_millis(5);

/// How long after the last of this node's deadlines it still acts on those that there are in the room. Redis' clock may
/// be behind what it was: by less than a lease unseen, by more until the next renewal, which has everything looked at
/// anew. What is left then is for others.
const MARGIN: Duration = LEASE.saturating_mul(2);

/// Deadlines in the room that this node is to act on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departure {
    state: State,
    last: Instant,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Redis is to be asked then, or a little later.
    Due(Instant),
    /// Redis is being asked.
    Asked,
}

impl Table {
    /// A user is away, for `delay` before that is told.
    pub(in crate::redis::presence) fn away(&mut self, channel: &ChannelName, delay: Duration, now: Instant) {
        self.depart_by(channel, now + delay, now + delay);
    }

    pub(super) fn depart_by(&mut self, channel: &ChannelName, next: Instant, last: Instant) {
        let room = self.rooms.open(channel);
        let last = room.departure.map_or(last, |known| known.last.max(last));
        let due = match room.departure.map(|known| known.state) {
            Some(State::Due(known)) => known.min(next),
            Some(State::Asked) | None => next,
        };
        self.set_departure(channel, Some(Departure { state: State::Due(due), last }));
    }

    fn set_departure(&mut self, channel: &ChannelName, departure: Option<Departure>) {
        let Some(room) = self.rooms.get_mut(channel) else {
            return;
        };
        let before = std::mem::replace(&mut room.departure, departure);
        if let Some(Departure { state: State::Due(due), .. }) = before {
            self.departures.remove(&(due, channel.clone()));
        }
        match departure {
            Some(Departure { state: State::Due(due), .. }) => {
                self.departures.insert((due, channel.clone()));
            }
            Some(_) => {}
            None => self.rooms.spare(channel),
        }
    }

    pub(in crate::redis::presence) fn next_departure(&self) -> Option<Instant> {
        self.departures.first().map(|(due, _)| *due + SLACK)
    }

    /// Rooms in which a deadline has passed. Each is to be given back as [`departed`](Self::departed).
    pub(in crate::redis::presence) fn take_departures(&mut self, now: Instant, max: usize) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        while taken.len() < max && self.next_departure().is_some_and(|due| due <= now) {
            let Some((_, channel)) = self.departures.pop_first() else {
                break;
            };
            if let Some(departure) = self.rooms.get_mut(&channel).and_then(|room| room.departure.as_mut()) {
                departure.state = State::Asked;
            }
            taken.push(channel);
        }
        taken
    }

    /// Redis has told of those who were due in the room, or of some of them; the next is due after `next`.
    pub(in crate::redis::presence) fn departed(&mut self, channel: &ChannelName, next: Option<Duration>, now: Instant) {
        let Some(Departure { state, last }) = self.rooms.get(channel).and_then(|room| room.departure) else {
            return;
        };
        let until = last + MARGIN;
        let next = match next {
            // More than fit into one call: nobody else may know of them.
            Some(Duration::ZERO) => Some(now),
            Some(next) if now < until => Some((now + next).min(until)),
            Some(_) | None => None,
        };
        let due = match state {
            // It was put forward meanwhile.
            State::Due(known) => Some(next.map_or(known, |next| next.min(known))),
            State::Asked => next,
        };
        self.set_departure(channel, due.map(|due| Departure { state: State::Due(due), last }));
    }

    /// Redis did not say who was due in the room: it is to be asked again.
    pub(in crate::redis::presence) fn depart_again(&mut self, channel: &ChannelName, at: Instant) {
        self.depart_by(channel, at, at);
    }

    /// The room is kept until [`adopted`](Self::adopted).
    pub(in crate::redis::presence) fn adopt(&mut self, channel: &ChannelName) {
        self.rooms.open(channel).adopting += 1;
    }

    /// The deadlines in the room are for this node to act on too: between the first and the last.
    pub(in crate::redis::presence) fn adopted(
        &mut self,
        channel: &ChannelName,
        deadlines: Option<(Duration, Duration)>,
        now: Instant,
    ) {
        if let Some(room) = self.rooms.get_mut(channel) {
            room.adopting = room.adopting.saturating_sub(1);
        }
        match deadlines {
            Some((first, last)) => self.depart_by(channel, now + first, now + last),
            None => self.rooms.spare(channel),
        }
    }
}
