//! Owns how the data of a publication are read: each kind in its field, and nothing taken for something else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use ullim_protocol::position::{self, Position};

use super::position::{Epoch, Offset};
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
    headers: IndexMap<String, String>,
    /// Where it is the epoch's first, and where positions are not those of a subscription.
    epoch: Option<Epoch>,
    /// On a recoverable channel.
    offset: Option<Offset>,
}

fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(source).map(Some)
}

/// A publication of a kind that this client does not know, or that breaks its kind's rules.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undecodable {
    pub(crate) time: u64,
}

impl Published {
    /// Where it stands on a channel that was in `epoch`.
    pub(crate) fn position(&self, epoch: Option<position::Epoch>) -> Option<Position> {
        let epoch = self.epoch.map(|Epoch(epoch)| epoch).or(epoch)?;
        self.offset.map(|Offset(offset)| Position { epoch, offset })
    }

    /// With the position that it was found to have.
    pub(crate) fn read(self, position: Option<Position>) -> Result<Publication, Undecodable> {
        let undecodable = Undecodable { time: self.time };
        let data = match (self.data, self.text, self.b64) {
            (Some(value), None, None) => Data::Json(value),
            (None, Some(text), None) => Data::Text(text),
            (None, None, Some(encoded)) => match STANDARD.decode(encoded) {
                Ok(bytes) => Data::Binary(bytes.into()),
                Err(_) => return Err(undecodable),
            },
            _ => return Err(undecodable),
        };
        Ok(Publication { data, time: self.time, headers: self.headers, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;

    fn publication(fields: &str) -> Result<Publication, Undecodable> {
        let text = format!(r#"{{"push":{{"channel":"c","pub":{{{fields}"time":7}}}}}}"#);
        let push = Message::decode(&text).unwrap().push.unwrap();
        push.publication.unwrap().read(None)
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
