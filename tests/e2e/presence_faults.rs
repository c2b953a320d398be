//! Presence under faults: a node that dies, a Redis that freezes, forgets or is lied to.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;
use ullim_tests::{Client, Cluster, Encoding, Node, eventually, token, within};

use crate::members::{self, Members};
use crate::turn;

/// How soon the traces of a dead node must be gone, and the hashes right after Redis has forgotten them.
const HEALED: Duration = Duration::from_secs(10);

const CHANNEL: &str = "chat:crowd";

/// A session that hears who comes and goes.
async fn watcher(node: &Node) -> Client {
    let mut watcher = Client::open(node, Encoding::Json).await;
    watcher.ok("connect", json!({"token": token::good("watcher")})).await;
    watcher.ok("subscribe", json!({"channel": CHANNEL, "events": true})).await;
    watcher
}

/// Waits until the watcher has been told that so many users, itself included, have come.
async fn all_have_come(watcher: &mut Client, users: usize) {
    for _ in 0..users {
        watcher.push_of("join").await;
    }
}

/// How often each user left, from the pushes so far.
fn leaves(pushes: &[Value]) -> BTreeMap<String, usize> {
    let mut leaves = BTreeMap::new();
    for leave in pushes.iter().filter_map(|push| push.get("leave")) {
        *leaves.entry(leave["user"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    leaves
}

#[tokio::test]
async fn a_dead_nodes_members_leave_once_each_within_ten_seconds() {
    const MEMBERS: usize = 500;
    let _turn = turn::take().await;
    let cluster = Cluster::start(3).await;
    let mut watcher = watcher(&cluster.nodes[0]).await;
    let survivors = Members::enter(&cluster.nodes[1], CHANNEL, 20, "survivor").await;
    let lost = Members::enter(&cluster.nodes[2], CHANNEL, MEMBERS, "lost").await;
    let mut roaming = Client::open(&cluster.nodes[2], Encoding::Json).await;
    roaming.ok("connect", json!({"token": token::good("roaming")})).await;
    roaming.subscribe(CHANNEL).await;
    assert_eq!(members::counts(&cluster.redis, CHANNEL), (MEMBERS + 22, MEMBERS + 22));
    all_have_come(&mut watcher, MEMBERS + 22).await;

    cluster.nodes[2].process.signal(Signal::KILL);
    let died = Instant::now();
    // One of the dead node's users comes back elsewhere before anybody has noticed.
    let mut roaming = Client::open(&cluster.nodes[1], Encoding::Json).await;
    roaming.ok("connect", json!({"token": token::good("roaming")})).await;
    roaming.subscribe(CHANNEL).await;

    eventually("hashes without the dead", async || {
        (members::counts(&cluster.redis, CHANNEL) == (22, 22)).then_some(())
    })
    .await;
    assert!(died.elapsed() < HEALED, "the hashes were right only after {:?}", died.elapsed());
    let mut heard = Vec::new();
    within("every leave", async {
        while leaves(&heard).len() < MEMBERS {
            heard.push(watcher.push().await);
        }
    })
    .await;
    assert!(died.elapsed() < HEALED, "the last leave came only after {:?}", died.elapsed());
    // What a second reaper would tell comes within its lease.
    tokio::time::sleep(Duration::from_secs(5)).await;
    heard.extend(watcher.pushes_so_far().await);
    let leaves = leaves(&heard);
    assert!(leaves.values().all(|times| *times == 1), "one leave each: {leaves:?}");
    assert!(leaves.keys().all(|user| user.starts_with("lost-")), "only the dead left: {leaves:?}");
    assert_eq!(leaves.len(), MEMBERS);
    assert!(heard.iter().all(|push| push.get("join").is_none()), "nobody came anew");
    drop((survivors, lost));
}

#[tokio::test]
async fn nobody_leaves_while_redis_is_frozen() {
    let _turn = turn::take().await;
    let cluster = Cluster::start(2).await;
    let mut watcher = watcher(&cluster.nodes[0]).await;
    let _members = Members::enter(&cluster.nodes[1], CHANNEL, 50, "member").await;
    let before = members::entries(&cluster.redis, CHANNEL);
    all_have_come(&mut watcher, 51).await;
    cluster.redis.freeze();
    tokio::time::sleep(Duration::from_secs(15)).await;
    cluster.redis.thaw();
    // Longer than a lease and a grace together: whoever would be reaped has been by then.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let pushes = watcher.pushes_so_far().await;
    assert!(leaves(&pushes).is_empty(), "{pushes:?}");
    assert!(pushes.iter().all(|push| push.get("join").is_none()), "{pushes:?}");
    let after = members::entries(&cluster.redis, CHANNEL);
    assert!(before.keys().eq(after.keys()), "the same sessions are in the hash");
    assert_eq!(members::counts(&cluster.redis, CHANNEL), (51, 51));
}

#[tokio::test]
async fn what_redis_has_forgotten_is_entered_again() {
    let _turn = turn::take().await;
    let cluster = Cluster::start(2).await;
    let mut watcher = watcher(&cluster.nodes[0]).await;
    let _members = Members::enter(&cluster.nodes[1], CHANNEL, 100, "member").await;
    let before = members::entries(&cluster.redis, CHANNEL);
    let elsewhere = Members::enter(&cluster.nodes[1], "chat:elsewhere", 5, "other").await;
    all_have_come(&mut watcher, 101).await;
    let mut quiet = Client::subscribed(&cluster.nodes[0], "chat:elsewhere").await;
    cluster.redis.cli(&["FLUSHALL"]);
    let flushed = Instant::now();
    eventually("all members", async || {
        let all = [members::counts(&cluster.redis, CHANNEL), members::counts(&cluster.redis, "chat:elsewhere")];
        (all == [(101, 101), (6, 6)]).then_some(())
    })
    .await;
    assert!(flushed.elapsed() < HEALED, "the hashes were right only after {:?}", flushed.elapsed());
    let gap = watcher.push_of("gap").await;
    assert_eq!(gap["reason"], "presence", "whoever watches is told that comings and goings may be missing: {gap}");
    quiet.heard_nothing().await;
    assert!(before.keys().eq(members::entries(&cluster.redis, CHANNEL).keys()));
    drop(elsewhere);
    eventually("the others' leave", async || {
        (members::counts(&cluster.redis, "chat:elsewhere") == (1, 1)).then_some(())
    })
    .await;
    assert!(leaves(&watcher.pushes_so_far().await).is_empty(), "nobody left");
}

#[tokio::test]
async fn a_node_that_was_only_paused_brings_its_members_back() {
    let _turn = turn::take().await;
    let cluster = Cluster::start(2).await;
    let mut watcher = watcher(&cluster.nodes[0]).await;
    let _members = Members::enter(&cluster.nodes[1], CHANNEL, 20, "member").await;
    cluster.nodes[1].process.signal(Signal::STOP);
    eventually("the members to be reaped", async || (members::counts(&cluster.redis, CHANNEL) == (1, 1)).then_some(()))
        .await;
    cluster.nodes[1].process.signal(Signal::CONT);
    eventually("the members to be back", async || (members::counts(&cluster.redis, CHANNEL) == (21, 21)).then_some(()))
        .await;
    watcher.ok("ping", json!({})).await;
}

#[tokio::test]
async fn forged_entries_harm_nobody() {
    let cluster = Cluster::start(2).await;
    let mut client = Client::open(&cluster.nodes[0], Encoding::Json).await;
    client.ok("connect", json!({"token": token::good("alice")})).await;
    client.subscribe(CHANNEL).await;
    let key = format!("ullim:{{{CHANNEL}}}:presence");
    let session = "AAAAAAAAAAAAAAAAAAAAAA";
    let deep = format!("{}1{}", "[".repeat(2000), "]".repeat(2000));
    let huge = format!("{{\"user\":\"{}\"}}", "x".repeat(100_000));
    let forged = [
        ("not-a-session", r#"{"user":"eve","node":"x","since":1}"#),
        (session, "not json"),
        ("BBBBBBBBBBBBBBBBBBBBBA", &deep),
        ("CCCCCCCCCCCCCCCCCCCCCA", &huge),
        ("DDDDDDDDDDDDDDDDDDDDDA", r#"{"user":7,"since":"now"}"#),
        ("EEEEEEEEEEEEEEEEEEEEEA", "[]"),
    ];
    for (field, value) in forged {
        cluster.redis.cli(&["HSET", &key, field, value]);
    }
    cluster.redis.cli(&["HSET", &format!("ullim:{{{CHANNEL}}}:users"), "eve", "many"]);
    let page = client.ok("presence", json!({"channel": CHANNEL})).await;
    let members = page["members"].as_array().unwrap();
    assert_eq!(members.len(), 1, "only what can be believed is listed: {page}");
    assert_eq!(members[0]["user"], "alice");
    // A user whose count was forged can still come and go.
    let mut eve = Client::open(&cluster.nodes[1], Encoding::Json).await;
    eve.ok("connect", json!({"token": token::good("eve")})).await;
    eve.subscribe(CHANNEL).await;
    eve.ok("unsubscribe", json!({"channel": CHANNEL})).await;
    // Keys of another type make presence unavailable there, and nowhere else.
    cluster.redis.cli(&["SET", "ullim:{chat:broken}:presence", "text"]);
    assert_eq!(client.refused("subscribe", json!({"channel": "chat:broken"})).await, "unavailable");
    client.subscribe("chat:whole").await;
}
