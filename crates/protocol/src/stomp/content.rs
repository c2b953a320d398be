//! A SEND's body and headers ⇄ a publication's data and headers.

use bytes::Bytes;

use super::headers::FrameHeaders;
use crate::publication::{Data, Headers, Kind, MAX_HEADER_BYTES, MAX_HEADERS, PayloadRule};

/// The header that says what a body is.
pub(super) const CONTENT_TYPE: &str = "content-type";

/// What of a SEND's headers is not its publication's: what is said to the node, and what only a node says of a message.
const NOT_PUBLISHED: [&str; 14] = [
    CONTENT_TYPE,
    "destination",
    "content-length",
    "receipt",
    "transaction",
    "message-id",
    "subscription",
    "ack",
    "epoch",
    "offset",
    "gap",
    "redelivered",
    "login",
    "passcode",
];

/// More of a SEND's headers than a publication may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a publication has at most {MAX_HEADERS} headers and {MAX_HEADER_BYTES} bytes of them")]
pub struct TooManyHeaders;

/// The data that a body is, and its content type where subscribers would not be told the same without it. A body that is
/// not what its content type says is text or binary, whichever it can be.
pub fn data_of(content_type: Option<&str>, body: Bytes) -> (Data, Option<&str>) {
    let Some(content_type) = content_type.filter(|content_type| !content_type.is_empty()) else {
        return (auto(body), None);
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let data = if media_type == "application/json" || media_type.ends_with("+json") {
        Kind::Json.accept(body.clone()).unwrap_or_else(|| text_or_binary(body))
    } else if media_type.starts_with("text/") {
        text_or_binary(body)
    } else {
        Data::Binary(body)
    };
    let is_told_anyway = content_type == content_type_of(&data);
    (data, Some(content_type).filter(|_| !is_told_anyway))
}

fn auto(body: Bytes) -> Data {
    PayloadRule::Auto.classify(body.clone()).unwrap_or(Data::Binary(body))
}

fn text_or_binary(body: Bytes) -> Data {
    Kind::Text.accept(body.clone()).unwrap_or(Data::Binary(body))
}

/// The content type of a publication that has none of its own.
pub fn content_type_of(data: &Data) -> &'static str {
    match data {
        Data::Json(_) => "application/json",
        Data::Text(_) => "text/plain",
        Data::Binary(_) => "application/octet-stream",
    }
}

/// The headers of a SEND's publication: its own, and the content type that [`data_of`] wants kept. `None` where there
/// is none.
///
/// # Errors
/// There are more than a publication may have.
pub fn publication_headers(
    headers: &FrameHeaders,
    content_type: Option<&str>,
) -> Result<Option<Headers>, TooManyHeaders> {
    let kept = content_type.map(|content_type| (CONTENT_TYPE, content_type));
    let own = headers.iter().filter(|(name, _)| !NOT_PUBLISHED.contains(name));
    let mut entries = kept.into_iter().chain(own).peekable();
    if entries.peek().is_none() {
        return Ok(None);
    }
    let entries = entries.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Headers::new(entries).map(Some).ok_or(TooManyHeaders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_its_content_type_says_if_it_can_be() {
        use Kind::{Binary, Json, Text};
        let cases: [(Option<&str>, &[u8], Kind, bool); 18] = [
            (None, b"{\"a\":1}", Json, false),
            (None, b"hello", Text, false),
            (None, b"", Text, false),
            (None, b"\xff", Binary, false),
            (Some(""), b"42", Json, false),
            (Some("application/json"), b"42", Json, false),
            (Some("application/json;charset=utf-8"), b"42", Json, true),
            (Some("Application/JSON"), b"42", Json, true),
            (Some("application/vnd.api+json"), b"{}", Json, true),
            (Some("application/json"), b"{", Text, true),
            (Some("application/json"), b"\xff", Binary, true),
            (Some("text/plain"), b"42", Text, false),
            (Some("text/plain;charset=UTF-8"), b"hello", Text, true),
            (Some("text/html"), b"<p>", Text, true),
            (Some("text/plain"), b"\xff", Binary, true),
            (Some("application/octet-stream"), b"42", Binary, false),
            (Some("image/png"), b"42", Binary, true),
            (Some("nonsense"), b"42", Binary, true),
        ];
        for (content_type, body, kind, is_kept) in cases {
            let (data, kept) = data_of(content_type, Bytes::from_static(body));
            assert_eq!((data.kind(), &data.bytes()[..]), (kind, body), "{content_type:?}");
            assert_eq!(kept, content_type.filter(|_| is_kept), "{content_type:?}");
        }
    }

    #[test]
    fn what_is_said_to_the_node_is_not_published() {
        let own = [("a", "1"), ("b", "2")];
        let frame: FrameHeaders = NOT_PUBLISHED.map(|name| (name, "x")).into_iter().chain(own).collect();
        let headers = publication_headers(&frame, None).unwrap().unwrap();
        let entries: Vec<_> = headers.entries().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(entries, own);
        let headers = publication_headers(&frame, Some("image/png")).unwrap().unwrap();
        assert!(headers.entries().iter().any(|(name, value)| name == "content-type" && value == "image/png"));
        let none: FrameHeaders = [("destination", "/topic/a")].into_iter().collect();
        assert_eq!(publication_headers(&none, None), Ok(None));
    }

    #[test]
    fn headers_beyond_what_a_publication_may_have_are_refused() {
        let many = |count: usize| (0..count).map(|at| (at.to_string(), "")).collect::<FrameHeaders>();
        assert!(publication_headers(&many(MAX_HEADERS), None).is_ok());
        assert_eq!(publication_headers(&many(MAX_HEADERS + 1), None), Err(TooManyHeaders));
        assert_eq!(publication_headers(&many(MAX_HEADERS), Some("image/png")), Err(TooManyHeaders));
        let large: FrameHeaders = [("a", "x".repeat(MAX_HEADER_BYTES))].into_iter().collect();
        assert_eq!(publication_headers(&large, None), Err(TooManyHeaders));
        assert!(TooManyHeaders.to_string().contains("16 headers and 4096 bytes"));
    }
}
