//! Owns the JSON of `ullim.v1.json`: commands out, replies and pushes in. Pure.
//!
//! What is not known is ignored, as the protocol asks; a known field of the wrong type is an error, because a
//! publication might hide behind it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::client::PublishOptions;
use crate::data::Data;
use crate::event::{GapReason, Publication};

/// The subprotocol that all of this is.
pub(crate) const SUBPROTOCOL: &str = "ullim.v1.json";

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
    },
    Subscribe(Subscribe<'a>),
    Unsubscribe {
        channel: &'a str,
    },
    Publish(Publish<'a>),
    Ping {},
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Subscribe<'a> {
    One { channel: &'a str },
    Many { channels: Vec<Named<'a>> },
}

#[derive(Serialize)]
pub(crate) struct Named<'a> {
    pub(crate) channel: &'a str,
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: &'a BTreeMap<String, String>,
}

impl<'a> Publish<'a> {
    pub(crate) fn new(channel: &'a str, data: &'a Data, options: &'a PublishOptions) -> Self {
        let (json, text, b64) = match data {
            Data::Json(value) => (Some(&**value), None, None),
            Data::Text(text) => (None, Some(text.as_str()), None),
            Data::Binary(bytes) => (None, None, Some(STANDARD.encode(bytes))),
        };
        Self { channel, data: json, text, b64, echo: (!options.echo).then_some(false), headers: &options.headers }
    }
}

impl Command<'_> {
    pub(crate) fn encode(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// Anything that a node says.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: Option<u64>,
    pub(crate) error: Option<Refusal>,
    pub(crate) connect: Option<Connected>,
    pub(crate) subscribe: Option<Subscribed>,
    pub(crate) push: Option<Push>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) message: String,
    pub(crate) retry: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Connected {
    pub(crate) session: String,
    pub(crate) user: Option<String>,
    /// Milliseconds.
    pub(crate) ping: u64,
    #[serde(default)]
    pub(crate) limits: Limits,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub(crate) struct Limits {
    /// Bytes; `None`: not said.
    pub(crate) message: Option<usize>,
    /// Of one connection; `None`: not said.
    pub(crate) subscriptions: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Subscribed {
    /// Empty if one channel was asked for without a list.
    #[serde(default)]
    pub(crate) channels: Vec<Outcome>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) channel: String,
    pub(crate) error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Push {
    pub(crate) channel: Option<String>,
    #[serde(rename = "pub")]
    pub(crate) publication: Option<Published>,
    pub(crate) gap: Option<Gap>,
    pub(crate) unsubscribed: Option<Unsubscribed>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Published {
    /// `null` is data as well, which a plain `Option` would swallow.
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    text: Option<String>,
    b64: Option<String>,
    time: u64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(source).map(Some)
}

/// A publication of a kind that this client does not know, or that breaks its kind's rules.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undecodable {
    pub(crate) time: u64,
}

impl TryFrom<Published> for Publication {
    type Error = Undecodable;

    fn try_from(published: Published) -> Result<Self, Undecodable> {
        let undecodable = Undecodable { time: published.time };
        let data = match (published.data, published.text, published.b64) {
            (Some(value), None, None) => Data::Json(value),
            (None, Some(text), None) => Data::Text(text),
            (None, None, Some(encoded)) => match STANDARD.decode(encoded) {
                Ok(bytes) => Data::Binary(bytes.into()),
                Err(_) => return Err(undecodable),
            },
            _ => return Err(undecodable),
        };
        Ok(Self { data, time: published.time, headers: published.headers })
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Gap {
    pub(crate) from: u64,
    pub(crate) to: u64,
    reason: String,
}

impl Gap {
    pub(crate) fn reason(self) -> GapReason {
        GapReason::from(self.reason)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Unsubscribed {
    pub(crate) code: u16,
    pub(crate) name: String,
}

impl Message {
    pub(crate) fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(body: Body<'_>) -> String {
        Command { id: 5, body }.encode().unwrap()
    }

    #[test]
    fn commands_read_as_the_protocol_says() {
        assert_eq!(encoded(Body::Connect { token: Some("eyJ") }), r#"{"id":5,"connect":{"token":"eyJ"}}"#);
        assert_eq!(encoded(Body::Connect { token: None }), r#"{"id":5,"connect":{}}"#);
        assert_eq!(
            encoded(Body::Subscribe(Subscribe::One { channel: "chat:42" })),
            r#"{"id":5,"subscribe":{"channel":"chat:42"}}"#
        );
        let channels = vec![Named { channel: "a" }, Named { channel: "b" }];
        assert_eq!(
            encoded(Body::Subscribe(Subscribe::Many { channels })),
            r#"{"id":5,"subscribe":{"channels":[{"channel":"a"},{"channel":"b"}]}}"#
        );
        assert_eq!(encoded(Body::Unsubscribe { channel: "a" }), r#"{"id":5,"unsubscribe":{"channel":"a"}}"#);
        assert_eq!(encoded(Body::Ping {}), r#"{"id":5,"ping":{}}"#);
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
        let text = Data::Text("hi".to_owned());
        assert_eq!(
            encoded(Body::Publish(Publish::new("c", &text, &options))),
            r#"{"id":5,"publish":{"channel":"c","text":"hi","echo":false,"headers":{"trace":"1f"}}}"#
        );
    }

    fn publication(fields: &str) -> Result<Publication, Undecodable> {
        let text = format!(r#"{{"push":{{"channel":"c","pub":{{{fields}"time":7}}}}}}"#);
        let push = Message::decode(&text).unwrap().push.unwrap();
        push.publication.unwrap().try_into()
    }

    #[test]
    fn data_keeps_its_kind() {
        let json = |text: &str| Data::Json(RawValue::from_string(text.to_owned()).unwrap());
        assert_eq!(publication(r#""data":null,"#).unwrap().data, json("null"));
        assert_eq!(publication(r#""data":{"a": 1.0},"#).unwrap().data, json(r#"{"a": 1.0}"#));
        assert_eq!(publication(r#""text":"é","#).unwrap().data, Data::Text("é".to_owned()));
        assert_eq!(publication(r#""b64":"AP8=","#).unwrap().data, Data::Binary(vec![0, 255].into()));
    }

    #[test]
    fn unreadable_data_is_not_taken_for_nothing() {
        for fields in ["", r#""cbor":"x","#, r#""b64":"AP8","#, r#""text":"a","b64":"","#] {
            assert_eq!(publication(fields), Err(Undecodable { time: 7 }), "{fields}");
        }
    }

    #[test]
    fn the_unknown_is_ignored() {
        let text = r#"{"id":1,"new":[1],"connect":{"session":"s","ping":25000,"x":null}}"#;
        let connected = Message::decode(text).unwrap().connect.unwrap();
        assert_eq!((connected.user, connected.ping), (None, 25_000));
        let push = Message::decode(r#"{"push":{"presence":{}}}"#).unwrap();
        assert!(push.push.is_some_and(|push| push.channel.is_none()));
    }
}
