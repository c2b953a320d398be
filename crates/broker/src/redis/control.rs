//! Orders between nodes as they travel in Redis: JSON on a channel of their own.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::envelope::MAX_USER_BYTES;
use ullim_protocol::json;
use ullim_protocol::session::SessionId;

use super::Shared;
use crate::Control;
use crate::queue::Relayed;

/// How often it is logged that an order cannot be read.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// The most bytes of an order.
const MAX_BYTES: usize = 8192;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Disconnect { user: String },
    Unsubscribe { user: String, channel: String },
    Replace { session: String, keep: String },
}

/// The payload that carries `control`.
pub(super) fn encode(control: &Control) -> Vec<u8> {
    let order = match control {
        Control::Disconnect { user } => Order::Disconnect { user: user.to_string() },
        Control::Unsubscribe { user, channel } => {
            Order::Unsubscribe { user: user.to_string(), channel: channel.to_string() }
        }
        // Text, because a number of 64 bits is not safe in JSON.
        Control::Replace { session, keep } => Order::Replace { session: session.to_string(), keep: keep.to_string() },
    };
    // Strings alone: this cannot fail.
    serde_json::to_vec(&order).unwrap_or_default()
}

fn decode(payload: &[u8]) -> Option<Control> {
    if payload.len() > MAX_BYTES {
        return None;
    }
    let json::Object(order) = serde_json::from_slice::<json::Object<Order>>(payload).ok()?;
    let named = |user: String| (1..=MAX_USER_BYTES).contains(&user.len()).then(|| Arc::<str>::from(user));
    Some(match order {
        Order::Disconnect { user } => Control::Disconnect { user: named(user)? },
        Order::Unsubscribe { user, channel } => {
            Control::Unsubscribe { user: named(user)?, channel: ChannelName::parse(&channel).ok()? }
        }
        Order::Replace { session, keep } => {
            Control::Replace { session: SessionId::parse(&session)?, keep: keep.parse().ok()? }
        }
    })
}

/// Takes an order, and passes it to every shard. `None`: what came was not a string.
pub(super) fn message(shared: &Shared, payload: Option<&[u8]>) {
    let Some(control) = payload.and_then(decode) else {
        shared.tally.control_dropped.add(1);
        if shared.tally.unreadable_order.is_due(Instant::now(), WARN_EVERY) {
            tracing::warn!("dropped an order that cannot be read: is a newer version on the same redis?");
        }
        return;
    };
    let told = shared.interest().tell_everybody(&Relayed::Control(Arc::new(control)));
    shared.tally.controlled(told);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_travel_as_documented() {
        let session = SessionId([7; 16]);
        let channel = ChannelName::parse("chat:42").unwrap();
        let cases = [
            (Control::Disconnect { user: "al\"ice".into() }, r#"{"disconnect":{"user":"al\"ice"}}"#),
            (
                Control::Unsubscribe { user: "alice".into(), channel },
                r#"{"unsubscribe":{"user":"alice","channel":"chat:42"}}"#,
            ),
            (
                Control::Replace { session, keep: u64::MAX },
                r#"{"replace":{"session":"BwcHBwcHBwcHBwcHBwcHBw","keep":"18446744073709551615"}}"#,
            ),
        ];
        for (control, text) in cases {
            assert_eq!(String::from_utf8(encode(&control)).unwrap(), text);
            assert_eq!(decode(text.as_bytes()), Some(control));
        }
    }

    #[test]
    fn what_is_no_order_is_none() {
        let long = format!(r#"{{"disconnect":{{"user":"{}"}}}}"#, "a".repeat(256));
        let bad = [
            "",
            "{}",
            "[]",
            "\"disconnect\"",
            r#"{"disconnect":{}}"#,
            r#"{"disconnect":{"user":""}}"#,
            r#"{"explode":{"user":"alice"}}"#,
            r#"{"unsubscribe":{"user":"alice","channel":"a{b"}}"#,
            r#"{"replace":{"session":"x","keep":"1"}}"#,
            r#"{"replace":{"session":"BwcHBwcHBwcHBwcHBwcHBw","keep":1}}"#,
            &long,
        ];
        for text in bad {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
        let extended = br#"{"disconnect":{"user":"alice","later":1}}"#;
        assert_eq!(decode(extended), Some(Control::Disconnect { user: "alice".into() }));
    }
}
