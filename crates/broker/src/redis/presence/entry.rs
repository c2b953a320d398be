//! What Redis keeps of a member: a JSON object (`docs/redis.md`, "Presence"). Pure.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use ullim_protocol::envelope::MAX_USER_BYTES;
use ullim_protocol::json;
use ullim_protocol::presence::{Info, Member};
use ullim_protocol::session::SessionId;

use crate::Entry;
use crate::presence::user_name;

/// The most bytes of an entry that is read.
const MAX_BYTES: usize = 16 << 10;

/// The grace of a user whose entry names none.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// The entry without its end: the time at which the session entered is for Redis to say.
pub(super) fn head(entry: &Entry, node: &str) -> String {
    let mut text = "{".to_owned();
    if let Some(user) = &entry.user {
        text.push_str(&format!("\"user\":{},", quoted(user)));
        if entry.grace != DEFAULT_GRACE {
            text.push_str(&format!("\"grace\":{},", entry.grace.as_millis()));
        }
    }
    if let Some(info) = &entry.info {
        text.push_str(&format!("\"info\":{},", info.as_str()));
    }
    text.push_str(&format!("\"node\":{}", quoted(node)));
    text
}

/// What is told when the entry's user comes.
pub(super) fn event(entry: &Entry) -> String {
    let user = quoted(&user_name(entry.user.as_ref(), entry.session));
    match &entry.info {
        Some(info) => format!("{{\"user\":{user},\"info\":{}}}", info.as_str()),
        None => format!("{{\"user\":{user}}}"),
    }
}

/// How long the entry's user may be away.
pub(super) fn grace(entry: &Entry) -> Duration {
    entry.user.as_ref().map_or(Duration::ZERO, |_| entry.grace)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An entry, read.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    pub(super) node: String,
    pub(super) grace: Duration,
    pub(super) member: Member,
}

#[derive(Deserialize)]
struct Fields<'a> {
    user: Option<String>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    info: Option<&'a RawValue>,
    node: String,
    #[serde(default)]
    since: u64,
    grace: Option<u64>,
}

/// Reads what may be anything.
pub(super) fn read(session: &[u8], value: &[u8]) -> Option<Read> {
    if value.len() > MAX_BYTES {
        return None;
    }
    let session = SessionId::parse(std::str::from_utf8(session).ok()?)?;
    let json::Object(Fields { user, info, node, since, grace }) = serde_json::from_slice(value).ok()?;
    let user = match user {
        Some(user) if user.is_empty() || user.len() > MAX_USER_BYTES => return None,
        user => user.map(Arc::<str>::from),
    };
    let info = match info {
        Some(info) => Some(Info::parse(info.get())?),
        None => None,
    };
    let grace = match (&user, grace) {
        (None, _) => Duration::ZERO,
        (Some(_), grace) => grace.map_or(DEFAULT_GRACE, Duration::from_millis),
    };
    // What clients can read: 2^53 - 1.
    let since = since.min((1 << 53) - 1);
    Some(Read { node, grace, member: Member { session, user, info, since } })
}

#[cfg(test)]
mod tests {
    use ullim_protocol::channel::ChannelName;

    use super::*;
    use crate::Claim;

    #[test]
    fn entries_are_written_and_read_as_documented() {
        let mut entry = Entry {
            channel: ChannelName::parse("chat:42").unwrap(),
            session: SessionId([7; 16]),
            claim: Claim(1),
            user: Some("al\"ice".into()),
            info: Info::parse("{ \"a\": 1.50 }"),
            grace: DEFAULT_GRACE,
        };
        let read_back = |entry: &Entry| {
            let text = format!("{},\"since\":1763700000000}}", head(entry, "n1"));
            read(b"BwcHBwcHBwcHBwcHBwcHBw", text.as_bytes()).unwrap()
        };
        assert_eq!(head(&entry, "n1"), r#"{"user":"al\"ice","info":{ "a": 1.50 },"node":"n1""#);
        assert_eq!(event(&entry), r#"{"user":"al\"ice","info":{ "a": 1.50 }}"#);
        let read = read_back(&entry);
        assert_eq!((read.node.as_str(), read.grace, read.member.since), ("n1", DEFAULT_GRACE, 1_763_700_000_000));
        assert_eq!((read.member.user, read.member.info), (entry.user.clone(), entry.info.clone()));
        entry.grace = Duration::ZERO;
        entry.info = Info::parse("null");
        assert_eq!(read_back(&entry).grace, Duration::ZERO);
        assert_eq!(read_back(&entry).member.info, entry.info);
        (entry.user, entry.info) = (None, None);
        assert_eq!(head(&entry, "n1"), r#"{"node":"n1""#);
        assert_eq!(event(&entry), r#"{"user":"~BwcHBwcHBwcHBwcHBwcHBw"}"#);
        assert_eq!(read_back(&entry).member.user, None);
    }

    #[test]
    fn what_is_no_entry_is_none() {
        let session = b"BwcHBwcHBwcHBwcHBwcHBw";
        let long = format!(r#"{{"node":"n","user":"{}"}}"#, "a".repeat(256));
        let padded = format!(r#"{{"node":"n","later":"{}"}}"#, "a".repeat(MAX_BYTES));
        let deep = format!(r#"{{"node":"n","info":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        let bad = ["", "7", "[]", "{}", r#"{"node":7}"#, r#"{"node":"n","user":7}"#, r#"{"node":"n","since":-1}"#];
        for value in bad.into_iter().chain([&long[..], &padded, &deep]) {
            assert_eq!(read(session, value.as_bytes()), None, "{value:.60}");
        }
        assert!(read(session, br#"{"node":"n","later":1}"#).is_some());
        assert_eq!(read(b"short", br#"{"node":"n"}"#), None);
        assert_eq!(read(b"\xff\xfe", br#"{"node":"n"}"#), None);
    }
}
