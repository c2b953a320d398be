//! Clients that send more than a node takes at once, and nodes that end while something is under way.

use serde_json::json;
use ullim_tests::{Client, Encoding, Node, Raw, Redis, Request};

#[tokio::test]
async fn commands_keep_their_order_however_often_the_node_stops_reading() {
    const ROUNDS: u64 = 30;
    let redis = Redis::start().await;
    for on_redis in [false, true] {
        let mut builder = Node::builder().set("hub.commands_per_second", "1000000");
        if on_redis {
            builder = builder.redis(&redis);
        }
        let node = builder.start().await;
        let mut client = Client::connect(&node, Encoding::Json).await;
        let data = "x".repeat(3500);
        let mut id = 1000;
        for round in 0..ROUNDS {
            let channel = format!("chat:{round}");
            id += 1;
            client.send_value(&json!({"id": id, "subscribe": {"channel": channel}})).await;
            for _ in 0..70 {
                id += 1;
                let publish = json!({"channel": channel, "data": data, "echo": false});
                client.send_value(&json!({"id": id, "publish": publish})).await;
            }
            id += 1;
            client.send_value(&json!({"id": id, "unsubscribe": {"channel": channel}})).await;
        }
        for expected in 1001..=id {
            let reply = client.reply().await;
            assert_eq!((reply["id"].as_u64(), reply.get("error")), (Some(expected), None), "on redis: {on_redis}");
        }
        client.heard_nothing().await;
    }
}

#[tokio::test]
async fn thousands_of_publications_that_spare_their_sender_reach_a_silent_listener() {
    const MESSAGES: u64 = 4000;
    let node = Node::builder().set("hub.commands_per_second", "1000000").set("client.shards", "1").start().await;
    let mut listener = Client::subscribed(&node, "chat:1").await;
    let mut speaker = Client::connect(&node, Encoding::Json).await;
    for number in 0..MESSAGES {
        let publish = json!({"channel": "chat:1", "data": number, "echo": false});
        speaker.send_value(&json!({"id": number + 1000, "publish": publish})).await;
    }
    for number in 0..MESSAGES {
        assert_eq!(listener.publication("chat:1").await["data"], number);
    }
}

#[tokio::test]
async fn a_handshake_that_is_under_way_when_the_node_ends_is_refused() {
    let mut node = Node::start().await;
    let mut late = Raw::dial(node.address()).await;
    late.send(&Request::default().bytes()[..40]).await;
    // Connections are taken in turn: once this one stands, so does the other.
    let client = Raw::connected(&node).await;
    node.process.signal(rustix::process::Signal::TERM);
    assert_eq!(late.response().await.status, 503);
    drop(client);
    assert!(node.process.end().await.success());
}
