//! Clients that read too slowly, in namespaces in which publications may give way.

use serde_json::{Value, json};
use ullim_tests::{Client, Encoding, Node};

const MESSAGES: u64 = 600;

/// Much more than sockets hold: 30 MB in all.
const FILLING: usize = 50_000;

const QUEUE: usize = 200_000;

/// A node with a namespace for each policy.
async fn node() -> Node {
    let mut builder =
        Node::builder().set("hub.queue_bytes", &QUEUE.to_string()).set("hub.commands_per_second", "100000");
    for (namespace, policy) in [("oldest", "drop_oldest"), ("newest", "latest")] {
        let key = |option: &str| format!("namespaces.{namespace}.{option}");
        builder = builder.set(&key("slow_consumer"), policy);
        builder = builder.set(&key("subscribe"), "anyone").set(&key("publish"), "anyone");
    }
    builder.start().await
}

/// Publishes while `slow` does not read, and somebody else hears all of it; what `slow` hears when it reads again.
async fn heard_late(node: &Node, channel: &str) -> Vec<Value> {
    let mut slow = Client::subscribed(node, channel).await;
    let mut fast = Client::subscribed(node, channel).await;
    let mut publisher = Client::connect(node, Encoding::MessagePack).await;
    let filling = "x".repeat(FILLING);
    let before = node.process.resident_kib();
    for number in 0..MESSAGES {
        publisher.publish(channel, json!({"n": number, "filling": filling})).await;
        assert_eq!(fast.publication(channel).await["data"]["n"], number);
    }
    let grown = node.process.resident_kib().saturating_sub(before);
    assert!(grown < 10 << 10, "what waits is bounded, and the node has grown by {grown} KiB");
    publisher.publish(channel, json!({"n": MESSAGES})).await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|push: &Value| push["pub"]["data"]["n"] != MESSAGES) {
        heard.push(slow.push().await);
    }
    heard
}

#[tokio::test]
async fn the_oldest_give_way_and_whoever_reads_on_is_told_where() {
    let node = node().await;
    let heard = heard_late(&node, "oldest:1").await;
    let (mut next, mut holes) = (0, 0);
    let mut told = false;
    for push in &heard {
        if push.get("gap").is_some() {
            assert_eq!(push["gap"]["reason"], "slow_consumer", "{push}");
            assert!(push["gap"]["from"].as_u64() <= push["gap"]["to"].as_u64(), "{push}");
            told = true;
            continue;
        }
        let number = push["pub"]["data"]["n"].as_u64().unwrap();
        assert!(number == next || (told && number > next), "{next} was left out, and nobody said so");
        holes += u64::from(number > next);
        (next, told) = (number + 1, false);
    }
    assert!(holes > 0, "nothing gave way: what was this to show?");
}

#[tokio::test]
async fn of_a_channel_whose_latest_counts_a_slow_client_hears_the_newest() {
    let node = node().await;
    let heard = heard_late(&node, "newest:1").await;
    let numbers: Vec<u64> = heard.iter().map(|push| push["pub"]["data"]["n"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!((numbers.len() as u64) < MESSAGES, "nothing gave way: what was this to show?");
}
