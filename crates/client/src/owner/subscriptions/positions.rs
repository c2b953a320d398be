//! Owns how far each channel was heard: what comes a second time is dropped, what was recovered is told in its place. Pure.

use ullim_protocol::position::Position;

use super::{State, Subscription, Subscriptions};
use crate::event::{Event, GapReason};
use crate::wire::{self, Published, Standing, Undecodable};

impl Subscriptions {
    /// Something was published on `channel`: what is to be told of it, perhaps behind a gap.
    pub(in crate::owner) fn heard(&mut self, channel: &str, published: Published, now: u64) -> Vec<Event> {
        let Some(subscription) = self.channels.get_mut(channel) else {
            return Vec::new();
        };
        // What comes before the reply comes with it once more.
        if subscription.position.is_some() && subscription.state != State::Standing {
            return Vec::new();
        }
        let told = subscription.publication(channel, published);
        match told {
            Some(told) => self.gap(channel, now).into_iter().chain([told]).collect(),
            None => Vec::new(),
        }
    }

    /// The channel has come as far as `position`, without anything for the user.
    pub(in crate::owner) fn reached(&mut self, channel: &str, position: Option<Position>) {
        if let Some(subscription) = self.channels.get_mut(channel) {
            subscription.reach(position);
        }
    }

    /// The node tells a gap: what is to be told of it.
    pub(in crate::owner) fn gap_heard(&mut self, channel: &str, gap: wire::Gap, now: u64) -> Vec<Event> {
        let position = gap.position();
        if let Some(subscription) = self.channels.get_mut(channel) {
            subscription.reach(position);
        }
        let (from, to, channel_name) = (gap.from, gap.to, channel.to_owned());
        let told = Event::Gap { channel: channel_name, from, to, reason: gap.reason(), position };
        self.gap(channel, now).into_iter().chain([told]).collect()
    }
}

impl Subscription {
    /// The node granted it: what is to be told.
    pub(super) fn stands(&mut self, channel: &str, standing: Standing) -> Vec<Event> {
        let Standing { recovered, position, publications, .. } = standing;
        let channel_name = || channel.to_owned();
        // The node was not asked to recover a void position.
        let recovered = if std::mem::take(&mut self.is_void) { Some(false) } else { recovered };
        let mut told = Vec::new();
        match (self.position, recovered, position) {
            (Some(since), Some(true), Some(position)) => {
                told.push(Event::Recovered { channel: channel_name(), since, position });
                self.away_since = None;
            }
            (Some(since), Some(false), _) => {
                told.push(Event::NotRecovered { channel: channel_name(), since, position });
                self.away_since = None;
                self.position = None;
            }
            // A node that does not recover: a gap says what may be missing.
            _ => self.position = None,
        }
        if let (None, Some(position)) = (self.position, position) {
            // The latest comes, though the channel stands there.
            self.position = Some(Position::start(position.epoch));
        }
        told.extend(publications.into_iter().filter_map(|published| self.publication(channel, published)));
        match position {
            Some(_) => self.reach(position),
            None => self.position = None,
        }
        told
    }

    /// What is to be told of a publication: nothing, if it was heard before.
    fn publication(&mut self, channel: &str, published: Published) -> Option<Event> {
        let position = published.position(self.position.map(|heard| heard.epoch));
        if position.is_some() && position <= self.position {
            return None;
        }
        self.reach(position);
        let channel = channel.to_owned();
        Some(match published.read(position) {
            Ok(publication) => Event::Publication { channel, publication },
            Err(Undecodable { time }) => {
                Event::Gap { channel, from: time, to: time, reason: GapReason::Undecodable, position }
            }
        })
    }

    /// All up to `position` was heard, or was told to be missing.
    fn reach(&mut self, position: Option<Position>) {
        self.position = self.position.max(position);
    }
}
