//! A Redis Cluster: sharded channels over all masters, slots that move, a master that dies.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelsRequest, Config, Control, Relayed};
use ullim_protocol::outgoing::GapReason;

use super::load::Load;
use super::member::{answer, enter, leave, members, until_occupancy};
use super::nodes::Nodes;
use super::shard::Shard;
use super::wait::{PATIENCE, until};
use super::{ROOMY, config, publish, started};

fn cluster_config(nodes: &Nodes) -> Config {
    // The host means nothing.
    let mut config = config("redis://nowhere.invalid:1".to_owned());
    config.redis.cluster = vec![nodes.masters[1].address().to_string(), "127.0.0.1:1".to_owned()];
    config
}

async fn node(nodes: &Nodes) -> Arc<RedisBroker> {
    started(&cluster_config(nodes)).await
}

/// A channel that the first master has, and one that it has not.
async fn here_and_there(nodes: &Nodes) -> (&'static str, &'static str) {
    let (mut here, mut there) = (None, None);
    for channel in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        match nodes.master_of(channel).await {
            0 => here = Some(channel),
            _ => there = Some(channel),
        }
    }
    (here.unwrap(), there.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_over_all_masters_are_heard_in_order() {
    let nodes = Nodes::start(false).await;
    let (one, two) = (node(&nodes).await, node(&nodes).await);
    let mut shard = Shard::attach(&*one, ROOMY);
    let channels: Vec<String> = (0..200).map(|number| format!("c:{number}")).collect();
    let mut owners = [0; 3];
    for channel in &channels {
        one.subscribe(shard.id, &super::wait::name(channel));
        owners[nodes.master_of(channel).await] += 1;
    }
    assert!(owners.iter().all(|channels| *channels > 20), "{owners:?}");
    for _ in &channels {
        assert!(matches!(shard.next().await, Relayed::Joined(_, _)));
    }
    for round in 0..10 {
        for channel in &channels {
            assert_eq!(publish(&two, channel, &format!("{channel} {round}")).await, Ok(()));
        }
    }
    let mut rounds = std::collections::BTreeMap::<String, u64>::new();
    for _ in 0..2000 {
        match shard.next().await {
            Relayed::Publication(routed) => {
                let round = rounds.entry(routed.channel.to_string()).or_default();
                let expected = format!("{} {round}", routed.channel);
                assert_eq!(String::from_utf8_lossy(routed.publication.data.bytes()), expected);
                *round += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let listed = answer(two.channels(ChannelsRequest { prefix: "c:".to_owned(), after: None, limit: 1000 })).await;
    assert_eq!(listed.unwrap().channels.len(), 200);
    assert_eq!(answer(two.control(Control::Disconnect { user: "alice".into() })).await, Ok(()));
    assert!(matches!(shard.next().await, Relayed::Control(_)));
    // A backend that knows nothing of sharding.
    let mut client = nodes.masters[2].client().await.unwrap();
    redis::cmd("PUBLISH").arg("ullim:{c:7}").arg("plain").query_async::<()>(&mut client).await.unwrap();
    assert_eq!(shard.next_data("c:7").await, "plain");
    let counters = one.counters();
    assert_eq!((counters.unsharded, counters.gaps, counters.probe_failures), (1, 0, 0));
    assert_eq!(counters.channels, 200);
    for channel in &channels {
        one.unsubscribe(shard.id, &super::wait::name(channel));
    }
    until("left", || one.counters().channels == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_kept_on_all_masters() {
    let nodes = Nodes::start(false).await;
    let (one, two) = (node(&nodes).await, node(&nodes).await);
    let mut shard = Shard::attach(&*one, ROOMY);
    for channel in ["a", "b", "c", "d", "e", "f"] {
        shard.join(&*one, channel).await;
        enter(&*two, channel, 1, "alice").await;
        assert!(matches!(shard.next().await, Relayed::Presence(_)), "no joining in {channel}");
        until_occupancy(&*one, channel, (1, 1)).await;
        assert_eq!(members(&*one, channel, 10).await.len(), 1);
    }
    let masters: std::collections::BTreeSet<usize> =
        [nodes.master_of("a").await, nodes.master_of("b").await, nodes.master_of("c").await].into();
    assert!(masters.len() > 1, "{masters:?}");
    for channel in ["a", "b", "c", "d", "e", "f"] {
        leave(&*two, channel, 1);
        assert!(matches!(shard.next().await, Relayed::Presence(_)), "no leaving in {channel}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_move_is_announced_loses_nothing_and_tells_no_gap() {
    let nodes = Nodes::start(false).await;
    let (one, two) = (node(&nodes).await, node(&nodes).await);
    let mut shard = Shard::attach(&*one, ROOMY);
    shard.join(&*one, "m").await;
    enter(&*one, "m", 1, "alice").await;
    assert!(matches!(shard.next().await, Relayed::Presence(_)));
    let (slot, from) = (nodes.slot("m").await.to_string(), nodes.master_of("m").await);
    let to = (from + 1) % 3;
    let load = Load::start(two, "m");
    until("flowing", || one.counters().received > 50).await;
    nodes.announce(&slot, from, to).await;
    // Subscribed there, before it has moved.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shards: Vec<String> = nodes.masters[to].run(&["PUBSUB", "SHARDCHANNELS", "ullim:{m}"]).await;
        if !shards.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "not subscribed at the target");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    nodes.migrate(&slot, from, to).await;
    let before = one.counters().received;
    until("flowing from the target", || one.counters().received > before + 200).await;
    let (missed, gaps) = load.finish(&mut shard, "m").await;
    // Valkey drops the subscription when the slot arrives: that is told.
    if std::env::var_os("VALKEY_SERVER").is_none() {
        assert_eq!((missed, gaps.len()), (0, 0), "{gaps:?}");
    }
    until_occupancy(&*one, "m", (1, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_at_once_is_followed_and_what_is_lost_is_told() {
    let nodes = Nodes::start(false).await;
    let (one, two) = (node(&nodes).await, node(&nodes).await);
    let mut shard = Shard::attach(&*one, ROOMY);
    shard.join(&*one, "m").await;
    let (slot, from) = (nodes.slot("m").await.to_string(), nodes.master_of("m").await);
    let load = Load::start(two, "m");
    until("flowing", || one.counters().received > 50).await;
    for (from, to) in [(from, (from + 1) % 3), ((from + 1) % 3, (from + 2) % 3)] {
        nodes.announce(&slot, from, to).await;
        nodes.migrate(&slot, from, to).await;
        let before = one.counters().received;
        until("flowing from the target", || one.counters().received > before + 100).await;
    }
    let (missed, gaps) = load.finish(&mut shard, "m").await;
    eprintln!("{missed} were missed, {gaps:?}");
    assert!(gaps.len() <= 2 && gaps.iter().all(|gap| gap.reason == GapReason::BrokerLink), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_from_a_master_that_dies() {
    let mut nodes = Nodes::start(true).await;
    let (one, two) = (node(&nodes).await, node(&nodes).await);
    let mut shard = Shard::attach(&*one, ROOMY);
    let mut others = Shard::attach(&*one, ROOMY);
    let (here, there) = here_and_there(&nodes).await;
    shard.join(&*one, here).await;
    others.join(&*one, there).await;
    enter(&*two, here, 1, "alice").await;
    assert!(matches!(shard.next().await, Relayed::Presence(_)));
    let mut watcher = Shard::attach(&*two, ROOMY);
    watcher.join(&*two, here).await;
    let mut other_watcher = Shard::attach(&*two, ROOMY);
    other_watcher.join(&*two, there).await;
    enter(&*two, there, 1, "alice").await;
    let load = Load::start(Arc::clone(&two), here);
    until("flowing", || one.counters().received > 50).await;

    nodes.masters[0].kill();
    let before = one.counters().received;
    let deadline = Instant::now() + 2 * PATIENCE;
    while one.counters().received < before + 100 {
        assert!(Instant::now() < deadline, "nothing flows");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (missed, gaps) = load.finish(&mut shard, here).await;
    eprintln!("{missed} were missed, {gaps:?}");
    assert!(gaps.len() == 1 && gaps[0].reason == GapReason::BrokerLink, "{gaps:?}");
    // Those of the other masters were told nothing, and hear on.
    assert_eq!(publish(&two, there, "on").await, Ok(()));
    for shard in [&mut others, &mut other_watcher] {
        assert!(matches!(shard.next().await, Relayed::Presence(_)));
        assert_eq!(shard.next_data(there).await, "on");
    }
    // Goings may have died with the master.
    while !matches!(watcher.next().await, Relayed::Gap(_, gap) if gap.reason == GapReason::Presence) {}
    until_occupancy(&*one, here, (1, 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_does_not_hold_up_the_others() {
    let nodes = Nodes::start(false).await;
    let broker = node(&nodes).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let (here, there) = here_and_there(&nodes).await;
    shard.join(&*broker, there).await;
    nodes.masters[0].freeze();
    // The first waits for the answer that does not come.
    assert!(publish(&broker, here, "lost").await.is_err());
    for number in 0..100 {
        let number = number.to_string();
        // Refused while no connection is there, and not waited for.
        let (refused, published) = tokio::join!(publish(&broker, here, &number), publish(&broker, there, &number));
        assert!(refused.is_err() && published.is_ok(), "{refused:?} {published:?}");
        assert_eq!(shard.next_data(there).await, number);
    }
    nodes.masters[0].thaw();
    let deadline = Instant::now() + PATIENCE;
    while publish(&broker, here, "back").await.is_err() {
        assert!(Instant::now() < deadline, "it is not used again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until("up", || broker.status() == ullim_broker::Status::Up).await;
}
