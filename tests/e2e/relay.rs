//! A message that is published in Redis reaches its subscribers on every node.

use serde_json::json;
use tokio::task::JoinSet;
use ullim_tests::{Client, Cluster, Encoding};

use crate::turn;

const NODES: usize = 3;
const CLIENTS: usize = 300;
const CHANNELS: usize = 20;
const MESSAGES: usize = 10_000;

fn channel(number: usize) -> String {
    format!("chat:{}", number % CHANNELS)
}

/// Hears `last + 1` numbered messages of each channel, in order, and nothing else.
async fn hears_exactly(mut client: Client, channels: [String; 2], last: u64) {
    let mut next = [0; 2];
    while next != [last + 1; 2] {
        let push = client.push().await;
        let place = channels.iter().position(|channel| push["channel"] == **channel);
        let place = place.unwrap_or_else(|| panic!("it never subscribed to {push}"));
        assert_eq!(push["pub"]["data"]["n"], next[place], "{push}");
        next[place] += 1;
    }
    client.heard_nothing().await;
}

#[tokio::test]
async fn ten_thousand_messages_reach_three_hundred_clients_in_order_and_once() {
    let _turn = turn::take().await;
    let cluster = Cluster::start(NODES).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = Client::connect(cluster.node(number), Encoding::ALL[number % 2]).await;
        let channels = [channel(number), channel(number + 7)];
        let wanted: Vec<_> = channels.iter().map(|channel| json!({"channel": channel})).collect();
        client.ok("subscribe", json!({"channels": wanted})).await;
        clients.spawn(hears_exactly(client, channels, (MESSAGES / CHANNELS - 1) as u64));
    }
    let names: Vec<_> = (0..CHANNELS).map(channel).collect();
    let message = |number: usize| {
        let payload = json!({"n": number / CHANNELS, "text": "it is as long as messages tend to be, or so"});
        (names[number % CHANNELS].as_str(), payload.to_string())
    };
    cluster.redis.publish_pipeline((0..MESSAGES).map(message));
    while let Some(result) = clients.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_client_hears_what_a_client_of_another_node_publishes() {
    let cluster = Cluster::start(2).await;
    let mut here = Client::subscribed(&cluster.nodes[0], "chat:1").await;
    let mut there = Client::subscribed(&cluster.nodes[1], "chat:1").await;
    here.publish("chat:1", json!({"from": "here"})).await;
    there.publish("chat:1", json!({"from": "there"})).await;
    for client in [&mut here, &mut there] {
        let heard = [client.publication("chat:1").await, client.publication("chat:1").await];
        assert_eq!(heard[0]["data"], json!({"from": "here"}));
        assert_eq!(heard[1]["data"], json!({"from": "there"}));
    }
}

#[tokio::test]
async fn redis_is_subscribed_only_while_somebody_listens() {
    let redis = ullim_tests::Redis::start().await;
    let node = ullim_tests::Node::builder().redis(&redis).set("broker.redis.cooldown", "100ms").start().await;
    let count = |redis: &ullim_tests::Redis| redis.cli(&["PUBSUB", "NUMSUB", "ullim:{chat:1}"]).trim().to_owned();
    let mut first = Client::subscribed(&node, "chat:1").await;
    let second = Client::subscribed(&node, "chat:1").await;
    assert!(count(&redis).ends_with('1'));
    drop(second);
    first.ok("unsubscribe", json!({"channel": "chat:1"})).await;
    ullim_tests::eventually("the node to leave the channel", async || count(&redis).ends_with('0').then_some(())).await;
}
