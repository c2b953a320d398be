//! Handshakes that are refused, each in plain HTTP with a sentence.

use std::time::Duration;

use tokio::time::interval;
use ullim_tests::{Node, Raw, Request, Response, within};

use crate::bystander::Bystander;

async fn ask(node: &Node, request: &Request) -> Response {
    Raw::dial(node.address()).await.ask(request).await
}

/// Asserts the status, and that the body is a sentence.
fn refused(response: &Response, status: u16, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:?}");
    assert!(response.body.trim().contains(' '), "{what}: a sentence says why: {response:?}");
}

#[tokio::test]
async fn a_good_handshake_is_accepted_with_the_subprotocol_that_was_offered() {
    let node = Node::start().await;
    let plain = ask(&node, &Request::default()).await;
    assert_eq!(plain.status, 101);
    assert_eq!(plain.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{plain:?}");
    assert_eq!(plain.header("Sec-WebSocket-Protocol"), None, "none was offered: {plain:?}");
    assert_eq!(plain.header("Sec-WebSocket-Extensions"), None);
    let offers = [
        ("ullim.v1.msgpack, ullim.v1.json", "ullim.v1.msgpack"),
        ("soap, ullim.v1.json", "ullim.v1.json"),
        ("ullim.v2.json,ullim.v1.json,ullim.v1.msgpack", "ullim.v1.json"),
    ];
    for (offer, chosen) in offers {
        let response = ask(&node, &Request::default().with("Sec-WebSocket-Protocol", offer)).await;
        assert_eq!(response.status, 101, "{offer}: {response:?}");
        assert_eq!(response.header("Sec-WebSocket-Protocol"), Some(chosen), "{offer}");
    }
    let two = Request::default().and("Sec-WebSocket-Protocol", "x").and("Sec-WebSocket-Protocol", "ullim.v1.msgpack");
    assert_eq!(ask(&node, &two).await.header("Sec-WebSocket-Protocol"), Some("ullim.v1.msgpack"));
    let relaxed = Request::default()
        .line("GET / HTTP/1.1")
        .with("Connection", "keep-alive, UPGRADE")
        .with("Upgrade", "WebSocket")
        .with("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let response = ask(&node, &relaxed).await;
    assert_eq!((response.status, response.header("Sec-WebSocket-Extensions")), (101, None), "{response:?}");
}

#[tokio::test]
async fn what_is_no_upgrade_is_told_so() {
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    let good = Request::default;
    let cases = [
        ("no key", 400, good().without("Sec-WebSocket-Key")),
        ("a short key", 400, good().with("Sec-WebSocket-Key", "c2hvcnQ=")),
        ("a key that is not base64", 400, good().with("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")),
        ("no Host", 400, good().without("Host")),
        ("no Connection", 400, good().without("Connection")),
        ("another Connection", 400, good().with("Connection", "keep-alive")),
        ("another Upgrade", 426, good().with("Upgrade", "h2c")),
        ("no known subprotocol", 400, good().with("Sec-WebSocket-Protocol", "soap, ullim.v9.json")),
        ("a body", 400, good().with("Content-Length", "5")),
        ("version 8", 426, good().with("Sec-WebSocket-Version", "8")),
        ("another path", 404, good().line("GET /socket HTTP/1.1")),
        ("another method", 405, good().line("POST /ws HTTP/1.1")),
    ];
    for (what, status, request) in cases {
        let response = ask(&node, &request).await;
        refused(&response, status, what);
        if status == 426 {
            assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"), "{what}: {response:?}");
        }
        bystander.is_undisturbed().await;
    }
    let plain = good().without("Upgrade").without("Connection").without("Sec-WebSocket-Version");
    refused(&ask(&node, &plain.without("Sec-WebSocket-Key")).await, 426, "a plain GET");
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], b"hello\r\n\r\n", b"GET /ws\r\n\r\n"] {
        let mut raw = Raw::dial(node.address()).await;
        raw.send(bytes).await;
        assert_eq!(raw.response().await.status, 400, "{bytes:?}");
        bystander.is_undisturbed().await;
    }
}

#[tokio::test]
async fn only_allowed_origins_are_let_in() {
    let origins = "https://a.example,http://b.example:8080";
    let node = Node::with("client.origins", origins).await;
    for origin in ["https://a.example", "http://b.example:8080"] {
        assert_eq!(ask(&node, &Request::default().with("Origin", origin)).await.status, 101, "{origin}");
    }
    let wrong = [
        "http://a.example",
        "https://a.example:444",
        "https://a.example:443",
        "https://a.example.evil",
        "https://x.a.example",
        "https://evil.example/https://a.example",
        "https://a.example@evil.example",
        "https://A.example",
        "HTTPS://a.example",
        "https://a.example/",
        "https://a.example, https://evil.example",
        "null",
        "",
    ];
    for origin in wrong {
        refused(&ask(&node, &Request::default().with("Origin", origin)).await, 403, origin);
    }
    let twice = Request::default().and("Origin", "https://a.example").and("Origin", "https://evil.example");
    refused(&ask(&node, &twice).await, 400, "two origins");
    assert_eq!(ask(&node, &Request::default()).await.status, 101, "no Origin, no browser");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let node = Node::start().await;
    refused(&ask(&node, &Request::default().with("X-Long", &"x".repeat(17 << 10))).await, 431, "17 KiB");
    let many = (0..65).fold(Request::default(), |request, number| request.and(&format!("X-{number}"), "1"));
    refused(&ask(&node, &many).await, 431, "more than 64 headers");
    let mut endless = Raw::dial(node.address()).await;
    endless.send(b"GET /ws HTTP/1.1\r\nX-Endless: ").await;
    endless.send(&vec![b'x'; 64 << 10]).await;
    assert_eq!(endless.response().await.status, 431);
}

#[tokio::test]
async fn a_client_that_drips_is_not_waited_for() {
    let node = Node::with("client.handshake_timeout", "300ms").await;
    let mut silent = Raw::dial(node.address()).await;
    let mut dripping = Raw::dial(node.address()).await;
    dripping.send(b"GET /ws HTTP/1.1\r\n").await;
    let mut drops = b"X-Drip: x\r\n".iter().cycle();
    let mut pace = interval(Duration::from_millis(10));
    let answer = within("the answer to a client that drips", async {
        loop {
            tokio::select! {
                answer = dripping.response() => break answer,
                _ = pace.tick() => dripping.try_send(&[*drops.next().unwrap()]),
            };
        }
    });
    refused(&answer.await, 408, "a dripping client");
    refused(&silent.response().await, 408, "a silent client");
    silent.ended().await;
}

#[tokio::test]
async fn a_full_node_says_so() {
    let node = Node::with("client.max_connections", "2").await;
    let first = Raw::upgraded(&node).await;
    let _second = Raw::upgraded(&node).await;
    let response = ask(&node, &Request::default()).await;
    refused(&response, 503, "one too many");
    assert!(response.header("Retry-After").is_some(), "{response:?}");
    drop(first);
    ullim_tests::eventually("room for another", async || {
        (ask(&node, &Request::default()).await.status == 101).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_may_send_its_first_message_with_its_request() {
    let node = Node::start().await;
    let mut raw = Raw::dial(node.address()).await;
    let mut bytes = Request::default().bytes();
    bytes.extend(ullim_tests::Frame::text(r#"{"id":1,"connect":{}}"#).bytes());
    bytes.extend(ullim_tests::Frame::text(r#"{"id":2,"ping":{}}"#).bytes());
    raw.send(&bytes).await;
    assert_eq!(raw.response().await.status, 101);
    assert!(raw.text().await.starts_with(r#"{"id":1,"connect":"#));
    assert_eq!(raw.text().await, r#"{"id":2,"ping":{}}"#);
}
