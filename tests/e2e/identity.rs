//! Sessions over time: expiry, refresh, resumption; and who may do what.

use serde_json::{Value, json};
use ullim_tests::{Client, Cluster, Encoding, Node, NodeBuilder, eventually, now_ms, token};

fn expiring_in(user: &str, seconds: u64) -> String {
    token::signed(&json!({"alg": "HS256"}), &json!({"sub": user, "exp": now_ms() / 1000 + seconds}))
}

/// A token for one channel.
fn subscription(user: Option<&str>, channel: &str, seconds: u64) -> String {
    let mut claims = json!({"channel": channel, "exp": now_ms() / 1000 + seconds, "info": {"seat": 7}});
    if let Some(user) = user {
        claims["sub"] = json!(user);
    }
    token::signed(&json!({"alg": "HS256"}), &claims)
}

async fn connect(node: &Node, body: Value) -> (Client, Value) {
    let mut client = Client::open(node, Encoding::Json).await;
    let reply = client.ok("connect", body).await;
    (client, reply)
}

#[tokio::test]
async fn a_session_ends_when_its_token_expires() {
    let node = Node::start().await;
    let expires = now_ms() / 1000 + 2;
    let (mut client, reply) = connect(&node, json!({"token": expiring_in("alice", 2)})).await;
    assert!(reply["expires"].as_u64().is_some_and(|told| told.abs_diff(expires) <= 1), "{reply}");
    let closed = client.closed().await;
    assert_eq!(closed.code, 4005, "{closed:?}");
    assert!(closed.reason.starts_with("token_expired: "), "{closed:?}");
    let late = now_ms().saturating_sub(expires * 1000);
    assert!(late < 4000, "{late} ms late");
}

#[tokio::test]
async fn a_refreshed_session_goes_on_without_a_new_socket() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let mut client = Client::open(&node, encoding).await;
        client.ok("connect", json!({"token": expiring_in("alice", 3)})).await;
        client.subscribe("chat:1").await;
        assert_eq!(client.refused("refresh", json!({"token": token::good("bob")})).await, "bad_token");
        assert_eq!(client.refused("refresh", json!({"token": "nonsense"})).await, "bad_token");
        assert_eq!(client.refused("refresh", json!({})).await, "bad_message");
        let reply = client.ok("refresh", json!({"token": token::good("alice")})).await;
        let expires = reply["expires"].as_u64().unwrap();
        assert!(expires > now_ms() / 1000 + 500, "{reply}");
        assert!(reply["resume"].is_string(), "{reply}");
        eventually("the old token's end", async || {
            client.publish("chat:1", json!(1)).await;
            (now_ms() / 1000 > expires - 600 + 6).then_some(())
        })
        .await;
    }
    let (mut guest, reply) = connect(&node, json!({})).await;
    assert!(reply.get("expires").is_none(), "{reply}");
    assert_eq!(guest.refused("refresh", json!({"token": token::good("alice")})).await, "bad_token");
}

#[tokio::test]
async fn a_session_is_resumed_on_any_node_and_the_newer_connection_wins() {
    let cluster = Cluster::start(2).await;
    for other in 0..2 {
        let (mut old, opened) = connect(&cluster.nodes[0], json!({"token": token::good("alice")})).await;
        assert!(opened.get("resumed").is_none(), "{opened}");
        old.subscribe("chat:1").await;
        let resume = &opened["resume"];
        let (mut new, resumed) = connect(&cluster.nodes[other], json!({"resume": resume})).await;
        assert_eq!(resumed["resumed"], true, "{resumed}");
        assert_eq!((&resumed["session"], &resumed["user"]), (&opened["session"], &json!("alice")));
        assert_eq!(resumed["expires"], opened["expires"], "a resumed session lives no longer");
        let closed = old.closed().await;
        assert_eq!(closed.code, 4007, "{closed:?}");
        // The place in the channel is the newer connection's.
        new.subscribe("chat:1").await;
        let count = new.ok("presence_count", json!({"channel": "chat:1"})).await;
        assert_eq!(count, json!({"connections": 1, "users": 1}));
        drop(new);
    }
}

#[tokio::test]
async fn only_ones_own_session_can_be_resumed() {
    let node = Node::start().await;
    let other_cluster =
        NodeBuilder::default().set("auth.resume_secret", "another cluster's secret, 32 bytes long").start().await;
    let (_alice, alice) = connect(&node, json!({"token": token::good("alice")})).await;
    let (_foreign, foreign) = connect(&other_cluster, json!({"token": token::good("alice")})).await;
    let resume = alice["resume"].as_str().unwrap();
    let mut changed = resume.to_owned();
    let last = changed.pop().unwrap();
    changed.insert(20, if last == 'A' { 'B' } else { 'A' });
    let cases = [
        ("another user's", "bob", resume.to_owned()),
        ("another cluster's", "alice", foreign["resume"].as_str().unwrap().to_owned()),
        ("a changed one", "alice", changed),
        ("an empty one", "alice", String::new()),
        ("the session's public id", "alice", alice["session"].as_str().unwrap().to_owned()),
        ("nonsense", "alice", "\u{1F600}".repeat(1000)),
        ("a token", "alice", token::good("alice")),
    ];
    for (what, user, resume) in cases {
        let (_client, reply) = connect(&node, json!({"token": token::good(user), "resume": resume})).await;
        assert!(reply.get("resumed").is_none(), "{what}: {reply}");
        assert_ne!(reply["session"], alice["session"], "{what}");
        assert_eq!(reply["user"], user, "{what}");
    }
}

#[tokio::test]
async fn a_resume_token_that_cannot_be_used_is_no_way_in() {
    let node = Node::with("auth.anonymous", "false").await;
    let mut client = Client::open(&node, Encoding::Json).await;
    assert_eq!(client.refused("connect", json!({"resume": "nonsense"})).await, "bad_token");
    let (_short, reply) = connect(&node, json!({"token": expiring_in("alice", 2)})).await;
    eventually("the token's end", async || (now_ms() / 1000 >= reply["expires"].as_u64().unwrap()).then_some(())).await;
    assert_eq!(client.refused("connect", json!({"resume": reply["resume"]})).await, "bad_token");
}

#[tokio::test]
async fn a_namespace_may_belong_to_its_users() {
    let node =
        Node::builder().set("namespaces.inbox.subscribe", "own").set("namespaces.inbox.publish", "own").start().await;
    let (mut alice, _) = Client::of(&node, "alice").await;
    alice.subscribe("inbox:alice").await;
    alice.publish("inbox:alice", json!(1)).await;
    for foreign in ["inbox:bob", "inbox:alice2", "inbox:alic", "inbox:ALICE", "inbox:", "inbox:alice:x"] {
        assert_eq!(alice.refused("subscribe", json!({"channel": foreign})).await, "permission_denied", "{foreign}");
        let body = json!({"channel": foreign, "data": 1});
        assert_eq!(alice.refused("publish", body).await, "permission_denied", "{foreign}");
    }
    let (mut guest, _) = connect(&node, json!({})).await;
    assert_eq!(guest.refused("subscribe", json!({"channel": "inbox:alice"})).await, "permission_denied");
}

#[tokio::test]
async fn a_subscription_token_opens_one_channel_for_one_user() {
    let node = Node::builder()
        .set("namespaces.seat.subscribe", "token")
        .set("namespaces.seat.publish", "token")
        .set("namespaces.seat.presence", "true")
        .start()
        .await;
    let (mut alice, _) = Client::of(&node, "alice").await;
    assert_eq!(alice.refused("subscribe", json!({"channel": "seat:1"})).await, "permission_denied");
    let useless = [
        (subscription(Some("bob"), "seat:1", 60), "bad_token"),
        (subscription(Some("alice"), "seat:2", 60), "bad_token"),
        (subscription(None, "seat:1", 60), "bad_token"),
        (token::good("alice"), "bad_token"),
        ("nonsense".to_owned(), "bad_token"),
        (subscription(Some("alice"), "seat:1", 0), "token_expired"),
    ];
    for (token, error) in useless {
        let body = json!({"channel": "seat:1", "token": token});
        assert_eq!(alice.refused("subscribe", body.clone()).await, error, "{body}");
    }
    assert_eq!(alice.refused("publish", json!({"channel": "seat:1", "data": 1})).await, "permission_denied");
    let body = json!({"channel": "seat:1", "presence": true, "token": subscription(Some("alice"), "seat:1", 3)});
    let reply = alice.ok("subscribe", body).await;
    assert_eq!(reply["presence"]["members"][0]["info"], json!({"seat": 7}), "{reply}");
    alice.publish("seat:1", json!(1)).await;
    assert_eq!(alice.publication("seat:1").await["data"], 1);
    let ended = alice.push_of("unsubscribed").await;
    assert_eq!(ended["name"], "subscription_expired", "{ended}");
    assert_eq!(alice.refused("publish", json!({"channel": "seat:1", "data": 1})).await, "permission_denied");
    alice.ok("subscribe", json!({"channel": "seat:1", "token": subscription(Some("alice"), "seat:1", 60)})).await;
    // A subscription token opens no session.
    let mut client = Client::open(&node, Encoding::Json).await;
    let body = json!({"token": subscription(Some("alice"), "seat:1", 60)});
    assert_eq!(client.refused("connect", body).await, "bad_token");
    let (mut guest, _) = connect(&node, json!({})).await;
    guest.ok("subscribe", json!({"channel": "seat:1", "token": subscription(None, "seat:1", 60)})).await;
}

#[tokio::test]
async fn a_forbidden_channel_looks_like_one_that_is_not_there() {
    let node = Node::builder().set("namespaces.secret.subscribe", "nobody").start().await;
    let (mut alice, _) = Client::of(&node, "alice").await;
    let useless = subscription(Some("alice"), "x:1", 60);
    for (command, more) in [
        ("subscribe", json!({})),
        ("subscribe", json!({"token": useless})),
        ("subscribe", json!({"presence": true, "events": true})),
        ("publish", json!({"data": 1})),
        ("presence", json!({})),
        ("presence_count", json!({})),
    ] {
        let mut answers = Vec::new();
        for channel in ["secret:1", "absent:1"] {
            let mut body = more.clone();
            body["channel"] = json!(channel);
            let mut reply = alice.call(command, body).await;
            reply["id"] = Value::Null;
            answers.push(reply.to_string().replace(channel, "C"));
        }
        assert_eq!(answers[0], answers[1], "{command} {more}");
        let name = if more.get("token").is_some() { "bad_token" } else { "permission_denied" };
        assert!(answers[0].contains(name), "{}", answers[0]);
    }
}
