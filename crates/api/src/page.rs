//! How many items a page is to have.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// From 1 to `MOST`; `USUAL` when nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit<const MOST: usize, const USUAL: usize>(pub(crate) usize);

impl<const MOST: usize, const USUAL: usize> Default for Limit<MOST, USUAL> {
    fn default() -> Self {
        Self(USUAL)
    }
}

impl<'de, const MOST: usize, const USUAL: usize> Deserialize<'de> for Limit<MOST, USUAL> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(Walk::<MOST>).map(Self)
    }
}

struct Walk<const MOST: usize>;

impl<const MOST: usize> Visitor<'_> for Walk<MOST> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from 1 to {MOST}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<usize, E> {
        let limit = usize::try_from(number).ok().filter(|limit| (1..=MOST).contains(limit));
        limit.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    /// To JSON Schema 1.0 is an integer, and so it is to JavaScript.
    fn visit_f64<E: Error>(self, number: f64) -> Result<usize, E> {
        let is_limit = number.fract() == 0.0 && (1.0..=MOST as f64).contains(&number);
        is_limit.then_some(number as usize).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_an_integer_within_its_bounds() {
        let limit = |text: &str| serde_json::from_str::<Limit<500, 100>>(text).ok();
        assert_eq!(limit("1"), Some(Limit(1)));
        assert_eq!(limit("500.0"), Some(Limit(500)));
        for wrong in ["0", "501", "-1", "1.5", "1e300", "99999999999999999999", "\"1\"", "null", "true"] {
            assert_eq!(limit(wrong), None, "{wrong}");
        }
    }
}
