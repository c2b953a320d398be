//! The native protocol as `docs/protocol.md` has it, in both encodings.

use serde_json::{Value, json};
use ullim_tests::{Client, Encoding, Node};

#[tokio::test]
async fn a_session_says_who_one_is_and_what_one_may() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::open(&node, encoding).await;
        let reply = client.ok("connect", json!({"token": node.addresses.token})).await;
        assert!(reply["user"].is_string(), "{reply}");
        assert_eq!(reply["session"].as_str().unwrap().len(), 22, "{reply}");
        assert_eq!(reply["ping"], 25_000);
        assert_eq!(reply["limits"], json!({"message": 65_536, "subscriptions": 128}));
        assert!(reply["features"].as_array().unwrap().contains(&json!("publish")), "{reply}");

        let mut anonymous = Client::open(&node, encoding).await;
        let other = anonymous.ok("connect", json!({})).await;
        assert!(other.get("user").is_none(), "{other}");
        assert_ne!(other["session"], reply["session"]);
    }
}

#[tokio::test]
async fn commands_are_answered_in_their_order() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::open(&node, encoding).await;
        let commands = [
            ("connect", json!({"token": node.addresses.token})),
            ("subscribe", json!({"channel": "chat:1"})),
            ("ping", json!({})),
            ("publish", json!({"channel": "chat:1", "data": 1, "echo": false})),
            ("subscribe", json!({"channel": "chat:2"})),
            ("unsubscribe", json!({"channel": "chat:1"})),
            ("ping", json!({})),
        ];
        for (id, (name, body)) in commands.iter().enumerate() {
            client.send_value(&json!({"id": 100 + id, *name: body})).await;
        }
        for (id, (name, _)) in commands.iter().enumerate() {
            let reply = client.reply().await;
            assert_eq!(reply["id"], 100 + id, "{reply}");
            assert!(reply.get(*name).is_some(), "{reply}");
        }
    }
}

#[tokio::test]
async fn what_one_subscribes_to_is_heard_once_however_often_one_subscribes() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::connect(&node, encoding).await;
        client.subscribe("chat:1").await;
        client.subscribe("chat:1").await;
        let wanted = json!({"channels": [{"channel": "chat:2"}, {"channel": "chat:1"}, {"channel": "chat:2"}]});
        let reply = client.ok("subscribe", wanted.clone()).await;
        assert_eq!(reply, wanted);
        for channel in ["chat:1", "chat:2"] {
            client.publish(channel, json!(channel)).await;
            assert_eq!(client.publication(channel).await["data"], channel);
        }
        client.heard_nothing().await;
    }
}

#[tokio::test]
async fn after_unsubscribing_nothing_follows() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::connect(&node, encoding).await;
        client.subscribe("chat:1").await;
        assert_eq!(client.ok("unsubscribe", json!({"channel": "chat:1"})).await, json!({}));
        assert_eq!(client.ok("unsubscribe", json!({"channel": "chat:1"})).await, json!({}));
        client.publish("chat:1", json!(1)).await;
        client.heard_nothing().await;
        client.subscribe("chat:1").await;
        client.publish("chat:1", json!(2)).await;
        assert_eq!(client.publication("chat:1").await["data"], 2);
    }
}

#[tokio::test]
async fn a_publisher_hears_itself_unless_it_does_not_want_to() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut publisher = Client::connect(&node, encoding).await;
        let mut other = Client::subscribed(&node, "chat:1").await;
        publisher.subscribe("chat:1").await;
        publisher.ok("publish", json!({"channel": "chat:1", "data": "silent", "echo": false})).await;
        publisher.ok("publish", json!({"channel": "chat:1", "data": "aloud", "echo": true})).await;
        assert_eq!(publisher.publication("chat:1").await["data"], "aloud");
        assert_eq!(other.publication("chat:1").await["data"], "silent");
        assert_eq!(other.publication("chat:1").await["data"], "aloud");
    }
}

#[tokio::test]
async fn only_backends_publish_where_the_namespace_says_so() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::connect(&node, encoding).await;
        client.subscribe("news:1").await;
        let refused = client.refused("publish", json!({"channel": "news:1", "data": 1})).await;
        assert_eq!(refused, "permission_denied");
        node.publish("news:1", json!(2)).await;
        assert_eq!(client.publication("news:1").await["data"], 2);
    }
}

#[tokio::test]
async fn one_refused_channel_does_not_spoil_the_others() {
    let node = Node::builder().set("namespaces.secret.subscribe", "nobody").start().await;
    let mut client = Client::connect(&node, Encoding::Json).await;
    let wanted = ["chat:1", "secret:1", "nowhere:1", "chat:*", "chat:2"];
    let wanted: Vec<_> = wanted.iter().map(|channel| json!({"channel": channel})).collect();
    let reply = client.ok("subscribe", json!({"channels": wanted})).await;
    let results = reply["channels"].as_array().unwrap();
    let errors: Vec<_> = results.iter().map(|result| result["error"]["name"].clone()).collect();
    // A namespace that is not there looks like one that is forbidden.
    let expected =
        [Value::Null, json!("permission_denied"), json!("permission_denied"), json!("bad_channel"), Value::Null];
    assert_eq!(errors, expected, "{reply}");
    assert_eq!(client.refused("subscribe", json!({"channel": "secret:1"})).await, "permission_denied");
    client.publish("chat:2", json!(1)).await;
    assert_eq!(client.publication("chat:2").await["data"], 1);
}

#[tokio::test]
async fn the_first_command_is_connect_and_there_is_only_one() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::open(&node, encoding).await;
        assert_eq!(client.refused("ping", json!({})).await, "not_connected");
        assert_eq!(client.refused("subscribe", json!({"channel": "chat:1"})).await, "not_connected");
        client.ok("connect", json!({})).await;
        assert_eq!(client.refused("connect", json!({})).await, "already_connected");
        client.ok("ping", json!({})).await;
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::connect(&node, encoding).await;
        client.send_value(&json!({"id": 7, "ping": {"x": [1]}, "later": {"deep": [null]}})).await;
        assert_eq!(client.reply().await, json!({"id": 7, "ping": {}}));
        client.ok("subscribe", json!({"channel": "chat:1", "recover": {"epoch": "1", "offset": 4}})).await;
    }
}

#[tokio::test]
async fn a_client_that_closes_is_answered_in_kind() {
    let node = Node::start().await;
    let client = Client::connect(&node, Encoding::Json).await;
    assert_eq!(client.close(1000, "done").await.code, 1000);
}

#[tokio::test]
async fn a_node_that_ends_tells_its_clients_to_go_elsewhere() {
    let mut node = Node::start().await;
    let mut client = Client::subscribed(&node, "chat:1").await;
    node.process.signal(rustix::process::Signal::TERM);
    let closed = client.closed().await;
    assert_eq!(closed.code, 1001, "{closed:?}");
    assert!(closed.reason.starts_with("going_away: "), "{closed:?}");
    assert!(node.process.end().await.success());
}
