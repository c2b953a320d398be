//! Payloads in Redis that no node can decode: dropped, counted, and told as a gap.

use serde_json::json;
use ullim_tests::{Client, Encoding, Node, Proxy, Redis, eventually, http, now_ms};

const MAGIC: &[u8] = b"\x89ULLIM\r\n";

/// An envelope of version 1 with these fields and this data.
fn envelope(fields: &[(u8, &[u8])], data: &[u8]) -> Vec<u8> {
    let mut bytes = [MAGIC, &[1]].concat();
    for (tag, value) in fields {
        bytes.push(*tag);
        bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        bytes.extend_from_slice(value);
    }
    bytes.push(0);
    bytes.extend_from_slice(data);
    bytes
}

const JSON: (u8, &[u8]) = (0x81, &[1]);
const TEXT: (u8, &[u8]) = (0x81, &[2]);
const BINARY: (u8, &[u8]) = (0x81, &[3]);

#[tokio::test]
async fn an_envelope_that_cannot_be_decoded_is_told_as_a_gap() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).set("broker.payload_bytes", "100000").start().await;
    let mut client = Client::subscribed(&node, "chat:1").await;
    let mut neighbour = Client::subscribed(&node, "chat:2").await;
    let deep = "[".repeat(128) + &"]".repeat(128);
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("only the magic", MAGIC.to_vec()),
        ("version 2", [MAGIC, &[2, 0x81, 0, 1, 1, 0], b"{}"].concat()),
        ("no kind", envelope(&[], b"{}")),
        ("an unknown kind", envelope(&[(0x81, &[4])], b"{}")),
        ("a long kind", envelope(&[(0x81, &[1, 1])], b"{}")),
        ("an unknown critical tag", envelope(&[JSON, (0x90, b"x")], b"{}")),
        ("a field twice", envelope(&[JSON, JSON], b"{}")),
        ("no end", [MAGIC, &[1, 0x81, 0, 1, 1]].concat()),
        ("a field beyond the end", [MAGIC, &[1, 0x81, 0xFF, 0xFF, 1]].concat()),
        ("a short time", envelope(&[JSON, (2, &[0; 7])], b"{}")),
        ("a time out of bounds", envelope(&[JSON, (2, &[0xFF; 8])], b"{}")),
        ("a short session", envelope(&[JSON, (0x83, &[0; 15])], b"{}")),
        ("headers that are no object", envelope(&[JSON, (4, b"[]")], b"{}")),
        ("headers that are no strings", envelope(&[JSON, (4, br#"{"a":1}"#)], b"{}")),
        ("JSON that is none", envelope(&[JSON], b"{")),
        ("JSON that is too deep", envelope(&[JSON], deep.as_bytes())),
        ("text that is not UTF-8", envelope(&[TEXT], b"\xFF")),
        ("more bytes than a node relays", vec![b'x'; 100_001]),
    ];
    for (what, payload) in &bad {
        let time = redis.publish_at("chat:1", payload).await;
        let push = client.push().await;
        let gap = push.get("gap").unwrap_or_else(|| panic!("{what}: {push}"));
        assert_eq!((&push["channel"], &gap["reason"]), (&json!("chat:1"), &json!("undecodable")), "{what}");
        let (from, to) = (gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap());
        assert!((from..=to).contains(&time), "{what}: {gap} does not cover {time}");
        redis.publish("chat:1", "1");
        assert_eq!(client.publication("chat:1").await["data"], 1, "after {what}");
    }
    neighbour.heard_nothing().await;
    let metrics = http::get(&node.internal("/metrics")).await.body;
    let counted = format!("ullim_messages_dropped_total{{reason=\"undecodable\"}} {}", bad.len());
    assert!(metrics.contains(&counted), "{counted} is missing in\n{metrics}");
}

#[tokio::test]
async fn a_gap_covers_what_was_long_on_its_way() {
    const LATE_MS: u64 = 100;
    let redis = Redis::start().await;
    let proxy = Proxy::start(&redis).await;
    let node = Node::builder().redis_at(&proxy.url()).start().await;
    let mut client = Client::subscribed(&node, "chat:1").await;
    proxy.stall();
    let time = redis.publish_at("chat:1", &envelope(&[], b"{}")).await;
    eventually("it to be late", async || (now_ms() > time + LATE_MS).then_some(())).await;
    proxy.flow();
    let push = client.push().await;
    let (from, to) = (push["gap"]["from"].as_u64().unwrap(), push["gap"]["to"].as_u64().unwrap());
    assert!((from..=to).contains(&time), "{push} does not cover {time}");
}

#[tokio::test]
async fn a_payload_that_breaks_its_namespaces_rule_is_told_as_a_gap() {
    let redis = Redis::start().await;
    let node = Node::builder()
        .redis(&redis)
        .set("namespaces.strict.subscribe", "anyone")
        .set("namespaces.strict.payload", "json")
        .start()
        .await;
    let mut client = Client::subscribed(&node, "strict:1").await;
    for payload in [&b"hello"[..], b"", b"\xFF", br#"{"a":"#, br#""\ud800""#] {
        redis.publish_bytes("strict:1", payload).await;
        assert_eq!(client.push().await["gap"]["reason"], "undecodable", "{payload:?}");
    }
    redis.publish_bytes("strict:1", b"{}").await;
    assert_eq!(client.publication("strict:1").await["data"], json!({}));
}

#[tokio::test]
async fn an_envelope_of_a_backend_is_delivered_with_what_it_says() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).start().await;
    let mut client = Client::subscribed(&node, "chat:1").await;
    let time = 1_763_700_000_000_u64;
    let fields: [(u8, &[u8]); 4] = [BINARY, (2, &time.to_be_bytes()), (4, br#"{"trace":"1f"}"#), (0x30, b"skipped")];
    redis.publish_bytes("chat:1", &envelope(&fields, b"\x00\x01")).await;
    let expected = json!({"b64": "AAE=", "headers": {"trace": "1f"}, "time": time});
    assert_eq!(client.publication("chat:1").await, expected);
}

#[tokio::test]
async fn a_publication_may_spare_one_session() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).start().await;
    let mut spared = Client::open(&node, Encoding::Json).await;
    let session = spared.ok("connect", json!({})).await["session"].as_str().unwrap().to_owned();
    spared.subscribe("chat:1").await;
    let mut other = Client::subscribed(&node, "chat:1").await;
    let session = URL_SAFE_NO_PAD.decode(session).unwrap();
    redis.publish_bytes("chat:1", &envelope(&[JSON, (0x83, &session)], b"1")).await;
    redis.publish("chat:1", "2");
    assert_eq!(other.publication("chat:1").await["data"], 1);
    assert_eq!(other.publication("chat:1").await["data"], 2);
    assert_eq!(spared.publication("chat:1").await["data"], 2);
}
