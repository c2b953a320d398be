//! Users whose grace ends: all at once, or by another clock.

use std::time::Duration;

use ullim_broker::{Answer, Presence};

use super::member::{answer, enter, entry, leave, until_occupancy};
use super::wait::until;
use super::watcher::Watcher;
use super::{node, node_names, until_equal};
use ullim_tests::redis::server::Server;

const ROOMS: u64 = 50;
const USERS: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_who_are_due_at_one_moment_are_all_told() {
    let server = Server::running(&[]).await;
    let (survivor, dying) = (node(&server).await, node(&server).await);
    let enter = |n: u64| {
        let mut entry = entry(&format!("room:{}", n % ROOMS), n, &format!("user {n}"));
        entry.grace = Duration::from_secs(8);
        dying.enter(entry)
    };
    for chunk in (0..ROOMS * USERS).collect::<Vec<_>>().chunks(1000) {
        let entering: Vec<Answer<_>> = chunk.iter().map(|n| enter(*n)).collect();
        for entered in entering {
            answer(entered).await.unwrap();
        }
    }
    let watcher = Watcher::start(&server).await;
    // All graces count from its last renewal.
    drop(dying);
    until("told", || watcher.in_order().len() as u64 >= ROOMS * USERS).await;
    let expected = (0..ROOMS * USERS).map(|n| format!("{{room:{}}}-user {n}", n % ROOMS)).collect();
    watcher.hear(expected).await;
    until_equal(0, async || server.run::<Vec<String>>(&["KEYS", "ullim:*leaving"]).await.len()).await;
    drop(survivor);
}

/// What Redis has for times, as if its clock had been set back by `millis`.
async fn set_back(server: &Server, channel: &str, millis: u64) {
    let later = "local nodes = redis.call('HGETALL', KEYS[1])
        for i = 1, #nodes, 2 do
            redis.call('HSET', KEYS[1], nodes[i], string.format('%.0f', nodes[i + 1] + ARGV[1]))
        end
        local away = redis.call('ZRANGE', KEYS[2], 0, -1)
        for _, user in ipairs(away) do redis.call('ZINCRBY', KEYS[2], ARGV[1], user) end
        return #away";
    let leaving = format!("ullim:{{{channel}}}:leaving");
    let away: u64 = server.run(&["EVAL", later, "2", "ullim:nodes", &leaving, &millis.to_string()]).await;
    assert_eq!(away, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_is_told_though_the_clock_was_set_back() {
    let server = Server::running(&[]).await;
    let node = node(&server).await;
    let watcher = Watcher::start(&server).await;
    // By less than a lease, which nobody notices, and by more.
    for millis in [1500, 10_000] {
        enter(&*node, "a", 1, "alice").await;
        leave(&*node, "a", 1);
        until_occupancy(&*node, "a", (0, 0)).await;
        set_back(&server, "a", millis).await;
        watcher.hear(vec!["{a}+alice".to_owned(), "{a}-alice".to_owned()]).await;
        watcher.clear();
    }
    assert_eq!(node_names(&server).await.len(), 1);
}
