//! Turns the messages of a connection into entries, and keeps the position of each channel as a client has to.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Counts, read};
use crate::chaos::log::{Channel, Entry, Ms, Position, Promise, What};

/// What one subscriber knows, across its connections.
pub(crate) struct Tracker {
    channels: Arc<Vec<Channel>>,
    by_name: HashMap<String, usize>,
    /// The last position held in each recoverable channel.
    positions: HashMap<usize, Position>,
    counts: Arc<Counts>,
    /// What it saw.
    pub(crate) entries: Vec<Entry>,
}

impl Tracker {
    /// One that has seen nothing.
    pub(crate) fn new(channels: Arc<Vec<Channel>>, counts: Arc<Counts>) -> Self {
        let by_name = channels.iter().enumerate().map(|(index, channel)| (channel.name.clone(), index)).collect();
        Self { channels, by_name, positions: HashMap::new(), counts, entries: Vec::new() }
    }

    /// Takes note.
    pub(crate) fn note(&mut self, at: Ms, what: What) {
        match &what {
            What::Heard { .. } => Counts::add(&self.counts.heard),
            What::Gap { .. } | What::Subscribed { recovered: Some(false), .. } => Counts::add(&self.counts.signals),
            _ => {}
        }
        self.entries.push(Entry { at, what });
    }

    /// Where to recover this channel from.
    pub(crate) fn position(&self, channel: usize) -> Option<Position> {
        self.positions.get(&channel).copied()
    }

    /// A reply to `subscribe`.
    pub(crate) fn subscribed(&mut self, at: Ms, channel: usize, asked: Option<Position>, reply: &Value) {
        Counts::add(&self.counts.subscribed);
        let recovered = reply.get("recovered").and_then(Value::as_bool);
        let position = epoch(&reply["epoch"]).zip(reply["offset"].as_u64());
        let position = position.map(|(epoch, offset)| Position { epoch, offset });
        let replayed = reply["pubs"].as_array().map_or(&[][..], Vec::as_slice);
        // Over STOMP they come behind it, and until they do the position is the one that was asked for.
        let following = reply["following"].as_u64().map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let is_recovery = recovered == Some(true);
        // The publications of a reply go on from what was asked for.
        if !is_recovery {
            self.positions.remove(&channel);
            self.positions.extend(position.map(|position| (channel, position)));
        }
        let count = if is_recovery { following.unwrap_or(replayed.len()) } else { 0 };
        self.note(at, What::Subscribed { channel, asked, recovered, position, replayed: count });
        if is_recovery {
            for publication in replayed {
                self.publication(at, channel, publication);
            }
            self.positions.extend(position.filter(|_| following.is_none()).map(|position| (channel, position)));
        }
    }

    /// What was pushed.
    pub(crate) fn push(&mut self, at: Ms, push: &Value) {
        let Some(&channel) = push["channel"].as_str().and_then(|name| self.by_name.get(name)) else { return };
        if let Some(publication) = push.get("pub") {
            self.publication(at, channel, publication);
        }
        if let Some(gap) = push.get("gap") {
            let position = epoch(&gap["epoch"]).zip(gap["offset"].as_u64());
            let position = position.map(|(epoch, offset)| Position { epoch, offset });
            if let Some(position) = position {
                let held = self.positions.entry(channel).or_insert(position);
                *held = (*held).max(position);
            }
            let reason = gap["reason"].as_str().unwrap_or_default().to_owned();
            let (from, to) = (gap["from"].as_u64().unwrap_or(0), gap["to"].as_u64().unwrap_or(0));
            self.note(at, What::Gap { channel, from, to, reason, position });
        }
        for (name, came) in [("join", true), ("leave", false)] {
            if let Some(user) = push.get(name).and_then(|event| event["user"].as_str()) {
                self.note(at, What::Presence { channel, user: user.to_owned(), came });
            }
        }
    }

    fn publication(&mut self, at: Ms, channel: usize, publication: &Value) {
        let Some((mark, is_end)) = read(&publication["data"]) else { return };
        if is_end {
            Counts::add(&self.counts.ends);
        }
        let mut position = None;
        if self.channels[channel].promise == Promise::Recoverable
            && let Some(offset) = publication["offset"].as_u64()
        {
            let held = self.positions.get(&channel).map_or(0, |held| held.epoch);
            let here = Position { epoch: epoch(&publication["epoch"]).unwrap_or(held), offset };
            self.positions.insert(channel, here);
            position = Some(here);
        }
        self.note(at, What::Heard { channel, mark, position });
    }
}

fn epoch(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}
