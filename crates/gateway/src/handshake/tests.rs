//! The opening handshake: the example of RFC 6455, section 1.3, and every way to be refused.

use super::*;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

fn rules() -> Rules {
    Rules { header_bytes: 1000, origins: vec!["https://good.example".to_owned()], trusted: Vec::new() }
}

/// A good request with one line replaced by another (empty: left out).
fn request_with(line: &str, replacement: &str) -> String {
    let lines = [
        "GET /ws HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        KEY,
        "Sec-WebSocket-Version: 13",
    ];
    let replaced = lines.map(|candidate| if candidate == line { replacement } else { candidate });
    let lines: Vec<&str> = replaced.into_iter().filter(|line| !line.is_empty()).collect();
    lines.join("\r\n") + "\r\n\r\n"
}

fn opened(request: &str) -> Opening {
    open(request.as_bytes(), &rules(), false)
}

fn status(request: &str) -> u16 {
    match opened(request) {
        Opening::Refused(refused) => refused.status,
        other => panic!("{request:?} is {other:?}"),
    }
}

fn response(request: &str) -> String {
    match opened(request) {
        Opening::Accepted(accepted) => String::from_utf8(accepted.response).unwrap(),
        other => panic!("{request:?} is {other:?}"),
    }
}

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(response(&request_with("", "")), expected);
}

#[test]
fn the_first_known_subprotocol_is_chosen() {
    let offering = |names: &str| request_with(KEY, &format!("{KEY}\r\nSec-WebSocket-Protocol: {names}"));
    assert!(response(&offering("mqtt, ullim.v1.msgpack, ullim.v1.json")).contains("Protocol: ullim.v1.msgpack\r\n"));
    assert!(response(&offering("ullim.v1.json")).contains("Protocol: ullim.v1.json\r\n"));
    assert_eq!(status(&offering("mqtt")), 400);
    assert_eq!(status(&offering("ULLIM.V1.JSON")), 400);
}

#[test]
fn frames_may_follow_the_request() {
    let request = request_with("", "");
    let length = request.len();
    match open((request + "\u{81}").as_bytes(), &rules(), false) {
        Opening::Accepted(accepted) => assert_eq!(accepted.request_bytes, length),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_may_come_in_pieces() {
    let request = request_with("", "");
    for cut in 0..request.len() {
        assert_eq!(opened(&request[..cut]), Opening::Incomplete, "at {cut}");
    }
}

#[test]
fn every_refusal_has_its_status() {
    let cases = [
        ("GET /ws HTTP/1.1", "POST /ws HTTP/1.1", 405),
        ("GET /ws HTTP/1.1", "GET /other HTTP/1.1", 404),
        ("GET /ws HTTP/1.1", "GET /ws HTTP/1.0", 400),
        ("Host: server.example.com", "", 400),
        ("Connection: keep-alive, Upgrade", "Connection: keep-alive", 400),
        (KEY, "", 400),
        (KEY, "Sec-WebSocket-Key: c2hvcnQ=", 400),
        (KEY, "Sec-WebSocket-Key: a\r\nSec-WebSocket-Key: b", 400),
        (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5", 400),
        (KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nTransfer-Encoding: chunked", 400),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", 426),
        ("Sec-WebSocket-Version: 13", "", 426),
        ("GET /ws HTTP/1.1", "\u{16}\u{3}\u{1}", 400),
        ("Host: server.example.com", "Host server", 400),
    ];
    for (line, replacement, expected) in cases {
        assert_eq!(status(&request_with(line, replacement)), expected, "{replacement:?}");
    }
}

#[test]
fn origins_are_compared_exactly() {
    let from = |origin: &str| request_with(KEY, &format!("{KEY}\r\nOrigin: {origin}"));
    assert!(matches!(opened(&from("https://good.example")), Opening::Accepted(_)));
    let evil = [
        "",
        "*",
        "null",
        "https://evil.example",
        "https://good.example.evil.example",
        "https://good.example.",
        "https://evilgood.example",
        "https://good.exampl",
        "https://good",
        "http://good.example",
        "https://good.example:444",
        "https://good.example:443",
        "https://good.example/",
        "https://user@good.example",
        "https://GOOD.example",
        "HTTPS://good.example",
        "https://good.example, https://good.example",
        "https://good.example https://evil.example",
    ];
    for origin in evil {
        assert_eq!(status(&from(origin)), 403, "{origin}");
    }
    for second in ["https://good.example", "https://evil.example"] {
        assert_eq!(status(&from(&format!("https://good.example\r\nOrigin: {second}"))), 400, "{second}");
    }
}

#[test]
fn an_odd_origin_is_let_in_only_where_it_is_listed() {
    for origin in ["null", "https://good.example:443", "https://GOOD.example"] {
        let request = request_with(KEY, &format!("{KEY}\r\nOrigin: {origin}"));
        let rules = Rules { origins: vec![origin.to_owned()], ..rules() };
        assert!(matches!(open(request.as_bytes(), &rules, false), Opening::Accepted(_)), "{origin}");
    }
}

#[test]
fn the_client_is_whom_a_proxy_names_and_nobody_else_is_asked() {
    let rules = Rules { trusted: vec!["10.0.0.0/8".parse().unwrap()], ..rules() };
    let client = |proxied, header: &str| {
        let request = request_with(KEY, &format!("{KEY}\r\n{header}"));
        match open(request.as_bytes(), &rules, proxied) {
            Opening::Accepted(accepted) => Ok(accepted.client.map(|client| client.to_string())),
            Opening::Refused(refused) => Err(refused.status),
            other => panic!("{other:?}"),
        }
    };
    let spoken_for = "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.7, 10.0.0.2";
    assert_eq!(client(true, spoken_for), Ok(Some("203.0.113.7".to_owned())));
    assert_eq!(client(false, spoken_for), Ok(None), "anybody can write this header");
    assert_eq!(client(true, "Forwarded: for=203.0.113.7"), Ok(None));
    assert_eq!(client(true, "X-Forwarded-For: unknown"), Err(400));
    assert_eq!(client(false, "X-Forwarded-For: unknown"), Ok(None));
}

#[test]
fn heads_are_bounded() {
    let long = request_with("", "").replace("server.example.com", &"x".repeat(1000));
    assert_eq!(status(&long), 431);
    assert_eq!(status(&long[..1001]), 431, "before it is complete");
    let many = request_with(KEY, &format!("{KEY}\r\n{}", "A: b\r\n".repeat(65).trim_end()));
    assert_eq!(status(&many), 431);
}

#[test]
fn what_is_no_upgrade_is_http() {
    let plain = |target: &str| match opened(&format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n")) {
        Opening::Plain(PlainRequest { method, path, query, client: None }) => (method, path, query),
        other => panic!("{target} is {other:?}"),
    };
    for (target, path, query) in [
        ("/", "/", None),
        ("/a?b=c?d", "/a", Some("b=c?d")),
        ("/a?", "/a", Some("")),
        ("http://a.example/b?c", "/b", Some("c")),
        ("http://a.example", "/", None),
        ("/a?b=http://c/d", "/a", Some("b=http://c/d")),
    ] {
        assert_eq!(plain(target), ("HEAD".to_owned(), path.to_owned(), query.map(str::to_owned)), "{target}");
    }
}
