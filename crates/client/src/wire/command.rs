//! Owns what is said to a node.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::value::RawValue;

use super::position::Position;
use crate::client::PublishOptions;
use crate::data::Data;

#[derive(Serialize)]
pub(crate) struct Command<'a> {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) body: Body<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body<'a> {
    Connect {
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<&'a str>,
    },
    Refresh {
        token: &'a str,
    },
    Subscribe(Subscribe<'a>),
    Unsubscribe {
        channel: &'a str,
    },
    Publish(Publish<'a>),
    Presence {
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
    },
    PresenceCount {
        channel: &'a str,
    },
    History {
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<Position>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        #[serde(skip_serializing_if = "is_false")]
        reverse: bool,
    },
    Ping {},
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Subscribe<'a> {
    One(Wanted<'a>),
    Many { channels: Vec<Wanted<'a>> },
}

/// A channel, and how it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Wanted<'a> {
    pub(crate) channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) presence: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) events: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recover: Option<Position>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[derive(Serialize)]
pub(crate) struct Publish<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<bool>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    headers: &'a IndexMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> Publish<'a> {
    pub(crate) fn new(channel: &'a str, data: &'a Data, options: &'a PublishOptions) -> Self {
        let (json, text, b64) = match data {
            Data::Json(value) => (Some(&**value), None, None),
            Data::Text(text) => (None, Some(text.as_str()), None),
            Data::Binary(bytes) => (None, None, Some(STANDARD.encode(bytes))),
        };
        let echo = (!options.echo).then_some(false);
        Self { channel, data: json, text, b64, echo, headers: &options.headers, id: options.id.as_deref() }
    }
}

impl Command<'_> {
    pub(crate) fn encode(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(body: Body<'_>) -> String {
        Command { id: 5, body }.encode().unwrap()
    }

    fn wanted(channel: &str) -> Wanted<'_> {
        Wanted { channel, token: None, presence: false, events: false, recover: None }
    }

    #[test]
    fn a_session_is_opened_and_kept_as_the_protocol_says() {
        let connect = |token, resume| encoded(Body::Connect { token, resume });
        assert_eq!(connect(Some("eyJ"), None), r#"{"id":5,"connect":{"token":"eyJ"}}"#);
        assert_eq!(connect(None, Some("r")), r#"{"id":5,"connect":{"resume":"r"}}"#);
        assert_eq!(connect(None, None), r#"{"id":5,"connect":{}}"#);
        assert_eq!(encoded(Body::Refresh { token: "eyJ" }), r#"{"id":5,"refresh":{"token":"eyJ"}}"#);
        assert_eq!(encoded(Body::Ping {}), r#"{"id":5,"ping":{}}"#);
    }

    #[test]
    fn subscriptions_read_as_the_protocol_says() {
        assert_eq!(
            encoded(Body::Subscribe(Subscribe::One(wanted("chat:42")))),
            r#"{"id":5,"subscribe":{"channel":"chat:42"}}"#
        );
        let recover = ullim_protocol::position::Position::parse("1763700000000000-41").map(Position);
        let special = Wanted { channel: "b", token: Some("eyJ"), presence: true, events: true, recover };
        assert_eq!(
            encoded(Body::Subscribe(Subscribe::Many { channels: vec![wanted("a"), special] })),
            concat!(
                r#"{"id":5,"subscribe":{"channels":[{"channel":"a"},"#,
                r#"{"channel":"b","token":"eyJ","presence":true,"events":true,"#,
                r#""recover":{"epoch":"1763700000000000","offset":41}}]}}"#
            )
        );
        assert_eq!(encoded(Body::Unsubscribe { channel: "a" }), r#"{"id":5,"unsubscribe":{"channel":"a"}}"#);
    }

    #[test]
    fn questions_of_presence_read_as_the_protocol_says() {
        let presence = |limit, cursor| encoded(Body::Presence { channel: "a", limit, cursor });
        assert_eq!(presence(None, None), r#"{"id":5,"presence":{"channel":"a"}}"#);
        assert_eq!(presence(Some(7), Some("x")), r#"{"id":5,"presence":{"channel":"a","limit":7,"cursor":"x"}}"#);
        assert_eq!(encoded(Body::PresenceCount { channel: "a" }), r#"{"id":5,"presence_count":{"channel":"a"}}"#);
    }

    #[test]
    fn questions_of_history_read_as_the_protocol_says() {
        let since = ullim_protocol::position::Position::parse("5-10").map(Position);
        let history = |since, limit, reverse| encoded(Body::History { channel: "a", since, limit, reverse });
        assert_eq!(history(None, None, false), r#"{"id":5,"history":{"channel":"a"}}"#);
        assert_eq!(
            history(since, Some(50), true),
            r#"{"id":5,"history":{"channel":"a","since":{"epoch":"5","offset":10},"limit":50,"reverse":true}}"#
        );
    }

    #[test]
    fn each_kind_of_data_has_its_field() {
        let mut options = PublishOptions::default();
        let json = Data::json(&serde_json::json!({"text": "hello"})).unwrap();
        assert_eq!(
            encoded(Body::Publish(Publish::new("c", &json, &options))),
            r#"{"id":5,"publish":{"channel":"c","data":{"text":"hello"}}}"#
        );
        let binary = Data::Binary(vec![0, 255].into());
        assert_eq!(
            encoded(Body::Publish(Publish::new("c", &binary, &options))),
            r#"{"id":5,"publish":{"channel":"c","b64":"AP8="}}"#
        );
        options.echo = false;
        options.headers.insert("trace".to_owned(), "1f".to_owned());
        options.id = Some("once".to_owned());
        let text = Data::Text("hi".to_owned());
        assert_eq!(
            encoded(Body::Publish(Publish::new("c", &text, &options))),
            r#"{"id":5,"publish":{"channel":"c","text":"hi","echo":false,"headers":{"trace":"1f"},"id":"once"}}"#
        );
    }
}
