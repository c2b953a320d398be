//! Answers in plain HTTP: to requests that are refused, and to those that are no upgrade. The connection ends with its
//! answer.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::time::SystemTime;

use crate::handshake::PlainRequest;
use crate::pages::{Page, Pages};
use crate::routes::PATHS;
use crate::stream::Stream;

/// Pages are for this origin alone, and for nobody's cache.
const PAGE_HEADERS: &str = "X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
     Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:; \
     base-uri 'none'; frame-ancestors 'none'\r\n";

const TEXT: &str = "text/plain; charset=utf-8";

/// Why a request is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    header: &'static str,
    text: String,
}

impl Refused {
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Self {
        let header = match status {
            405 => "Allow: GET\r\n",
            426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            429 | 503 => "Retry-After: 5\r\n",
            _ => "",
        };
        Self { status, header, text: text.into() }
    }

    /// The request was not complete in time.
    pub(crate) fn timeout() -> Self {
        Self::new(408, "the request was not complete in time")
    }

    /// There is no place for another connection.
    pub(crate) fn full() -> Self {
        Self::new(503, "this node holds as many connections as it may: try another, or later")
    }

    /// The client's address has all that one address may have.
    pub(crate) fn too_many() -> Self {
        Self::new(429, "too many connections come from your address: try again later")
    }

    /// The node is shutting down.
    pub(crate) fn draining() -> Self {
        Self::new(503, "this node is shutting down: connect to another")
    }

    pub(crate) fn answer(self) -> Answer {
        let body = format!("{}\n", self.text).into_bytes();
        Answer::new(self.status, self.header, TEXT, body.into(), true)
    }
}

/// An answer, and how much of it has been written.
#[derive(Debug)]
pub(crate) struct Answer {
    head: Vec<u8>,
    body: Cow<'static, [u8]>,
    written: usize,
}

impl Answer {
    fn new(status: u16, headers: &str, content_type: &str, body: Cow<'static, [u8]>, with_body: bool) -> Self {
        let (reason, date, length) = (reason(status), httpdate::fmt_http_date(SystemTime::now()), body.len());
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\n{headers}Content-Type: {content_type}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let body = if with_body { body } else { Cow::Borrowed(&[][..]) };
        Self { head: head.into_bytes(), body, written: 0 }
    }

    /// Writes on; whether it is all out.
    pub(crate) fn write_to(&mut self, stream: &mut Stream) -> io::Result<bool> {
        let all = self.head.len() + self.body.len();
        while self.written < all {
            let (head, body) = match self.written.checked_sub(self.head.len()) {
                Some(of_body) => (&[][..], &self.body[of_body..]),
                None => (&self.head[self.written..], &*self.body),
            };
            let count = stream.write(&[IoSlice::new(head), IoSlice::new(body)])?;
            if count == 0 {
                return Ok(false);
            }
            self.written += count;
        }
        Ok(true)
    }
}

/// What a request that is no upgrade is answered.
pub(crate) fn answer(request: &PlainRequest, pages: &Pages) -> Answer {
    let PlainRequest { method, path, query, .. } = request;
    let (is_get, is_head) = (method == "GET", method == "HEAD");
    let refused = match pages.find(path, query.as_deref()) {
        Some(Page { status, content_type, body }) if is_get || is_head => {
            return Answer::new(status, PAGE_HEADERS, content_type, body, is_get);
        }
        Some(_) => Refused::new(405, "there is only a page to GET here"),
        None if !PATHS.iter().any(|known| known.path == path) => {
            Refused::new(404, "there is nothing here; WebSockets are served at /, /ws and, with STOMP, /stomp")
        }
        None if is_get || is_head => Refused::new(426, "this is a WebSocket endpoint: connect with a WebSocket client"),
        None => Refused::new(405, "a WebSocket is opened with GET"),
    };
    let mut answer = refused.answer();
    if is_head {
        answer.body = Cow::Borrowed(&[]);
    }
    answer
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        // It may be empty (RFC 9112, section 4).
        _ => "",
    }
}
