//! The opening handshake of WebSocket (RFC 6455, section 4.2), as bare as it can be: whoever shows a key is let in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The most bytes of a request's head.
pub(crate) const HEAD_BYTES: usize = 16 * 1024;

/// What came of the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// There is more to come.
    Partial,
    /// The answer that opens the connection.
    Accepted(Vec<u8>),
    /// No request for a WebSocket.
    Refused,
}

/// Looks at what a client has sent so far.
pub(crate) fn answer(received: &[u8]) -> Handshake {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(received) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if received.len() < HEAD_BYTES => return Handshake::Partial,
        _ => return Handshake::Refused,
    }
    let value = |name: &str| request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let Some(key) = value("Sec-WebSocket-Key") else { return Handshake::Refused };
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let mut answer = Vec::with_capacity(192);
    answer.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    answer.extend_from_slice(STANDARD.encode(digest).as_bytes());
    if let Some(offered) = value("Sec-WebSocket-Protocol") {
        let first = offered.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii();
        answer.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
        answer.extend_from_slice(first);
    }
    answer.extend_from_slice(b"\r\n\r\n");
    Handshake::Accepted(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and its answer are those of RFC 6455, section 1.3.
    const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn accepted(request: &str) -> String {
        match answer(request.as_bytes()) {
            Handshake::Accepted(answer) => String::from_utf8(answer).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_answered_once_it_is_whole() {
        assert_eq!(answer(REQUEST.as_bytes()), Handshake::Partial);
        let answer = accepted(&format!("{REQUEST}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.ends_with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), "{answer}");
    }

    #[test]
    fn the_first_of_the_offered_subprotocols_is_spoken() {
        let answer = accepted(&format!("{REQUEST}Sec-WebSocket-Protocol: one, two\r\n\r\n"));
        assert!(answer.contains("\r\nSec-WebSocket-Protocol: one\r\n"), "{answer}");
    }

    #[test]
    fn what_shows_no_key_or_never_ends_is_refused() {
        assert_eq!(answer(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Handshake::Refused);
        assert_eq!(answer(b"\0\0\0\0\r\n\r\n"), Handshake::Refused);
        let endless = format!("{REQUEST}X: {}", "x".repeat(HEAD_BYTES));
        assert_eq!(answer(endless.as_bytes()), Handshake::Refused);
    }
}
