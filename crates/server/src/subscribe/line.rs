//! What `ullim sub` prints for each event: a sentence for people, one JSON object for programs.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ullim_client::{Data, Event, GapReason, Info, Member, MembersPage, Publication};

/// The line for `event`.
pub(super) fn of(event: &Event, json: bool) -> String {
    match event {
        Event::Publication { channel, publication } if json => publication_for_programs(channel, publication),
        event if json => for_programs(event).to_string(),
        event => for_people(event),
    }
}

/// The line for a subscription that stands.
pub(super) fn subscribed(channel: &str) -> String {
    json!({"event": "subscribed", "channel": channel}).to_string()
}

/// Nothing that others wrote can move the cursor.
fn for_people(event: &Event) -> String {
    let sentence = match event {
        Event::Connecting { url, attempt } => format!("connecting to {url} (attempt {attempt})"),
        Event::Connected { session, user, resumed, .. } => {
            let user = user.as_deref().unwrap_or("an anonymous client");
            let resumed = if *resumed { ", resumed" } else { "" };
            format!("connected as {user}, session {session}{resumed}")
        }
        Event::Disconnected { reason, retry_in, .. } => match retry_in {
            Some(pause) => format!("disconnected: {reason}; next attempt in {} ms", pause.as_millis()),
            None => format!("disconnected: {reason}"),
        },
        Event::Publication { channel, publication } => match &publication.data {
            Data::Json(value) => format!("{channel} {}", value.get()),
            Data::Text(text) => format!("{channel} {text}"),
            Data::Binary(bytes) => format!("{channel} {}", STANDARD.encode(bytes)),
        },
        Event::Gap { channel, from, to, reason } => {
            format!("{channel}: messages from {from} to {to} may be missing ({})", reason_name(reason))
        }
        Event::Members { channel, page } => members_for_people(channel, page),
        Event::Joined { channel, user, info: Some(info) } => format!("{channel}: {user} came: {}", info.as_str()),
        Event::Joined { channel, user, info: None } => format!("{channel}: {user} came"),
        Event::Left { channel, user } => format!("{channel}: {user} left"),
        Event::Unsubscribed { channel, code, name } => format!("{channel}: the subscription ended: {name} ({code})"),
        Event::Closed { reason } => format!("closed: {reason}"),
    };
    let visible = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    sentence.chars().map(visible).collect()
}

fn for_programs(event: &Event) -> Value {
    match event {
        Event::Connecting { url, attempt } => {
            json!({"event": "state", "state": "connecting", "url": url, "attempt": attempt})
        }
        Event::Connected { session, user, url, resumed } => {
            let user = user.as_deref();
            json!({"event": "state", "state": "connected", "session": session, "user": user, "url": url, "resumed": resumed})
        }
        Event::Disconnected { code, reason, retry_in } => {
            let retry_in = retry_in.map(|pause| pause.as_millis() as u64);
            let reason = reason.to_string();
            json!({"event": "state", "state": "disconnected", "code": code, "reason": reason, "retry_in": retry_in})
        }
        Event::Publication { channel, .. } => json!({"channel": channel}),
        Event::Gap { channel, from, to, reason } => {
            let reason = reason_name(reason);
            json!({"event": "gap", "channel": channel, "from": from, "to": to, "reason": reason})
        }
        Event::Members { channel, page } => {
            let members: Vec<_> = page.members.iter().map(member_for_programs).collect();
            json!({"event": "presence", "channel": channel, "members": members, "cursor": page.cursor})
        }
        Event::Joined { channel, user, info } => {
            let info = info.as_ref().map(value_of);
            json!({"event": "join", "channel": channel, "user": user, "info": info})
        }
        Event::Left { channel, user } => json!({"event": "leave", "channel": channel, "user": user}),
        Event::Unsubscribed { channel, code, name } => {
            json!({"event": "unsubscribed", "channel": channel, "code": code, "name": name})
        }
        Event::Closed { reason } => json!({"event": "state", "state": "closed", "reason": reason.to_string()}),
    }
}

fn members_for_people(channel: &str, page: &MembersPage) -> String {
    let more = if page.cursor.is_some() { ", and more" } else { "" };
    let names = page.members.iter().map(|member| match &member.user {
        Some(user) => user.clone(),
        None => format!("~{}", member.session),
    });
    // A user may have several sessions.
    let names = names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { "nobody" } else { &names };
    format!("{channel}: there are {names}{more}")
}

fn member_for_programs(member: &Member) -> Value {
    let info = member.info.as_ref().map(value_of);
    json!({"session": member.session, "user": member.user, "info": info, "since": member.since})
}

/// Null where it is nested too deep to be printed.
fn value_of(info: &Info) -> Value {
    info.parse().unwrap_or_default()
}

/// JSON data as they were written, but for line breaks between their tokens.
fn publication_for_programs(channel: &str, publication: &Publication) -> String {
    let channel = json!(channel);
    let data = match &publication.data {
        Data::Json(value) => format!("\"data\":{}", value.get().replace(['\n', '\r'], " ")),
        Data::Text(text) => format!("\"text\":{}", json!(text)),
        Data::Binary(bytes) => format!("\"b64\":{}", json!(STANDARD.encode(bytes))),
    };
    let headers = match publication.headers.is_empty() {
        true => String::new(),
        false => format!(",\"headers\":{}", json!(publication.headers)),
    };
    format!("{{\"channel\":{channel},{data},\"time\":{}{headers}}}", publication.time)
}

fn reason_name(reason: &GapReason) -> &str {
    match reason {
        GapReason::BrokerLink => "broker_link",
        GapReason::Overload => "overload",
        GapReason::Undecodable => "undecodable",
        GapReason::Presence => "presence",
        GapReason::Disconnected => "disconnected",
        GapReason::Other(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn published(data: Data, headers: BTreeMap<String, String>) -> Event {
        Event::Publication { channel: "a".to_owned(), publication: Publication { data, time: 5, headers } }
    }

    fn text(text: &str) -> Event {
        published(Data::Text(text.to_owned()), BTreeMap::new())
    }

    #[test]
    fn people_see_no_control_characters() {
        assert_eq!(of(&text("x\u{1b}[2J\ny é"), false), "a x\\u{1b}[2J\\ny é");
        let binary = published(Data::Binary(vec![255, 0].into()), BTreeMap::new());
        assert_eq!(of(&binary, false), "a /wA=");
    }

    #[test]
    fn programs_get_one_object_per_line() {
        let value = serde_json::value::RawValue::from_string("{\n \"x\": 1e2\r\n}".to_owned()).unwrap();
        let pretty = published(Data::Json(value), BTreeMap::new());
        assert_eq!(of(&pretty, true), "{\"channel\":\"a\",\"data\":{  \"x\": 1e2  },\"time\":5}");
        let headers = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let text = published(Data::Text("\"\n".to_owned()), headers);
        assert_eq!(of(&text, true), r#"{"channel":"a","text":"\"\n","time":5,"headers":{"k":"v"}}"#);
    }

    #[test]
    fn a_gap_is_an_event_of_its_own() {
        let gap = Event::Gap { channel: "a".to_owned(), from: 1, to: 2, reason: GapReason::BrokerLink };
        assert_eq!(of(&gap, true), r#"{"event":"gap","channel":"a","from":1,"to":2,"reason":"broker_link"}"#);
        assert_eq!(of(&gap, false), "a: messages from 1 to 2 may be missing (broker_link)");
    }

    #[test]
    fn members_are_named_once_and_those_without_a_name_by_their_session() {
        let member = |session: &str, user: Option<&str>| Member {
            session: session.to_owned(),
            user: user.map(str::to_owned),
            info: None,
            since: 7,
        };
        let members = vec![member("s1", Some("bob")), member("s2", None), member("s3", Some("bob"))];
        let page = MembersPage { members, cursor: Some("next".to_owned()) };
        let event = Event::Members { channel: "a".to_owned(), page };
        assert_eq!(of(&event, false), "a: there are bob, ~s2, and more");
        let line: Value = serde_json::from_str(&of(&event, true)).unwrap();
        assert_eq!((&line["event"], &line["cursor"]), (&json!("presence"), &json!("next")));
        assert_eq!(line["members"][1], json!({"session": "s2", "user": null, "info": null, "since": 7}));
    }

    #[test]
    fn joins_and_leaves_are_events_of_their_own() {
        let info = serde_json::from_str(r#"{"n":1}"#).unwrap();
        let joined = Event::Joined { channel: "a".to_owned(), user: "bob".to_owned(), info };
        assert_eq!(of(&joined, true), r#"{"event":"join","channel":"a","user":"bob","info":{"n":1}}"#);
        assert_eq!(of(&joined, false), r#"a: bob came: {"n":1}"#);
        let left = Event::Left { channel: "a".to_owned(), user: "bob".to_owned() };
        assert_eq!(of(&left, true), r#"{"event":"leave","channel":"a","user":"bob"}"#);
        assert_eq!(of(&left, false), "a: bob left");
    }
}
