//! Who hears what, in how many writes, and what becomes of those who do not read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ullim_broker::Relayed;
use ullim_hub::{Config, Wire};
use ullim_protocol::command::{Command, Publish};
use ullim_protocol::session::SessionId;

use crate::fakes::{Client, World, connect, gap, joined, name, publish, published, subscribe, subscribe_many};

#[test]
fn every_subscriber_hears_its_channels_once_and_in_order() {
    let mut world = World::new();
    let (_, a) = world.subscribed("chat:a");
    let (both, ab) = world.subscribed("chat:a2");
    world.say(both, subscribe("chat:b"));
    world.relay(&[joined("chat:b")]);
    ab.lines();
    world.relay(&[
        published("chat:a", "1"),
        published("chat:b", "2"),
        published("chat:a2", "3"),
        published("chat:b", "4"),
    ]);
    assert_eq!(a.lines(), ["0:chat:a 1"]);
    let mut heard = ab.lines();
    assert_eq!(heard.iter().filter(|line| line.contains("chat:b")).collect::<Vec<_>>(), ["0:chat:b 2", "0:chat:b 4"]);
    heard.sort();
    assert_eq!(heard.len(), 3);
}

#[test]
fn a_batch_is_encoded_once_per_wire_and_written_once_per_connection() {
    let mut world = World::new();
    let clients: Vec<_> = [Wire(0), Wire(0), Wire(1), Wire(1), Wire(0)]
        .map(|wire| {
            let (id, client) = world.connected_on(wire);
            world.say(id, subscribe("chat:a"));
            client
        })
        .into();
    world.relay(&[joined("chat:a")]);
    for client in &clients {
        client.lines();
        client.writes();
    }
    let before = world.lines.encoded.get();
    let batch: Vec<_> = (0..10).map(|n| published("chat:a", &n.to_string())).collect();
    world.relay(&batch);
    assert_eq!(world.lines.encoded.get() - before, 20);
    for client in &clients {
        assert_eq!((client.writes(), client.lines().len()), (1, 10));
    }
}

#[test]
fn an_excluded_session_does_not_hear_it_and_the_order_holds() {
    let mut world = World::new();
    let (_, other) = world.subscribed("chat:a");
    let (id, own) = world.connected();
    world.say(id, subscribe("chat:a"));
    own.lines();
    // The session's id is not shown by this dialect: a publication of its own tells the broker.
    let Command::Publish(own_publication) = publish("chat:a", "x") else { unreachable!() };
    world.say(id, Command::Publish(Publish { echo: false, ..own_publication }));
    let session = world.broker.excluded.lock().unwrap().unwrap();
    own.lines();
    let Relayed::Publication(excluded) = published("chat:a", "2") else { unreachable!() };
    let excluded = ullim_broker::Routed {
        channel: name("chat:a"),
        publication: excluded.publication.clone(),
        exclude: Some(session),
        published: ullim_broker::Window::at(0),
    };
    world.relay(&[published("chat:a", "1"), Relayed::Publication(Arc::new(excluded)), published("chat:a", "3")]);
    assert_eq!(own.lines(), ["0:chat:a 1", "0:chat:a 3"]);
    assert_eq!(other.lines(), ["0:chat:a 1", "0:chat:a 2", "0:chat:a 3"]);
}

/// A publication that one session must not hear.
fn published_without(session: SessionId, channel: &str, text: &str) -> Relayed {
    let Relayed::Publication(routed) = published(channel, text) else { unreachable!() };
    Relayed::Publication(Arc::new(ullim_broker::Routed {
        channel: name(channel),
        publication: routed.publication.clone(),
        exclude: Some(session),
        published: ullim_broker::Window::at(0),
    }))
}

#[test]
fn several_in_one_batch_are_spared_their_own_and_written_once() {
    let mut world = World::new();
    let mut join = || {
        let (id, client) = world.connected();
        let session = world.lines.session.get().unwrap();
        for channel in ["chat:a", "chat:b"] {
            world.say(id, subscribe(channel));
            world.relay(&[joined(channel)]);
        }
        client.lines();
        client.writes();
        (session, client)
    };
    let [first, second, third] = [join(), join(), join()];
    let stranger = SessionId([7; 16]);
    let deliveries = world.hub.counters().deliveries;
    let a = [
        published_without(first.0, "chat:a", "1"),
        published("chat:a", "2"),
        published_without(third.0, "chat:a", "3"),
        published_without(first.0, "chat:a", "4"),
        published_without(stranger, "chat:a", "5"),
    ];
    world.relay(&a);
    let heard = |client: &Client, channel: &str, numbers: &[u32]| {
        let expected: Vec<String> = numbers.iter().map(|number| format!("0:chat:{channel} {number}")).collect();
        assert_eq!((client.writes(), client.lines()), (1, expected));
    };
    heard(&first.1, "a", &[2, 3, 5]);
    heard(&second.1, "a", &[1, 2, 3, 4, 5]);
    heard(&third.1, "a", &[1, 2, 4, 5]);
    assert_eq!(world.hub.counters().deliveries - deliveries, 12);
    // A slow one gets the same.
    first.1.takes(Some(9));
    let both: Vec<Relayed> = a.iter().cloned().chain([published_without(second.0, "chat:b", "6")]).collect();
    world.relay(&both);
    assert_eq!(second.1.lines().len(), 5);
    assert_eq!(third.1.lines().len(), 5);
    first.1.takes(None);
    world.hub.writable(world.hub.connection_in(0).unwrap());
    assert_eq!(first.1.lines(), ["0:chat:a 2", "0:chat:a 3", "0:chat:a 5", "0:chat:b 6"]);
}

#[test]
fn one_that_hears_only_its_own_is_written_nothing() {
    let mut world = World::new();
    let (_, client) = world.subscribed("chat:a");
    let session = world.lines.session.get().unwrap();
    let before = world.hub.counters();
    world.relay(&[published_without(session, "chat:a", "1")]);
    assert_eq!((client.writes(), client.lines().len()), (0, 0));
    assert_eq!(world.hub.counters().deliveries, before.deliveries);
    assert_eq!(world.hub.counters().message_bytes_out, before.message_bytes_out);
}

#[test]
fn more_than_is_copied_for_one_goes_out_whole() {
    let mut world = World::new();
    let (id, client) = world.subscribed("chat:a");
    for n in 0..100 {
        world.say(id, subscribe(&format!("chat:{n}")));
        world.relay(&[joined(&format!("chat:{n}"))]);
    }
    client.lines();
    let long = "x".repeat(1000);
    let items: Vec<Relayed> = (0..100).map(|n| published(&format!("chat:{n}"), &long)).collect();
    world.relay(&items);
    let expected: Vec<String> = (0..100).map(|n| format!("0:chat:{n} {long}")).collect();
    assert_eq!(client.lines(), expected);
    client.takes(Some(70_000));
    world.relay(&items);
    client.takes(None);
    world.hub.writable(id);
    assert_eq!(client.lines(), expected);
}

#[test]
fn the_broker_is_asked_for_the_first_and_left_with_the_last() {
    let mut world = World::new();
    let (first, _) = world.subscribed("chat:a");
    let (second, client) = world.connected();
    world.say(second, subscribe("chat:a"));
    assert!(client.lines()[0].ends_with("Subscribe"), "at once: the channel is joined already");
    assert_eq!(world.broker.take_asked(), ["subscribe chat:a"]);
    world.hub.lost(first);
    assert!(world.broker.take_asked().is_empty());
    world.say(second, Command::Unsubscribe("chat:a".to_owned()));
    assert_eq!(world.broker.take_asked(), ["unsubscribe chat:a"]);
    client.lines();
    world.relay(&[published("chat:a", "x")]);
    assert!(client.lines().is_empty());
    assert_eq!(world.hub.counters().channels, 0);
}

#[test]
fn a_channel_that_is_joined_too_late_is_left_again() {
    let mut world = World::new();
    let (id, _) = world.connected();
    world.say(id, subscribe("chat:a"));
    world.hub.lost(id);
    assert_eq!(world.broker.take_asked(), ["subscribe chat:a"], "each confirmation belongs to one request");
    world.relay(&[joined("chat:a")]);
    assert_eq!(world.broker.take_asked(), ["unsubscribe chat:a"]);
}

#[test]
fn a_gap_stands_in_its_place_and_is_clipped_to_the_subscription() {
    let mut world = World::new();
    world.broker.time.store(1000, Ordering::Relaxed);
    let (_, early) = world.subscribed("chat:a");
    world.broker.time.store(2000, Ordering::Relaxed);
    let (id, late) = world.connected();
    world.say(id, subscribe("chat:a"));
    late.lines();
    world.relay(&[
        published("chat:a", "1"),
        gap("chat:a", 500, 3000),
        published("chat:a", "2"),
        gap("chat:a", 100, 1500),
    ]);
    assert_eq!(early.lines(), ["0:chat:a 1", "0:chat:a gap 1000..3000", "0:chat:a 2", "0:chat:a gap 1000..1500"]);
    // A gap that seems to end before the subscription began is told all the same: a clock may have been set back.
    assert_eq!(late.lines(), ["0:chat:a 1", "0:chat:a gap 2000..3000", "0:chat:a 2", "0:chat:a gap 1500..1500"]);
}

#[test]
fn a_slow_reader_gets_the_rest_in_order_when_it_reads_again() {
    let mut world = World::new();
    let (id, client) = world.subscribed("chat:a");
    client.takes(Some(5));
    world.relay(&[published("chat:a", "1")]);
    world.relay(&[published("chat:a", "2"), gap("chat:a", 0, 9)]);
    world.say(id, Command::Ping);
    client.takes(None);
    world.hub.writable(id);
    assert_eq!(
        client.lines(),
        ["0:chat:a 1", "0:chat:a 2", "0:chat:a gap 0..9", "2:Ping"].map(|line| line.replace("2:Ping", "0:3 Ping"))
    );
}

#[test]
fn whoever_closes_still_gets_what_was_on_its_way() {
    let mut world = World::new();
    let answer = |out: &mut Vec<u8>| out.extend_from_slice(b"closed\n");
    let (id, client) = world.subscribed("chat:a");
    world.hub.closed_by_peer(id, 1000, answer);
    assert_eq!(client.lines(), ["closed"]);
    assert!(world.hub.outlet(id).is_none(), "all is out");
    let (id, client) = world.subscribed("chat:a");
    client.holds_back(true);
    world.hub.closed_by_peer(id, 1000, answer);
    assert!(world.hub.outlet(id).is_some() && !client.is_finished(), "it was taken, but is not out");
    client.holds_back(false);
    world.hub.writable(id);
    assert!(client.is_finished());
    let (id, client) = world.subscribed("chat:a");
    client.holds_back(true);
    world.hub.closed_by_peer(id, 1000, answer);
    world.wait(std::time::Duration::from_secs(6));
    assert!(world.hub.outlet(id).is_none(), "a peer that takes nothing is not waited for for ever");
}

#[test]
fn who_does_not_read_is_closed_and_the_others_hear_all() {
    let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
    let (slow, stalled) = world.subscribed("chat:a");
    let (_, healthy) = world.connected();
    let (id, other) = world.connected();
    world.say(id, subscribe("chat:a"));
    other.lines();
    stalled.takes(Some(7));
    let text = "x".repeat(90);
    for _ in 0..20 {
        world.relay(&[published("chat:a", &text)]);
    }
    assert_eq!(other.lines().len(), 20);
    assert!(healthy.lines().is_empty());
    assert!(!stalled.is_finished(), "the reason has not gone out yet");
    stalled.takes(None);
    world.hub.writable(slow);
    let lines = stalled.lines();
    assert_eq!(lines.len(), 2, "what had begun, then the reason: {lines:?}");
    assert_eq!(lines[1], "0:close slow_consumer");
    assert!(stalled.is_finished());
    assert_eq!(world.hub.counters().ended.get(&4003), Some(&1));
}

#[test]
fn a_batch_of_tiny_publications_is_bounded() {
    let mut world = World::new();
    world.subscribed("chat:a");
    let items: Vec<_> = (0..10_000).map(|_| published("chat:a", "")).collect();
    let taken = world.hub.relay(&items);
    assert!((1000..5000).contains(&taken), "{taken}");
}

#[test]
fn more_frames_than_one_write_gathers_go_out_at_once() {
    let mut world = World::new();
    let (_, client) = world.subscribed("chat:a");
    let session = SessionId([7; 16]);
    let excluded = |n: u64| published_without(session, "chat:a", &n.to_string());
    client.gathers_at_most(1024);
    world.relay(&(0..3000).map(excluded).collect::<Vec<_>>());
    let expected: Vec<String> = (0..3000).map(|n| format!("0:chat:a {n}")).collect();
    assert_eq!(client.lines(), expected, "nothing waits for a client that takes everything");
}

#[test]
fn a_message_larger_than_the_limit_reaches_a_client_that_reads() {
    let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
    let (id, client) = world.subscribed("chat:a");
    client.takes(Some(10));
    world.relay(&[published("chat:a", &"x".repeat(50_000))]);
    world.relay(&[published("chat:a", "next")]);
    client.takes(None);
    world.hub.writable(id);
    assert_eq!(client.lines()[1], "0:chat:a next");
}

#[test]
fn what_a_session_may_not_do_is_refused_with_its_code() {
    let mut world = World::new();
    let (id, client) = world.connected();
    for (command, code) in [
        (subscribe("users:1"), "permission_denied"),
        (publish("news:1", "x"), "permission_denied"),
        (subscribe("nowhere:1"), "permission_denied"),
        (subscribe("chat:*"), "bad_channel"),
        (connect(None), "already_connected"),
    ] {
        world.say(id, command);
        let lines = client.lines();
        assert!(lines[0].ends_with(code), "{lines:?}");
    }
    let (id, client) = world.open(Wire(0));
    world.say(id, subscribe("chat:a"));
    assert!(client.lines()[0].ends_with("not_connected"));
}

#[test]
fn subscriptions_are_bounded_and_idempotent() {
    let mut world = World::with(Config { subscriptions: 4, ..Config::default() });
    let (id, client) = world.connected();
    for channel in ["chat:x", "chat:y"] {
        world.say_as(id, 5, subscribe(channel));
        world.relay(&[joined(channel)]);
    }
    client.lines();
    world.broker.take_asked();
    world.say_as(id, 6, subscribe_many(["chat:a"; 5]));
    assert_eq!(client.lines(), ["0:6 too_many_subscriptions"], "a command names no more than a connection may hold");
    world.say_as(id, 7, subscribe_many(["chat:a", "chat:a", "chat:b", "chat:c"]));
    assert!(client.lines().is_empty(), "the broker has not confirmed");
    world.relay(&[joined("chat:b"), joined("chat:a")]);
    assert_eq!(client.lines(), ["0:7 subscribed chat:a ok, chat:a ok, chat:b ok, chat:c too_many_subscriptions"]);
    assert_eq!(world.broker.take_asked(), ["subscribe chat:a", "subscribe chat:b"]);
    world.relay(&[published("chat:a", "1")]);
    assert_eq!(client.lines(), ["0:chat:a 1"], "once");
}
