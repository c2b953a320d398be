//! Orders of backends that reach a user on whichever node they are.

use serde_json::{Value, json};
use ullim_tests::{Client, Cluster, Node, http};

async fn order(node: &Node, path: &str, body: Value) -> Value {
    let authorization = format!("Bearer {}", node.addresses.api_key);
    let (url, body) = (node.internal(path), body.to_string());
    let answer = http::post(&url, &[("Authorization", &authorization)], body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_user_is_disconnected_on_every_node_and_nobody_else_is() {
    let cluster = Cluster::start(2).await;
    let (mut one, _) = Client::of(&cluster.nodes[0], "mallory").await;
    let (mut two, _) = Client::of(&cluster.nodes[1], "mallory").await;
    let (mut other, _) = Client::of(&cluster.nodes[1], "mallory2").await;
    assert_eq!(order(&cluster.nodes[0], "/api/disconnect", json!({"user": "mallory"})).await, json!({}));
    for client in [&mut one, &mut two] {
        let closed = client.closed().await;
        assert_eq!(closed.code, 4006, "{closed:?}");
    }
    other.ok("ping", json!({})).await;
}

#[tokio::test]
async fn a_users_subscription_is_ended_on_every_node() {
    let cluster = Cluster::start(2).await;
    let (mut one, _) = Client::of(&cluster.nodes[0], "alice").await;
    let (mut two, _) = Client::of(&cluster.nodes[1], "alice").await;
    let (mut other, _) = Client::of(&cluster.nodes[1], "bob").await;
    for client in [&mut one, &mut two, &mut other] {
        client.subscribe("chat:1").await;
        client.subscribe("chat:2").await;
    }
    order(&cluster.nodes[1], "/api/unsubscribe", json!({"user": "alice", "channel": "chat:1"})).await;
    for client in [&mut one, &mut two] {
        let push = client.push().await;
        assert_eq!(push, json!({"channel": "chat:1", "unsubscribed": {"code": 113, "name": "subscription_ended"}}));
    }
    cluster.redis.publish("chat:1", "1");
    cluster.redis.publish("chat:2", "2");
    for client in [&mut one, &mut two] {
        assert_eq!(client.publication("chat:2").await["data"], 2, "nothing more of the other channel");
    }
    assert_eq!(other.publication("chat:1").await["data"], 1);
    let count = order(&cluster.nodes[0], "/api/presence_count", json!({"channel": "chat:1"})).await;
    assert_eq!(count, json!({"connections": 1, "users": 1}));
}

#[tokio::test]
async fn backends_see_every_channel_and_its_members_from_any_node() {
    let cluster = Cluster::start(2).await;
    let mut clients = Vec::new();
    for (number, name) in ["alice", "bob", "carol"].into_iter().enumerate() {
        let (mut client, _) = Client::of(cluster.node(number), name).await;
        client.subscribe("chat:all").await;
        client.subscribe(&format!("chat:{name}")).await;
        clients.push(client);
    }
    let page = order(&cluster.nodes[1], "/api/presence", json!({"channel": "chat:all"})).await;
    let mut users: Vec<&str> =
        page["members"].as_array().unwrap().iter().map(|member| member["user"].as_str().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, ["alice", "bob", "carol"]);
    let all = json!(["chat:alice", "chat:all", "chat:bob", "chat:carol"]);
    let listed = ullim_tests::eventually("every channel", async || {
        let page = order(&cluster.nodes[0], "/api/channels", json!({"prefix": "chat:"})).await;
        (page["channels"] == all).then_some(page)
    });
    assert_eq!(listed.await["more"], false);
    let page = order(&cluster.nodes[0], "/api/channels", json!({"prefix": "chat:", "limit": 2})).await;
    assert_eq!(page, json!({"channels": ["chat:alice", "chat:all"], "more": true}));
    let page = order(&cluster.nodes[0], "/api/channels", json!({"prefix": "chat:", "after": "chat:all"})).await;
    assert_eq!(page, json!({"channels": ["chat:bob", "chat:carol"], "more": false}));
    let none = order(&cluster.nodes[0], "/api/channels", json!({"prefix": "*"})).await;
    assert_eq!(none, json!({"channels": [], "more": false}));
}
