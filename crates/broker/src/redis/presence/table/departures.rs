//! When somebody is to be told as gone: the deadlines that this node has to act on.

use std::time::Duration;

use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;

use super::Table;
use super::room::room;

/// How much later than a deadline Redis is asked to act on it, so that it has passed there too.
const SLACK: Duration = Duration::from_millis(5);

/// Deadlines in the room that this node is to act on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departure {
    pub(super) next: Instant,
    pub(super) last: Instant,
}

impl Table {
    /// A user is away, for `delay` before that is told.
    pub(in crate::redis::presence) fn away(&mut self, channel: &ChannelName, delay: Duration, now: Instant) {
        self.depart_by(channel, now + delay, now + delay);
    }

    pub(super) fn depart_by(&mut self, channel: &ChannelName, next: Instant, last: Instant) {
        let room = room(&mut self.rooms, &mut self.unregistered, channel);
        let known = room.departure;
        let departure = Departure {
            next: known.map_or(next, |known| known.next.min(next)),
            last: known.map_or(last, |known| known.last.max(last)),
        };
        room.departure = Some(departure);
        if let Some(known) = known {
            self.departures.remove(&(known.next, channel.clone()));
        }
        self.departures.insert((departure.next, channel.clone()));
    }

    pub(in crate::redis::presence) fn next_departure(&self) -> Option<Instant> {
        self.departures.first().map(|(due, _)| *due + SLACK)
    }

    /// Rooms in which a deadline has passed. Each is to be given back as [`departed`](Self::departed).
    pub(in crate::redis::presence) fn take_departures(&mut self, now: Instant, max: usize) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        while taken.len() < max && self.next_departure().is_some_and(|due| due <= now) {
            taken.extend(self.departures.pop_first().map(|(_, channel)| channel));
        }
        taken
    }

    /// Redis has told of those who were due in the room; the next is due after `next`. Deadlines after the last of
    /// ours are for others to act on.
    pub(in crate::redis::presence) fn departed(&mut self, channel: &ChannelName, next: Option<Duration>, now: Instant) {
        let Some(room) = self.rooms.get_mut(channel) else {
            return;
        };
        let Some(departure) = room.departure.take() else {
            return;
        };
        // It may have been put forward meanwhile.
        self.departures.remove(&(departure.next, channel.clone()));
        match next.map(|next| now + next).filter(|next| *next <= departure.last + 10 * SLACK) {
            Some(next) => {
                room.departure = Some(Departure { next, last: departure.last });
                self.departures.insert((next, channel.clone()));
            }
            None => self.idle.push(channel.clone()),
        }
    }

    /// Redis did not say who was due in the room: it is to be asked again.
    pub(in crate::redis::presence) fn depart_again(&mut self, channel: &ChannelName, at: Instant) {
        let last = self.rooms.get_mut(channel).and_then(|room| room.departure.take()).map_or(at, |known| known.last);
        self.depart_by(channel, at, last.max(at));
    }

    /// The room is kept until [`adopted`](Self::adopted).
    pub(in crate::redis::presence) fn adopt(&mut self, channel: &ChannelName) {
        room(&mut self.rooms, &mut self.unregistered, channel).adopting += 1;
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
            self.idle.push(channel.clone());
        }
        if let Some((first, last)) = deadlines {
            self.depart_by(channel, now + first, now + last);
        }
    }
}
