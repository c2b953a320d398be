//! Owns the three kinds of data that a publication can carry, and what is said of a member.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What is published. The kind travels with it: text arrives as text.
#[derive(Debug, Clone)]
pub enum Data {
    /// A JSON value, as it was written.
    Json(Box<RawValue>),
    /// Text.
    Text(String),
    /// Bytes; base64 on the wire, which is a third more.
    Binary(Bytes),
}

impl Data {
    /// `value` as JSON.
    ///
    /// # Errors
    /// Where `value` has no JSON form (a map with keys that are not strings, say).
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self::Json)
    }
}

/// JSON is compared as it is written: `1` and `1.0` differ.
impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(a), Self::Json(b)) => a.get() == b.get(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Binary(a), Self::Binary(b)) => a == b,
            _ => false,
        }
    }
}

/// What the application says of a client: a JSON value, as it was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Info(Box<RawValue>);

impl Info {
    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value as a type of the application's.
    ///
    /// # Errors
    /// Where the value is none of `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }
}

/// It is compared as it is written: `1` and `1.0` differ.
impl PartialEq for Info {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Info {}
