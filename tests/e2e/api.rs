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
async fn what_is_published_on_many_channels_reaches_the_subscribers_of_each() {
    let cluster = Cluster::start(2).await;
    let node = &cluster.nodes[0];
    let mut news = Client::subscribed(&cluster.nodes[1], "news:1").await;
    let mut chat = Client::subscribed(&cluster.nodes[1], "chat:1").await;
    let authorization = format!("Bearer {}", node.addresses.api_key);
    let body = json!({"channels": ["news:1", "nowhere:1", "chat:1", "news:1"], "data": {"n": 1}}).to_string();
    let url = node.internal("/api/publish_many");
    let answer = http::post(&url, &[("Authorization", &authorization)], body.as_bytes()).await;
    let results: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let names: Vec<_> =
        results["results"].as_array().unwrap().iter().map(|result| result["error"]["name"].as_str()).collect();
    assert_eq!(names, [None, Some("unknown_namespace"), None, None], "{answer:?}");
    assert_eq!(chat.publication("chat:1").await["data"], json!({"n": 1}));
    for _ in 0..2 {
        assert_eq!(news.publication("news:1").await["data"], json!({"n": 1}));
    }
}

#[tokio::test]
async fn bodies_of_every_wrong_kind_are_refused_on_every_path() {
    let node = Node::start().await;
    let authorization = format!("Bearer {}", node.addresses.api_key);
    let headers: Vec<_> = (0..17).map(|number| format!("\"{number}\":\"\"")).collect();
    let many_headers = format!(r#"{{"channel":"chat:1","text":"x","headers":{{{}}}}}"#, headers.join(","));
    let nested = format!(r#"{{"channel":"chat:1","data":{}"#, "[".repeat(1_000_000));
    let deep = format!(r#"{{"channel":"chat:1","data":{}{}}}"#, "[".repeat(128), "]".repeat(128));
    let bodies: [&[u8]; 16] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\"x\"",
        b"channel=chat:1&text=x",
        b"{\"channel\":\"\xff\"}",
        br#"{"channel":"\ud800","user":"\ud800","prefix":"\ud800"}"#,
        br#"{"channel":"chat:1","channel":"chat:1","text":"x"}"#,
        br#"{"channel":1,"user":1,"prefix":1}"#,
        br#"{"channel":"chat:1","text":"x","unknown":1}"#,
        br#"{"channel":"chat:1","data":1e999}"#,
        br#"{"channel":"chat:1","limit":1e999}"#,
        many_headers.as_bytes(),
        nested.as_bytes(),
        deep.as_bytes(),
    ];
    for path in ["publish", "publish_many", "presence", "presence_count", "channels", "disconnect", "unsubscribe"] {
        for body in bodies {
            let url = node.internal(&format!("/api/{path}"));
            let answer = http::post(&url, &[("Authorization", &authorization)], body).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
            assert_eq!(answer.status, 400, "{path} {shown}: {answer:?}");
            let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert!(error["error"]["message"].as_str().unwrap().contains(' '), "{path} {shown}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_client_can_read_why() {
    let node = Node::with("broker.payload_bytes", "100000").await;
    let authorization = format!("Bearer {}", node.addresses.api_key);
    let body = format!(r#"{{"channel":"chat:1","text":"{}"}}"#, "x".repeat(900_000));
    let url = node.internal("/api/publish");
    let answer = http::post(&url, &[("Authorization", &authorization)], body.as_bytes()).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.body.contains("bad_data"), "{answer:?}");
}

#[tokio::test]
async fn a_namespace_without_presence_is_told_from_one_that_does_not_exist() {
    let node = Node::start().await;
    let authorization = format!("Bearer {}", node.addresses.api_key);
    for path in ["/api/presence", "/api/presence_count"] {
        for (channel, status, name) in [("news:1", 409, "no_presence"), ("nowhere:1", 404, "unknown_namespace")] {
            let body = json!({"channel": channel}).to_string();
            let url = node.internal(path);
            let answer = http::post(&url, &[("Authorization", &authorization)], body.as_bytes()).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert!(answer.body.contains(name), "{answer:?}");
        }
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
    for path in ["/metrics", "/health/ready", "/api/publish", "/api/openapi.json", "/api/disconnect"] {
        let answer = http::get(&format!("{}{path}", node.addresses.http.trim_end_matches('/'))).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}
