//! Owns why a connection ended, and whether that speaks against another one.

use ullim_protocol::codes;

use crate::reason::Reason;
use crate::token::TokenError;
use crate::wire::Refusal;

/// The close code: the token's `exp` has passed.
const TOKEN_EXPIRED: u16 = 4005;
/// The close code: a backend ended this user's connections.
const DISCONNECTED: u16 = 4006;
/// The close code: the session was resumed on a newer connection.
const SESSION_REPLACED: u16 = 4007;

/// Why a connection is no more, or did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Of the node's close frame.
    pub(crate) code: Option<u16>,
    pub(crate) reason: Reason,
    /// Whether to connect again. An expired token is no obstacle to it where there is another.
    pub(crate) retry: bool,
}

impl Ended {
    /// Something broke that may work the next time.
    pub(crate) fn broken(reason: impl Into<String>) -> Self {
        Self::retried(Reason::Broken(reason.into()))
    }

    pub(crate) fn retried(reason: Reason) -> Self {
        Self { code: None, reason, retry: true }
    }

    pub(crate) fn without_token(error: TokenError) -> Self {
        let retry = matches!(error, TokenError::Unavailable(_));
        Self { code: None, reason: Reason::Token(error), retry }
    }

    /// The node did not open a session.
    pub(super) fn refused(refusal: Refusal) -> Self {
        let Refusal { code, name, message, retry } = refusal;
        if code == codes::TOKEN_EXPIRED.number {
            return Self::retried(Reason::TokenExpired);
        }
        Self { code: None, reason: Reason::Refused { code, name, message }, retry }
    }

    /// The node closed. A code that is not known (a proxy's, say) says nothing against another attempt.
    pub(super) fn closed(code: Option<u16>, text: String) -> Self {
        let known = codes::CLOSES.iter().find(|close| Some(close.number) == code);
        let (reason, retry) = match code {
            Some(TOKEN_EXPIRED) => (Reason::TokenExpired, true),
            Some(DISCONNECTED) => (Reason::EndedByBackend, false),
            Some(SESSION_REPLACED) => (Reason::SessionReplaced, false),
            _ => (Reason::Closed(text), known.is_none_or(|close| close.retry)),
        };
        Self { code, reason, retry }
    }
}
