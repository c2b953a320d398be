//! What is published in Redis, from the subscription link to the queues of the shards. Never waits.

use std::sync::Arc;

use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::outgoing::{Gap, GapReason};

use super::Shared;
use super::encode::{self, Decoded};
use super::resp::Value;
use crate::RoutedEvent;
use crate::queue::{Relayed, Routed, Window};

/// Takes a message: what it was published to, and what. All that was published before `proven` has been read before.
pub(super) fn message(shared: &Shared, wire_name: &Value, payload: Value, proven: Instant) {
    let name = match wire_name {
        Value::Text(wire_name) => shared.names.read(wire_name),
        _ => None,
    };
    let Some(name) = name else {
        shared.tally.stray.add(1);
        return;
    };
    // Nobody hears a channel that is cooling down.
    let Some(channel) = shared.interest().heard(name) else {
        return;
    };
    let now = Instant::now();
    shared.tally.heard(now);
    let clock = shared.clock.reading();
    let published = Window { from: clock.span(proven).earliest, to: clock.span(now).latest };
    match decode(shared, &channel, payload, clock.millis(now)) {
        Ok(Decoded::Publication { publication, exclude }) => {
            shared.tally.received.add(1);
            let routed = Arc::new(Routed { channel: channel.clone(), publication, exclude, published });
            let told = shared.interest().route(&channel, &Relayed::Publication(routed));
            shared.tally.overflowed.add(told.dropped);
        }
        Ok(Decoded::Presence(event)) => {
            let routed = Arc::new(RoutedEvent { channel: channel.clone(), event, published });
            let told = shared.interest().route(&channel, &Relayed::Presence(routed));
            shared.tally.overflowed.add(told.dropped);
        }
        Err(error) => {
            shared.tally.received.add(1);
            tracing::debug!(%channel, %error, "dropped a publication that cannot be decoded");
            shared.tally.undecodable.add(1);
            let gap = Gap { from: published.from, to: published.to, reason: GapReason::Undecodable };
            let told = shared.interest().tell_gap(channel, gap);
            shared.tally.gaps.add(told.queued);
        }
    }
}

fn decode(
    shared: &Shared,
    channel: &ChannelName,
    payload: Value,
    received: u64,
) -> Result<Decoded, encode::DecodeError> {
    match payload {
        Value::Text(payload) => encode::decode(payload, shared.rules.of(channel), received, shared.payload_bytes),
        Value::Oversized(bytes) => Err(encode::DecodeError::TooLarge(bytes)),
        _ => Err(encode::DecodeError::NotAString),
    }
}
