//! The internal listener: publishing over HTTP, health, metrics.

use serde_json::json;
use ullim_tests::{Client, Cluster, Encoding, Node, eventually, http};

#[tokio::test]
async fn what_is_published_over_http_reaches_subscribers_on_every_node() {
    let cluster = Cluster::start(2).await;
    let mut here = Client::subscribed(&cluster.nodes[0], "news:1").await;
    let mut there = Client::connect(&cluster.nodes[1], Encoding::MessagePack).await;
    there.subscribe("news:1").await;
    cluster.nodes[0].publish("news:1", json!({"title": "hello"})).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.publication("news:1").await["data"], json!({"title": "hello"}));
    }
}

#[tokio::test]
async fn publishing_over_http_needs_the_key() {
    let node = Node::start().await;
    let mut client = Client::subscribed(&node, "chat:1").await;
    let url = node.internal("/api/publish");
    let body = br#"{"channel":"chat:1","data":1}"#;
    for authorization in ["Bearer wrong", "Bearer ", "Basic eA==", node.addresses.api_key.as_str()] {
        let answer = http::post(&url, &[("Authorization", authorization)], body).await;
        assert!([401, 403].contains(&answer.status), "{authorization}: {answer:?}");
    }
    assert!([401, 403].contains(&http::post(&url, &[], body).await.status));
    client.heard_nothing().await;
}

#[tokio::test]
async fn a_request_that_cannot_be_published_is_refused() {
    let node = Node::start().await;
    let authorization = format!("Bearer {}", node.addresses.api_key);
    let url = node.internal("/api/publish");
    let cases = [
        "",
        "[]",
        "{",
        r#"{"channel":"chat:1"}"#,
        r#"{"data":1}"#,
        r#"{"channel":"chat:1","data":1,"text":"x"}"#,
        r#"{"channel":"chat:*","data":1}"#,
        r#"{"channel":"nowhere:1","data":1}"#,
        r#"{"channel":"chat:1","data":1,"headers":{"a":1}}"#,
        r#"{"channel":"chat:1","b64":"!"}"#,
    ];
    for body in cases {
        let answer = http::post(&url, &[("Authorization", &authorization)], body.as_bytes()).await;
        assert!((400..500).contains(&answer.status), "{body}: {answer:?}");
        assert!(answer.body.contains(' '), "{body}: a sentence says why: {answer:?}");
    }
}

#[tokio::test]
async fn a_node_tells_its_health_and_its_counters() {
    let node = Node::start().await;
    let mut client = Client::subscribed(&node, "chat:1").await;
    client.publish("chat:1", json!(1)).await;
    assert_eq!(http::get(&node.internal("/health/live")).await.status, 200);
    assert_eq!(http::get(&node.internal("/health/ready")).await.status, 200);
    let expected = [
        "ullim_connections 1",
        "ullim_connections_opened_total 1",
        "ullim_subscriptions 1",
        "ullim_messages_in_total{source=\"client\"} 3",
        "ullim_messages_out_total 1",
        "ullim_relay_up 1",
    ];
    eventually("the counters", async || {
        let metrics = http::get(&node.internal("/metrics")).await.body;
        expected.iter().all(|line| metrics.lines().any(|found| found == *line)).then_some(())
    })
    .await;
    assert_eq!(http::get(&node.internal("/nothing")).await.status, 404);
}

#[tokio::test]
async fn clients_do_not_reach_the_internal_pages() {
    let node = Node::start().await;
    for path in ["/metrics", "/health/ready", "/api/publish"] {
        let answer = http::get(&format!("{}{path}", node.addresses.http.trim_end_matches('/'))).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}
