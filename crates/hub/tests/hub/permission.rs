//! Who may do what where, and that nothing tells a client which namespaces there are.

use std::time::Duration;

use ullim_hub::ConnectionId;
use ullim_protocol::command::{Command, MembersOf, Subscribe};

use crate::fakes::{Client, World, joined, publish, published, subscribe};

fn with_token(channel: &str, token: &str) -> Command {
    Command::Subscribe(Subscribe { token: Some(token.to_owned()), ..Subscribe::plain(channel) })
}

fn members_of(channel: &str) -> Command {
    Command::Presence(MembersOf { channel: channel.to_owned(), limit: 100, cursor: None })
}

/// What comes of a command, without the channel's name.
fn answer(world: &mut World, (id, client): &(ConnectionId, Client), command: Command, channel: &str) -> Vec<String> {
    world.say_as(*id, 9, command);
    world.finish();
    world.relay(&[joined(channel)]);
    world.finish();
    let told = world.lines.refusal.take().map(|text| text.replace(channel, "…"));
    client.lines().into_iter().map(|line| line.replace(channel, "…")).chain(told).collect()
}

#[test]
fn channels_with_owners_are_for_those() {
    let mut world = World::new();
    let alice = world.connected_as("alice");
    assert_eq!(answer(&mut world, &alice, subscribe("own:alice"), "own:alice"), ["0:9 Subscribe"]);
    assert_eq!(answer(&mut world, &alice, publish("own:alice", "x"), "own:alice"), ["0:9 Publish"]);
    let refused = answer(&mut world, &alice, subscribe("own:bob"), "own:bob");
    assert_eq!(refused, ["0:9 permission_denied", "subscribing to \"…\" is not allowed to this session"]);
    let anonymous = world.connected();
    assert_eq!(answer(&mut world, &anonymous, subscribe("own:alice"), "own:alice")[0], "0:9 permission_denied");
}

#[test]
fn a_forbidden_channel_and_one_that_does_not_exist_are_refused_alike() {
    let mut world = World::new();
    let alice = world.connected_as("alice");
    let command_for = |channel: &str| {
        let token = |token: &str| with_token(channel, token);
        vec![
            subscribe(channel),
            token("bad"),
            token("expired"),
            token("later:bad"),
            token("alice/token:elsewhere@200"),
            token(&format!("bob/{channel}@200")),
            Command::Subscribe(Subscribe { presence: true, events: true, ..Subscribe::plain(channel) }),
            Command::SubscribeMany(vec![Subscribe::plain(channel)]),
            publish(channel, "x"),
            members_of(channel),
            Command::PresenceCount(channel.to_owned()),
        ]
    };
    let refusals = ["token:1", "nobody:1", "own:bob", "hall:bob", "nowhere:1"].map(|channel| {
        let commands = command_for(channel).into_iter();
        commands.map(|command| answer(&mut world, &alice, command, channel)).collect::<Vec<_>>()
    });
    for refused in &refusals[..4] {
        assert_eq!(refused, &refusals[4]);
    }
    assert!(refusals[4].iter().all(|lines| !lines.is_empty()), "{refusals:?}");
    assert_eq!(world.hub.counters().subscriptions, 0);
    let nobody = with_token("nobody:1", "alice/nobody:1@200");
    let nowhere = with_token("nowhere:1", "alice/nowhere:1@200");
    let nobody = answer(&mut world, &alice, nobody, "nobody:1");
    assert_eq!(nobody, answer(&mut world, &alice, nowhere, "nowhere:1"), "a good token helps in neither");
    assert_eq!(nobody[0], "0:9 permission_denied");
}

#[test]
fn a_subscription_token_lets_its_user_into_its_channel() {
    let mut world = World::new();
    let alice = world.connected_as("alice");
    let anonymous = world.connected();
    for (who, channel, token) in [
        (&alice, "token:1", "alice/token:1@200"),
        (&alice, "token:2", "later:alice/token:2@200"),
        (&alice, "own:bob", "alice/own:bob@200"),
        (&anonymous, "users:1", "~/users:1@200"),
    ] {
        assert_eq!(answer(&mut world, who, with_token(channel, token), channel), ["0:9 Subscribe"], "{channel}");
        world.relay(&[published(channel, "x")]);
        assert_eq!(who.1.lines(), [format!("0:{channel} x")]);
    }
    for (who, channel, token) in [
        (&alice, "token:3", "bob/token:3@200"),
        (&alice, "token:3", "alice/token:1@200"),
        (&anonymous, "token:3", "alice/token:3@200"),
    ] {
        assert_eq!(answer(&mut world, who, with_token(channel, token), channel)[0], "0:9 bad_token");
    }
    assert_eq!(world.hub.counters().auth_failures.get("subscription"), Some(&3));
}

#[test]
fn whoever_may_subscribe_without_a_token_may_do_so_with_a_bad_one() {
    let mut world = World::new();
    let alice = world.connected_as("alice");
    assert_eq!(answer(&mut world, &alice, with_token("users:1", "bad"), "users:1"), ["0:9 Subscribe"]);
}

#[test]
fn tokens_of_several_channels_are_judged_side_by_side() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    let of = |channel: &str, token: &str| Subscribe { token: Some(token.to_owned()), ..Subscribe::plain(channel) };
    world.say_as(
        id,
        9,
        Command::SubscribeMany(vec![
            of("token:1", "later:alice/token:1@200"),
            of("token:2", "later:bad"),
            Subscribe::plain("chat:1"),
            of("token:3", "alice/token:3@200"),
        ]),
    );
    world.say_as(id, 10, Command::Ping);
    world.relay(&[joined("chat:1"), joined("token:3")]);
    world.settle(&[1, 0]);
    assert!(client.lines().is_empty());
    world.relay(&[joined("token:1")]);
    let answered = ["0:9 subscribed token:1 ok, token:2 bad_token, chat:1 ok, token:3 ok", "0:10 Ping"];
    assert_eq!(client.lines(), answered);
}

#[test]
fn a_token_that_is_judged_too_late_is_refused_in_time() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 9, with_token("token:1", "later:alice/token:1@200"));
    world.wait(Duration::from_secs(6));
    assert_eq!(client.lines(), ["0:9 unavailable"]);
    world.finish();
    assert!(client.lines().is_empty());
    assert_eq!(world.hub.counters().subscriptions, 0);
}

#[test]
fn a_subscription_that_stands_on_its_token_ends_with_it() {
    let mut world = World::new();
    let alice = world.connected_as("alice");
    answer(&mut world, &alice, with_token("token:1", "alice/token:1@200"), "token:1");
    answer(&mut world, &alice, with_token("users:1", "alice/users:1@200"), "users:1");
    world.broker.set_seconds(199);
    world.wait(Duration::from_secs(1));
    assert!(alice.1.lines().is_empty());
    world.broker.set_seconds(200);
    world.wait(Duration::from_secs(2));
    assert_eq!(alice.1.lines(), ["0:token:1 ended subscription_expired"], "the other needs no token");
    world.relay(&[published("token:1", "x"), published("users:1", "y")]);
    assert_eq!(alice.1.lines(), ["0:users:1 y"]);
    assert_eq!(world.hub.counters().subscriptions, 1);
    let again = answer(&mut world, &alice, with_token("token:1", "alice/token:1@300"), "token:1");
    assert_eq!(again, ["0:9 Subscribe"]);
}

#[test]
fn subscribing_again_with_a_newer_token_extends_it() {
    let mut world = World::new();
    let alice = world.connected_as("alice");
    for token in ["alice/token:1@200", "later:alice/token:1@300", "alice/token:1@250"] {
        assert_eq!(answer(&mut world, &alice, with_token("token:1", token), "token:1"), ["0:9 Subscribe"]);
    }
    let refused = answer(&mut world, &alice, with_token("token:1", "bad"), "token:1");
    assert_eq!(refused[0], "0:9 bad_token");
    assert_eq!(answer(&mut world, &alice, subscribe("token:1"), "token:1"), ["0:9 Subscribe"], "it stands");
    world.broker.set_seconds(299);
    world.wait(Duration::from_secs(1));
    assert!(alice.1.lines().is_empty());
    world.broker.set_seconds(300);
    world.wait(Duration::from_secs(2));
    assert_eq!(alice.1.lines(), ["0:token:1 ended subscription_expired"]);
}

#[test]
fn where_tokens_allow_publishing_only_those_subscribed_with_one_may() {
    let mut world = World::new();
    let alice = world.connected_as("alice");
    assert_eq!(answer(&mut world, &alice, publish("token:1", "x"), "token:1")[0], "0:9 permission_denied");
    answer(&mut world, &alice, with_token("token:1", "alice/token:1@200"), "token:1");
    assert_eq!(answer(&mut world, &alice, publish("token:1", "x"), "token:1"), ["0:9 Publish"]);
    assert_eq!(answer(&mut world, &alice, publish("token:2", "x"), "token:2")[0], "0:9 permission_denied");
    world.broker.set_seconds(200);
    world.wait(Duration::from_secs(1));
    alice.1.lines();
    assert_eq!(answer(&mut world, &alice, publish("token:1", "x"), "token:1")[0], "0:9 permission_denied");
}
