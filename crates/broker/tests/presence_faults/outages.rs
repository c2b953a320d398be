//! Redis that stands still, forgets, restarts, or loses the functions.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Answer, Broker, ChannelRules, Presence, PresenceError};

use super::member::{GRACE, answer, enter, entry, id, leave, occupancy, until_occupancy};
use super::watcher::Watcher;
use super::{REPAIRED, by_node, config, node, node_names, until_equal, users};
use ullim_tests::redis::server::{Data, Server};

const MEMBERS: u64 = 300;

/// A hundred users with three sessions each.
async fn enter_crowd(presence: &dyn Presence, first: u64) {
    let enter = |n| presence.enter(entry("a", first + n, &format!("user {}", n % 100)));
    let entering: Vec<Answer<_>> = (0..MEMBERS).map(enter).collect();
    for entered in entering {
        answer(entered).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_as_gone_because_redis_stood_still() {
    let server = Server::running(&[]).await;
    let nodes = [node(&server).await, node(&server).await];
    enter_crowd(&*nodes[0], 0).await;
    enter_crowd(&*nodes[1], 1000).await;
    // Whoever is reaping would be by now.
    sleep(Duration::from_secs(5)).await;
    let watcher = Watcher::start(&server).await;
    let before = by_node(&server, "a").await;
    server.freeze();
    sleep(Duration::from_secs(7)).await;
    server.thaw();
    // For longer than a lease.
    for _ in 0..60 {
        assert_eq!(by_node(&server, "a").await, before);
        sleep(Duration::from_millis(100)).await;
    }
    watcher.hear(Vec::new()).await;
    assert_eq!(users(&server, "a").await.values().sum::<u64>(), 2 * MEMBERS);
    assert_eq!(occupancy(&*nodes[0], "a").await, (2 * MEMBERS, 100));
    for node in &nodes {
        assert_eq!(node.counters().presence_reaped, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_forgets_is_entered_again() {
    let mut server = Server::running(&[]).await;
    let nodes = [node(&server).await, node(&server).await];
    enter_crowd(&*nodes[0], 0).await;
    enter_crowd(&*nodes[1], 1000).await;
    let expected: BTreeMap<String, u64> = (0..100).map(|n| (format!("user {n}"), 6)).collect();
    assert_eq!(users(&server, "a").await, expected);
    for restarts in [false, true] {
        let since = Instant::now();
        match restarts {
            false => server.run::<()>(&["FLUSHALL"]).await,
            true => {
                server.kill();
                server.start(Data::None).await;
            }
        }
        until_occupancy(&*nodes[1], "a", (2 * MEMBERS, 100)).await;
        assert_eq!(users(&server, "a").await, expected);
        assert!(since.elapsed() < REPAIRED, "{:?}", since.elapsed());
        eprintln!("all entered again after {:?}", since.elapsed());
    }
    // And they can leave as if nothing had been.
    (0..MEMBERS).for_each(|n| leave(&*nodes[0], "a", n));
    (0..MEMBERS).for_each(|n| leave(&*nodes[1], "a", 1000 + n));
    until_occupancy(&*nodes[1], "a", (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_are_gone_are_loaded_again() {
    let server = Server::running(&[]).await;
    let node = node(&server).await;
    enter(&*node, "a", 1, "alice").await;
    let watcher = Watcher::start(&server).await;
    server.run::<()>(&["FUNCTION", "FLUSH"]).await;
    enter(&*node, "a", 2, "bob").await;
    server.run::<()>(&["FUNCTION", "FLUSH"]).await;
    leave(&*node, "a", 1);
    until_occupancy(&*node, "a", (1, 1)).await;
    server.run::<()>(&["FUNCTION", "FLUSH"]).await;
    watcher.hear(vec!["{a}+bob".to_owned(), "{a}-alice".to_owned()]).await;
    assert_eq!(node.counters().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_library_is_replaced_and_a_newer_one_is_kept() {
    let server = Server::running(&[]).await;
    let library = include_str!("../../src/redis/presence/ullim.lua");
    let revision = async || server.run::<(u64, String)>(&["FCALL", "ullim_revision", "1", "ullim:nodes"]).await.0;
    for (loaded, expected) in [(1, 2), (7, 7)] {
        let other = library.replace("local REVISION = 2", &format!("local REVISION = {loaded}"));
        server.run::<String>(&["FUNCTION", "LOAD", "REPLACE", &other]).await;
        let node = node(&server).await;
        enter(&*node, "a", 1, "alice").await;
        assert_eq!(revision().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_enter_in_time_is_told_so_and_may_leave() {
    let mut server = Server::new(&[]);
    let broker = RedisBroker::start(&config(server.url()), ChannelRules::default()).unwrap();
    let since = Instant::now();
    let refused = answer(broker.enter(entry("a", 1, "alice"))).await;
    assert_eq!(refused, Err(PresenceError::Unavailable));
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    leave(&*broker, "a", 1);
    assert_eq!(answer(broker.occupancy(&super::wait::name("a"))).await, Err(PresenceError::Unavailable));
    // This one waits, and leaves before Redis is there.
    let waiting = broker.enter(entry("a", 2, "bob"));
    leave(&*broker, "a", 2);
    assert_eq!(answer(waiting).await, Err(PresenceError::Unavailable));
    // This one stays.
    let entering = broker.enter(entry("a", 3, "carol"));
    let (entered, ()) = tokio::join!(answer(entering), server.start(Data::None));
    assert_eq!(entered, Ok(()));
    assert_eq!(users(&server, "a").await, BTreeMap::from([("carol".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_from_the_dead_is_removed_when_the_link_is_back() {
    let server = Server::running(&[]).await;
    let node = node(&server).await;
    enter(&*node, "a", 1, "alice").await;
    let names = node_names(&server).await;
    let watcher = Watcher::start(&server).await;
    // As after a failover to a replica that had not heard of what came last.
    let ghost = format!("{{\"user\":\"alice\",\"node\":\"{}\",\"since\":1}}", names[0]);
    server.run::<()>(&["HSET", "ullim:{a}:presence", &id(2).to_string(), &ghost]).await;
    let ghost = ghost.replace("alice", "bob");
    server.run::<()>(&["HSET", "ullim:{a}:presence", &id(3).to_string(), &ghost]).await;
    server.run::<()>(&["HSET", "ullim:{a}:users", "alice", "2", "bob", "1"]).await;
    server.run::<()>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    until_equal(BTreeMap::from([("alice".to_owned(), 1)]), async || users(&server, "a").await).await;
    assert_eq!(occupancy(&*node, "a").await, (1, 1));
    watcher.hear(vec!["{a}-bob".to_owned()]).await;
    leave(&*node, "a", 1);
    sleep(GRACE).await;
    watcher.hear(vec!["{a}-bob".to_owned(), "{a}-alice".to_owned()]).await;
    until_equal(0, async || server.run::<Vec<String>>(&["KEYS", "ullim:node:*"]).await.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_another_node_had_by_mistake_is_entered_again() {
    let server = Server::running(&[]).await;
    let node = node(&server).await;
    enter(&*node, "a", 1, "alice").await;
    // As after a failover that has lost how the session came here from another node.
    let entry = "{\"user\":\"alice\",\"node\":\"other\",\"since\":1}";
    server.run::<()>(&["HSET", "ullim:{a}:presence", &id(1).to_string(), entry]).await;
    server.run::<()>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    super::wait::until("reconnected", || node.counters().reconnects >= 2).await;
    // After it, the first is known to be another's.
    enter(&*node, "a", 2, "bob").await;
    assert_eq!(by_node(&server, "a").await.get("other"), Some(&1));
    // The other finds that it has no use for it.
    server.run::<()>(&["HDEL", "ullim:{a}:presence", &id(1).to_string()]).await;
    server.run::<()>(&["HDEL", "ullim:{a}:users", "alice"]).await;
    until_occupancy(&*node, "a", (2, 2)).await;
    assert_eq!(node_names(&server).await, by_node(&server, "a").await.into_keys().collect::<Vec<_>>());
}
