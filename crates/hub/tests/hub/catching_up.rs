//! What happens between a subscription's beginning and its reply follows the reply, in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ullim_broker::{Relayed, Routed, Window};
use ullim_protocol::command::{Command, Subscribe};

use crate::fakes::{World, event, gap, joined, name, publish, published, subscribe};

fn with_everything(channel: &str) -> Command {
    Command::Subscribe(Subscribe { presence: true, events: true, ..Subscribe::plain(channel) })
}

/// As `published`, at another time.
fn published_at(channel: &str, text: &str, time: u64) -> Relayed {
    let Relayed::Publication(routed) = published(channel, text) else { unreachable!() };
    let publication = routed.publication.clone();
    Relayed::Publication(Arc::new(Routed {
        channel: name(channel),
        publication,
        exclude: None,
        published: Window::at(time),
    }))
}

#[test]
fn what_happens_before_the_reply_follows_it_in_order() {
    let mut world = World::new();
    world.broker.time.store(3, Ordering::Relaxed);
    *world.presence.users.lock().unwrap() = vec!["alice"];
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, with_everything("room:1"));
    world.relay(&[published("room:1", "before"), joined("room:1"), published("room:1", "1")]);
    world.relay(&[event("room:1", true, "alice"), gap("room:1", 1, 9), published("room:1", "2")]);
    world.settle(&[0]);
    world.relay(&[event("room:1", true, "bob"), published("room:1", "3")]);
    assert!(client.lines().is_empty(), "the members are still being read");
    world.finish();
    let lines = client.lines();
    assert_eq!(lines[0], "0:5 Subscribe [alice]");
    let heard = ["1", "join alice", "gap 3..9", "2", "join bob", "3"];
    assert_eq!(lines[1..], heard.map(|heard| format!("0:room:1 {heard}")));
    world.relay(&[published("room:1", "4"), event("room:1", false, "bob")]);
    assert_eq!(client.lines(), ["0:room:1 4", "0:room:1 leave bob"], "live");
    let counters = world.hub.counters();
    assert_eq!((counters.deliveries, counters.presence_events, counters.gaps), (4, 3, 1));
    assert_eq!(counters.delivery_latency.count(), 4);
}

#[test]
fn a_reply_that_waits_for_its_turn_holds_everything_back_so_long() {
    let mut world = World::new();
    world.broker.answers_later.store(true, Ordering::Relaxed);
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, publish("chat:a", "x"));
    world.say_as(id, 6, with_everything("room:1"));
    world.relay(&[joined("room:1")]);
    world.settle(&[1]);
    world.settle(&[2]);
    world.relay(&[event("room:1", true, "bob"), published("room:1", "1")]);
    assert!(client.lines().is_empty());
    world.finish();
    assert_eq!(client.lines(), ["0:5 Publish", "0:6 Subscribe []", "0:room:1 join bob", "0:room:1 1"]);
}

#[test]
fn what_is_not_for_the_session_is_not_held() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, subscribe("room:1"));
    let session = world.lines.session.get();
    let Relayed::Publication(own) = published("room:1", "own") else { unreachable!() };
    let own = Routed {
        channel: name("room:1"),
        publication: own.publication.clone(),
        exclude: session,
        published: Window::at(0),
    };
    world.relay(&[joined("room:1"), Relayed::Publication(Arc::new(own)), event("room:1", true, "bob")]);
    world.finish();
    assert_eq!(client.lines(), ["0:5 Subscribe"], "neither its own nor events that it did not ask for");
}

#[test]
fn what_does_not_fit_is_told_as_one_gap_before_the_rest() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, with_everything("room:1"));
    world.relay(&[joined("room:1")]);
    let text = "x".repeat(20_000);
    for time in 10..20 {
        world.relay(&[published_at("room:1", &text, time)]);
    }
    world.relay(&[event("room:1", true, "bob"), published_at("room:1", "small", 25)]);
    world.finish();
    let lines = client.lines();
    assert_eq!(lines[..2], ["0:5 Subscribe []", "0:room:1 gap 10..16"]);
    assert!(lines[2..5].iter().all(|line| line.ends_with(&text)));
    assert_eq!(lines[5..], ["0:room:1 join bob", "0:room:1 small"]);
    world.relay(&[published("room:1", "1")]);
    assert_eq!(client.lines(), ["0:room:1 1"]);
    assert_eq!(world.hub.counters().gaps, 1);
}

#[test]
fn a_storm_of_joins_costs_nobody_a_gap_who_does_not_hear_joins() {
    let mut world = World::new();
    let (plain, hears_none) = world.connected_as("alice");
    let (early, hears_all) = world.connected_as("bob");
    let (late, comes_late) = world.connected_as("carol");
    world.say_as(plain, 5, subscribe("room:1"));
    world.say_as(early, 5, with_everything("room:1"));
    world.relay(&[joined("room:1")]);
    world.relay(&(0..1000).map(|n| event("room:1", true, &n.to_string())).collect::<Vec<_>>());
    world.say_as(late, 5, with_everything("room:1"));
    world.relay(&[published("room:1", "1"), event("room:1", true, "carol")]);
    world.finish();
    assert_eq!(hears_none.lines(), ["0:5 Subscribe", "0:room:1 1"]);
    assert_eq!(comes_late.lines(), ["0:5 Subscribe []", "0:room:1 1", "0:room:1 join carol"]);
    let lines = hears_all.lines();
    assert_eq!(lines[1], "0:room:1 gap 0..0");
    assert_eq!(lines.last().unwrap(), "0:room:1 join carol");
    assert!((500..520).contains(&lines.len()), "{}", lines.len());
}

#[test]
fn others_hear_meanwhile() {
    let mut world = World::new();
    let (_, other) = world.member("bob", "room:1");
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, with_everything("room:1"));
    world.relay(&[published("room:1", "1"), event("room:1", true, "alice")]);
    assert_eq!(other.lines(), ["0:room:1 1", "0:room:1 join alice"]);
    assert!(client.lines().is_empty());
    world.hub.lost(id);
    world.relay(&[published("room:1", "2")]);
    assert_eq!(other.lines(), ["0:room:1 2"]);
    let counters = world.hub.counters();
    assert_eq!((counters.subscriptions, counters.deliveries), (1, 2));
}
