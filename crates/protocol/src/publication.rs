//! One message: its data, which is exactly one of JSON, text and binary, and what goes with it.

use std::borrow::Cow;

use bytes::Bytes;
use indexmap::IndexMap;

use crate::json;
use crate::position::Position;

/// The most headers that a publication may have.
pub const MAX_HEADERS: usize = 16;

/// The most bytes of a publication's headers: names and values together.
pub const MAX_HEADER_BYTES: usize = 4096;

/// The data of a publication. JSON and text are valid UTF-8; JSON also passes [`json::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// One JSON value, as its publisher wrote it.
    Json(Bytes),
    /// Text.
    Text(Bytes),
    /// Anything.
    Binary(Bytes),
}

impl Data {
    /// The bytes, whatever they are.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(bytes) | Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    /// Which of the three it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Json(_) => Kind::Json,
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }
}

/// The text that [`Data::Text`] holds.
pub(crate) fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    simdutf8::basic::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// What the data of a publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One JSON value.
    Json,
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

impl Kind {
    /// Takes `bytes` as data of this kind; `None` if they are not.
    pub fn accept(self, bytes: Bytes) -> Option<Data> {
        let text = |bytes: &[u8]| simdutf8::basic::from_utf8(bytes).is_ok();
        match self {
            Self::Json => json::check(&bytes).then_some(Data::Json(bytes)),
            Self::Text => text(&bytes).then_some(Data::Text(bytes)),
            Self::Binary => Some(Data::Binary(bytes)),
        }
    }
}

/// What a raw payload in a namespace is (`docs/redis.md`, "Publishing").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadRule {
    /// Valid JSON is JSON, other UTF-8 is text, the rest is binary.
    #[default]
    Auto,
    /// JSON only.
    Json,
    /// Text only.
    Text,
    /// Binary always.
    Binary,
}

impl PayloadRule {
    /// The data that a raw payload is; `None` if this namespace does not take it.
    pub fn classify(self, payload: Bytes) -> Option<Data> {
        match self {
            Self::Auto => Some(classify_by_content(payload)),
            Self::Json => Kind::Json.accept(payload),
            Self::Text => Kind::Text.accept(payload),
            Self::Binary => Kind::Binary.accept(payload),
        }
    }

    /// Whether [`classify`](Self::classify) gives `data` back when its bytes travel raw.
    pub fn restores(self, data: &Data) -> bool {
        match (self, data) {
            (Self::Json, Data::Json(_)) | (Self::Text, Data::Text(_)) => true,
            (Self::Binary, Data::Binary(_)) | (Self::Auto, Data::Json(_)) => true,
            (Self::Auto, _) => self.classify(data.bytes().clone()).as_ref() == Some(data),
            _ => false,
        }
    }
}

fn classify_by_content(payload: Bytes) -> Data {
    if json::check(&payload) {
        return Data::Json(payload);
    }
    match simdutf8::basic::from_utf8(&payload) {
        Ok(_) => Data::Text(payload),
        Err(_) => Data::Binary(payload),
    }
}

/// Metadata of a publication for its receivers: names and values, both text, in the order in which they were written.
#[derive(Debug, Clone)]
pub struct Headers(IndexMap<String, String>);

impl Headers {
    /// Takes `entries` unless they exceed [`MAX_HEADERS`] or [`MAX_HEADER_BYTES`]. Of a repeated name the last value
    /// counts, in the first one's place.
    pub fn new(entries: impl IntoIterator<Item = (String, String)>) -> Option<Self> {
        let headers = Self(entries.into_iter().collect());
        (headers.0.len() <= MAX_HEADERS && headers.bytes() <= MAX_HEADER_BYTES).then_some(headers)
    }

    /// Reads a JSON object of strings; `None` if it is none, or is beyond the limits.
    pub fn from_json(json: &[u8]) -> Option<Self> {
        let entries: IndexMap<String, String> = serde_json::from_slice(json).ok()?;
        Self::new(entries)
    }

    /// The JSON object of strings that [`from_json`](Self::from_json) reads.
    pub fn to_json(&self) -> String {
        serde_json::json!(self.0).to_string()
    }

    /// The bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The entries, in their order.
    pub fn entries(&self) -> &IndexMap<String, String> {
        &self.0
    }
}

impl PartialEq for Headers {
    /// Also in their order, which an `IndexMap` does not compare.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice() == other.0.as_slice()
    }
}

impl Eq for Headers {}

/// One message as it is handed to subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What was published.
    pub data: Data,
    /// When, in Unix milliseconds.
    pub time: u64,
    /// What goes with it.
    pub headers: Option<Headers>,
    /// Its place in the channel's history; `None` on a live channel.
    pub position: Option<Position>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(rule: PayloadRule, payload: &'static [u8]) -> Option<Kind> {
        rule.classify(Bytes::from_static(payload)).map(|data| data.kind())
    }

    #[test]
    fn raw_payloads_are_what_the_namespace_says() {
        use PayloadRule::{Auto, Binary, Json, Text};
        let cases: [(&[u8], [Option<Kind>; 4]); 5] = [
            (b" {\"a\":1} ", [Some(Kind::Json), Some(Kind::Json), Some(Kind::Text), Some(Kind::Binary)]),
            (b"hello", [Some(Kind::Text), None, Some(Kind::Text), Some(Kind::Binary)]),
            (b"", [Some(Kind::Text), None, Some(Kind::Text), Some(Kind::Binary)]),
            (b"\xff\x00", [Some(Kind::Binary), None, None, Some(Kind::Binary)]),
            (b"42", [Some(Kind::Json), Some(Kind::Json), Some(Kind::Text), Some(Kind::Binary)]),
        ];
        for (payload, expected) in cases {
            let found = [Auto, Json, Text, Binary].map(|rule| kind(rule, payload));
            assert_eq!(found, expected, "{payload:?}");
        }
    }

    #[test]
    fn raw_travel_restores_the_kind_or_is_refused() {
        let text_like_json = Data::Text(Bytes::from_static(b"42"));
        assert!(!PayloadRule::Auto.restores(&text_like_json));
        assert!(PayloadRule::Text.restores(&text_like_json));
        assert!(PayloadRule::Auto.restores(&Data::Text(Bytes::from_static(b"hi"))));
        assert!(!PayloadRule::Auto.restores(&Data::Binary(Bytes::from_static(b"hi"))));
        assert!(!PayloadRule::Json.restores(&text_like_json));
    }

    #[test]
    fn headers_are_bounded() {
        assert!(Headers::new((0..17).map(|i| (i.to_string(), String::new()))).is_none());
        assert!(Headers::new([("x".to_owned(), "y".repeat(MAX_HEADER_BYTES))]).is_none());
    }

    #[test]
    fn of_a_repeated_header_the_last_value_counts_in_the_first_place() {
        let headers = |entries: &[(&str, &str)]| {
            let entries = entries.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            Headers::new(entries).unwrap()
        };
        let repeated = headers(&[("z", "1"), ("a", "2"), ("z", "3")]);
        assert_eq!(repeated, headers(&[("z", "3"), ("a", "2")]));
        assert_ne!(repeated, headers(&[("a", "2"), ("z", "3")]));
    }
}
