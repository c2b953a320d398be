//! What a hub counts of what it sends.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::fakes::{World, event, published, subscribe};

#[test]
fn deliveries_are_counted_with_their_bytes_and_their_age() {
    let mut world = World::new();
    let (_, first) = world.subscribed("chat:a");
    let (second, _) = world.connected();
    world.say(second, subscribe("chat:a"));
    first.lines();
    world.broker.time.store(40, Ordering::Relaxed);
    world.relay(&[published("chat:a", "1"), published("chat:a", "22"), published("chat:b", "3")]);
    let counters = world.hub.counters();
    assert_eq!(counters.deliveries, 4);
    assert_eq!(counters.message_bytes_out, 2 * "0:chat:a 1\n0:chat:a 22\n".len() as u64);
    assert_eq!(counters.delivery_latency.count(), 4);
    assert!((counters.delivery_latency.sum - 4.0 * 0.04).abs() < 1e-9, "{counters:?}");
}

#[test]
fn joins_and_leaves_are_counted_apart() {
    let mut world = World::new();
    let (_, client) = world.member("alice", "room:1");
    world.relay(&[event("room:1", true, "bob"), event("room:2", true, "bob")]);
    let counters = world.hub.counters();
    assert_eq!((counters.deliveries, counters.presence_events), (0, 1));
    assert_eq!(counters.message_bytes_out, client.lines()[0].len() as u64 + 1);
    assert_eq!(counters.delivery_latency.count(), 0);
}

#[test]
fn the_sum_of_shards_has_what_each_has_counted() {
    let mut world = World::new();
    world.subscribed("chat:a");
    world.relay(&[published("chat:a", "1")]);
    world.hub.fanned_out(Duration::from_millis(3));
    let one = world.hub.counters();
    let mut sum = one.clone();
    sum.add(&one);
    assert_eq!((sum.deliveries, sum.delivery_latency.count(), sum.fanout_duration.count()), (2, 2, 2));
    assert_eq!(sum.message_bytes_out, 2 * one.message_bytes_out);
}
