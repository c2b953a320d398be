//! Whatever the publisher writes, every subscriber reads it in its own encoding.

use serde_json::{Value, json};
use ullim_tests::{Client, Encoding, Node, Redis};

/// Publishes on one connection what another one, of the other encoding, is to hear.
async fn crosses(node: &Node, from: Encoding, to: Encoding) {
    let mut publisher = Client::connect(node, from).await;
    let mut subscriber = Client::connect(node, to).await;
    subscriber.subscribe("chat:1").await;
    let values = [
        json!({"text": "hello", "n": [1, -2, 3.5, true, null], "ü": "한국어 \u{1F600}"}),
        json!(null),
        json!("only a string"),
        json!(9_007_199_254_740_993_u64),
        json!([]),
    ];
    for value in values {
        publisher.publish("chat:1", value.clone()).await;
        let publication = subscriber.publication("chat:1").await;
        assert_eq!(publication.get("data"), Some(&value), "{from:?} → {to:?}");
        assert!(publication["time"].is_u64(), "{publication}");
    }

    publisher.ok("publish", json!({"channel": "chat:1", "text": "{\"not\":\"data\"}"})).await;
    assert_eq!(subscriber.publication("chat:1").await["text"], "{\"not\":\"data\"}");

    let bytes: Vec<u8> = (0..=255).collect();
    let (field, value) = from.binary(&bytes);
    publisher.ok("publish", json!({"channel": "chat:1", field: value})).await;
    let (field, value) = to.binary(&bytes);
    assert_eq!(subscriber.publication("chat:1").await[field], value, "{from:?} → {to:?}");

    let headers = json!({"trace": "1f", "ü": ""});
    publisher.ok("publish", json!({"channel": "chat:1", "data": 1, "headers": headers})).await;
    let publication = subscriber.publication("chat:1").await;
    assert_eq!((&publication["data"], &publication["headers"]), (&json!(1), &headers));
}

#[tokio::test]
async fn every_kind_of_data_crosses_from_one_encoding_to_the_other() {
    let node = Node::start().await;
    for from in Encoding::ALL {
        for to in Encoding::ALL {
            crosses(&node, from, to).await;
        }
    }
}

#[tokio::test]
async fn every_kind_of_data_crosses_redis() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).start().await;
    crosses(&node, Encoding::Json, Encoding::MessagePack).await;
    crosses(&node, Encoding::MessagePack, Encoding::Json).await;
}

#[tokio::test]
async fn a_raw_payload_is_what_it_looks_like() {
    let redis = Redis::start().await;
    let node = Node::builder()
        .redis(&redis)
        .set("namespaces.text.subscribe", "anyone")
        .set("namespaces.text.payload", "text")
        .set("namespaces.binary.subscribe", "anyone")
        .set("namespaces.binary.payload", "binary")
        .start()
        .await;
    let mut client = Client::connect(&node, Encoding::Json).await;
    let cases: [(&str, &[u8], &str, Value); 8] = [
        ("chat:1", br#"{"a":1}"#, "data", json!({"a": 1})),
        ("chat:1", b" 17 ", "data", json!(17)),
        ("chat:1", b"hello", "text", json!("hello")),
        ("chat:1", b"{\"a\":", "text", json!("{\"a\":")),
        ("chat:1", b"", "text", json!("")),
        ("chat:1", b"\xFF\x00", "b64", json!("/wA=")),
        ("text:1", br#"{"a":1}"#, "text", json!("{\"a\":1}")),
        ("binary:1", br#"{"a":1}"#, "b64", json!("eyJhIjoxfQ==")),
    ];
    for (channel, payload, field, value) in cases {
        client.subscribe(channel).await;
        redis.publish_bytes(channel, payload).await;
        let publication = client.publication(channel).await;
        assert_eq!(publication.get(field), Some(&value), "{}: {publication}", String::from_utf8_lossy(payload));
    }
}
