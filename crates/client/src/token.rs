//! Owns where tokens come from: a text that never changes, or a callback that is asked for a fresh one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

/// A JWT, or where to get one. Clones share it. It is never logged.
#[derive(Clone)]
pub struct Token(Source);

#[derive(Clone)]
enum Source {
    Fixed(Arc<str>),
    Callback(Arc<Callback>),
}

type Callback = dyn Fn() -> Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>> + Send + Sync;

/// Why a callback gave no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There may be one later: the callback is asked again after a pause.
    #[error("no token could be had: {0}")]
    Unavailable(String),
    /// There will be none any more (the user has logged out, say). A client ends; a subscription is given up.
    #[error("there is no token any more: {0}")]
    Denied(String),
}

impl Token {
    /// A token that stays the same. When it has expired, there is no other.
    pub fn fixed(token: impl Into<String>) -> Self {
        Self(Source::Fixed(token.into().into()))
    }

    /// A token that `callback` fetches each time one is needed. It has as long as the client's configuration allows
    /// ([`crate::Config::connect_timeout`], [`crate::Config::command_timeout`]); what takes longer, and a panic, count as
    /// [`TokenError::Unavailable`].
    pub fn callback<F, R>(callback: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self(Source::Callback(Arc::new(move || Box::pin(callback()))))
    }

    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.0, Source::Fixed(_))
    }

    /// The token, if it need not be fetched.
    pub(crate) fn as_fixed(&self) -> Option<&Arc<str>> {
        match &self.0 {
            Source::Fixed(token) => Some(token),
            Source::Callback(_) => None,
        }
    }

    /// The token as it is now, within `limit`.
    pub(crate) async fn get(&self, limit: Duration) -> Result<Arc<str>, TokenError> {
        let callback = match &self.0 {
            Source::Fixed(token) => return Ok(token.clone()),
            Source::Callback(callback) => callback.clone(),
        };
        // In a task of its own, so that a panic of the user's code does not end the client.
        let mut fetching = JoinSet::new();
        fetching.spawn(async move { callback().await });
        match timeout(limit, fetching.join_next()).await {
            Ok(Some(Ok(fetched))) => fetched.map(Into::into),
            Ok(_) => Err(TokenError::Unavailable("the callback panicked".to_owned())),
            Err(_) => Err(TokenError::Unavailable(format!("the callback gave none within {limit:?}"))),
        }
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self::fixed(token)
    }
}

impl From<&str> for Token {
    fn from(token: &str) -> Self {
        Self::fixed(token)
    }
}

/// Shows of which kind it is.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_fixed() { "Token::fixed(…)" } else { "Token::callback(…)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_callback_that_hangs_or_panics_gives_no_token_for_now() {
        let hangs = Token::callback(std::future::pending);
        let panics = Token::callback(|| async { panic!("as the test wants") });
        for token in [hangs, panics] {
            let outcome = token.get(Duration::from_millis(20)).await;
            assert!(matches!(outcome, Err(TokenError::Unavailable(_))), "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn a_token_is_not_shown() {
        let token = Token::fixed("secret");
        assert_eq!(token.get(Duration::ZERO).await.as_deref(), Ok("secret"));
        assert_eq!(format!("{token:?}"), "Token::fixed(…)");
    }
}
