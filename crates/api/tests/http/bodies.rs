//! Bodies of every wrong kind, and the odd ones that are right.

use crate::fixture::{KEY, assert_refused, listener, parts};

const PATHS: [&str; 7] = [
    "/api/publish",
    "/api/publish_many",
    "/api/presence",
    "/api/presence_count",
    "/api/channels",
    "/api/disconnect",
    "/api/unsubscribe",
];

#[tokio::test]
async fn whatever_is_no_such_object_is_refused_on_every_path() {
    let listener = listener().await;
    let deep = format!("{{\"x\":{}", "[".repeat(900));
    let bodies = [
        "",
        " ",
        "{",
        "null",
        "true",
        "1",
        "\"x\"",
        "[]",
        "[{}]",
        "{}{}",
        "{'a':1}",
        "\u{feff}{}",
        "channel=chat:1",
        r#"{"unknown":1}"#,
        r#"{"channel":null}"#,
        r#"{"channel":{}}"#,
        r#"{"channel":1e999}"#,
        r#"{"channel":123456789012345678901234567890}"#,
        r#"{"channel":"\ud800"}"#,
        r#"{"limit":1,"limit":1}"#,
        r#"{"channel":"people:1","channel":"people:1"}"#,
        r#"{"user":"a","user":"a"}"#,
        &deep,
    ];
    for path in PATHS {
        for body in bodies {
            assert_refused(&listener.post(path, body).await, 400, "bad_message");
        }
        let invalid = [format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\ncontent-length: 15\r\n\r\n").as_bytes(), b"{\"channel\":\"\xff\"}"].concat();
        assert_refused(&listener.raw(&invalid).await, 400, "bad_message");
    }
    assert!(listener.broker.channels_heard().is_empty());
}

#[tokio::test]
async fn a_limit_beyond_its_bounds_is_refused() {
    let listener = listener().await;
    for limit in ["0", "-1", "501", "1.5", "null", "\"1\"", "1e300", "18446744073709551616"] {
        let body = format!(r#"{{"channel":"people:1","limit":{limit}}}"#);
        assert_refused(&listener.post("/api/presence", &body).await, 400, "bad_message");
    }
    for body in [r#"{"limit":1001}"#, r#"{"limit":0}"#, r#"{"after":null}"#, r#"{"prefix":null}"#] {
        assert_refused(&listener.post("/api/channels", body).await, 400, "bad_message");
    }
    for field in ["prefix", "after"] {
        let body = format!(r#"{{"{field}":"{}"}}"#, "é".repeat(128));
        assert_refused(&listener.post("/api/channels", &body).await, 400, "bad_message");
    }
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let listener = listener().await;
    let body = r#"{"channel":"chat:1","text":"x"}"#;
    for kind in ["application/json", "application/x-www-form-urlencoded", "text/plain;charset=utf-8", "?"] {
        let head = format!("POST /api/publish HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {kind}");
        let length = body.len();
        let request = format!("{head}\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\r\n{body}");
        assert_eq!(parts(&listener.raw(request.as_bytes()).await).0, 200, "{kind}");
    }
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let listener = listener().await;
    let head = format!(
        "POST /api/publish HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n\
         transfer-encoding: chunked\r\n\r\n"
    );
    let (first, second) = (r#"{"channel":"cha"#, r#"t:1","text":"x"}"#);
    let chunked = format!("{head}{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    assert_eq!(parts(&listener.raw(chunked.as_bytes()).await).0, 200);
    let large = format!("{head}{:x}\r\n{}\r\n0\r\n\r\n", 1001, "x".repeat(1001));
    assert_refused(&listener.raw(large.as_bytes()).await, 413, "bad_data");
    let broken = format!("{head}zz\r\n");
    assert_refused(&listener.raw(broken.as_bytes()).await, 400, "bad_message");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let listener = listener().await;
    for bytes in [1001, 1990, 100_000] {
        let refused = listener.post("/api/publish", &"x".repeat(bytes)).await;
        assert_refused(&refused, 413, "bad_data");
        assert!(refused.contains("broker.payload_bytes"), "{refused}");
    }
    let head = "POST /api/publish HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue";
    let waits = format!("{head}\r\nauthorization: Bearer {KEY}\r\ncontent-length: 1001\r\n\r\n");
    assert_refused(&listener.raw(waits.as_bytes()).await, 413, "bad_data");
}
