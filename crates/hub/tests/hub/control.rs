//! What other nodes, and backends through them, order.

use std::time::Duration;

use ullim_broker::{Control, Relayed};
use ullim_hub::Reading;
use ullim_protocol::command::{Command, Subscribe};
use ullim_protocol::session::SessionId;

use crate::fakes::{World, joined, name, published, subscribe, subscribe_many};

fn disconnect(user: &str) -> Relayed {
    Relayed::Control(Control::Disconnect { user: user.into() }.into())
}

fn unsubscribe(user: &str, channel: &str) -> Relayed {
    Relayed::Control(Control::Unsubscribe { user: user.into(), channel: name(channel) }.into())
}

#[test]
fn all_connections_of_a_user_are_ended_and_no_others() {
    let mut world = World::new();
    let (_, first) = world.member("alice", "room:1");
    let (_, second) = world.connected_as("alice");
    let (bob, other) = world.member("bob", "room:1");
    let (anonymous, _) = world.connected();
    world.presence.take_asked();
    world.relay(&[published("room:1", "last words"), disconnect("alice"), published("room:1", "x")]);
    assert_eq!(first.lines(), ["0:room:1 last words", "0:close disconnected"]);
    assert_eq!(second.lines(), ["0:close disconnected"]);
    assert_eq!(other.lines(), ["0:room:1 last words", "0:room:1 x"]);
    assert_eq!((world.hub.reading(bob), world.hub.reading(anonymous)), (Reading::Go, Reading::Go));
    assert_eq!(world.presence.take_asked(), ["leave room:1"]);
    assert_eq!(world.hub.counters().ended.get(&4006), Some(&2));
}

#[test]
fn a_users_subscriptions_to_a_channel_are_ended_with_a_push() {
    let mut world = World::new();
    let (id, client) = world.member("alice", "room:1");
    world.say(id, subscribe("chat:a"));
    world.relay(&[joined("chat:a")]);
    let (_, other) = world.member("bob", "room:1");
    client.lines();
    world.presence.take_asked();
    world.relay(&[published("room:1", "1"), unsubscribe("alice", "room:1"), published("room:1", "2")]);
    world.relay(&[published("chat:a", "3")]);
    assert_eq!(client.lines(), ["0:room:1 1", "0:room:1 ended subscription_ended", "0:chat:a 3"]);
    assert_eq!(other.lines(), ["0:room:1 1", "0:room:1 2"]);
    assert_eq!(world.presence.take_asked(), ["leave room:1"]);
    world.relay(&[unsubscribe("alice", "room:1"), unsubscribe("alice", "nowhere:1")]);
    assert!(client.lines().is_empty());
    world.say_as(id, 9, subscribe("room:1"));
    world.finish();
    assert_eq!(client.lines(), ["0:9 Subscribe"], "it may come again");
}

#[test]
fn a_subscription_that_is_ended_before_its_answer_is_refused() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, subscribe_many(["room:1", "chat:a", "room:2"]));
    world.say_as(id, 6, Command::Subscribe(Subscribe { presence: true, ..Subscribe::plain("room:1") }));
    world.relay(&[joined("room:1"), joined("chat:a"), unsubscribe("alice", "chat:a"), unsubscribe("alice", "room:1")]);
    assert_eq!(client.lines(), ["0:chat:a ended subscription_ended"], "it was live, though not yet answered");
    world.relay(&[unsubscribe("alice", "room:2")]);
    let refused = "0:5 subscribed room:1 subscription_ended, chat:a subscription_ended, room:2 subscription_ended";
    assert_eq!(client.lines(), [refused, "0:6 subscription_ended"]);
    world.relay(&[joined("room:2")]);
    world.finish();
    assert!(client.lines().is_empty());
    assert_eq!((world.hub.counters().subscriptions, world.hub.counters().channels), (0, 0));
}

#[test]
fn orders_that_look_at_every_connection_are_bounded_in_a_batch() {
    let mut world = World::new();
    for _ in 0..100 {
        world.connected();
    }
    world.subscribed("chat:a");
    for order in [disconnect("nobody"), unsubscribe("nobody", "chat:a")] {
        let orders = vec![order; 60_000];
        let taken = world.hub.relay(&orders);
        assert!((20..200).contains(&taken), "{taken} times a hundred connections");
    }
    let elsewhere = vec![unsubscribe("nobody", "chat:b"); 60_000];
    assert!((10_000..20_000).contains(&world.hub.relay(&elsewhere)), "one that concerns nobody is cheap");
}

#[test]
fn an_order_for_others_leaves_a_batch_in_one_piece() {
    let mut world = World::new();
    let (_, client) = world.subscribed("chat:a");
    let replace = Relayed::Control(Control::Replace { session: SessionId([7; 16]), keep: 1 }.into());
    world.relay(&[published("chat:a", "1"), replace, unsubscribe("alice", "chat:b"), published("chat:a", "2")]);
    assert_eq!(client.lines(), ["0:chat:a 1", "0:chat:a 2"]);
    assert_eq!(client.writes(), 1);
}

#[test]
fn what_expires_at_once_ends_a_part_at_a_time() {
    let mut world = World::new();
    for _ in 0..3000 {
        world.connected_as("alice@500");
    }
    world.broker.set_seconds(500);
    let mut ended = Vec::new();
    for _ in 0..4 {
        world.wait(Duration::from_secs(1));
        ended.push((world.hub.counters().ended.get(&4005).copied(), world.hub.is_behind()));
    }
    let expected = [(Some(1024), true), (Some(2048), true), (Some(3000), false), (Some(3000), false)];
    assert_eq!(ended, expected);
}
