//! Subscriptions to recoverable channels: what the reply brings and what follows it leave nothing out.

use std::sync::atomic::Ordering;

use ullim_broker::Relayed;
use ullim_hub::Config;
use ullim_protocol::command::{Command, HistoryOf, Publish, Subscribe};

use crate::fakes::{World, at, event, joined, name, publish, published, recover, subscribe};

const ORDERS: &str = "orders:1";

/// A world whose shard hears the channel, which stands at 7-3.
fn relaying() -> World {
    let mut world = World::new();
    let (id, _) = world.connected();
    world.say(id, subscribe(ORDERS));
    for text in ["a", "b", "c"] {
        world.history.publish(ORDERS, text);
    }
    let joined = world.history.joined(ORDERS);
    world.relay(&[joined]);
    world
}

impl World {
    /// Published, and relayed at once.
    fn orders<const COUNT: usize>(&mut self, texts: [&str; COUNT]) {
        let items = texts.map(|text| self.history.publish(ORDERS, text));
        self.relay(&items);
    }
}

#[test]
fn a_subscription_says_where_it_begins_and_what_follows_says_where_it_is() {
    let mut world = relaying();
    let (id, client) = world.connected();
    world.say_as(id, 5, subscribe(ORDERS));
    world.orders(["d", "e"]);
    assert_eq!(client.lines(), ["0:5 Subscribe 7-3", "0:orders:1 (7-4) d", "0:orders:1 (7-5) e"]);
    world.relay(&[published(ORDERS, "published without the function")]);
    assert_eq!(client.lines(), ["0:orders:1 published without the function"]);
    assert!(world.history.take_asked().is_empty());
}

#[test]
fn whoever_has_missed_nothing_recovers_without_a_read() {
    let mut world = relaying();
    let (id, client) = world.connected();
    world.say_as(id, 5, recover(ORDERS, "7-3"));
    assert_eq!(client.lines(), ["0:5 Subscribe recovered 7-3"]);
    assert!(world.history.take_asked().is_empty());
    world.orders(["d"]);
    assert_eq!(client.lines(), ["0:orders:1 (7-4) d"]);
}

#[test]
fn what_was_missed_is_in_the_reply_and_what_comes_meanwhile_follows_it_once() {
    for reads_early in [true, false] {
        let mut world = relaying();
        world.history.reads_early.store(reads_early, Ordering::Relaxed);
        let (id, client) = world.connected();
        world.say_as(id, 5, recover(ORDERS, "7-1"));
        assert_eq!(world.history.take_asked(), ["recover orders:1 7-1 7-3 10"]);
        let work = world.hub.take_work();
        world.orders(["d", "e"]);
        assert!(client.lines().is_empty());
        world.take_up(work);
        world.finish();
        world.orders(["f"]);
        let reply = "0:5 Subscribe recovered 7-3 (7-2) b (7-3) c";
        let followed = ["0:orders:1 (7-4) d", "0:orders:1 (7-5) e", "0:orders:1 (7-6) f"];
        match reads_early {
            true => assert_eq!(client.lines(), [&[reply], &followed[..]].concat()),
            false => {
                assert_eq!(client.lines(), ["0:5 Subscribe recovered 7-5 (7-2) b (7-3) c (7-4) d (7-5) e", followed[2]])
            }
        }
    }
}

#[test]
fn what_the_history_has_before_the_shard_is_relayed_and_not_twice() {
    let mut world = relaying();
    let (id, client) = world.connected();
    let late = [world.history.publish(ORDERS, "d"), world.history.publish(ORDERS, "e")];
    world.say_as(id, 5, recover(ORDERS, "7-2"));
    world.finish();
    world.relay(&late);
    assert_eq!(
        client.lines(),
        ["0:5 Subscribe recovered 7-3 (7-3) c", "0:orders:1 (7-4) d", "0:orders:1 (7-5) e"],
        "the reply reaches as far as the shard does"
    );
}

#[test]
fn a_client_that_is_ahead_of_the_shard_waits_for_it() {
    let mut world = relaying();
    let (id, client) = world.connected();
    let late = [world.history.publish(ORDERS, "d"), world.history.publish(ORDERS, "e")];
    world.say_as(id, 5, recover(ORDERS, "7-4"));
    world.finish();
    assert!(client.lines().is_empty(), "it has heard what the shard has not");
    world.relay(&late[..1]);
    assert_eq!(client.lines(), ["0:5 Subscribe recovered 7-4"]);
    world.relay(&late[1..]);
    assert_eq!(client.lines(), ["0:orders:1 (7-5) e"]);
}

#[test]
fn a_position_that_is_not_vouched_for_is_not_recovered_and_what_follows_is_dense() {
    for (since, trimmed) in [("7-9", 9), ("8-1", 9), ("6-1", 9), ("7-1", 1)] {
        let mut world = relaying();
        world.history.trim(ORDERS, trimmed);
        let (id, client) = world.connected();
        world.say_as(id, 5, recover(ORDERS, since));
        let work = world.hub.take_work();
        world.orders(["d"]);
        world.take_up(work);
        world.finish();
        world.orders(["e"]);
        assert_eq!(client.lines(), ["0:5 Subscribe lost 7-4", "0:orders:1 (7-5) e"], "{since}");
    }
}

#[test]
fn what_remains_across_a_new_epoch_is_recovered_and_the_loss_told_behind_the_reply() {
    let mut world = relaying();
    let told = world.history.lose(ORDERS, 1);
    world.relay(&[told]);
    world.orders(["x"]);
    let (id, client) = world.connected();
    world.say_as(id, 5, recover(ORDERS, "7-1"));
    world.finish();
    let expected = ["0:5 Subscribe recovered 8-1 (7-2) b (8-1) x", "0:orders:1 gap 0..99 history 8-1"];
    assert_eq!(client.lines(), expected);
    world.say_as(id, 6, Command::Unsubscribe(ORDERS.to_owned()));
    world.say_as(id, 7, recover(ORDERS, "7-3"));
    world.finish();
    assert_eq!(client.lines(), ["0:6 Unsubscribe", "0:7 Subscribe lost 8-1"], "beyond what is left");
}

#[test]
fn a_new_epoch_that_the_shard_has_not_heard_of_is_told_when_it_does() {
    let mut world = relaying();
    let (id, client) = world.connected();
    let told = world.history.lose(ORDERS, 0);
    let next = world.history.publish(ORDERS, "x");
    world.say_as(id, 5, recover(ORDERS, "7-2"));
    world.finish();
    assert_eq!(client.lines(), ["0:5 Subscribe recovered 7-3 (7-3) c"]);
    world.relay(&[told, next]);
    assert_eq!(client.lines(), ["0:orders:1 gap 0..99 history 8-0", "0:orders:1 (8-1) x"]);
}

#[test]
fn what_was_relayed_and_then_lost_by_the_broker_is_not_called_recovered() {
    let mut world = relaying();
    world.history.lose(ORDERS, 1);
    let (id, client) = world.connected();
    world.say_as(id, 5, recover(ORDERS, "7-1"));
    world.finish();
    assert_eq!(client.lines(), ["0:5 Subscribe lost 7-3"]);
}

#[test]
fn ones_own_publications_are_left_out() {
    let mut world = relaying();
    let (id, client) = world.connected();
    let own = world.lines.session.get();
    let items = [world.history.publish_without(ORDERS, "own", own), world.history.publish(ORDERS, "e")];
    world.relay(&items);
    world.say_as(id, 5, recover(ORDERS, "7-3"));
    let work = world.hub.take_work();
    let held = world.history.publish_without(ORDERS, "own", own);
    world.relay(&[held]);
    world.take_up(work);
    world.finish();
    world.orders(["g"]);
    assert_eq!(client.lines(), ["0:5 Subscribe recovered 7-6 (7-5) e", "0:orders:1 (7-7) g"]);
}

#[test]
fn more_than_can_be_held_is_read_again_and_in_the_end_given_up() {
    let mut world = relaying();
    world.history.reads_early.store(true, Ordering::Relaxed);
    let (id, client) = world.connected();
    let large = "x".repeat(40_000);
    world.say_as(id, 5, recover(ORDERS, "7-2"));
    for round in 0..2 {
        let work = world.hub.take_work();
        world.orders([&large, &large]);
        world.take_up(work);
        assert!(client.lines().is_empty(), "{round}");
    }
    world.finish();
    let lines = client.lines();
    assert!(lines[0].starts_with("0:5 Subscribe recovered 7-7 (7-3) c (7-4) xxx"), "{}", &lines[0][..60]);
    assert_eq!((lines.len(), world.history.take_asked().len()), (1, 3));
    world.say_as(id, 6, Command::Unsubscribe(ORDERS.to_owned()));
    world.say_as(id, 7, recover(ORDERS, "7-6"));
    for _ in 0..4 {
        let work = world.hub.take_work();
        world.orders([&large, &large]);
        world.take_up(work);
    }
    world.finish();
    world.orders(["end"]);
    let lines = client.lines();
    let shown: Vec<&str> = lines[1..].iter().map(|line| &line[..line.len().min(60)]).collect();
    assert_eq!(shown, ["0:7 Subscribe lost 7-15", "0:orders:1 (7-16) end"]);
}

#[test]
fn too_much_for_one_reply_is_not_recovered() {
    let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
    let (id, client) = world.connected();
    for _ in 0..5 {
        world.history.publish(ORDERS, &"x".repeat(200));
    }
    world.say_as(id, 5, recover(ORDERS, "7-0"));
    world.say_as(id, 6, recover("orders:2", "7-0"));
    let joined = [world.history.joined(ORDERS), world.history.joined("orders:2")];
    world.relay(&joined);
    world.finish();
    assert_eq!(client.lines(), ["0:5 Subscribe lost 7-5", "0:6 Subscribe recovered 7-0"]);
}

#[test]
fn a_history_that_cannot_be_read_refuses_the_subscription_and_nothing_is_left_of_it() {
    let mut world = relaying();
    let (id, client) = world.connected();
    world.history.fails.store(true, Ordering::Relaxed);
    world.say_as(id, 5, recover(ORDERS, "7-1"));
    world.finish();
    assert_eq!(client.lines(), ["0:5 unavailable"]);
    world.orders(["d"]);
    assert!(client.lines().is_empty());
    assert_eq!(world.hub.counters().subscriptions, 1);
}

#[test]
fn several_channels_of_one_command_recover_each_on_its_own() {
    let mut world = relaying();
    world.history.publish("orders:2", "z");
    let (id, client) = world.connected();
    let item = |channel: &str, since: &str| Subscribe { recover: Some(at(since)), ..Subscribe::plain(channel) };
    let channels = vec![
        item(ORDERS, "7-2"),
        item("orders:2", "7-0"),
        item("orders:2", "6-1"),
        item("chat:a", "7-1"),
        Subscribe::plain("chat:b"),
    ];
    world.say_as(id, 5, Command::SubscribeMany(channels));
    let joined_later = [world.history.joined("orders:2"), joined("chat:a"), joined("chat:b")];
    world.relay(&joined_later);
    world.finish();
    let expected = "0:5 subscribed orders:1 ok recovered 7-3 (7-3) c, orders:2 ok recovered 7-1 (7-1) z, \
                    orders:2 ok lost 7-1, chat:a ok lost, chat:b ok";
    assert_eq!(client.lines(), [expected]);
    let next = world.history.publish("orders:2", "y");
    world.relay(&[next]);
    assert_eq!(client.lines(), ["0:orders:2 (7-2) y"]);
}

#[test]
fn whoever_subscribes_twice_hears_everything_once() {
    let mut world = relaying();
    let (id, client) = world.connected();
    world.say_as(id, 5, recover(ORDERS, "7-1"));
    world.say_as(id, 6, recover(ORDERS, "7-2"));
    world.say_as(id, 7, subscribe(ORDERS));
    world.finish();
    world.orders(["d"]);
    let expected = [
        "0:5 Subscribe recovered 7-3 (7-2) b (7-3) c",
        "0:6 Subscribe lost 7-3",
        "0:7 Subscribe 7-3",
        "0:orders:1 (7-4) d",
    ];
    assert_eq!(client.lines(), expected);
    world.say_as(id, 8, recover(ORDERS, "7-4"));
    assert_eq!(client.lines(), ["0:8 Subscribe recovered 7-4"]);
}

#[test]
fn whoever_leaves_meanwhile_hears_nothing_and_whoever_is_ended_is_told() {
    let mut world = relaying();
    let (gone, nobody) = world.connected();
    let (id, client) = world.connected_as("alice");
    world.say(gone, recover(ORDERS, "7-1"));
    world.say_as(id, 5, recover(ORDERS, "7-1"));
    world.say_as(id, 6, Command::Unsubscribe(ORDERS.to_owned()));
    let work = world.hub.take_work();
    world.hub.lost(gone);
    let order = ullim_broker::Control::Unsubscribe { user: "alice".into(), channel: name(ORDERS) };
    world.relay(&[Relayed::Control(order.into())]);
    world.take_up(work);
    world.finish();
    world.orders(["d"]);
    assert_eq!(client.lines(), ["0:5 subscription_ended", "0:6 Unsubscribe"]);
    assert!(nobody.lines().is_empty());
}

#[test]
fn a_member_is_answered_when_both_the_entry_and_the_history_are_there() {
    let mut world = World::new();
    *world.presence.users.lock().unwrap() = vec!["alice"];
    for text in ["a", "b"] {
        world.history.publish("team:1", text);
    }
    let (id, client) = world.connected_as("alice");
    let wanted = Subscribe { presence: true, events: true, recover: Some(at("7-1")), ..Subscribe::plain("team:1") };
    world.say_as(id, 5, Command::Subscribe(wanted));
    let (joined, next) = (world.history.joined("team:1"), world.history.publish("team:1", "c"));
    world.relay(&[joined, event("team:1", true, "alice"), next]);
    assert!(client.lines().is_empty());
    world.finish();
    let expected = ["0:5 Subscribe recovered 7-3 (7-2) b (7-3) c [alice]", "0:team:1 join alice"];
    assert_eq!(client.lines(), expected);
}

#[test]
fn a_reply_that_waits_for_its_turn_reaches_up_to_its_turn() {
    let mut world = relaying();
    world.broker.answers_later.store(true, Ordering::Relaxed);
    let (id, client) = world.connected();
    world.say_as(id, 5, publish("chat:a", "x"));
    world.say_as(id, 6, subscribe(ORDERS));
    world.say_as(id, 7, recover("orders:2", "7-0"));
    let joined = world.history.joined("orders:2");
    world.relay(&[joined]);
    world.orders(["d"]);
    let large = "x".repeat(40_000);
    let items = [&large, &large].map(|text| world.history.publish("orders:2", text));
    world.relay(&items);
    world.finish();
    world.orders(["e"]);
    let lines = client.lines();
    assert_eq!(lines[..2], ["0:5 Publish", "0:6 Subscribe 7-4"]);
    assert!(lines[2].starts_with("0:7 Subscribe recovered 7-2 (7-1) xxx"), "what is held has lost it: it is read");
    assert_eq!(lines[3..], ["0:orders:1 (7-5) e"]);
}

#[test]
fn the_latest_publication_is_in_the_reply_where_the_namespace_says_so() {
    let channel = "prices:1";
    let mut world = World::new();
    let (id, client) = world.connected();
    world.say_as(id, 5, subscribe(channel));
    let joined = world.history.joined(channel);
    world.relay(&[joined]);
    world.finish();
    assert_eq!(client.lines(), ["0:5 Subscribe 7-0"]);
    for (number, reads_early) in [(6, true), (7, false)] {
        world.history.reads_early.store(reads_early, Ordering::Relaxed);
        let first = world.history.publish(channel, "1");
        world.relay(&[first]);
        let (id, client) = world.connected();
        world.say_as(id, number, subscribe(channel));
        let work = world.hub.take_work();
        let second = world.history.publish(channel, "2");
        world.relay(&[second]);
        world.take_up(work);
        world.finish();
        match reads_early {
            true => assert_eq!(client.lines(), ["0:6 Subscribe 7-1 (7-1) 1", "0:prices:1 (7-2) 2"]),
            false => assert_eq!(client.lines(), ["0:7 Subscribe 7-4 (7-4) 2"]),
        }
    }
    let (id, client) = world.connected();
    world.say_as(id, 8, recover(channel, "6-1"));
    world.finish();
    assert_eq!(client.lines(), ["0:8 Subscribe lost 7-4 (7-4) 2"]);
}

#[test]
fn history_is_for_whoever_may_subscribe() {
    let mut world = relaying();
    let (id, client) = world.connected();
    let part = |channel: &str, since: Option<&str>, limit, reverse| {
        let since = since.map(at);
        Command::History(HistoryOf { channel: channel.to_owned(), since, limit, reverse })
    };
    world.say_as(id, 5, part(ORDERS, None, 2, false));
    world.say_as(id, 6, part(ORDERS, Some("7-2"), 2, false));
    world.say_as(id, 7, part(ORDERS, Some("7-3"), 5, true));
    world.say_as(id, 8, part("chat:a", None, 5, false));
    world.say_as(id, 9, part("users:a", None, 5, false));
    world.finish();
    let expected = [
        "0:5 7-3 [(7-1) a (7-2) b] …",
        "0:6 7-3 [(7-3) c]",
        "0:7 7-3 [(7-2) b (7-1) a]",
        "0:8 no_history",
        "0:9 permission_denied",
    ];
    assert_eq!(client.lines(), expected);
    world.history.fails.store(true, Ordering::Relaxed);
    world.say_as(id, 10, part(ORDERS, None, 2, false));
    world.finish();
    assert_eq!(client.lines(), ["0:10 unavailable"]);
}

#[test]
fn a_publication_is_answered_with_its_position_and_takes_its_id_along() {
    let mut world = relaying();
    *world.broker.position.lock().unwrap() = Some(at("7-4"));
    let (id, client) = world.connected();
    let Command::Publish(publish) = publish(ORDERS, "d") else { unreachable!() };
    world.say_as(id, 5, Command::Publish(Publish { id: Some("once".to_owned()), ..publish }));
    assert_eq!(client.lines(), ["0:5 Publish 7-4"]);
    assert!(world.broker.take_asked().contains(&"publish orders:1 d once".to_owned()));
}

#[test]
fn what_cannot_be_decoded_is_told_behind_what_was_recovered() {
    let mut world = relaying();
    let undecodable = world.history.publish_undecodable(ORDERS);
    world.relay(&[undecodable]);
    // At the end of what was missed, and in the middle.
    let (id, client) = world.connected();
    world.say_as(id, 5, recover(ORDERS, "7-2"));
    world.finish();
    let gap = "0:orders:1 gap 5..5 undecodable";
    assert_eq!(client.lines(), ["0:5 Subscribe recovered 7-4 (7-3) c".to_owned(), format!("{gap} 7-4")]);
    world.orders(["d"]);
    let (id, client) = world.connected();
    world.say_as(id, 5, recover(ORDERS, "7-2"));
    world.finish();
    let reply = "0:5 Subscribe recovered 7-5 (7-3) c (7-5) d".to_owned();
    assert_eq!(client.lines(), [reply, format!("{gap} 7-5")]);
}
