//! What comes of checking a token or a passcode.

use std::pin::Pin;

/// A verdict that is there at once, or later: when a key has to be fetched first, or a passcode hashed.
pub enum Verified<T> {
    /// Now.
    Now(Result<T, Rejection>),
    /// When the future ends. It ends within the time that a fetch may take, or the hashes that are before this one.
    Later(Pin<Box<dyn Future<Output = Result<T, Rejection>> + Send>>),
}

impl<T> Verified<T> {
    /// The verdict if it is there; a rejection where it would have to be waited for.
    pub fn at_once(self) -> Result<T, Rejection> {
        match self {
            Self::Now(verdict) => verdict,
            Self::Later(_) => Err(Rejection::Unavailable("it is not known yet whether this is good: try again")),
        }
    }
}

/// Why a token, a passcode, or the lack of one, was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No token, and anonymous clients are not let in.
    #[error("a token is needed: send it as \"token\" in connect")]
    Missing,
    /// A token that was good once.
    #[error("the token has expired")]
    Expired,
    /// Nothing can be said of it at the moment: the keys cannot be had, or too much is being checked. The same token or
    /// passcode may pass later.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Anything else; the text says what, never the token.
    #[error("{0}")]
    Invalid(&'static str),
}
