//! What a client's bytes can be refused for.

use std::borrow::Cow;

/// A rule that a frame breaks. The connection is to be told, and closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Violation {
    /// The rule, or the header that breaks it: one line of text, without control characters.
    pub rule: Cow<'static, str>,
    /// The frame's `receipt` header, where it had one that could be read.
    pub receipt: Option<String>,
}

/// A rule alone: what is broken deep inside, before it is known whether the frame has a receipt.
pub(super) type Rule = Cow<'static, str>;

/// The longest text of a client's that a rule repeats, in characters.
const MOST_SHOWN: usize = 40;

/// A client's text as a rule may repeat it: quoted, control characters escaped, and not too long.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
