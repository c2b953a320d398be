//! What happens because time passes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ullim_hub::{Config, Reading, Wire};
use ullim_protocol::command::Command;

use crate::fakes::{World, joined, published, subscribe, subscribe_many};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn who_does_not_connect_is_closed() {
    let mut world = World::new();
    let (id, client) = world.open(Wire(0));
    let (_, connected) = world.connected();
    world.wait(seconds(9));
    client.lines();
    world.wait(seconds(11));
    assert_eq!(client.lines().last().unwrap(), "0:close connect_timeout");
    assert!(!connected.lines().iter().any(|line| line.contains("close")));
    assert_eq!(world.hub.reading(id), Reading::Discard);
    assert!(client.is_finished());
    world.wait(seconds(17));
    assert!(world.hub.outlet(id).is_none(), "a peer that does not end is given up");
}

#[test]
fn a_silent_peer_is_closed_and_one_that_is_heard_is_not() {
    let mut world = World::new();
    let (_, silent) = world.connected();
    let (alive, client) = world.connected();
    for second in 1..=100 {
        world.wait(seconds(second));
        world.hub.heard(alive);
    }
    let lines = silent.lines();
    assert_eq!(lines.last().unwrap(), "0:close heartbeat_timeout");
    assert_eq!(lines.iter().filter(|line| *line == "0:ping").count(), 2);
    assert_eq!(client.lines(), ["0:ping"; 4]);
}

#[test]
fn a_subscription_that_the_broker_does_not_confirm_is_refused_in_time() {
    let mut world = World::new();
    let (id, client) = world.connected();
    world.say_as(id, 5, subscribe_many(["chat:a", "chat:b"]));
    world.relay(&[joined("chat:a")]);
    world.wait(seconds(6));
    let lines: Vec<_> = client.lines().into_iter().filter(|line| !line.contains("ping")).collect();
    assert_eq!(lines, ["0:5 subscribed chat:a ok, chat:b unavailable"]);
    world.relay(&[joined("chat:b"), published("chat:b", "x"), published("chat:a", "y")]);
    assert_eq!(client.lines(), ["0:chat:a y"]);
    assert_eq!(world.broker.take_asked(), ["subscribe chat:a", "subscribe chat:b", "unsubscribe chat:b"]);
    world.say_as(id, 6, subscribe("chat:b"));
    world.relay(&[joined("chat:b")]);
    assert_eq!(client.lines(), ["0:6 Subscribe"]);
}

#[test]
fn subscriptions_that_wait_do_so_side_by_side() {
    let mut world = World::new();
    let (id, client) = world.connected();
    for (number, channel) in [(5, "chat:a"), (6, "chat:a"), (7, "chat:b")] {
        world.say_as(id, number, subscribe(channel));
    }
    world.say_as(id, 8, subscribe_many(["chat:c", "chat:c"]));
    world.relay(&[joined("chat:b")]);
    world.wait(seconds(6));
    let lines: Vec<_> = client.lines().into_iter().filter(|line| !line.contains("ping")).collect();
    let answered = [
        "0:5 unavailable",
        "0:6 unavailable",
        "0:7 Subscribe",
        "0:8 subscribed chat:c unavailable, chat:c unavailable",
    ];
    assert_eq!(lines, answered);
    assert_eq!(world.hub.counters().subscriptions, 1);
}

#[test]
fn a_client_that_is_not_read_from_is_not_given_up() {
    let mut world = World::with(Config { commands_per_second: 1000, ..Config::default() });
    world.broker.answers_later.store(true, Ordering::Relaxed);
    let (id, client) = world.connected();
    while world.say(id, crate::fakes::publish("chat:a", "x")) == Reading::Go {}
    world.wait(seconds(200));
    assert!(!client.lines().iter().any(|line| line.contains("close")));
}

#[test]
fn commands_beyond_the_rate_are_refused_then_the_flood_is_closed() {
    let mut world = World::with(Config { commands_per_second: 10, ..Config::default() });
    let (id, client) = world.connected();
    for _ in 0..30 {
        world.say_as(id, 1, Command::Ping);
    }
    let lines = client.lines();
    let count = |wanted: &str| lines.iter().filter(|line| line.ends_with(wanted)).count();
    assert_eq!((count("Ping"), count("rate_limited"), count("command_flood")), (9, 10, 1), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "0:close command_flood");
}

#[test]
fn a_service_may_send_as_fast_as_it_likes() {
    let mut world = World::with(Config { commands_per_second: 10, ..Config::default() });
    let (id, client) = world.connected_as("backend");
    client.lines();
    for _ in 0..30 {
        world.say_as(id, 1, Command::Ping);
    }
    let lines = client.lines();
    assert!(lines.len() == 30 && lines.iter().all(|line| line.ends_with("Ping")), "{lines:?}");
}
