//! Owns how positions are written: the epoch as text, because few languages hold it exactly in all their numbers.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ullim_protocol::position::{self, MAX_NUMBER};

/// An epoch on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(pub(crate) position::Epoch);

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        position::Epoch::parse(&text).map(Self).ok_or_else(|| D::Error::custom("this is not an epoch"))
    }
}

/// An offset on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset(pub(crate) u64);

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(source)?;
        (number <= MAX_NUMBER).then_some(Self(number)).ok_or_else(|| D::Error::custom("this is not an offset"))
    }
}

/// A position that is said to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position(pub(crate) position::Position);

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields {
            epoch: String,
            offset: u64,
        }
        Fields { epoch: self.0.epoch.to_string(), offset: self.0.offset }.serialize(serializer)
    }
}

/// The position of two fields; `None` where one of them is not there.
pub(crate) fn whole(epoch: Option<Epoch>, offset: Option<Offset>) -> Option<position::Position> {
    Some(position::Position { epoch: epoch?.0, offset: offset?.0 })
}
