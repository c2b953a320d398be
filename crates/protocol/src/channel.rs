//! Channel names: what they may hold, and the namespace in them.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The most bytes that a channel's name may have.
pub const MAX_NAME_BYTES: usize = 255;

/// The namespace of names without a `:`.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A channel's name that keeps the rules of `docs/protocol.md`, "Channel names". Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// Which rule a channel's name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No byte at all.
    #[error("a channel's name cannot be empty")]
    Empty,
    /// More than [`MAX_NAME_BYTES`].
    #[error("a channel's name has at most {MAX_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// A control character, or one of `{ } * ? [ ] \`.
    #[error("{0:?} is not allowed in a channel's name")]
    Character(char),
    /// A leading `$`.
    #[error("channel names that begin with \"$\" are reserved")]
    Reserved,
    /// A `%` that two hexadecimal digits do not follow.
    #[error("\"%\" in a channel's name must be followed by two hexadecimal digits")]
    Escape,
}

impl ChannelName {
    /// Checks `name` against the rules.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        check(name).map(|()| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the first `:`, or [`DEFAULT_NAMESPACE`].
    pub fn namespace(&self) -> &str {
        self.0.split_once(':').map_or(DEFAULT_NAMESPACE, |(namespace, _)| namespace)
    }
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(name.len()));
    }
    if name.starts_with('$') {
        return Err(NameError::Reserved);
    }
    let forbidden = |c: char| c.is_control() || "{}*?[]\\".contains(c);
    if let Some(c) = name.chars().find(|&c| forbidden(c)) {
        return Err(NameError::Character(c));
    }
    let bytes = name.as_bytes();
    let escaped = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut percents = (0..bytes.len()).filter(|&at| bytes[at] == b'%');
    if !percents.all(escaped) {
        return Err(NameError::Escape);
    }
    Ok(())
}

// `str` and `ChannelName` hash and compare alike, so maps can be asked with a borrowed name.
impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn namespace_is_what_precedes_the_first_colon() {
        let namespace = |name| ChannelName::parse(name).unwrap().namespace().to_owned();
        assert_eq!(namespace("chat:42"), "chat");
        assert_eq!(namespace("chat:a:b"), "chat");
        assert_eq!(namespace("lobby"), "default");
        assert_eq!(namespace(":x"), "");
    }

    #[test]
    fn every_kind_of_bad_name_is_named() {
        let error = |name: &str| ChannelName::parse(name).unwrap_err();
        assert_eq!(error(""), NameError::Empty);
        assert_eq!(error(&"é".repeat(128)), NameError::TooLong(256));
        assert_eq!(error("$control"), NameError::Reserved);
        for c in "{}*?[]\\\r\n\0\u{7f}\u{85}".chars() {
            assert_eq!(error(&format!("chat:{c}")), NameError::Character(c));
        }
        for name in ["chat:%", "chat:%4", "chat:%4g", "%%41"] {
            assert_eq!(error(name), NameError::Escape, "{name}");
        }
    }

    #[test]
    fn names_of_255_bytes_escapes_and_other_scripts_pass() {
        for name in ["a", &"x".repeat(255), "chat:%2F%aB", "울림:방", "a$b", "a b"] {
            assert!(ChannelName::parse(name).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_accepted_name_can_leave_its_braces_or_match_as_a_glob(name in "\\PC{0,40}|[a-z{}*?\\[\\]\\\\%$:\r\n\0]{0,40}") {
            if let Ok(name) = ChannelName::parse(&name) {
                let escapes = name.as_str().contains(['{', '}', '*', '?', '[', ']', '\\', '\r', '\n', '\0']);
                prop_assert!(!escapes);
            }
        }
    }
}
