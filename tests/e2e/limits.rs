//! Limits on what one connection may have and do, and the answer to each.

use serde_json::{Value, json};
use ullim_tests::{Client, Encoding, Frame, Node, Raw};

use crate::bystander::Bystander;

#[tokio::test]
async fn a_connection_holds_only_so_many_subscriptions() {
    let node = Node::with("hub.subscriptions", "3").await;
    let mut client = Client::open(&node, Encoding::Json).await;
    let reply = client.ok("connect", json!({})).await;
    assert_eq!(reply["limits"]["subscriptions"], 3);
    let wanted = |numbers: std::ops::Range<u32>| {
        let channels: Vec<_> = numbers.map(|number| json!({"channel": format!("chat:{number}")})).collect();
        json!({ "channels": channels })
    };
    assert_eq!(client.refused("subscribe", wanted(0..4)).await, "too_many_subscriptions", "more than there can be");
    client.subscribe("chat:0").await;
    let reply = client.ok("subscribe", wanted(1..4)).await;
    let errors: Vec<_> = (0..3).map(|number| reply["channels"][number]["error"]["name"].clone()).collect();
    assert_eq!(errors, [Value::Null, Value::Null, json!("too_many_subscriptions")], "{reply}");
    assert_eq!(client.refused("subscribe", json!({"channel": "chat:9"})).await, "too_many_subscriptions");
    client.subscribe("chat:0").await;
    client.ok("unsubscribe", json!({"channel": "chat:0"})).await;
    client.subscribe("chat:9").await;
}

#[tokio::test]
async fn the_size_of_messages_is_configurable() {
    let node = Node::builder().set("client.message_bytes", "1000").set("client.message_fragments", "2").start().await;
    let mut client = Client::open(&node, Encoding::Json).await;
    let reply = client.ok("connect", json!({})).await;
    assert_eq!(reply["limits"]["message"], 1000);
    let mut raw = Raw::upgraded(&node).await;
    raw.send_text(&" ".repeat(1001)).await;
    assert_eq!(raw.closed().await.code, 1009);
    let mut raw = Raw::upgraded(&node).await;
    for fragment in [Frame::text(" ").unfinished(), Frame::new(0, b" ").unfinished(), Frame::new(0, b" ")] {
        raw.send(&fragment.bytes()).await;
    }
    assert_eq!(raw.closed().await.code, 1009);
}

#[tokio::test]
async fn too_many_commands_are_refused_and_then_end_the_connection() {
    const RATE: usize = 20;
    let node = Node::with("hub.commands_per_second", &RATE.to_string()).await;
    let mut bystander = Bystander::of(&node).await;
    let mut raw = Raw::connected(&node).await;
    let flood: Vec<u8> =
        (0..20 * RATE).flat_map(|id| Frame::text(&format!(r#"{{"id":{},"ping":{{}}}}"#, id + 2)).bytes()).collect();
    raw.send(&flood).await;
    let (mut answered, mut refused) = (0, 0);
    let closed = loop {
        let frame = raw.frame().await.expect("a close frame before the end");
        match frame.first {
            0x81 if frame.payload.windows(12).any(|window| window == b"rate_limited") => refused += 1,
            0x81 => answered += 1,
            _ => break frame,
        }
    };
    assert_eq!(closed.payload[..2], 4004_u16.to_be_bytes(), "{closed:?}");
    assert!((RATE - 2..3 * RATE).contains(&answered), "{answered} were answered");
    assert!((RATE / 2..3 * RATE).contains(&refused), "{refused} were refused");
    bystander.is_undisturbed().await;
}

#[tokio::test]
async fn a_flood_of_control_frames_ends_the_connection() {
    let node = Node::with("hub.commands_per_second", "20").await;
    for opcode in [9, 10] {
        let mut raw = Raw::connected(&node).await;
        raw.send(&Frame::new(opcode, b"x").bytes().repeat(1000)).await;
        assert_eq!(raw.close_frame().await.code, 4004, "opcode {opcode}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_nobody_waits_for_it() {
    const MESSAGES: usize = 600;
    let node = Node::builder().set("hub.queue_bytes", "200000").set("hub.commands_per_second", "100000").start().await;
    let mut slow = Raw::connected(&node).await;
    slow.send_text(r#"{"id":2,"subscribe":{"channel":"chat:1"}}"#).await;
    assert_eq!(slow.text().await, r#"{"id":2,"subscribe":{}}"#);
    let mut fast = Client::subscribed(&node, "chat:1").await;
    let mut publisher = Client::connect(&node, Encoding::MessagePack).await;
    let filling = "x".repeat(50_000);
    for number in 0..MESSAGES {
        publisher.publish("chat:1", json!({"n": number, "filling": filling})).await;
        assert_eq!(fast.publication("chat:1").await["data"]["n"], number);
    }
    let closed = slow.close_frame().await;
    assert_eq!(closed.code, 4003, "{closed:?}");
    assert!(closed.reason.starts_with("slow_consumer: "), "{closed:?}");
}
