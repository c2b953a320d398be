//! Clients that say nothing.

use serde_json::json;
use ullim_tests::{Client, Encoding, Frame, Node, Raw};

#[tokio::test]
async fn a_client_that_never_connects_is_closed() {
    let node = Node::with("hub.connect_timeout", "300ms").await;
    let mut silent = Raw::upgraded(&node).await;
    // Commands that are refused are no connect.
    let mut talking = Client::open(&node, Encoding::Json).await;
    assert_eq!(talking.refused("ping", json!({})).await, "not_connected");
    let closed = silent.closed().await;
    assert_eq!(closed.code, 4001, "{closed:?}");
    assert!(closed.reason.starts_with("connect_timeout: "), "{closed:?}");
    assert_eq!(talking.closed().await.code, 4001);
    let mut connected = Client::connect(&node, Encoding::Json).await;
    connected.ok("ping", json!({})).await;
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_then_closed() {
    let node = Node::with("hub.ping_interval", "200ms").await;
    let mut silent = Raw::connected(&node).await;
    let ping = silent.frame().await.unwrap();
    assert_eq!(ping.first, 0x89, "{ping:?}");
    let closed = silent.closed().await;
    assert_eq!(closed.code, 4002, "{closed:?}");
    assert!(closed.reason.starts_with("heartbeat_timeout: "), "{closed:?}");
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let node = Node::with("hub.ping_interval", "100ms").await;
    let mut raw = Raw::connected(&node).await;
    for _ in 0..10 {
        let ping = raw.frame().await.unwrap();
        assert_eq!(ping.first, 0x89, "{ping:?}");
        raw.send(&Frame::new(10, &ping.payload).bytes()).await;
    }
    raw.send_text(r#"{"id":2,"ping":{}}"#).await;
    while raw.frame().await.unwrap().first != 0x81 {}
}
