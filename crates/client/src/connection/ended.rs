//! Owns why a connection ended, and whether that speaks against another one.

use ullim_protocol::codes;

use crate::reason::Reason;
use crate::token::TokenError;
use crate::wire::Refusal;

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
        let reason = match known {
            Some(close) if **close == codes::SESSION_EXPIRED => Reason::TokenExpired,
            Some(close) if **close == codes::DISCONNECTED => Reason::EndedByBackend,
            Some(close) if **close == codes::SESSION_REPLACED => Reason::SessionReplaced,
            _ => Reason::Closed(text),
        };
        let retry = known.is_none_or(|close| close.retry);
        Self { code, reason, retry }
    }
}
