//! What `ullim sub` prints for each event: a sentence for people, one JSON object for programs.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ullim_client::{Data, Event, GapReason, Info, Member, MembersPage, Position, Publication};

/// The line for `event`.
pub(crate) fn of(event: &Event, json: bool) -> String {
    match event {
        Event::Publication { channel, publication } if json => publication_for_programs(channel, publication),
        event if json => for_programs(event).to_string(),
        event => for_people(event),
    }
}

/// The line for a subscription that stands.
pub(super) fn subscribed(channel: &str, position: Option<Position>) -> String {
    let mut line = json!({"event": "subscribed", "channel": channel});
    place(&mut line, position);
    line.to_string()
}

/// Adds where the channel is, if it is recoverable.
fn place(line: &mut Value, position: Option<Position>) {
    if let Some(Position { epoch, offset }) = position {
        line["epoch"] = epoch.to_string().into();
        line["offset"] = offset.into();
    }
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
        Event::Publication { channel, publication } => {
            let place = publication.position.map_or_else(String::new, |position| format!(" #{}", position.offset));
            match &publication.data {
                Data::Json(value) => format!("{channel}{place} {}", value.get()),
                Data::Text(text) => format!("{channel}{place} {text}"),
                Data::Binary(bytes) => format!("{channel}{place} {}", STANDARD.encode(bytes)),
            }
        }
        Event::Gap { channel, from, to, reason, position } => {
            let place = position.map_or_else(String::new, |position| format!("; it goes on behind {position}"));
            format!("{channel}: messages from {from} to {to} may be missing ({}){place}", reason_name(reason))
        }
        Event::Recovered { channel, since, position } => {
            format!("{channel}: goes on behind {since}, where it was left; it stands at {position}")
        }
        Event::NotRecovered { channel, since, position } => match position {
            Some(position) => format!("{channel}: what was said behind {since}, up to {position}, cannot be recovered"),
            None => format!("{channel}: what was said behind {since} cannot be recovered: nothing is kept"),
        },
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
        Event::Gap { channel, from, to, reason, position } => {
            let reason = reason_name(reason);
            let mut line = json!({"event": "gap", "channel": channel, "from": from, "to": to, "reason": reason});
            place(&mut line, *position);
            line
        }
        Event::Recovered { channel, since, position } => {
            let mut line = json!({"event": "recovered", "channel": channel, "since": since.to_string()});
            place(&mut line, Some(*position));
            line
        }
        Event::NotRecovered { channel, since, position } => {
            let mut line = json!({"event": "not_recovered", "channel": channel, "since": since.to_string()});
            place(&mut line, *position);
            line
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
    let place = match publication.position {
        Some(Position { epoch, offset }) => format!("\"epoch\":\"{epoch}\",\"offset\":{offset},"),
        None => String::new(),
    };
    format!("{{\"channel\":{channel},{place}{data},\"time\":{}{headers}}}", publication.time)
}

fn reason_name(reason: &GapReason) -> &str {
    match reason {
        GapReason::BrokerLink => "broker_link",
        GapReason::Overload => "overload",
        GapReason::Undecodable => "undecodable",
        GapReason::Presence => "presence",
        GapReason::History => "history",
        GapReason::SlowConsumer => "slow_consumer",
        GapReason::Disconnected => "disconnected",
        GapReason::Other(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use ullim_client::IndexMap;

    use super::*;

    fn published(data: Data, headers: IndexMap<String, String>) -> Event {
        let publication = Publication { data, time: 5, headers, position: None };
        Event::Publication { channel: "a".to_owned(), publication }
    }

    fn text(text: &str) -> Event {
        published(Data::Text(text.to_owned()), IndexMap::new())
    }

    #[test]
    fn people_see_no_control_characters() {
        assert_eq!(of(&text("x\u{1b}[2J\ny é"), false), "a x\\u{1b}[2J\\ny é");
        let binary = published(Data::Binary(vec![255, 0].into()), IndexMap::new());
        assert_eq!(of(&binary, false), "a /wA=");
    }

    #[test]
    fn programs_get_one_object_per_line() {
        let value = serde_json::value::RawValue::from_string("{\n \"x\": 1e2\r\n}".to_owned()).unwrap();
        let pretty = published(Data::Json(value), IndexMap::new());
        assert_eq!(of(&pretty, true), "{\"channel\":\"a\",\"data\":{  \"x\": 1e2  },\"time\":5}");
        let headers = IndexMap::from([("k", "v"), ("a", "w")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        let text = published(Data::Text("\"\n".to_owned()), headers);
        assert_eq!(of(&text, true), r#"{"channel":"a","text":"\"\n","time":5,"headers":{"k":"v","a":"w"}}"#);
    }

    #[test]
    fn a_gap_is_an_event_of_its_own() {
        let (channel, reason) = ("a".to_owned(), GapReason::BrokerLink);
        let gap = Event::Gap { channel, from: 1, to: 2, reason, position: None };
        assert_eq!(of(&gap, true), r#"{"event":"gap","channel":"a","from":1,"to":2,"reason":"broker_link"}"#);
        assert_eq!(of(&gap, false), "a: messages from 1 to 2 may be missing (broker_link)");
    }

    #[test]
    fn where_a_recoverable_channel_is_is_printed() {
        let at = |text| Position::parse(text).unwrap();
        let publication = Publication {
            data: Data::Text("x".to_owned()),
            time: 5,
            headers: IndexMap::new(),
            position: Some(at("9-42")),
        };
        let published = Event::Publication { channel: "a".to_owned(), publication };
        assert_eq!(of(&published, false), "a #42 x");
        assert_eq!(of(&published, true), r#"{"channel":"a","epoch":"9","offset":42,"text":"x","time":5}"#);
        let recovered = Event::Recovered { channel: "a".to_owned(), since: at("9-1"), position: at("9-3") };
        let expected = r#"{"event":"recovered","channel":"a","since":"9-1","epoch":"9","offset":3}"#;
        assert_eq!(of(&recovered, true), expected);
        let position = Some(at("9-3"));
        let not = Event::NotRecovered { channel: "a".to_owned(), since: at("8-1"), position };
        assert_eq!(of(&not, false), "a: what was said behind 8-1, up to 9-3, cannot be recovered");
        let gap = Event::Gap { channel: "a".to_owned(), from: 1, to: 2, reason: GapReason::History, position };
        let expected = r#"{"event":"gap","channel":"a","from":1,"to":2,"reason":"history","epoch":"9","offset":3}"#;
        assert_eq!(of(&gap, true), expected);
        let expected = r#"{"event":"subscribed","channel":"a","epoch":"9","offset":3}"#;
        assert_eq!(subscribed("a", position), expected);
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
