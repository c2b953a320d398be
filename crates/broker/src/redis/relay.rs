//! What is published in Redis, from the subscription link to the queues of the shards. Never waits.
//!
//! What was read at once is decoded first, then routed under one lock, with one wake for each shard.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use ullim_protocol::outgoing::{Gap, GapReason};

use super::Shared;
use super::encode::{self, Decoded};
use super::resp::{Message, Value};
use crate::RoutedEvent;
use crate::interest::Heard;
use crate::queue::{Relayed, Routed, Window};

/// Messages that were read at once.
pub(super) struct Batch<'a> {
    shared: &'a Shared,
    proven: Instant,
    read: Instant,
    times: Option<Times>,
    messages: Vec<(&'a str, Result<Decoded, encode::DecodeError>)>,
}

/// By Redis' clock.
#[derive(Clone, Copy)]
struct Times {
    /// When the messages were received, in Unix milliseconds.
    received: u64,
    /// When they were published for certain.
    published: Window,
}

impl<'a> Batch<'a> {
    /// An empty one, of what was read at `read`. All that was published before `proven` has been read before.
    pub(super) fn new(shared: &'a Shared, proven: Instant, read: Instant) -> Self {
        Self { shared, proven, read, times: None, messages: Vec::new() }
    }

    /// Takes a message.
    pub(super) fn add(&mut self, message: Message<'a>) {
        let Some(name) = self.shared.names.read(message.channel) else {
            return self.shared.tally.stray.add(1);
        };
        // In memory of its own, not shared with what it was read with: one that waits must not hold the others.
        self.decode(name, Value::Text(Bytes::copy_from_slice(message.payload)));
    }

    /// Takes a message that came in pieces.
    pub(super) fn add_value(&mut self, wire_name: &'a Value, payload: Value) {
        let name = match wire_name {
            Value::Text(wire_name) => self.shared.names.read(wire_name),
            _ => None,
        };
        match name {
            Some(name) => self.decode(name, payload),
            None => self.shared.tally.stray.add(1),
        }
    }

    fn decode(&mut self, name: &'a str, payload: Value) {
        let Times { received, .. } = self.times();
        let shared = self.shared;
        let decoded = match payload {
            Value::Text(payload) => {
                let rule = shared.rules.of_name(name).payload;
                encode::decode(payload, rule, received, shared.payload_bytes)
            }
            Value::Oversized(bytes) => Err(encode::DecodeError::TooLarge(bytes)),
            _ => Err(encode::DecodeError::NotAString),
        };
        if let Err(error) = &decoded {
            tracing::debug!(channel = name, %error, "a publication cannot be decoded");
        }
        self.messages.push((name, decoded));
    }

    fn times(&mut self) -> Times {
        let Self { shared, proven, read, .. } = *self;
        *self.times.get_or_insert_with(|| {
            let clock = shared.clock.reading();
            let published = Window { from: clock.span(proven).earliest, to: clock.span(read).latest };
            Times { received: clock.millis(read), published }
        })
    }

    /// Hands all that was taken to the shards.
    pub(super) fn deliver(&mut self) {
        let Some(Times { published, .. }) = self.times.filter(|_| !self.messages.is_empty()) else { return };
        let (shared, mut heard, mut received, mut undecodable) = (self.shared, false, 0, 0);
        let delivered = shared.interest().route(&mut self.messages, |channel, decoded| {
            heard = true;
            match decoded {
                Ok(Decoded::Publication { publication, exclude, cut }) => {
                    received += 1;
                    if publication.position.is_none() && shared.rules.of(&channel).history.is_some() {
                        shared.tally.plain(&channel);
                    }
                    let routed = Routed { channel, publication, exclude, published };
                    Heard { item: Relayed::Publication(Arc::new(routed)), cut }
                }
                Ok(Decoded::Presence(event)) => {
                    Relayed::Presence(Arc::new(RoutedEvent { channel, event, published })).into()
                }
                Err(_) => {
                    received += 1;
                    // On a recoverable channel it is counted when it is read in the history.
                    undecodable += u64::from(shared.rules.of(&channel).history.is_none());
                    let gap =
                        Gap { from: published.from, to: published.to, reason: GapReason::Undecodable, position: None };
                    Relayed::Gap(channel, gap).into()
                }
            }
        });
        let tally = &shared.tally;
        if heard {
            tally.heard(self.read);
        }
        tally.received.add(received);
        tally.undecodable.add(undecodable);
        tally.overflowed.add(delivered.dropped);
        tally.gaps.add(delivered.gaps);
    }
}
