//! Frames that break RFC 6455: each closes its connection with its code, and disturbs nobody else.

use ullim_tests::{Client, Encoding, Frame, Node, Raw};

use crate::bystander::Bystander;

/// The bytes of several frames.
fn sequence(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

/// Sends each of the bytes on a connection of its own, whole and byte by byte.
async fn closes_with(code: u16, name: &str, cases: &[(&str, Vec<u8>)]) {
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    for (what, bytes) in cases {
        for piece in [bytes.len(), 1] {
            let mut raw = Raw::connected(&node).await;
            for chunk in bytes.chunks(piece.max(bytes.len() / 2000)) {
                raw.send(chunk).await;
            }
            let closed = raw.closed().await;
            assert_eq!(closed.code, code, "{what}: {closed:?}");
            assert!(closed.reason.starts_with(&format!("{name}: ")), "{what}: {closed:?}");
        }
        bystander.is_undisturbed().await;
    }
}

#[tokio::test]
async fn frames_that_break_the_rules_are_a_protocol_error() {
    let ping = r#"{"id":9,"ping":{}}"#;
    let text = || Frame::text(ping);
    let length = |bytes: &[u8]| [&[0x81][..], bytes].concat();
    let cases = [
        ("unmasked", text().unmasked().bytes()),
        ("RSV1", text().reserved(0x40).bytes()),
        ("RSV2", text().reserved(0x20).bytes()),
        ("RSV3", text().reserved(0x10).bytes()),
        ("RSV1 on a ping", Frame::new(9, b"").reserved(0x40).bytes()),
        ("opcode 3", Frame::new(3, b"").bytes()),
        ("opcode 11", Frame::new(11, b"").bytes()),
        ("opcode 15", Frame::new(15, b"").bytes()),
        ("a ping of 126 bytes", Frame::new(9, &[b'x'; 126]).bytes()),
        ("a pong of 126 bytes", Frame::new(10, &[b'x'; 126]).bytes()),
        ("a close of 126 bytes", Frame::close(1000, &"x".repeat(124)).bytes()),
        ("a ping in two fragments", sequence(&[Frame::new(9, b"a").unfinished(), Frame::new(0, b"b")])),
        ("a continuation of nothing", Frame::new(0, b"x").bytes()),
        ("a continuation after a whole message", sequence(&[text(), Frame::new(0, b"x")])),
        ("a text inside of a text", sequence(&[text().unfinished(), text()])),
        ("a binary inside of a text", sequence(&[text().unfinished(), Frame::binary(b"x")])),
        ("5 bytes in a 16-bit length", length(&[0xFE, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5])),
        ("200 bytes in a 64-bit length", length(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0])),
        ("a length with the high bit", length(&[0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])),
    ];
    closes_with(1002, "protocol_error", &cases).await;
}

#[tokio::test]
async fn close_frames_that_break_the_rules_are_a_protocol_error() {
    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65_535];
    let mut cases: Vec<_> =
        codes.iter().map(|code| ("a code that is not allowed", Frame::close(*code, "").bytes())).collect();
    cases.push(("half a code", Frame::new(8, &[3]).bytes()));
    closes_with(1002, "protocol_error", &cases).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let text = |bytes: &[u8]| Frame::new(1, bytes);
    let cases = [
        ("a stray byte", text(b"{\"id\":1,\"x\":\"\xFF\"}").bytes()),
        ("a surrogate", text(b"\"\xED\xA0\x80\"").bytes()),
        ("an overlong slash", text(b"\"\xC0\xAF\"").bytes()),
        ("beyond U+10FFFF", text(b"\"\xF4\x90\x80\x80\"").bytes()),
        ("half a character at the end", text(b"\"\xE2\x82").bytes()),
        (
            "half a character at the end of two fragments",
            sequence(&[text(b"\"\xE2").unfinished(), Frame::new(0, b"\x82")]),
        ),
        (
            "a character broken across fragments",
            sequence(&[text(b"\"\xE2").unfinished(), Frame::new(0, b"\x28\xA1\"")]),
        ),
        ("a bad first fragment, never finished", text(b"\"\xFF").unfinished().bytes()),
        ("a close reason", Frame::new(8, b"\x03\xE8\xFF").bytes()),
    ];
    closes_with(1007, "invalid_utf8", &cases).await;
}

#[tokio::test]
async fn messages_that_are_too_big_are_refused() {
    const LIMIT: usize = 64 << 10;
    let half = vec![b' '; LIMIT / 2];
    let mut fragments = vec![Frame::new(1, b" ").unfinished()];
    fragments.extend((0..64).map(|_| Frame::new(0, b" ").unfinished()));
    let claims = |length: u64| [Frame::text("").header(length), vec![1, 2, 3, 4]].concat();
    let cases = [
        ("one byte more than the limit", Frame::new(1, &vec![b' '; LIMIT + 1]).bytes()),
        (
            "fragments that sum up to more",
            sequence(&[Frame::new(1, &half).unfinished(), Frame::new(0, &half).unfinished(), Frame::new(0, b" ")]),
        ),
        ("65 fragments", sequence(&fragments)),
        ("a claim of 1 TiB", claims(1 << 40)),
        ("the largest claim", claims(i64::MAX as u64)),
    ];
    closes_with(1009, "message_too_big", &cases).await;
}

#[tokio::test]
async fn a_message_of_the_other_type_is_refused() {
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    for (own, other) in [(Encoding::Json, Encoding::MessagePack), (Encoding::MessagePack, Encoding::Json)] {
        let mut client = Client::connect(&node, own).await;
        client.send(other.encode(&serde_json::json!({"id": 2, "ping": {}}))).await;
        let closed = client.closed().await;
        assert_eq!(closed.code, 1003, "{own:?}: {closed:?}");
        assert!(closed.reason.starts_with("unsupported_data: "), "{closed:?}");
        bystander.is_undisturbed().await;
    }
}

#[tokio::test]
async fn what_is_allowed_is_taken() {
    let node = Node::start().await;
    let mut raw = Raw::connected(&node).await;
    let ping = r#"{"id":2,"ping":{}}"#;
    let padded = format!("{ping}{}", " ".repeat((64 << 10) - ping.len()));
    raw.send_text(&padded).await;
    assert_eq!(raw.text().await, ping, "a message of exactly the limit");

    let (first, rest) = ping.as_bytes().split_at(7);
    let empty = || Frame::new(0, b"").unfinished();
    let between = [Frame::new(1, first).unfinished(), Frame::new(9, b"now"), empty(), Frame::new(0, rest)];
    raw.send(&sequence(&between)).await;
    assert_eq!(raw.frame().await.unwrap(), Frame::new(10, b"now").unmasked(), "a ping inside of a message");
    assert_eq!(raw.text().await, ping);

    let split = "{\"id\":3,\"ping\":{},\"ü\":\"€\"}".as_bytes();
    let mut fragments: Vec<_> = split.iter().map(|byte| Frame::new(0, &[*byte]).unfinished()).collect();
    fragments[0].first = 1;
    fragments.push(Frame::new(0, b""));
    raw.send(&sequence(&fragments)).await;
    assert_eq!(raw.text().await, r#"{"id":3,"ping":{}}"#, "characters split across fragments");

    raw.send(&Frame::new(10, b"nobody asked").bytes()).await;
    raw.send_text(ping).await;
    assert_eq!(raw.text().await, ping, "an unasked pong");
    raw.send(&sequence(&[Frame::close(4999, "mine"), Frame::text(ping)])).await;
    let closed = raw.frame().await.unwrap();
    assert_eq!(closed.first, 0x88, "{closed:?}");
    assert_eq!(raw.frame().await, None, "nothing follows a close frame");

    let mut wordless = Raw::connected(&node).await;
    wordless.send(&Frame::new(8, b"").bytes()).await;
    assert_eq!(wordless.frame().await.unwrap().first, 0x88);
    assert_eq!(wordless.frame().await, None);
}

#[tokio::test]
async fn a_client_that_vanishes_in_the_middle_of_a_frame_disturbs_nobody() {
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    let frame = Frame::text(r#"{"id":2,"subscribe":{"channel":"chat:bystander"}}"#).bytes();
    for length in 1..frame.len() {
        let mut raw = Raw::connected(&node).await;
        raw.send(&frame[..length]).await;
    }
    bystander.is_undisturbed().await;
}
