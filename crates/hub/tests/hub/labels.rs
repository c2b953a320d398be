//! Subscriptions with labels: a head for each, acknowledgements, and a dialect in which a refusal is the end.

use std::sync::Arc;
use std::time::Duration;

use ullim_broker::{Relayed, Routed};
use ullim_hub::{Config, ConnectionId, Reading};
use ullim_protocol::command::{Acknowledge, Command, Label, Subscribe};

use crate::fakes::{Client, LABELLED, World, at, gap, joined, publish, published};

fn label(number: u32, window: Option<u32>) -> Label {
    let text = format!("{}", (b'a' - 1 + number as u8) as char).into_bytes().into();
    Label { number, text, gaps: true, window }
}

fn labelled(channel: &str, label: Label) -> Command {
    Command::Subscribe(Subscribe { label: Some(Box::new(label)), ..Subscribe::plain(channel) })
}

fn acknowledge(channel: &str, label: u32, number: u64, cumulative: bool) -> Command {
    Command::Acknowledge(Acknowledge { channel: channel.to_owned(), label, number, cumulative })
}

/// A client with one subscription to a channel.
fn subscribed(world: &mut World, channel: &str, label: Label) -> (ConnectionId, Client) {
    let (id, client) = world.connected_on(LABELLED);
    world.say(id, labelled(channel, label));
    world.relay(&[joined(channel)]);
    client.lines();
    client.writes();
    (id, client)
}

fn excluding(channel: &str, text: &str, session: Option<ullim_protocol::session::SessionId>) -> Relayed {
    let Relayed::Publication(routed) = published(channel, text) else { unreachable!() };
    let (channel, publication) = (routed.channel.clone(), routed.publication.clone());
    Relayed::Publication(Arc::new(Routed { channel, publication, exclude: session, published: routed.published }))
}

#[test]
fn each_label_of_a_channel_gets_what_comes_behind_a_head_of_its_own() {
    let mut world = World::new();
    let (id, client) = subscribed(&mut world, "chat:1", label(1, None));
    world.say(id, labelled("chat:1", label(2, None)));
    client.lines();
    let (_, plain) = world.subscribed("chat:1");
    world.relay(&[published("chat:1", "one")]);
    assert_eq!(client.lines(), ["a#1 8:chat:1 one", "b#1 8:chat:1 one"]);
    assert_eq!(plain.lines(), ["0:chat:1 one"], "others are told as ever");
    world.relay(&[published("chat:1", "two"), gap("chat:1", 1, 2), published("chat:1", "three")]);
    let expected = [
        "a#2 8:chat:1 two",
        "b#2 8:chat:1 two",
        "a#3 8:chat:1 gap 1..2",
        "b#3 8:chat:1 gap 1..2",
        "a#4 8:chat:1 three",
        "b#4 8:chat:1 three",
    ];
    assert_eq!(client.lines(), expected);
    world.say(id, Command::Withdraw { channel: "chat:1".to_owned(), label: 1 });
    client.lines();
    world.relay(&[published("chat:1", "four")]);
    assert_eq!(client.lines(), ["b#5 8:chat:1 four"]);
    world.say(id, Command::Withdraw { channel: "chat:1".to_owned(), label: 2 });
    client.lines();
    world.relay(&[published("chat:1", "five")]);
    assert_eq!(client.lines(), Vec::<String>::new(), "the last label was the subscription");
    assert_eq!(world.hub.counters().subscriptions, 1);
}

#[test]
fn what_one_session_must_not_hear_is_left_out_under_all_its_labels() {
    let mut world = World::new();
    let (_, client) = subscribed(&mut world, "chat:1", label(1, None));
    let session = world.lines.session.get();
    let (_, other) = subscribed(&mut world, "chat:1", label(1, None));
    world.relay(&[published("chat:1", "1"), excluding("chat:1", "2", session), published("chat:1", "3")]);
    assert_eq!(client.lines(), ["a#1 8:chat:1 1", "a#2 8:chat:1 3"]);
    assert_eq!(other.lines().len(), 3);
    assert_eq!(client.writes(), 1, "a batch is one write");
}

#[test]
fn what_a_client_does_not_take_waits_whole_and_in_order() {
    let mut world = World::new();
    let (id, client) = subscribed(&mut world, "chat:1", label(1, None));
    let (_, reader) = subscribed(&mut world, "chat:1", label(1, None));
    // In the middle of a head, of a tail, and between; alone, copied and gathered.
    for room in [0, 1, 3, 7, 17, 20, 40] {
        for (count, size) in [(1, 3), (5, 3), (4, 9000), (90, 500)] {
            client.takes(Some(room));
            let items: Vec<_> = (0..count).map(|_| published("chat:1", &"x".repeat(size))).collect();
            world.relay(&items);
            client.takes(None);
            world.hub.writable(id);
            let (got, expected) = (client.lines(), reader.lines());
            assert!(got == expected && got.len() == count, "{count} of {size} bytes with room for {room}");
        }
    }
}

#[test]
fn a_full_window_holds_back_until_there_are_acknowledgements() {
    let mut world = World::new();
    let (id, client) = subscribed(&mut world, "chat:1", label(1, Some(2)));
    let (_, free) = subscribed(&mut world, "chat:1", label(1, None));
    for text in ["1", "2", "3"] {
        world.relay(&[published("chat:1", text)]);
    }
    world.relay(&[published("chat:1", "4"), published("chat:1", "5")]);
    assert_eq!(client.lines(), ["a#1 8:chat:1 1", "a#2 8:chat:1 2"]);
    assert_eq!(free.lines().len(), 5, "nobody else is held up");
    world.say_as(id, 50, acknowledge("chat:1", 1, 1, false));
    assert_eq!(client.lines(), ["a#3 8:chat:1 3", "8:50 Ping"]);
    world.say_as(id, 51, acknowledge("chat:1", 1, 3, true));
    assert_eq!(client.lines(), ["a#4 8:chat:1 4", "a#5 8:chat:1 5", "8:51 Ping"]);
    world.say_as(id, 52, acknowledge("chat:1", 1, 3, true));
    assert_eq!(client.lines(), ["8:52 Ping"], "twice is no harm");
    world.say_as(id, 53, acknowledge("chat:1", 1, 6, true));
    assert_eq!(client.lines(), ["8:53 bad_message", "8:close refused"], "it was never sent");
}

/// Fills the window of label 1 of a client that does not take anything.
fn stalled(channel: &str, window: u32) -> (World, ConnectionId, Client) {
    let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
    let (id, client) = subscribed(&mut world, channel, label(1, Some(window)));
    client.takes(Some(0));
    for number in 1..=20 {
        world.relay(&[published(channel, &format!("{number:0100}"))]);
    }
    (world, id, client)
}

#[test]
fn what_has_to_be_acknowledged_never_gives_way_once_it_was_sent() {
    for channel in ["state:1", "feed:1"] {
        let (mut world, id, client) = stalled(channel, 3);
        client.takes(None);
        world.hub.writable(id);
        assert_eq!(client.lines().len(), 3, "{channel}: all that was sent can be acknowledged");
        for number in 1..=3 {
            world.say(id, acknowledge(channel, 1, number, false));
        }
        let lines = client.lines();
        assert!(lines.iter().any(|line| line.contains(" 8:") && line.contains("000")), "{channel} goes on: {lines:?}");
    }
}

#[test]
fn all_windows_of_a_connection_share_what_may_wait() {
    let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
    let (id, client) = subscribed(&mut world, "chat:1", label(1, Some(1)));
    world.say(id, labelled("chat:2", label(2, Some(1))));
    world.relay(&[joined("chat:2")]);
    let text = "x".repeat(400);
    for _ in 0..2 {
        world.relay(&[published("chat:1", &text), published("chat:2", &text)]);
    }
    assert!(!client.lines().iter().any(|line| line.contains("close")), "two wait, of which one does not count");
    // What no longer waits makes room.
    for _ in 0..5 {
        world.say(id, Command::Withdraw { channel: "chat:2".to_owned(), label: 2 });
        world.say(id, labelled("chat:2", label(2, Some(1))));
        world.relay(&[joined("chat:2")]);
        world.relay(&[published("chat:2", &text), published("chat:2", &text)]);
    }
    assert!(!client.lines().iter().any(|line| line.contains("close")));
    world.relay(&[published("chat:1", &text), published("chat:2", &text)]);
    assert!(client.lines().last().is_some_and(|line| line == "8:close slow_consumer"));
    assert_eq!(world.hub.counters().slow_closes, 1);
}

#[test]
fn a_client_that_is_closed_for_what_was_held_back_hears_nothing_more() {
    for others in [false, true] {
        let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
        let _other = others.then(|| world.member("other", "room:1"));
        let (id, client) = world.connected_on(LABELLED);
        world.say(id, labelled("room:1", label(1, Some(1))));
        world.relay(&[joined("room:1")]);
        for _ in 0..9 {
            world.relay(&[published("room:1", &"x".repeat(400))]);
        }
        world.finish();
        assert!(client.lines().last().is_some_and(|line| line == "8:close slow_consumer"));
        world.wait(Duration::from_secs(10));
        let (_, next) = world.connected();
        world.relay(&[published("room:1", "y")]);
        assert_eq!(next.lines(), Vec::<String>::new(), "who comes to its slot has not subscribed");
        assert_eq!(world.hub.counters().channels, u64::from(others));
    }
}

#[test]
fn a_second_label_begins_with_its_reply_and_costs_the_first_nothing() {
    let mut world = World::new();
    let (id, client) = world.connected_on(LABELLED);
    for text in ["a", "b"] {
        world.history.publish("orders:7", text);
    }
    let wanted = |number, position| {
        Command::Subscribe(Subscribe {
            recover: Some(at(position)),
            label: Some(Box::new(label(number, None))),
            ..Subscribe::plain("orders:7")
        })
    };
    world.say_as(id, 8, wanted(1, "7-1"));
    world.say_as(id, 9, wanted(2, "7-1"));
    let joined = world.history.joined("orders:7");
    world.relay(&[joined]);
    world.finish();
    let lines = client.lines();
    assert_eq!(lines[..3], ["8:8 Subscribe recovered 7-2", "a#1 8:orders:7 (7-2) b", "8:9 Subscribe lost 7-2"]);
    assert!(lines[3].starts_with("b#1 8:orders:7 gap"), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    let c = world.history.publish("orders:7", "c");
    world.relay(&[c]);
    assert_eq!(client.lines(), ["a#2 8:orders:7 (7-3) c", "b#2 8:orders:7 (7-3) c"]);
}

#[test]
fn a_very_large_batch_for_many_labels_comes_in_order() {
    let mut world = World::with(Config { queue_bytes: 100 << 20, ..Config::default() });
    let (id, client) = subscribed(&mut world, "chat:1", label(1, None));
    for number in 2..=20 {
        world.say(id, labelled("chat:1", label(number, None)));
    }
    client.lines();
    client.writes();
    let items: Vec<_> = (0..200).map(|number| published("chat:1", &format!("{number:0500}"))).collect();
    world.relay(&items);
    let lines = client.lines();
    assert_eq!(lines.len(), 20 * 200);
    for (at, line) in lines.iter().enumerate() {
        assert!(line.ends_with(&format!("{:03}", at / 20)), "{at}: {line}");
    }
    assert!(client.writes() > 1);
}

#[test]
fn a_gap_does_not_overtake_what_waits_to_be_acknowledged() {
    let mut world = World::new();
    let (id, client) = subscribed(&mut world, "chat:1", label(1, Some(1)));
    world.relay(&[published("chat:1", "1"), published("chat:1", "2"), gap("chat:1", 1, 2), published("chat:1", "3")]);
    assert_eq!(client.lines(), ["a#1 8:chat:1 1"]);
    world.say_as(id, 50, acknowledge("chat:1", 1, 1, true));
    assert_eq!(client.lines(), ["a#2 8:chat:1 2", "a#3 8:chat:1 gap 1..2", "8:50 Ping"]);
    world.say_as(id, 51, acknowledge("chat:1", 1, 2, true));
    assert_eq!(client.lines(), ["a#4 8:chat:1 3", "8:51 Ping"]);
}

#[test]
fn acknowledgements_that_do_not_come_end_the_connection_or_cost_the_oldest() {
    let text = "x".repeat(400);
    for (channel, closes) in [("chat:1", true), ("feed:1", false), ("state:1", false)] {
        let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
        let (id, client) = subscribed(&mut world, channel, label(1, Some(1)));
        for _ in 0..10 {
            world.relay(&[published(channel, &text)]);
        }
        assert_eq!(client.lines().last().is_some_and(|line| line == "8:close slow_consumer"), closes, "{channel}");
        if closes {
            assert_eq!(world.hub.counters().slow_closes, 1);
            continue;
        }
        world.say(id, acknowledge(channel, 1, 1, true));
        let lines = client.lines();
        let counters = world.hub.counters();
        if channel == "feed:1" {
            assert!(lines[0].contains("gap 0..0") && lines[1].contains("xxx"), "{lines:?}");
            assert!(counters.dropped_oldest > 0);
        } else {
            assert!(lines[0].starts_with("a#10 "), "the newest: {lines:?}");
            assert_eq!(counters.dropped_latest, 8);
        }
    }
}

#[test]
fn a_slow_reader_with_several_labels_loses_the_oldest_of_each_and_is_told() {
    let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
    let (id, client) = subscribed(&mut world, "feed:1", label(1, None));
    world.say(id, labelled("feed:1", Label { gaps: false, ..label(2, None) }));
    client.lines();
    client.takes(Some(0));
    for _ in 0..20 {
        world.relay(&[published("feed:1", &"x".repeat(100))]);
    }
    client.takes(None);
    world.hub.writable(id);
    let lines = client.lines();
    let of = |label: &str, part: &str| lines.iter().filter(|it| it.starts_with(label) && it.contains(part)).count();
    assert_eq!((of("a", "gap"), of("b", "gap")), (1, 0), "{lines:?}");
    assert!(of("a", "xxx") > 0 && of("b", "xxx") > 0, "{lines:?}");
    assert!(lines.last().is_some_and(|line| line.starts_with("b#20 ")), "{lines:?}");

    let (id, client) = subscribed(&mut world, "state:1", label(1, None));
    world.say(id, labelled("state:1", label(2, None)));
    client.lines();
    client.takes(Some(0));
    for text in ["1", "2", "3"] {
        world.relay(&[published("state:1", text)]);
    }
    client.takes(None);
    world.hub.writable(id);
    let lines = client.lines();
    assert!(lines.ends_with(&["a#3 8:state:1 3".to_owned(), "b#3 8:state:1 3".to_owned()]), "{lines:?}");
}

#[test]
fn what_was_missed_comes_under_the_label_behind_the_reply() {
    let mut world = World::new();
    let (id, client) = world.connected_on(LABELLED);
    for text in ["a", "b", "c"] {
        world.history.publish("orders:7", text);
    }
    let subscribe =
        Subscribe { recover: Some(at("7-1")), label: Some(Box::new(label(1, None))), ..Subscribe::plain("orders:7") };
    world.say_as(id, 9, Command::Subscribe(subscribe));
    let joined = world.history.joined("orders:7");
    world.relay(&[joined]);
    world.finish();
    let lines = client.lines();
    assert_eq!(lines, ["8:9 Subscribe recovered 7-3", "a#1 8:orders:7 (7-2) b", "a#2 8:orders:7 (7-3) c"]);
}

#[test]
fn what_cannot_be_recovered_is_a_gap() {
    let mut world = World::new();
    let (id, client) = world.connected_on(LABELLED);
    let subscribe =
        Subscribe { recover: Some(at("5-1")), label: Some(Box::new(label(1, None))), ..Subscribe::plain("chat:1") };
    world.say_as(id, 9, Command::Subscribe(subscribe));
    world.relay(&[joined("chat:1")]);
    let lines = client.lines();
    assert_eq!(lines[0], "8:9 Subscribe lost");
    assert!(lines[1].starts_with("a#1 8:chat:1 gap"), "a live channel has no history: {lines:?}");
}

#[test]
fn a_refusal_is_the_last_that_is_told_and_taken() {
    let mut world = World::new();
    let (id, client) = world.connected_on(LABELLED);
    assert_eq!(world.say_as(id, 3, publish("news:1", "x")), Reading::Discard);
    assert_eq!(client.lines(), ["8:3 permission_denied", "8:close refused"]);
    assert_eq!(world.say_as(id, 4, publish("chat:1", "x")), Reading::Discard);
    assert!(client.is_finished());
    assert_eq!(world.hub.counters().ended[&4008], 1);
}

#[test]
fn nothing_behind_a_refusal_is_carried_out_though_it_cannot_be_told_yet() {
    let mut world = World::new();
    let (id, client) = world.connected_on(LABELLED);
    world.broker.take_asked();
    world.say_as(id, 2, publish("chat:1", "before"));
    world.say_as(id, 3, publish("news:1", "forbidden"));
    world.say_as(id, 4, publish("chat:1", "behind"));
    world.finish();
    assert_eq!(client.lines(), ["8:2 Publish", "8:3 permission_denied", "8:close refused"]);
    let asked = world.broker.take_asked();
    assert!(asked.iter().any(|it| it.contains("before")) && !asked.iter().any(|it| it.contains("behind")), "{asked:?}");
}

#[test]
fn who_sends_too_fast_there_is_read_from_later() {
    let mut world = World::with(Config { commands_per_second: 3, ..Config::default() });
    let (id, client) = world.connected_on(LABELLED);
    assert_eq!(world.say(id, Command::Ping), Reading::Go);
    assert_eq!(world.say(id, Command::Ping), Reading::Go);
    assert_eq!(world.say(id, Command::Ping), Reading::Wait, "the fourth, with connect");
    assert_eq!(client.lines().len(), 3, "it is answered all the same");
    world.wait(Duration::from_millis(150));
    assert_eq!(world.hub.take_resumed(), [], "there is no token yet");
    world.wait(Duration::from_millis(900));
    assert_eq!(world.hub.take_resumed(), [id]);
    assert_eq!(world.hub.reading(id), Reading::Go);
}
