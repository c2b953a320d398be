//! What others write into Redis, and what they allow a node there.

use std::collections::BTreeMap;

use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelRules, Presence, PresenceError};

use super::member::{answer, enter, entry, id, leave, members, occupancy, until_occupancy};
use super::watcher::Watcher;
use super::{by_node, config, node, node_names, until_equal, users};
use ullim_tests::redis::server::Server;

/// Values that are no entries.
fn forged() -> Vec<String> {
    vec![
        String::new(),
        "x".to_owned(),
        "7".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{\"node\":{},\"user\":[]}".to_owned(),
        "{\"node\":\"n\",\"user\":7}".to_owned(),
        format!("{}{}", "[".repeat(5000), "]".repeat(5000)),
        format!("{{\"node\":\"n\",\"user\":\"{}\"}}", "a".repeat(100_000)),
        "\u{0}\u{1}".to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_entries_are_skipped_and_make_nothing_fail() {
    let server = Server::running(&[]).await;
    let (node, dying) = (node(&server).await, node(&server).await);
    enter(&*node, "a", 1, "alice").await;
    enter(&*dying, "a", 2, "bob").await;
    let watcher = Watcher::start(&server).await;
    let forged = forged();
    for (n, value) in forged.iter().enumerate() {
        server.run::<()>(&["HSET", "ullim:{a}:presence", &id(100 + n as u64).to_string(), value]).await;
    }
    server.run::<()>(&["HSET", "ullim:{a}:presence", "no session", "{\"node\":\"n\"}"]).await;
    server.run::<()>(&["HSET", "ullim:{a}:users", "bob", "x"]).await;
    server.run::<()>(&["HSET", "ullim:nodes", "", "x", "z", "1 2 3", "y", "99999999999999999999"]).await;
    server.run::<()>(&["SET", "ullim:node:z:channels", "no set"]).await;
    server.run::<()>(&["SADD", "ullim:node:::channels", "a", "{", "\u{0}"]).await;
    let read = members(&*node, "a", 100).await;
    assert_eq!(read.iter().map(|member| member.session).collect::<Vec<_>>(), [id(1), id(2)]);
    assert_eq!(node.counters().presence_invalid, forged.len() as u64 + 1);
    // Whoever enters over such a value is counted, and can leave.
    for n in 0..forged.len() as u64 {
        enter(&*node, "a", 100 + n, "carol").await;
    }
    for n in 0..forged.len() as u64 {
        server.run::<()>(&["HSET", "ullim:{a}:presence", &id(100 + n).to_string(), &forged[n as usize]]).await;
        leave(&*node, "a", 100 + n);
    }
    drop(dying);
    watcher.hear(vec!["{a}+carol".to_owned(), "{a}-carol".to_owned(), "{a}-bob".to_owned()]).await;
    // Only the one that nobody could be taken for stays.
    until_occupancy(&*node, "a", (2, 1)).await;
    until_equal(1, async || server.run::<Vec<String>>(&["HKEYS", "ullim:nodes"]).await.len()).await;
    assert_eq!(node.counters().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_another_type_refuse_only_their_own_channel() {
    let server = Server::running(&[]).await;
    let node = node(&server).await;
    server.run::<()>(&["SET", "ullim:{a}:users", "no hash"]).await;
    let refused = answer(node.enter(entry("a", 1, "alice"))).await;
    assert!(matches!(&refused, Err(PresenceError::Refused(reason)) if reason.contains("WRONGTYPE")), "{refused:?}");
    enter(&*node, "b", 1, "alice").await;
    let half: u64 = server.run(&["EXISTS", "ullim:{a}:presence"]).await;
    assert_eq!(half, 0, "nothing is half done");
    // It is entered when it can be, as long as it is wanted.
    server.run::<()>(&["DEL", "ullim:{a}:users"]).await;
    until_occupancy(&*node, "a", (1, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_lets_nobody_in_but_out() {
    let server = Server::running(&[]).await;
    let node = node(&server).await;
    enter(&*node, "a", 1, "alice").await;
    let watcher = Watcher::start(&server).await;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for channel in ["a", "b"] {
        let refused = answer(node.enter(entry(channel, 2, "bob"))).await;
        assert!(matches!(refused, Err(PresenceError::Refused(_) | PresenceError::Unavailable)), "{refused:?}");
        leave(&*node, channel, 2);
    }
    leave(&*node, "a", 1);
    watcher.hear(vec!["{a}-alice".to_owned()]).await;
    assert_eq!(occupancy(&*node, "a").await, (0, 0));
    assert_eq!(node.counters().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_node_left_is_not_lost_because_redis_has_no_memory() {
    let server = Server::running(&[]).await;
    let (survivor, dying) = (node(&server).await, node(&server).await);
    let mut patient = entry("a", 1, "alice");
    patient.grace = std::time::Duration::from_secs(60);
    answer(dying.enter(patient)).await.unwrap();
    let dead = by_node(&server, "a").await.into_keys().next().unwrap();
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    drop(dying);
    until_occupancy(&*survivor, "a", (0, 0)).await;
    // Her deadline is still to be found, for the next who claims what the node left.
    let channels = format!("ullim:node:{dead}:channels");
    let since = tokio::time::Instant::now();
    while since.elapsed() < std::time::Duration::from_secs(1) {
        assert_eq!(server.run::<Vec<String>>(&["SMEMBERS", &channels]).await, ["a"]);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    until_equal(0, async || server.run::<u64>(&["EXISTS", &channels]).await).await;
    let [survivor] = &node_names(&server).await[..] else { panic!("one is left") };
    let channels = format!("ullim:node:{survivor}:channels");
    assert_eq!(server.run::<Vec<String>>(&["SMEMBERS", &channels]).await, ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_rights_nobody_enters_and_publications_pass() {
    let server = Server::running(&[]).await;
    server.run::<()>(&["ACL", "SETUSER", "node", "on", ">x", "+@all", "-zadd", "~*", "&*"]).await;
    let url = server.url().replace("redis://", "redis://node:x@");
    let broker = RedisBroker::start(&config(url), ChannelRules::default()).unwrap();
    super::wait::until("up", || broker.status() == ullim_broker::Status::Up).await;
    let refused = answer(broker.enter(entry("a", 1, "alice"))).await;
    assert_eq!(refused, Err(PresenceError::Unavailable));
    assert_eq!((broker.status(), broker.counters().presence_up), (ullim_broker::Status::Up, Some(false)));
    assert_eq!(users(&server, "a").await, BTreeMap::new());
    server.run::<()>(&["ACL", "SETUSER", "node", "+zadd"]).await;
    until_equal(1, async || users(&server, "a").await.len()).await;
    assert_eq!(broker.counters().presence_up, Some(true));
}
