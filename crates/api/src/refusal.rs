//! How a request is refused: an HTTP status, and the code that a client of the native protocol would get.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use ullim_broker::{HistoryError, PresenceError, PublishError};
use ullim_protocol::channel::NameError;
use ullim_protocol::codes::{self, ErrorCode};

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No key is configured.
    #[error("the HTTP API is off on this node: set internal.api_key to turn it on")]
    Off,
    /// Another key, or none.
    #[error("the API key is missing or wrong: send \"Authorization: Bearer <internal.api_key>\"")]
    Key,
    /// There is no such path.
    #[error("there is nothing here: GET /api/openapi.json lists what there is")]
    Path,
    /// The path is there, but not for this method.
    #[error("this path takes another method: the Allow header names it")]
    Method,
    /// As many requests are being served as may be.
    #[error("this node serves {0} requests already (internal.max_requests)")]
    Busy(usize),
    /// As many connections are open as may be.
    #[error("this node has {0} connections to this listener already (internal.max_connections)")]
    Full(usize),
    /// The body exceeds the limit.
    #[error("the body has more than {0} bytes (broker.payload_bytes)")]
    TooLarge(usize),
    /// The body did not come in time.
    #[error("the body was not complete within {0:?} (internal.request_timeout)")]
    Slow(Duration),
    /// The body could not be read to its end.
    #[error("the body could not be read")]
    Unreadable,
    /// The body is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// The channel's name breaks a rule.
    #[error("{0}")]
    Channel(#[from] NameError),
    /// The channel's namespace is not configured.
    #[error("the namespace {0:?} is not configured")]
    Namespace(String),
    /// The channel's namespace has `presence = false`.
    #[error("the namespace {0:?} keeps no presence: set namespaces.{0}.presence to turn it on")]
    NoPresence(String),
    /// The channel's namespace has `recoverable = false`.
    #[error("the namespace {0:?} keeps no history: set namespaces.{0}.recoverable to turn it on")]
    NoHistory(String),
    /// The data are not what their field says, or there are too many headers.
    #[error("{0}")]
    Data(&'static str),
    /// The request took too long before this was done.
    #[error("it was not tried: the request took longer than {0:?} (internal.request_timeout)")]
    Untried(Duration),
    /// The broker did not take it.
    #[error("{0}")]
    Broker(#[from] PublishError),
    /// The broker did not say who is present.
    #[error("{0}")]
    Presence(#[from] PresenceError),
    /// The broker did not say what was published before.
    #[error("{0}")]
    History(#[from] HistoryError),
}

/// How a refusal is told.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    code: u16,
    name: &'static str,
    message: String,
    retry: bool,
}

impl Refusal {
    pub(crate) fn codes(&self) -> (StatusCode, &'static ErrorCode) {
        match self {
            Self::Off => (StatusCode::FORBIDDEN, &codes::PERMISSION_DENIED),
            Self::Key => (StatusCode::UNAUTHORIZED, &codes::PERMISSION_DENIED),
            Self::Path => (StatusCode::NOT_FOUND, &codes::UNKNOWN_COMMAND),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, &codes::UNKNOWN_COMMAND),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, &codes::BAD_DATA),
            Self::Slow(_) => (StatusCode::REQUEST_TIMEOUT, &codes::BAD_MESSAGE),
            Self::Unreadable | Self::Malformed(_) => (StatusCode::BAD_REQUEST, &codes::BAD_MESSAGE),
            Self::Channel(_) => (StatusCode::BAD_REQUEST, &codes::BAD_CHANNEL),
            Self::Namespace(_) => (StatusCode::NOT_FOUND, &codes::UNKNOWN_NAMESPACE),
            Self::NoPresence(_) => (StatusCode::CONFLICT, &codes::NO_PRESENCE),
            Self::NoHistory(_) | Self::History(HistoryError::NotKept) => (StatusCode::CONFLICT, &codes::NO_HISTORY),
            Self::Data(_) => (StatusCode::BAD_REQUEST, &codes::BAD_DATA),
            Self::Broker(PublishError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, &codes::BAD_DATA),
            Self::Presence(PresenceError::Cursor) => (StatusCode::BAD_REQUEST, &codes::BAD_MESSAGE),
            Self::Busy(_)
            | Self::Full(_)
            | Self::Untried(_)
            | Self::Broker(_)
            | Self::Presence(_)
            | Self::History(_) => (StatusCode::SERVICE_UNAVAILABLE, &codes::UNAVAILABLE),
        }
    }

    pub(crate) fn told(&self) -> Told {
        let (_, code) = self.codes();
        Told { code: code.number, name: code.name, message: self.to_string(), retry: code.retry }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.codes().0, Json(Answer { error: self.told() })).into_response();
        let mut add = |name, value| {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        };
        match self {
            Self::Key => add(header::WWW_AUTHENTICATE, "Bearer"),
            Self::Busy(_) | Self::Full(_) => add(header::RETRY_AFTER, "1"),
            // What is left of the body would be taken for the next request.
            Self::Slow(_) => add(header::CONNECTION, "close"),
            _ => {}
        }
        response
    }
}

#[derive(Serialize)]
struct Answer {
    error: Told,
}
