//! What comes of checking a token.

use std::pin::Pin;

/// A verdict that is there at once, or later: when a key has to be fetched first.
pub enum Verified<T> {
    /// Now.
    Now(Result<T, Rejection>),
    /// When the future ends. It ends within the time that a fetch may take.
    Later(Pin<Box<dyn Future<Output = Result<T, Rejection>> + Send>>),
}

impl<T> Verified<T> {
    /// The verdict if it is there; a rejection where a key would have to be fetched first.
    pub fn at_once(self) -> Result<T, Rejection> {
        match self {
            Self::Now(verdict) => verdict,
            Self::Later(_) => Err(Rejection::Unavailable("the token's key is not known yet: try again")),
        }
    }
}

/// Why a token, or the lack of one, was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No token, and anonymous clients are not let in.
    #[error("a token is needed: send it as \"token\" in connect")]
    Missing,
    /// A token that was good once.
    #[error("the token has expired")]
    Expired,
    /// The keys cannot be had at the moment, so that nothing can be said of the token. The same token may pass later.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Anything else; the text says what, never the token.
    #[error("{0}")]
    Invalid(&'static str),
}
