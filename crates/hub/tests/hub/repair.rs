//! What the shard's own queue has lost of a recoverable channel nobody hears of, unless the history has lost it too.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ullim_broker::Relayed;
use ullim_protocol::outgoing::{Gap, GapReason};

use crate::fakes::{Client, World, name, recover, subscribe};

const ORDERS: &str = "orders:1";

/// A world, and a client in it that hears the channel from its beginning.
fn hearing() -> (World, Client) {
    let mut world = World::new();
    let (id, client) = world.connected();
    world.say(id, subscribe(ORDERS));
    let joined = world.history.joined(ORDERS);
    world.relay(&[joined]);
    assert!(client.lines()[0].ends_with("Subscribe 7-0"));
    (world, client)
}

fn overload() -> Relayed {
    Relayed::Gap(name(ORDERS), Gap { from: 3, to: 5, reason: GapReason::Overload, position: None })
}

#[test]
fn what_the_queue_has_lost_is_read_and_delivered_in_its_place() {
    let (mut world, client) = hearing();
    let items = ["a", "b", "c", "d", "e"].map(|text| world.history.publish(ORDERS, text));
    world.relay(&[items[0].clone(), overload(), items[3].clone()]);
    assert_eq!(client.lines(), ["0:orders:1 (7-1) a"]);
    assert_eq!(world.history.take_asked(), ["recover orders:1 7-1 7-4 10"]);
    world.finish();
    world.relay(&items[4..]);
    let heard = ["b", "c", "d", "e"].iter().zip(2..).map(|(text, offset)| format!("0:orders:1 (7-{offset}) {text}"));
    assert_eq!(client.lines(), heard.collect::<Vec<_>>());
    assert_eq!(world.hub.counters().gaps, 0);
}

#[test]
fn a_history_that_is_gone_begins_anew_and_nobody_has_missed_anything() {
    let (mut world, client) = hearing();
    let before = world.history.publish(ORDERS, "a");
    world.history.forget(ORDERS);
    let behind = world.history.publish(ORDERS, "b");
    world.relay(&[before, behind]);
    assert_eq!(client.lines(), ["0:orders:1 (7-1) a", "0:orders:1 (8-1) b"]);
    assert!(world.history.take_asked().is_empty(), "there is nothing to be read");
    assert_eq!(world.hub.counters().gaps, 0);
}

#[test]
fn what_was_lost_last_is_read_also_if_nothing_follows() {
    let (mut world, client) = hearing();
    world.history.reads_early.store(true, Ordering::Relaxed);
    world.relay(&[overload()]);
    // A read for others may be shared that had begun before.
    let early = world.hub.take_work();
    world.history.publish(ORDERS, "a");
    world.take_up(early);
    world.finish();
    assert_eq!(client.lines(), ["0:orders:1 (7-1) a"]);
    assert_eq!(world.history.take_asked().len(), 2);
    let next = world.history.publish(ORDERS, "b");
    world.relay(&[next]);
    assert_eq!(client.lines(), ["0:orders:1 (7-2) b"]);
}

#[test]
fn what_is_published_while_it_is_read_is_read_too() {
    let (mut world, client) = hearing();
    world.history.reads_early.store(true, Ordering::Relaxed);
    let items = ["a", "b"].map(|text| world.history.publish(ORDERS, text));
    world.relay(&[overload(), items[1].clone()]);
    let work = world.hub.take_work();
    let more = [world.history.publish(ORDERS, "c"), overload()];
    world.relay(&more);
    world.take_up(work);
    world.finish();
    assert_eq!(client.lines(), ["0:orders:1 (7-1) a", "0:orders:1 (7-2) b", "0:orders:1 (7-3) c"]);
}

#[test]
fn a_hole_that_nobody_told_is_repaired_and_a_repetition_dropped() {
    let (mut world, client) = hearing();
    let items = ["a", "b", "c"].map(|text| world.history.publish(ORDERS, text));
    world.relay(&[items[0].clone(), items[0].clone(), items[2].clone()]);
    world.finish();
    world.relay(&items);
    assert_eq!(client.lines(), ["0:orders:1 (7-1) a", "0:orders:1 (7-2) b", "0:orders:1 (7-3) c"]);
}

#[test]
fn what_the_history_has_lost_too_is_told_as_one_gap_with_where_it_goes_on() {
    let (mut world, client) = hearing();
    let items = ["a", "b", "c", "d"].map(|text| world.history.publish(ORDERS, text));
    world.history.trim(ORDERS, 1);
    world.relay(&[items[0].clone(), overload(), items[2].clone()]);
    world.finish();
    world.relay(&items[3..]);
    let next = world.history.publish(ORDERS, "e");
    world.relay(&[next]);
    let expected = ["0:orders:1 (7-1) a", "0:orders:1 gap 3..5 history 7-4", "0:orders:1 (7-5) e"];
    assert_eq!(client.lines(), expected);
    assert_eq!(world.hub.counters().repair_gaps, 1);
}

#[test]
fn a_new_epoch_within_what_was_lost_is_told_in_its_place() {
    for told_meanwhile in [true, false] {
        let (mut world, client) = hearing();
        let items = ["a", "b"].map(|text| world.history.publish(ORDERS, text));
        let told = world.history.lose(ORDERS, 0);
        let last = world.history.publish(ORDERS, "x");
        world.relay(&[items[0].clone(), overload()]);
        match told_meanwhile {
            true => world.relay(&[told, last]),
            false => world.relay(&[last]),
        }
        world.finish();
        let next = world.history.publish(ORDERS, "y");
        world.relay(&[next]);
        let lines = client.lines();
        assert_eq!(lines[..2], ["0:orders:1 (7-1) a", "0:orders:1 (7-2) b"]);
        assert!(lines[2].starts_with("0:orders:1 gap") && lines[2].ends_with("history 8-0"), "{lines:?}");
        assert_eq!(lines[3..], ["0:orders:1 (8-1) x", "0:orders:1 (8-2) y"]);
    }
}

#[test]
fn a_history_that_cannot_be_read_is_asked_again_until_it_can() {
    let (mut world, client) = hearing();
    world.history.fails.store(true, Ordering::Relaxed);
    let items = ["a", "b"].map(|text| world.history.publish(ORDERS, text));
    world.relay(&[overload(), items[1].clone()]);
    for second in 0..5 {
        world.finish();
        world.wait(Duration::from_secs(second));
    }
    assert!(client.lines().is_empty());
    world.history.fails.store(false, Ordering::Relaxed);
    world.finish();
    world.wait(Duration::from_secs(6));
    world.finish();
    assert_eq!(client.lines(), ["0:orders:1 (7-1) a", "0:orders:1 (7-2) b"]);
}

#[test]
fn a_history_that_stays_unreadable_ends_in_a_gap() {
    let (mut world, client) = hearing();
    world.history.fails.store(true, Ordering::Relaxed);
    let items = ["a", "b", "c"].map(|text| world.history.publish(ORDERS, text));
    world.relay(&[overload(), items[1].clone()]);
    for second in 0..60 {
        world.finish();
        world.wait(Duration::from_secs(second));
    }
    world.relay(&items[2..]);
    let lines: Vec<_> = client.lines().into_iter().filter(|line| !line.ends_with("ping")).collect();
    assert_eq!(lines, ["0:orders:1 gap 2..5 history 7-2", "0:orders:1 (7-3) c"]);
}

#[test]
fn whoever_comes_while_it_is_repaired_hears_the_rest_once() {
    let (mut world, _) = hearing();
    let items = ["a", "b", "c"].map(|text| world.history.publish(ORDERS, text));
    world.relay(&[items[0].clone(), overload(), items[2].clone()]);
    let (id, client) = world.connected();
    let (other, latecomer) = world.connected();
    world.say_as(id, 5, recover(ORDERS, "7-0"));
    world.say_as(other, 6, subscribe(ORDERS));
    world.finish();
    assert_eq!(latecomer.lines(), ["0:6 Subscribe 7-1", "0:orders:1 (7-2) b", "0:orders:1 (7-3) c"]);
    assert_eq!(client.lines(), ["0:5 Subscribe recovered 7-3 (7-1) a (7-2) b (7-3) c"]);
}

#[test]
fn many_channels_are_read_a_few_at_a_time() {
    let mut world = World::new();
    let (id, client) = world.connected();
    for number in 0..100 {
        let channel = format!("orders:{number}");
        world.say(id, subscribe(&channel));
        let joined = world.history.joined(&channel);
        world.relay(&[joined]);
    }
    client.lines();
    let lost = (0..100).map(|number| {
        let channel = format!("orders:{number}");
        world.history.publish(&channel, "a");
        let gap = Gap { from: 1, to: 1, reason: GapReason::Overload, position: None };
        Relayed::Gap(name(&channel), gap)
    });
    let lost: Vec<_> = lost.collect();
    world.relay(&lost);
    assert_eq!(world.history.asked.lock().unwrap().len(), 32);
    world.finish();
    assert_eq!(client.lines().len(), 100);
}

#[test]
fn a_gap_with_a_position_is_told_and_the_channel_goes_on_from_there() {
    let (mut world, client) = hearing();
    let lost = world.history.lose(ORDERS, 0);
    let next = world.history.publish(ORDERS, "x");
    world.relay(&[lost, next]);
    assert_eq!(client.lines(), ["0:orders:1 gap 0..99 history 8-0", "0:orders:1 (8-1) x"]);
    let undecodable = Gap { from: 1, to: 2, reason: GapReason::Undecodable, position: None };
    world.relay(&[Relayed::Gap(name(ORDERS), undecodable)]);
    assert_eq!(client.lines(), ["0:orders:1 gap 1..2 undecodable 8-1"]);
}
