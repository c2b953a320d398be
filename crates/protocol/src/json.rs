//! What Ullim takes for a JSON value.

mod plain;

use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Whether `bytes` are one JSON value (RFC 8259) that every encoding can carry: UTF-8, nested at most 127 deep, whole
/// Unicode (no lone surrogate escapes), numbers within the range of a double.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(text) = simdutf8::basic::from_utf8(bytes) else {
        return false;
    };
    plain::is_plain(text) || serde_json::from_str::<Carried>(text).is_ok()
}

/// Visits every value, unlike serde's `IgnoredAny`, which serde_json skips over without a look at depth, escapes and
/// numbers.
struct Carried;

impl<'de> Deserialize<'de> for Carried {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Carried;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Carried, E> {
        Ok(Carried)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Carried, E> {
        Ok(Carried)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Carried, E> {
        Ok(Carried)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Carried, E> {
        Ok(Carried)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Carried, E> {
        Ok(Carried)
    }

    fn visit_str<E>(self, _: &str) -> Result<Carried, E> {
        Ok(Carried)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Carried, A::Error> {
        while items.next_element::<Carried>()?.is_some() {}
        Ok(Carried)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Carried, A::Error> {
        while entries.next_entry::<Key, Carried>()?.is_some() {}
        Ok(Carried)
    }
}

/// A key, read as a string so that its escapes are checked.
struct Key;

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyWalk)
    }
}

struct KeyWalk;

impl Visitor<'_> for KeyWalk {
    type Value = Key;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, _: &str) -> Result<Key, E> {
        Ok(Key)
    }
}

/// For fields: `Some` of whatever is there. Unlike serde's own rule for `Option`, null is a value.
///
/// # Errors
/// As `T`'s own.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A struct that is read from an object alone: serde's derive would also take an array of its fields' values.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectWalk(PhantomData)).map(Self)
    }
}

struct ObjectWalk<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectWalk<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries))
    }
}

/// The names of the fields of a JSON object or MessagePack map, in its order.
pub(crate) struct FieldNames(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for FieldNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldNamesWalk)
    }
}

struct FieldNamesWalk;

impl<'de> Visitor<'de> for FieldNamesWalk {
    type Value = FieldNames;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<FieldNames, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = entries.next_entry::<String, IgnoredAny>()? {
            names.push(name);
        }
        Ok(FieldNames(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_values_pass() {
        for value in ["null", " 1 ", "-0.5e3", "\"\\u00e9\\ud83d\\ude00\"", "[1,{\"a\":[]}]"] {
            assert!(check(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn what_some_encoding_cannot_carry_is_refused() {
        let refused: [&[u8]; 10] =
            [b"", b"{", b"1 2", b"{'a':1}", b"\"\\ud800\"", b"{\"\\udfff\":1}", b"1e999", b"\"\xff\"", b"NaN", b"[1,]"];
        for value in refused {
            assert!(!check(value), "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn nesting_ends_at_127() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(nested(127).as_bytes()));
        assert!(!check(nested(128).as_bytes()));
        assert!(!check("[".repeat(1_000_000).as_bytes()));
    }
}
