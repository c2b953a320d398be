//! How a request is refused: an HTTP status, and the code that a client of the native protocol would get.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use ullim_broker::PublishError;
use ullim_protocol::channel::NameError;
use ullim_protocol::codes::{self, ErrorCode};

/// Why a request to publish was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// No key is configured.
    #[error("publishing over HTTP is off on this node: set internal.api_key to turn it on")]
    Off,
    /// Another key, or none.
    #[error("the API key is missing or wrong: send \"Authorization: Bearer <internal.api_key>\"")]
    Key,
    /// The body exceeds the limit.
    #[error("the body has more than {0} bytes (broker.payload_bytes)")]
    TooLarge(usize),
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
    /// The data are not what their field says, or there are too many headers.
    #[error("{0}")]
    Data(&'static str),
    /// The broker did not take it.
    #[error("{0}")]
    Broker(#[from] PublishError),
}

#[derive(Serialize)]
struct Answer {
    error: Body,
}

#[derive(Serialize)]
struct Body {
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
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, &codes::BAD_DATA),
            Self::Unreadable | Self::Malformed(_) => (StatusCode::BAD_REQUEST, &codes::BAD_MESSAGE),
            Self::Channel(_) => (StatusCode::BAD_REQUEST, &codes::BAD_CHANNEL),
            Self::Namespace(_) => (StatusCode::NOT_FOUND, &codes::UNKNOWN_NAMESPACE),
            Self::Data(_) => (StatusCode::BAD_REQUEST, &codes::BAD_DATA),
            Self::Broker(PublishError::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, &codes::BAD_DATA),
            Self::Broker(_) => (StatusCode::SERVICE_UNAVAILABLE, &codes::UNAVAILABLE),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = self.codes();
        let error = Body { code: code.number, name: code.name, message: self.to_string(), retry: code.retry };
        let mut response = (status, Json(Answer { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
