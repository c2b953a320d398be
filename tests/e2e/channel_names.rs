//! Channel names of every bad kind.

use serde_json::json;
use ullim_tests::{Client, Encoding, Node, Redis};

use crate::bystander::Bystander;

fn bad_names() -> Vec<String> {
    let mut names = vec![String::new(), "$reserved".to_owned(), format!("chat:{}", "x".repeat(251))];
    names.extend("{}*?[]\\\0\n\r\t\u{1F}\u{7F}\u{85}".chars().map(|character| format!("chat:a{character}b")));
    names.extend(["chat:%", "chat:%4", "chat:%4g", "chat:100%", "chat:%%41"].map(str::to_owned));
    names
}

fn good_names() -> Vec<String> {
    let mut names =
        vec!["chat".to_owned(), "chat:".to_owned(), "chat:a:b".to_owned(), format!("chat:{}", "x".repeat(250))];
    names.extend(["chat:ü 한국어", "chat:%41", "chat:a$b", "x", "chat:a/b.c-d_e"].map(str::to_owned));
    names
}

#[tokio::test]
async fn names_that_break_a_rule_are_refused() {
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    for encoding in Encoding::ALL {
        let mut client = Client::connect(&node, encoding).await;
        for name in bad_names() {
            for (command, body) in
                [("subscribe", json!({"channel": name})), ("publish", json!({"channel": name, "data": 1}))]
            {
                assert_eq!(client.refused(command, body).await, "bad_channel", "{command} {name:?}");
            }
        }
        bystander.is_undisturbed().await;
    }
}

#[tokio::test]
async fn namespaces_that_are_not_configured_are_denied() {
    let node = Node::start().await;
    let mut client = Client::connect(&node, Encoding::Json).await;
    for name in ["nowhere:1", "Chat:1", ":1", " chat:1"] {
        assert_eq!(client.refused("subscribe", json!({"channel": name})).await, "permission_denied", "{name:?}");
        let publish = json!({"channel": name, "data": 1});
        assert_eq!(client.refused("publish", publish).await, "permission_denied", "{name:?}");
    }
}

#[tokio::test]
async fn names_that_keep_the_rules_work_through_redis() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).start().await;
    let mut client = Client::connect(&node, Encoding::Json).await;
    for name in good_names() {
        client.subscribe(&name).await;
        redis.publish(&name, "1");
        assert_eq!(client.publication(&name).await["data"], 1, "{name:?}");
    }
}
