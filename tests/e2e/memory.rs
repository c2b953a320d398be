//! What hostile clients send or do not read costs a bounded amount of memory.

use serde_json::json;
use ullim_tests::{Client, Encoding, Frame, Node, Raw, Request, eventually};

use crate::bystander::Bystander;
use crate::turn;

const CONNECTIONS: usize = 500;

/// Asserts that the node has not grown by more than `most` KiB since it had `before`.
fn grew_at_most(node: &Node, before: u64, most: u64) {
    let now = node.process.resident_kib();
    assert!(now <= before + most, "the node grew from {before} KiB to {now} KiB");
}

#[tokio::test]
async fn memory_is_taken_for_bytes_that_arrive_not_for_bytes_that_are_claimed() {
    let _turn = turn::take().await;
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    let before = node.process.resident_kib();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut raw = Raw::connected(&node).await;
        // 500 claims of 64 KiB would be 31 MiB.
        raw.send(&Frame::text("").header(64 << 10)).await;
        raw.send(b"\0\0\0\0{").await;
        connections.push(raw);
    }
    bystander.is_undisturbed().await;
    grew_at_most(&node, before, 12 << 10);
}

#[tokio::test]
async fn a_flood_of_big_messages_and_fragments_leaves_nothing_behind() {
    let _turn = turn::take().await;
    let node = Node::builder().set("hub.commands_per_second", "1000000").start().await;
    let mut bystander = Bystander::of(&node).await;
    let before = node.process.resident_kib();
    let big = Frame::new(1, &vec![b'['; 64 << 10]).bytes();
    let piece = vec![b' '; 60 << 10];
    let mut too_big = Frame::new(1, &piece).unfinished().bytes();
    too_big.extend((0..600).flat_map(|_| Frame::new(0, &piece).unfinished().bytes()));
    for _ in 0..20 {
        let mut raw = Raw::connected(&node).await;
        for _ in 0..50 {
            raw.send(&big).await;
            assert!(raw.text().await.contains("bad_message"));
        }
        raw.send(&too_big).await;
        raw.ended().await;
    }
    bystander.is_undisturbed().await;
    grew_at_most(&node, before, 24 << 10);
}

#[tokio::test]
async fn clients_that_never_read_their_answers_cost_a_bounded_queue() {
    const CLIENTS: usize = 20;
    let _turn = turn::take().await;
    let node = Node::builder().set("hub.commands_per_second", "1000000").start().await;
    let mut bystander = Bystander::of(&node).await;
    let before = node.process.resident_kib();
    let flood = Frame::text(r#"{"id":2,"dance":{}}"#).bytes().repeat(2000);
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        connections.push(Raw::connected(&node).await);
    }
    // Until the node takes no more from any of them.
    eventually("the node to stop reading", async || {
        let taken = connections.iter_mut().filter_map(|raw| raw.try_send(&flood).then_some(())).count();
        bystander.is_undisturbed().await;
        (taken == 0).then_some(())
    })
    .await;
    // Each queue holds up to 1 MiB.
    grew_at_most(&node, before, (CLIENTS as u64 + 12) << 10);
}

#[tokio::test]
async fn connections_that_come_and_go_leave_nothing_behind() {
    let _turn = turn::take().await;
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    let mut before = 0;
    // The first turns warm up what is kept.
    for turn in 0..12 {
        if turn == 4 {
            before = node.process.resident_kib();
        }
        for number in 0..100 {
            let mut client = Client::connect(&node, Encoding::ALL[number % 2]).await;
            client.subscribe(&format!("chat:{turn}:{number}")).await;
            let mut half = Raw::dial(node.address()).await;
            half.send(&Request::default().bytes()[..30]).await;
        }
        bystander.is_undisturbed().await;
    }
    grew_at_most(&node, before, 8 << 10);
    let metrics = node.internal("/metrics");
    eventually("all but one connection to be gone", async || {
        let text = ullim_tests::http::get(&metrics).await.body;
        let line = |name: &str, value: u64| text.lines().any(|line| line == format!("{name} {value}"));
        (line("ullim_connections", 1) && line("ullim_subscriptions", 1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_commands_behind_a_pending_one_are_not_read() {
    let redis = ullim_tests::Redis::start().await;
    let node = Node::builder().redis(&redis).set("hub.commands_per_second", "1000000").start().await;
    let mut bystander = Client::connect(&node, Encoding::Json).await;
    let before = node.process.resident_kib();
    redis.freeze();
    let mut raw = Raw::connected(&node).await;
    raw.send_text(r#"{"id":2,"subscribe":{"channel":"chat:1"}}"#).await;
    let body = "x".repeat(40_000);
    let publish = Frame::text(&format!(r#"{{"id":3,"publish":{{"channel":"chat:1","text":"{body}"}}}}"#)).bytes();
    let mut sent = 0;
    // 40 MB at most: far more than any buffer between the two.
    while sent < 1000 && raw.try_send(&publish) {
        sent += 1;
        bystander.ok("ping", json!({})).await;
    }
    redis.thaw();
    grew_at_most(&node, before, 12 << 10);
    bystander.subscribe("chat:1").await;
}
