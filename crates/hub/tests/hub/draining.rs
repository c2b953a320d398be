//! How a shard sends its clients elsewhere.

use std::time::Duration;

use ullim_hub::Wire;

use crate::fakes::{Client, World, published};

/// What a client was told, and whether it was closed.
fn told(client: &Client) -> (Option<u64>, bool) {
    let lines = client.lines();
    let delay = lines.iter().find_map(|line| line.strip_prefix("0:reconnect in ")).map(|delay| delay.parse().unwrap());
    (delay, lines.iter().any(|line| line == "0:close going_away"))
}

#[test]
fn whoever_has_no_session_is_closed_at_once() {
    let mut world = World::new();
    let (_, unknown) = world.open(Wire(0));
    world.hub.drain(Duration::from_secs(5));
    assert_eq!(told(&unknown), (None, true), "it has nothing to go on with");
}

#[test]
fn a_drain_is_spread_evenly_and_whoever_is_still_here_hears_everything() {
    let mut world = World::new();
    let mut clients: Vec<_> = (0..10).map(|_| world.subscribed("chat:a").1).collect();
    world.wait(Duration::from_secs(1));
    clients.iter().for_each(|client| drop(client.lines()));
    world.hub.drain(Duration::from_secs(5));
    let mut turns: Vec<_> = clients.drain(..).map(|client| (told(&client), client)).collect();
    turns.sort_by_key(|(told, _)| *told);
    let delays: Vec<_> = turns.iter().map(|(told, _)| *told).collect();
    let expected: Vec<_> = (1..=10).map(|place| (Some(place * 500), false)).collect();
    assert_eq!(delays, expected);
    world.hub.drain(Duration::ZERO);
    for (place, (_, client)) in turns.iter().enumerate() {
        let due = Duration::from_millis(1000 + 500 * (place as u64 + 1));
        world.wait(due - Duration::from_millis(1));
        world.relay(&[published("chat:a", "1")]);
        assert_eq!(client.lines().last().unwrap(), "0:chat:a 1");
        world.wait(due);
        assert_eq!(client.lines(), ["0:close going_away"]);
    }
}

#[test]
fn whoever_was_sent_elsewhere_may_be_away_for_a_while() {
    let mut world = World::new();
    let (early, _) = world.member("alice", "room:1");
    let (_, _late) = world.member("bob", "room:1");
    let (unsubscribes, _) = world.member("carol", "room:1");
    world.presence.take_asked();
    world.hub.drain(Duration::from_secs(5));
    world.say(unsubscribes, ullim_protocol::command::Command::Unsubscribe("room:1".to_owned()));
    world.hub.lost(early);
    assert_eq!(world.presence.take_asked(), ["leave room:1", "leave room:1 for 15s"]);
    world.wait(Duration::from_secs(5));
    assert_eq!(world.presence.take_asked(), ["leave room:1 for 15s"]);
}

#[test]
fn a_drain_without_a_window_is_over_at_once() {
    let mut world = World::new();
    let (_, client) = world.connected();
    world.hub.drain(Duration::ZERO);
    assert_eq!(client.lines(), ["0:reconnect in 0", "0:close going_away"]);
}
