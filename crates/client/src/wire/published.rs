//! Owns how the data of a publication are read: each kind in its field, and nothing taken for something else.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::data::Data;
use crate::event::Publication;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;

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
}
