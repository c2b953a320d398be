//! The opening handshake (RFC 6455, section 4.2), pure: the bytes of a request → what to answer.
//!
//! No HTTP library: an upgrade costs a quarter less this way, and what is not an upgrade is answered with a page at most.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::{EMPTY_HEADER, Request, Status};
use ipnet::IpNet;
use sha1::{Digest as _, Sha1};
use ullim_hub::Wire;

use crate::answer::Refused;
use crate::forwarded;
use crate::routes::{Dialect, PATHS, Path, route, wire_of};

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// What a request's beginning is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Not all there yet.
    Incomplete,
    /// HTTP, but no upgrade.
    Plain(PlainRequest),
    /// An upgrade that is accepted.
    Accepted(Accepted),
    /// To be answered and closed.
    Refused(Refused),
}

/// An upgrade that is accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) wire: Wire,
    /// The bytes to answer.
    pub(crate) response: Vec<u8>,
    /// How many bytes the request has: frames follow.
    pub(crate) request_bytes: usize,
    /// Whom the proxy speaks for, if a proxy asks and says so.
    pub(crate) client: Option<IpAddr>,
    /// What the request brought to show who the client is. Never shown.
    pub(crate) token: Option<Token>,
}

/// A token, which `Debug` does not show.
#[derive(PartialEq, Eq)]
pub(crate) struct Token(pub(crate) String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// HTTP, but no upgrade.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Without the `?`.
    pub(crate) query: Option<String>,
    /// Whom the proxy speaks for, if a proxy asks and says so.
    pub(crate) client: Option<IpAddr>,
}

/// Which requests are accepted.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The most bytes of a request's head.
    pub(crate) header_bytes: usize,
    /// Exact origins, or `*`.
    pub(crate) origins: Vec<String>,
    /// Proxies that may say whom they speak for.
    pub(crate) trusted: Vec<IpNet>,
}

/// Judges what has come of a request. `proxied`: the peer is a proxy that is trusted.
pub(crate) fn open(bytes: &[u8], rules: &Rules, proxied: bool) -> Opening {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = Request::new(&mut headers);
    let request_bytes = match request.parse(bytes) {
        Ok(Status::Complete(size)) if size <= rules.header_bytes => size,
        Ok(Status::Partial) if bytes.len() <= rules.header_bytes => return Opening::Incomplete,
        Ok(_) => {
            let text = format!("the request's head has more than {} bytes", rules.header_bytes);
            return Opening::Refused(Refused::new(431, text));
        }
        Err(httparse::Error::TooManyHeaders) => {
            let text = format!("the request has more than {MAX_HEADERS} headers");
            return Opening::Refused(Refused::new(431, text));
        }
        Err(error) => {
            return Opening::Refused(Refused::new(400, format!("this is not HTTP/1.1: {error}")));
        }
    };
    let head = Head { request: &request };
    match judge(&head, rules, proxied, request_bytes) {
        Ok(opening) => opening,
        Err(refused) => Opening::Refused(refused),
    }
}

fn judge(head: &Head<'_>, rules: &Rules, proxied: bool, request_bytes: usize) -> Result<Opening, Refused> {
    let client = if proxied { head.client(rules)? } else { None };
    if head.lists("upgrade", "websocket") {
        let (wire, response) = accept(head, rules)?;
        let is_stomp = matches!(route(wire).dialect, Dialect::Stomp(_));
        let token = if is_stomp { head.token()? } else { None };
        return Ok(Opening::Accepted(Accepted { wire, response, request_bytes, client, token }));
    }
    let (path, query) = head.target();
    let (method, path) = (head.request.method.unwrap_or_default().to_owned(), path.to_owned());
    Ok(Opening::Plain(PlainRequest { method, path, query: query.map(str::to_owned), client }))
}

struct Head<'r> {
    request: &'r Request<'r, 'r>,
}

impl<'r> Head<'r> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'r str> {
        let headers = self.request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        headers.map(|header| std::str::from_utf8(header.value).unwrap_or("\u{fffd}").trim())
    }

    /// The path and the query that are asked for. A proxy may ask with the whole URL (RFC 9112, section 3.2.2).
    fn target(&self) -> (&'r str, Option<&'r str>) {
        let target = self.request.path.unwrap_or_default();
        let target = match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |path| &rest[path..]),
            _ => target,
        };
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
    }

    /// Whom a proxy speaks for.
    fn client(&self, rules: &Rules) -> Result<Option<IpAddr>, Refused> {
        let values: Vec<_> = self.values("x-forwarded-for").collect();
        let client = forwarded::client(values.into_iter(), &rules.trusted);
        client.map_err(|_| Refused::new(400, "the header X-Forwarded-For has something that is no address"))
    }

    /// What `Authorization: Bearer`, or else the query's `token`, brings.
    fn token(&self) -> Result<Option<Token>, Refused> {
        if let Some(value) = self.single("authorization")?
            && let Some((scheme, token)) = value.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            return Ok(Some(Token(token.trim().to_owned())));
        }
        let pairs = self.target().1.unwrap_or_default().split('&');
        Ok(pairs.filter_map(|pair| pair.strip_prefix("token=")).next().map(|token| Token(token.to_owned())))
    }

    /// The value of a header that may occur once.
    fn single(&self, name: &'static str) -> Result<Option<&'r str>, Refused> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Refused::new(400, format!("the header {name} occurs twice"))),
        }
    }

    /// Whether one of a header's comma-separated items is `item`.
    fn lists(&self, name: &'static str, item: &str) -> bool {
        self.values(name).flat_map(|value| value.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(item))
    }
}

fn accept(head: &Head<'_>, rules: &Rules) -> Result<(Wire, Vec<u8>), Refused> {
    let request = head.request;
    if request.method != Some("GET") {
        return Err(Refused::new(405, "a WebSocket is opened with GET"));
    }
    if request.version != Some(1) {
        return Err(Refused::new(400, "a WebSocket is opened with HTTP/1.1"));
    }
    let asked = head.target().0;
    let Some(path) = PATHS.iter().find(|path| path.path == asked) else {
        return Err(Refused::new(404, "WebSockets are served at /, /ws and, with STOMP, /stomp"));
    };
    if !head.lists("connection", "upgrade") {
        return Err(Refused::new(400, "the header Connection does not list Upgrade"));
    }
    if head.single("host")?.is_none_or(str::is_empty) {
        return Err(Refused::new(400, "the header Host is missing"));
    }
    if head.values("transfer-encoding").next().is_some() || head.values("content-length").any(|value| value != "0") {
        return Err(Refused::new(400, "an upgrade has no body"));
    }
    if let Some(origin) = head.single("origin")?
        && !rules.origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    {
        return Err(Refused::new(403, "this origin is not among client.origins"));
    }
    if head.single("sec-websocket-version")? != Some("13") {
        return Err(Refused::new(426, "this node speaks WebSocket version 13"));
    }
    let key = head.single("sec-websocket-key")?.unwrap_or_default();
    if STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
        let agreed = subprotocol(head, path)?;
        let wire = agreed.or_else(|| wire_of(path.subprotocols[0]));
        Ok((wire.unwrap_or(Wire(0)), response(key, agreed)))
    } else {
        Err(Refused::new(400, "the header Sec-WebSocket-Key is not 16 bytes in base64"))
    }
}

/// The first subprotocol offered that is spoken there; none if none is offered (section 4.2.2, /subprotocol/).
fn subprotocol(head: &Head<'_>, path: &Path) -> Result<Option<Wire>, Refused> {
    let offered = head.values("sec-websocket-protocol").flat_map(|value| value.split(',')).map(str::trim);
    let mut offered = offered.filter(|name| !name.is_empty()).peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    match offered.find(|name| path.subprotocols.contains(name)).and_then(wire_of) {
        Some(wire) => Ok(Some(wire)),
        None => {
            let known = path.subprotocols.join(" and ");
            Err(Refused::new(400, format!("none of the subprotocols offered is known; at {} it is {known}", path.path)))
        }
    }
}

fn response(key: &str, wire: Option<Wire>) -> Vec<u8> {
    let mut digest = Sha1::new();
    digest.update(key);
    digest.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(digest.finalize());
    let protocol = match wire {
        Some(wire) => format!("Sec-WebSocket-Protocol: {}\r\n", route(wire).subprotocol),
        None => String::new(),
    };
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests;
