//! Who is in a channel: lists, comings and goings, and the hashes that backends read.

use std::time::Duration;

use serde_json::{Value, json};
use ullim_tests::{Client, Cluster, Encoding, Node, eventually, now_ms, token};

use crate::members::{self, Members};

/// Subscribes with the list in the reply and the events afterwards: the list.
async fn enter(client: &mut Client, channel: &str) -> Vec<Value> {
    let reply = client.ok("subscribe", json!({"channel": channel, "presence": true, "events": true})).await;
    reply["presence"]["members"].as_array().expect("a list of members").clone()
}

fn users(members: &[Value]) -> Vec<&str> {
    let mut users: Vec<&str> = members.iter().filter_map(|member| member["user"].as_str()).collect();
    users.sort_unstable();
    users
}

#[tokio::test]
async fn who_comes_is_in_the_list_and_who_was_there_is_told() {
    let node = Node::start().await;
    for encoding in Encoding::ALL {
        let channel = format!("chat:{encoding:?}");
        let mut alice = Client::open(&node, encoding).await;
        let reply = alice.ok("connect", json!({"token": token::good("alice")})).await;
        let before = now_ms();
        let members = enter(&mut alice, &channel).await;
        let [member] = members.as_slice() else { panic!("alice alone, not {members:?}") };
        assert_eq!((&member["session"], &member["user"]), (&reply["session"], &json!("alice")));
        let since = member["since"].as_u64().unwrap();
        assert!((before - 1000..=now_ms() + 1000).contains(&since), "{member}");
        assert_eq!(alice.push_of("join").await["user"], "alice", "one hears oneself come");

        let claims = json!({"sub": "bob", "exp": now_ms() / 1000 + 60, "info": {"name": "Bob", "n": [1, 2.5, null]}});
        let mut bob = Client::open(&node, encoding).await;
        bob.ok("connect", json!({"token": token::signed(&json!({"alg": "HS256"}), &claims)})).await;
        let members = enter(&mut bob, &channel).await;
        assert_eq!(users(&members), ["alice", "bob"]);
        let join = alice.push_of("join").await;
        assert_eq!(join, json!({"user": "bob", "info": {"name": "Bob", "n": [1, 2.5, null]}}));

        let page = alice.ok("presence", json!({"channel": channel})).await;
        assert_eq!(users(page["members"].as_array().unwrap()), ["alice", "bob"]);
        assert!(page.get("cursor").is_none(), "the last page has no cursor: {page}");
        let count = alice.ok("presence_count", json!({"channel": channel})).await;
        assert_eq!(count, json!({"connections": 2, "users": 2}));
    }
}

#[tokio::test]
async fn a_user_comes_with_the_first_session_and_goes_with_the_last() {
    let node = Node::with("namespaces.chat.presence_grace", "200ms").await;
    let (mut watcher, _) = Client::of(&node, "watcher").await;
    enter(&mut watcher, "chat:1").await;
    let (mut first, _) = Client::of(&node, "alice").await;
    first.subscribe("chat:1").await;
    let (mut second, _) = Client::of(&node, "alice").await;
    second.subscribe("chat:1").await;
    let count = watcher.ok("presence_count", json!({"channel": "chat:1"})).await;
    assert_eq!(count, json!({"connections": 3, "users": 2}));
    first.ok("unsubscribe", json!({"channel": "chat:1"})).await;
    second.close(1000, "").await;
    assert_eq!(watcher.push_of("leave").await, json!({"user": "alice"}));
    let (mut bob, _) = Client::of(&node, "bob").await;
    bob.subscribe("chat:1").await;
    let joins: Vec<Value> = watcher.pushes_so_far().await;
    assert_eq!(joins, [json!({"channel": "chat:1", "join": {"user": "bob"}})], "one leave and one join each");
}

#[tokio::test]
async fn whoever_returns_within_the_grace_has_not_left() {
    let node = Node::start().await;
    let (mut watcher, _) = Client::of(&node, "watcher").await;
    enter(&mut watcher, "chat:1").await;
    assert_eq!(watcher.push_of("join").await["user"], "watcher");
    for _ in 0..3 {
        let (mut alice, _) = Client::of(&node, "alice").await;
        alice.subscribe("chat:1").await;
        drop(alice);
    }
    // An anonymous client has no grace: its leave proves that what came before it has been told.
    let mut guest = Client::open(&node, Encoding::Json).await;
    let session = guest.ok("connect", json!({})).await["session"].as_str().unwrap().to_owned();
    guest.subscribe("chat:1").await;
    guest.close(1000, "").await;
    let mut heard = Vec::new();
    loop {
        let push = watcher.push().await;
        let is_last = push.get("leave").is_some_and(|leave| leave["user"] == format!("~{session}"));
        heard.push(push);
        if is_last {
            break;
        }
    }
    let alice = heard.iter().filter(|push| push.to_string().contains("alice")).collect::<Vec<_>>();
    assert_eq!(alice, [&json!({"channel": "chat:1", "join": {"user": "alice"}})], "{heard:?}");
}

#[tokio::test]
async fn events_come_only_to_those_who_asked_and_only_where_presence_is_kept() {
    let node = Node::start().await;
    let mut quiet = Client::connect(&node, Encoding::Json).await;
    quiet.subscribe("chat:1").await;
    let (mut alice, _) = Client::of(&node, "alice").await;
    alice.subscribe("chat:1").await;
    let count = quiet.ok("presence_count", json!({"channel": "chat:1"})).await;
    assert_eq!(count["connections"], 2, "every subscriber is in, asked or not");
    quiet.heard_nothing().await;
    assert_eq!(quiet.refused("presence", json!({"channel": "news:1"})).await, "no_presence");
    assert_eq!(quiet.refused("presence_count", json!({"channel": "news:1"})).await, "no_presence");
    assert_eq!(quiet.refused("presence", json!({"channel": "nowhere:1"})).await, "permission_denied");
    assert_eq!(quiet.refused("presence", json!({"channel": "chat:1", "limit": 0})).await, "bad_message");
    assert_eq!(quiet.refused("presence", json!({"channel": "chat:1", "limit": 501})).await, "bad_message");
    assert_eq!(quiet.refused("presence", json!({"channel": "chat:1", "cursor": "nonsense!"})).await, "bad_message");
}

#[tokio::test]
async fn a_large_channel_is_listed_page_by_page() {
    const MEMBERS: usize = 700;
    let cluster = Cluster::start(2).await;
    let members = Members::enter(&cluster.nodes[1], "chat:large", MEMBERS, "user").await;
    let mut client = Client::connect(&cluster.nodes[0], Encoding::Json).await;
    let mut sessions = std::collections::BTreeSet::new();
    let mut cursor = Value::Null;
    let mut pages = 0;
    loop {
        let body = match &cursor {
            Value::Null => json!({"channel": "chat:large"}),
            cursor => json!({"channel": "chat:large", "cursor": cursor, "limit": 100}),
        };
        let page = client.ok("presence", body).await;
        let listed = page["members"].as_array().unwrap();
        assert!(listed.len() <= 200, "a page of about a hundred, not of {}", listed.len());
        sessions.extend(listed.iter().map(|member| member["session"].as_str().unwrap().to_owned()));
        pages += 1;
        match page.get("cursor") {
            Some(next) => cursor = next.clone(),
            None => break,
        }
    }
    assert!(pages > 3, "{pages} pages");
    assert_eq!(sessions.len(), MEMBERS);
    drop(members);
}

#[tokio::test]
async fn backends_read_the_truth_from_two_hashes() {
    let cluster = Cluster::start(2).await;
    let (mut alice, reply) = Client::of(&cluster.nodes[0], "alice").await;
    alice.subscribe("chat:42").await;
    // The reply comes only after the entry is written: there is nothing to wait for.
    let entries = members::entries(&cluster.redis, "chat:42");
    let session = reply["session"].as_str().unwrap();
    let entry: Value = serde_json::from_str(&entries[session]).unwrap();
    assert_eq!(entry["user"], "alice");
    assert!(entry["node"].is_string() && entry["since"].is_u64(), "{entry}");
    let (mut again, _) = Client::of(&cluster.nodes[1], "alice").await;
    again.subscribe("chat:42").await;
    let mut guest = Client::open(&cluster.nodes[1], Encoding::Json).await;
    guest.ok("connect", json!({})).await;
    guest.subscribe("chat:42").await;
    assert_eq!(members::counts(&cluster.redis, "chat:42"), (3, 2));
    let since = now_ms();
    guest.ok("unsubscribe", json!({"channel": "chat:42"})).await;
    drop(alice);
    drop(again);
    eventually("empty hashes", async || (members::counts(&cluster.redis, "chat:42") == (0, 0)).then_some(())).await;
    let took = Duration::from_millis(now_ms() - since);
    assert!(took < Duration::from_secs(1), "the hashes told the truth only after {took:?}");
}
