//! Redis is not there when a node starts, or when a client wants something from it.

use serde_json::json;
use ullim_tests::{Client, Encoding, Node, Redis, eventually, free_address, http};

#[tokio::test]
async fn a_node_waits_for_redis_and_says_that_it_is_not_ready() {
    let mut redis = Redis::absent();
    let internal = free_address();
    let (mut process, folder) = Node::builder().redis(&redis).internal(internal).spawn();
    let health = |path: &str| format!("http://{internal}/health/{path}");
    eventually("the internal listener", async || {
        assert!(process.ended().is_none(), "it gave up:\n{}", process.stderr());
        (http::get(&health("live")).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(http::get(&health("ready")).await.status, 503);
    assert!(process.stderr().to_lowercase().contains("redis"), "it is to say what it waits for");

    redis.resume().await;
    eventually("the node to be ready", async || (http::get(&health("ready")).await.status == 200).then_some(())).await;
    let node = Node::ready(process, folder).await;
    let mut client = Client::subscribed(&node, "chat:1").await;
    redis.publish("chat:1", r#""hello""#);
    assert_eq!(client.publication("chat:1").await["data"], "hello");
}

#[tokio::test]
async fn commands_that_need_redis_are_answered_while_it_is_away() {
    let mut redis = Redis::start().await;
    let node = Node::builder().redis(&redis).set("hub.subscribe_timeout", "500ms").start().await;
    let mut client = Client::connect(&node, Encoding::Json).await;
    redis.kill();
    assert_eq!(client.refused("publish", json!({"channel": "chat:1", "data": 1})).await, "unavailable");
    assert_eq!(client.refused("subscribe", json!({"channel": "chat:1"})).await, "unavailable");
    // Without Redis no other node would serve better: this one stays ready, and says what it lacks.
    let health = http::get(&node.internal("/health/ready")).await;
    assert!(health.status == 200 && health.body.contains("degraded"), "{health:?}");
    let metrics = http::get(&node.internal("/metrics")).await.body;
    assert!(metrics.contains("\nullim_relay_up 0\n"), "{metrics}");
    client.ok("ping", json!({})).await;

    redis.resume().await;
    eventually("Redis to be reached", async || {
        let reply = client.call("subscribe", json!({"channel": "chat:1"})).await;
        reply.get("subscribe").map(|_| ())
    })
    .await;
    eventually("publications to be taken", async || {
        let reply = client.call("publish", json!({"channel": "chat:2", "data": 1})).await;
        reply.get("publish").map(|_| ())
    })
    .await;
    client.publish("chat:1", json!(2)).await;
    assert_eq!(client.publication("chat:1").await["data"], 2);
}

#[tokio::test]
async fn a_publication_that_redis_did_not_answer_is_never_repeated() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).set("broker.redis.command_timeout", "300ms").start().await;
    let witness_node = Node::builder().redis(&redis).set("broker.redis.ping_timeout", "60s").start().await;
    let mut witness = Client::subscribed(&witness_node, "chat:1").await;
    let mut client = Client::connect(&node, Encoding::Json).await;
    redis.freeze();
    assert_eq!(client.refused("publish", json!({"channel": "chat:1", "data": "once"})).await, "unavailable");
    redis.thaw();
    eventually("publications to be taken", async || {
        let reply = client.call("publish", json!({"channel": "chat:1", "data": "end"})).await;
        reply.get("publish").map(|_| ())
    })
    .await;
    // The one that was not answered may have come or not, but not twice, and not late.
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "end") {
        heard.push(witness.publication("chat:1").await["data"].clone());
    }
    witness.heard_nothing().await;
    assert!(heard.iter().filter(|data| *data == "once").count() <= 1, "{heard:?}");
}
