//! Nodes that die, stop, stand still, or hand their users over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Answer, Broker, ChannelRules, Entry, Presence};

use super::member::{answer, enter, entry, id, leave, occupancy, until_occupancy};
use super::wait::until;
use super::watcher::Watcher;
use super::{REPAIRED, by_node, config, node, node_names, until_equal, users};
use ullim_tests::redis::server::Server;

const SESSIONS: u64 = 500;

/// Many members in five channels: each user once, but every tenth is nobody.
fn crowd() -> Vec<Entry> {
    let member = |n: u64| {
        let user = if n.is_multiple_of(10) { String::new() } else { format!("user {n}") };
        let mut entry = entry(&format!("room:{}", n % 5), n, &user);
        if entry.user.is_some() {
            entry.grace = Duration::from_secs(5);
        }
        entry
    };
    (0..SESSIONS).map(member).collect()
}

fn goings(crowd: &[Entry], of: impl Fn(&Entry) -> bool) -> Vec<String> {
    let name = |entry: &Entry| entry.user.as_deref().map_or_else(|| format!("~{}", entry.session), str::to_owned);
    crowd.iter().filter(|entry| of(entry)).map(|entry| format!("{{{}}}-{}", entry.channel, name(entry))).collect()
}

async fn enter_all(presence: &dyn Presence, entries: &[Entry]) {
    let entering: Vec<Answer<_>> = entries.iter().map(|entry| presence.enter(entry.clone())).collect();
    for entered in entering {
        answer(entered).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_dead_node_are_removed_and_told_of_once() {
    let server = Server::running(&[]).await;
    let (first, second, dying) = (node(&server).await, node(&server).await, node(&server).await);
    enter_all(&*dying, &crowd()).await;
    // One is on another node too, and stays.
    let stays = entry("room:1", 10_001, "user 1");
    answer(first.enter(stays)).await.unwrap();
    let watcher = Watcher::start(&server).await;
    // Its tasks end where they are, and nobody leaves.
    drop(dying);
    let died = Instant::now();
    let expected = goings(&crowd(), |entry| entry.user.as_deref() != Some("user 1"));
    until("told", || watcher.heard().len() >= expected.len()).await;
    let took = died.elapsed();
    assert!(took < REPAIRED, "{took:?}");
    eprintln!("{} members of a dead node told as gone after {took:?}", expected.len());
    for room in 0..5 {
        let expected = if room == 1 { (1, 1) } else { (0, 0) };
        assert_eq!(occupancy(&*second, &format!("room:{room}")).await, expected);
    }
    // Both survivors had seen it. Nobody is told twice.
    until_equal(2, async || node_names(&server).await.len()).await;
    sleep(Duration::from_secs(1)).await;
    watcher.hear(expected).await;
    let reaped = first.counters().presence_reaped + second.counters().presence_reaped;
    assert_eq!(reaped, SESSIONS);
    let left: Vec<String> = server.run(&["KEYS", "ullim:*leaving"]).await;
    assert_eq!(left, [""; 0]);
    until_equal(1, async || server.run::<Vec<String>>(&["KEYS", "ullim:node:*"]).await.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survivors_tell_of_those_who_left_a_node_that_stopped() {
    let server = Server::running(&[]).await;
    let (survivor, stopping) = (node(&server).await, node(&server).await);
    let mut patient = entry("a", 1, "alice");
    patient.grace = Duration::from_secs(6);
    answer(stopping.enter(patient)).await.unwrap();
    enter(&*stopping, "a", 2, "").await;
    let watcher = Watcher::start(&server).await;
    let stopped = Instant::now();
    leave(&*stopping, "a", 1);
    leave(&*stopping, "a", 2);
    stopping.stop().await;
    drop(stopping);
    assert_eq!(occupancy(&*survivor, "a").await, (0, 0));
    watcher.hear(vec![format!("{{a}}-~{}", id(2)), "{a}-alice".to_owned()]).await;
    let took = stopped.elapsed();
    assert!(took >= Duration::from_secs(6) && took < REPAIRED, "{took:?}");
    until_equal(0, async || server.run::<Vec<String>>(&["KEYS", "ullim:node:*"]).await.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stopped_and_left_nothing_is_not_taken_for_dead() {
    let server = Server::running(&[]).await;
    let stopping = node(&server).await;
    for n in 0..1000 {
        enter(&*stopping, &format!("room:{}", n % 100), n, "").await;
    }
    for n in 0..1000 {
        leave(&*stopping, &format!("room:{}", n % 100), n);
    }
    stopping.stop().await;
    let left: Vec<String> = server.run(&["KEYS", "ullim:*"]).await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_moves_to_another_node_is_not_told() {
    let server = Server::running(&[]).await;
    let (from, to) = (node(&server).await, node(&server).await);
    enter(&*from, "a", 1, "alice").await;
    let watcher = Watcher::start(&server).await;
    leave(&*from, "a", 1);
    until_occupancy(&*to, "a", (0, 0)).await;
    enter(&*to, "a", 2, "alice").await;
    // The same session, resumed on another node before the end of the first connection was seen.
    enter(&*from, "a", 2, "alice").await;
    leave(&*to, "a", 2);
    enter(&*to, "a", 3, "bob").await;
    leave(&*to, "a", 3);
    watcher.hear(vec!["{a}+bob".to_owned(), "{a}-bob".to_owned()]).await;
    assert_eq!(users(&server, "a").await, BTreeMap::from([("alice".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_enters_its_members_anew_under_another_name() {
    let server = Server::running(&[]).await;
    let survivor = node(&server).await;
    let (pause, pauses) = mpsc::sync_channel::<Duration>(1);
    let (started, starts) = mpsc::sync_channel::<Arc<RedisBroker>>(1);
    let config = config(server.url());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            started.send(RedisBroker::start(&config, ChannelRules::default()).unwrap()).unwrap();
            loop {
                match pauses.try_recv() {
                    Ok(pause) => std::thread::sleep(pause),
                    Err(mpsc::TryRecvError::Empty) => sleep(Duration::from_millis(10)).await,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
        });
    });
    let paused = starts.recv().unwrap();
    enter_all(&*paused, &crowd()).await;
    let names = node_names(&server).await;
    let watcher = Watcher::start(&server).await;
    let since = Instant::now();
    pause.send(Duration::from_secs(9)).unwrap();
    watcher.hear(goings(&crowd(), |_| true)).await;
    // Those who leave while it does not know are not entered again.
    leave(&*paused, "room:1", 1);
    watcher.clear();
    until_equal(99, async || by_node(&server, "room:1").await.values().sum()).await;
    until_equal(100, async || by_node(&server, "room:4").await.values().sum()).await;
    assert!(since.elapsed() < Duration::from_secs(9) + REPAIRED);
    let expected = goings(&crowd(), |entry| entry.session != id(1));
    watcher.hear(expected.into_iter().map(|going| going.replacen("}-", "}+", 1)).collect()).await;
    let now = node_names(&server).await;
    let entered = by_node(&server, "room:4").await;
    assert!(now.contains(entered.keys().next().unwrap()) && !names.contains(entered.keys().next().unwrap()));
    assert_eq!(paused.counters().presence_reasserted, SESSIONS - 1);
    assert_eq!(paused.counters().presence_members, SESSIONS - 1);
    assert_eq!(survivor.counters().presence_reaped, SESSIONS);
    drop(pause);
    thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_entered_by_a_call_that_was_under_way_for_longer_than_the_lease() {
    let server = Server::running(&[]).await;
    let _node = node(&server).await;
    until_equal(1, async || node_names(&server).await.len()).await;
    let watcher = Watcher::start(&server).await;
    let (seconds, _): (u64, u64) = server.run(&["TIME"]).await;
    let call = async |lease_end: u64| -> (String, i64) {
        let (session, lease_end) = (id(1).to_string(), lease_end.to_string());
        let (entry, event) = ("{\"user\":\"alice\",\"node\":\"n1\"", "{\"user\":\"alice\"}");
        let mut call = vec!["FCALL", "ullim_enter", "3", "ullim:{a}:presence", "ullim:{a}:users", "ullim:{a}:leaving"];
        call.extend(["ullim:{a}", &session, "alice", entry, "0", "5000", event, "", &lease_end]);
        server.run(&call).await
    };
    assert_eq!(call((seconds - 1) * 1000).await, ("late".to_owned(), -1));
    assert_eq!(users(&server, "a").await, BTreeMap::new());
    let (since, _) = call((seconds + 60) * 1000).await;
    assert!(since.parse::<u64>().unwrap() >= seconds * 1000);
    watcher.hear(vec!["{a}+alice".to_owned()]).await;
}
