//! Sessions that come, go and move between nodes while links are killed and functions lost: in the end Redis has what is
//! wanted, and what was told of each user is coming and going in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::{Instant, sleep};
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, Claim, Entry, Presence};

use super::member::{answer, entry, id};
use super::watcher::Watcher;
use super::{node, until_equal, users};
use ullim_tests::redis::server::Server;

const CHANNELS: [&str; 2] = ["a", "b"];
const SESSIONS: u64 = 40;

fn session(channel: &str, n: u64) -> Entry {
    let user = if n.is_multiple_of(5) { String::new() } else { format!("user {}", n % 7) };
    let mut entry = entry(channel, n, &user);
    if entry.user.is_some() {
        entry.grace = Duration::from_millis(50 + 40 * (n % 4));
    }
    entry
}

/// Where each session is: on which node, with which claim.
type Places = BTreeMap<(&'static str, u64), (usize, Claim)>;

async fn churn(nodes: &[std::sync::Arc<RedisBroker>], random: &mut StdRng, places: &mut Places, claim: u64) {
    let channel = CHANNELS[random.random_range(0..CHANNELS.len())];
    let n = random.random_range(0..SESSIONS);
    let before = places.get(&(channel, n)).copied();
    if before.is_some() && random.random_bool(0.5) {
        places.remove(&(channel, n));
    } else {
        let on = random.random_range(0..nodes.len());
        let mut entry = session(channel, n);
        entry.claim = Claim(claim);
        // A link may be down for a moment; then the node goes on trying.
        let _ = answer(nodes[on].enter(entry)).await;
        places.insert((channel, n), (on, Claim(claim)));
    }
    if let Some((on, claim)) = before {
        nodes[on].leave(&super::wait::name(channel), id(n), claim, Duration::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_all_faults_redis_has_what_is_wanted_and_told_it_in_turn() {
    let server = Server::running(&[]).await;
    let nodes = [node(&server).await, node(&server).await, node(&server).await];
    let watcher = Watcher::start(&server).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut places = Places::new();
    let faults: [&[&str]; 2] = [&["CLIENT", "KILL", "TYPE", "normal"], &["FUNCTION", "FLUSH"]];
    let end = Instant::now() + Duration::from_secs(8);
    let mut changes = 0;
    while Instant::now() < end {
        churn(&nodes, &mut random, &mut places, changes).await;
        changes += 1;
        if random.random_bool(0.003) {
            server.run::<redis::Value>(faults[random.random_range(0..2)]).await;
            sleep(Duration::from_millis(20)).await;
        }
    }
    let mut present = BTreeSet::new();
    for channel in CHANNELS {
        let mut expected = BTreeMap::<String, u64>::new();
        for (_, n) in places.keys().filter(|(of, _)| *of == channel) {
            let entry = session(channel, *n);
            let user = entry.user.map_or_else(|| format!("~{}", entry.session), |user| user.to_string());
            present.insert(format!("{{{channel}}}{user}"));
            *expected.entry(user).or_default() += 1;
        }
        until_equal(expected, async || users(&server, channel).await).await;
        let left = format!("ullim:{{{channel}}}:leaving");
        until_equal(0, async || server.run::<u64>(&["ZCARD", &left]).await).await;
    }
    let reconnects: u64 = nodes.iter().map(|node| node.counters().reconnects).sum();
    let heard = watcher.in_order();
    eprintln!("{changes} changes, {} comings and goings, {reconnects} broken links", heard.len());
    assert!(reconnects > 0 && heard.len() > 100);
    let mut told = BTreeSet::new();
    for event in heard {
        let (channel, rest) = event.split_at(event.find('}').unwrap() + 1);
        let (sign, user) = rest.split_at(1);
        let who = format!("{channel}{user}");
        match sign {
            "+" => assert!(told.insert(who), "came twice: {event}"),
            _ => assert!(told.remove(&who), "went twice: {event}"),
        }
    }
    assert_eq!(told, present);
}
