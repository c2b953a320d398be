//! The end of a node: its clients are sent away one after the other, and have lost nothing.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;
use ullim_tests::{Client, Encoding, Node, Redis, eventually, http, token};

use crate::recovery::{hear_all, subscribed};
use crate::turn;

const CHANNEL: &str = "orders:7";
const WINDOW: Duration = Duration::from_secs(4);

async fn node(redis: &Redis) -> Node {
    let window = format!("{}s", WINDOW.as_secs());
    Node::builder().redis(redis).set("drain.window", &window).start().await
}

async fn ask_to_drain(node: &Node, key: &str) -> u16 {
    let authorization = format!("Bearer {key}");
    http::post(&node.internal("/api/drain"), &[("Authorization", &authorization)], b"{}").await.status
}

#[tokio::test]
async fn a_node_that_is_asked_to_end_sends_its_clients_away_one_after_the_other() {
    const CLIENTS: usize = 40;
    let _turn = turn::take().await;
    let redis = Redis::start().await;
    let mut node = node(&redis).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::subscribed(&node, "chat:1").await);
    }
    assert_eq!(ask_to_drain(&node, "another key").await, 401);
    assert_eq!(ask_to_drain(&node, &node.addresses.api_key).await, 200);
    let asked = Instant::now();
    let leave = |mut client: Client| async move {
        let told = client.push_of("reconnect").await;
        let delay = told["delay"].as_u64().unwrap();
        let closed = client.closed().await;
        assert_eq!(closed.code, 1001, "{closed:?}");
        (delay, asked.elapsed())
    };
    let mut left = futures_util::future::join_all(clients.into_iter().map(leave)).await;
    left.sort_unstable();
    let delays: Vec<_> = left.iter().map(|(delay, _)| *delay).collect();
    let window = WINDOW.as_millis() as u64;
    assert!(delays.iter().all(|delay| *delay <= window), "{delays:?}");
    let early = delays.iter().filter(|delay| **delay < window / 2).count();
    assert!((CLIENTS / 5..=CLIENTS * 4 / 5).contains(&early), "they are spread over the window: {delays:?}");
    // Nobody before the time that was named; after it a busy machine may need a while.
    for (delay, elapsed) in &left {
        let elapsed = elapsed.as_millis() as u64;
        assert!(elapsed + 200 >= *delay, "told {delay} ms, closed after {elapsed} ms");
    }
    assert_eq!(node.process.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_node_that_ends_is_not_ready_and_says_that_it_drains() {
    let _turn = turn::take().await;
    let redis = Redis::start().await;
    let mut node = node(&redis).await;
    let _clients = [Client::subscribed(&node, "chat:1").await, Client::subscribed(&node, "chat:1").await];
    assert_eq!(ask_to_drain(&node, &node.addresses.api_key).await, 200);
    eventually("the node to be unready", async || {
        let ready = http::get(&node.internal("/health/ready")).await;
        let body: Value = serde_json::from_str(&ready.body).unwrap();
        (ready.status == 503 && body["status"] == "draining").then_some(())
    })
    .await;
    let metrics = http::get(&node.internal("/metrics")).await;
    assert!(metrics.body.contains("ullim_draining 1"), "the metrics tell too");
    assert_eq!(ask_to_drain(&node, &node.addresses.api_key).await, 200, "asked again it is the same end");
    node.process.signal(Signal::TERM);
    let code = node.process.end().await.code();
    assert_ne!(code, Some(0), "a signal in the midst of it ends it at once");
}

#[tokio::test]
async fn whoever_is_sent_away_goes_on_elsewhere_and_never_left() {
    let _turn = turn::take().await;
    let redis = Redis::start().await;
    let nodes = [node(&redis).await, node(&redis).await];
    let mut watcher = Client::open(&nodes[1], Encoding::Json).await;
    watcher.ok("connect", json!({"token": token::good("watcher")})).await;
    watcher.ok("subscribe", json!({"channel": "chat:1", "events": true})).await;

    let mut one = Client::open(&nodes[0], Encoding::Json).await;
    let session = one.ok("connect", json!({"token": token::good("alice")})).await;
    one.subscribe("chat:1").await;
    let stands = one.ok("subscribe", json!({"channel": CHANNEL})).await;
    while watcher.push_of("join").await["user"] != "alice" {}
    watcher.forget_pushes();

    nodes[0].process.signal(Signal::TERM);
    one.push_of("reconnect").await;
    assert_eq!(one.closed().await.code, 1001);
    nodes[1].publish(CHANNEL, json!({"n": 1})).await;
    let mut one = Client::open(&nodes[1], Encoding::Json).await;
    let resumed = one.ok("connect", json!({"token": token::good("alice"), "resume": session["resume"]})).await;
    assert_eq!(resumed["session"], session["session"]);
    one.subscribe("chat:1").await;
    let reply = one.ok("subscribe", json!({"channel": CHANNEL, "recover": stands})).await;
    assert_eq!((&reply["recovered"], &reply["pubs"][0]["data"]), (&json!(true), &json!({"n": 1})), "{reply}");

    // Another one's coming proves that alice's leave, if there were one, would have come.
    let mut other = Client::open(&nodes[1], Encoding::Json).await;
    other.ok("connect", json!({"token": token::good("bob")})).await;
    other.subscribe("chat:1").await;
    let [mut dying, _lives] = nodes;
    assert_eq!(dying.process.end().await.code(), Some(0));
    let heard = watcher.pushes_so_far().await;
    assert!(heard.iter().all(|push| push.get("leave").is_none()), "{heard:?}");
}

#[tokio::test]
async fn nodes_that_end_one_after_the_other_cost_a_client_nothing() {
    let _turn = turn::take().await;
    let redis = Redis::start().await;
    let nodes = [node(&redis).await, node(&redis).await, node(&redis).await];
    let (client, mut events, url) = subscribed(&nodes).await;
    let [mut dying, lives, _third]: [Node; 3] = {
        let mut nodes: Vec<Node> = nodes.into();
        let at = nodes.iter().position(|node| node.addresses.ws == url).unwrap();
        nodes.swap(0, at);
        nodes.try_into().unwrap_or_else(|_| panic!("there are three"))
    };
    let (mut published, mut recoveries) = (0_u64, 0);
    dying.process.signal(Signal::TERM);
    // Some at a time, so that the history holds what is missed.
    while dying.process.ended().is_none() || recoveries == 0 {
        let heard = published;
        for _ in 0..20 {
            published += 1;
            lives.publish(CHANNEL, json!({"n": published})).await;
        }
        recoveries += hear_all(&mut events, heard + 1, published).await;
    }
    assert_eq!(dying.process.end().await.code(), Some(0));
    assert_eq!(recoveries, 1, "it went on at another node, once");
    client.close().await;
}
