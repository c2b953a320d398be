//! A history that goes back: whoever has heard of what is gone is told, and whoever comes anew hears what follows.

use std::sync::atomic::Ordering;

use ullim_broker::Relayed;
use ullim_protocol::command::{Command, Subscribe};
use ullim_protocol::outgoing::{Gap, GapReason};

use crate::fakes::{World, at, joined, name, recover, subscribe};

const ORDERS: &str = "orders:1";

/// A world with a client that hears the channel, which stands at 7-5.
fn hearing() -> (World, ullim_hub::ConnectionId, crate::fakes::Client) {
    let mut world = World::new();
    let (id, client) = world.connected();
    world.say(id, subscribe(ORDERS));
    let joined = world.history.joined(ORDERS);
    world.relay(&[joined]);
    let items = ["a", "b", "c", "d", "e"].map(|text| world.history.publish(ORDERS, text));
    world.relay(&items);
    client.lines();
    (world, id, client)
}

#[test]
fn who_hears_it_is_told_and_hears_what_follows_once_it_subscribes_anew() {
    let (mut world, id, client) = hearing();
    let (other, second) = world.connected();
    world.say_as(other, 5, subscribe(ORDERS));
    second.lines();
    let reset = world.history.go_back(ORDERS, 2);
    let next = world.history.publish(ORDERS, "D");
    world.relay(&[reset, next]);
    for client in [&client, &second] {
        assert_eq!(client.lines(), ["0:orders:1 ended history_reset"]);
    }
    assert_eq!(world.hub.counters().subscriptions, 0);
    // Nobody wanted it any longer.
    world.say_as(id, 6, subscribe(ORDERS));
    let joined = world.history.joined(ORDERS);
    world.relay(&[joined]);
    let next = world.history.publish(ORDERS, "E");
    world.relay(&[next]);
    assert_eq!(client.lines(), ["0:6 Subscribe 7-4", "0:orders:1 (7-5) E"]);
    assert!(second.lines().is_empty());
}

#[test]
fn who_is_not_answered_yet_is_refused_and_what_was_read_before_counts_no_more() {
    let (mut world, _, _) = hearing();
    let (id, client) = world.connected();
    let (patient, slow) = world.connected();
    world.say_as(id, 5, recover(ORDERS, "7-3"));
    // This one waits for another channel.
    let item = |channel: &str| Subscribe { recover: Some(at("7-5")), ..Subscribe::plain(channel) };
    world.say_as(patient, 6, Command::SubscribeMany(vec![item(ORDERS), item("chat:1")]));
    let early = world.hub.take_work();
    let reset = world.history.go_back(ORDERS, 2);
    world.relay(&[reset]);
    world.take_up(early);
    world.finish();
    assert_eq!(client.lines(), ["0:5 history_reset"]);
    world.relay(&[joined("chat:1")]);
    assert_eq!(slow.lines(), ["0:6 subscribed orders:1 history_reset, chat:1 ok lost"]);
    world.say_as(id, 7, subscribe(ORDERS));
    let joined = world.history.joined(ORDERS);
    world.relay(&[joined]);
    assert_eq!(client.lines(), ["0:7 Subscribe 7-3"]);
}

#[test]
fn what_was_to_be_repaired_is_forgotten() {
    let (mut world, id, client) = hearing();
    world.history.publish(ORDERS, "lost");
    let gap = Gap { from: 1, to: 2, reason: GapReason::Overload, position: None };
    world.relay(&[Relayed::Gap(name(ORDERS), gap)]);
    let reading = world.hub.take_work();
    let reset = world.history.go_back(ORDERS, 3);
    // Who subscribes anew does so before the read has ended.
    world.relay(&[reset]);
    world.say_as(id, 5, subscribe(ORDERS));
    let joined = world.history.joined(ORDERS);
    world.relay(&[joined]);
    world.take_up(reading);
    world.finish();
    let next = world.history.publish(ORDERS, "D");
    world.relay(&[next]);
    let expected = ["0:orders:1 ended history_reset", "0:5 Subscribe 7-3", "0:orders:1 (7-4) D"];
    assert_eq!(client.lines(), expected);
}

#[test]
fn a_client_whose_own_publication_begins_an_epoch_knows_the_epoch_of_what_follows() {
    let (mut world, _, _) = hearing();
    let (id, client) = world.connected();
    let own = world.lines.session.get();
    world.say_as(id, 5, subscribe(ORDERS));
    world.history.forget(ORDERS);
    let items = [
        world.history.publish_without(ORDERS, "own", own),
        world.history.publish_without(ORDERS, "own", own),
        world.history.publish(ORDERS, "f"),
    ];
    world.relay(&items);
    assert_eq!(client.lines(), ["0:5 Subscribe 7-5", "0:orders:1 at 8-1", "0:orders:1 (8-3) f"]);
    // The same while it is answered.
    world.say_as(id, 6, Command::Unsubscribe(ORDERS.to_owned()));
    world.history.reads_early.store(true, Ordering::Relaxed);
    world.say_as(id, 7, recover(ORDERS, "8-2"));
    world.history.forget(ORDERS);
    let items = [world.history.publish_without(ORDERS, "own", own), world.history.publish(ORDERS, "g")];
    world.relay(&items);
    world.finish();
    let held = ["0:orders:1 at 9-1", "0:orders:1 (9-2) g"];
    assert_eq!(client.lines(), ["0:6 Unsubscribe", "0:7 Subscribe recovered 8-3 (8-3) f", held[0], held[1]]);
}
