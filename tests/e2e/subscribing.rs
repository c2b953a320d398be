//! Subscribing and publishing while others come and go: nothing that follows a reply is lost.

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use ullim_tests::{Client, Cluster, Encoding, Node, Redis};

async fn publish(redis: &mut MultiplexedConnection, channel: &str, payload: &Value) {
    let mut command = redis::cmd("PUBLISH");
    command.arg(format!("ullim:{{{channel}}}")).arg(payload.to_string());
    command.query_async::<u64>(redis).await.unwrap();
}

/// Comes and goes; each time it hears what it publishes between the two replies, and nothing after the second.
async fn comes_and_goes(mut client: Client, mut redis: MultiplexedConnection, me: usize) {
    for round in 0..150 {
        client.subscribe("chat:busy").await;
        let mine = json!([me, round]);
        publish(&mut redis, "chat:busy", &mine).await;
        // What others publish meanwhile is heard too.
        while client.publication("chat:busy").await["data"] != mine {}
        client.ok("unsubscribe", json!({"channel": "chat:busy"})).await;
        client.forget_pushes();
        publish(&mut redis, "chat:busy", &json!("to nobody")).await;
        client.heard_nothing().await;
    }
}

#[tokio::test]
async fn what_is_published_after_the_reply_is_heard_however_often_one_comes_and_goes() {
    let redis = Redis::start().await;
    // So short that the last one's leaving and the next one's coming meet in Redis.
    let node = Node::builder().redis(&redis).set("broker.redis.cooldown", "1ms");
    let node = node.set("hub.commands_per_second", "100000").start().await;
    let mut clients = JoinSet::new();
    for me in 0..3 {
        let client = Client::connect(&node, Encoding::ALL[me % 2]).await;
        clients.spawn(comes_and_goes(client, redis.connection().await, me));
    }
    while let Some(result) = clients.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn what_one_client_publishes_without_waiting_keeps_its_order() {
    const MESSAGES: u64 = 150;
    let cluster = Cluster::start(2).await;
    for encoding in Encoding::ALL {
        let mut near = Client::subscribed(&cluster.nodes[0], "chat:1").await;
        let mut far = Client::subscribed(&cluster.nodes[1], "chat:1").await;
        let mut publisher = Client::connect(&cluster.nodes[0], encoding).await;
        for number in 1..=MESSAGES {
            // The kinds go to Redis in different ways.
            let field = if number % 3 == 0 { "text" } else { "data" };
            let body = json!({"channel": "chat:1", field: number.to_string(), "headers": {}, "echo": number % 2 == 0});
            publisher.send_value(&json!({"id": number, "publish": body})).await;
        }
        for number in 1..=MESSAGES {
            assert_eq!(publisher.reply().await, json!({"id": number, "publish": {}}));
        }
        for subscriber in [&mut near, &mut far] {
            for number in 1..=MESSAGES {
                let publication = subscriber.publication("chat:1").await;
                let value = publication.get("data").or(publication.get("text"));
                assert_eq!(value, Some(&json!(number.to_string())), "{publication}");
            }
            subscriber.heard_nothing().await;
        }
    }
}

#[tokio::test]
async fn the_rights_in_the_contract_are_all_that_a_node_needs() {
    let redis = Redis::start().await;
    let contract = include_str!("../../docs/redis.md");
    let rights = contract.split("The ACL of a node's user: `").nth(1).and_then(|rest| rest.split('`').next());
    let rights = rights.expect("docs/redis.md names the rights");
    let user: Vec<_> = ["ACL", "SETUSER", "node", "on", ">s3cret"].into_iter().chain(rights.split(' ')).collect();
    assert_eq!(redis.cli(&user).trim(), "OK");
    let url = redis.url().replace("redis://", "redis://node:s3cret@");
    let node = Node::builder().redis_at(&url).start().await;
    let mut client = Client::subscribed(&node, "chat:1").await;
    client.publish("chat:1", json!(1)).await;
    assert_eq!(client.publication("chat:1").await["data"], 1);
    let count = client.ok("presence_count", json!({"channel": "chat:1"})).await;
    assert_eq!(count, json!({"connections": 1, "users": 1}));
    client.ok("unsubscribe", json!({"channel": "chat:1"})).await;
    let denied = redis.cli(&["ACL", "LOG"]);
    assert_eq!(denied.trim(), "", "Redis refused something");
    assert!(!node.process.stderr().contains("s3cret"), "the password is in the log");
}
