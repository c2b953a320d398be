//! Answers keep the order of the commands, whatever each of them waits for.

use std::sync::atomic::Ordering;

use ullim_hub::{Config, Reading};
use ullim_protocol::command::Command;

use crate::fakes::{World, joined, publish, published, subscribe};

#[test]
fn commands_behind_a_pending_subscribe_wait() {
    let mut world = World::new();
    let (id, client) = world.connected();
    world.say_as(id, 10, subscribe("chat:a"));
    world.say_as(id, 11, Command::Ping);
    world.say_as(id, 12, publish("chat:a", "x"));
    world.say_as(id, 13, subscribe("chat:bad*"));
    world.say_as(id, 14, subscribe("chat:b"));
    world.say_as(id, 15, Command::Unsubscribe("chat:a".to_owned()));
    assert!(client.lines().is_empty());
    world.relay(&[joined("chat:a"), published("chat:a", "heard")]);
    assert_eq!(client.lines(), ["0:10 Subscribe", "0:11 Ping", "0:12 Publish", "0:13 bad_channel", "0:chat:a heard"]);
    world.relay(&[joined("chat:b")]);
    assert_eq!(client.lines(), ["0:14 Subscribe", "0:15 Unsubscribe"]);
}

#[test]
fn publications_overlap_but_their_answers_do_not_overtake() {
    let mut world = World::new();
    world.broker.answers_later.store(true, Ordering::Relaxed);
    let (id, client) = world.connected();
    for (number, text) in [(20, "a"), (21, "late"), (22, "c")] {
        world.say_as(id, number, publish("chat:a", text));
    }
    world.say_as(id, 23, publish("news:a", "refused"));
    world.say_as(id, 24, Command::Ping);
    world.say_as(id, 25, publish("chat:a", "d"));
    assert_eq!(world.broker.take_asked(), ["publish chat:a a", "publish chat:a late", "publish chat:a c"]);
    world.settle(&[2, 1]);
    assert!(client.lines().is_empty());
    world.settle(&[0]);
    let answered = ["0:20 Publish", "0:21 unavailable", "0:22 Publish", "0:23 permission_denied", "0:24 Ping"];
    assert_eq!(client.lines(), answered);
}

#[test]
fn a_client_that_pipelines_too_much_is_not_read_from() {
    let mut world = World::with(Config { commands_per_second: 1000, ..Config::default() });
    let (id, client) = world.connected();
    assert_eq!(world.say(id, subscribe("chat:a")), Reading::Go);
    let mut said = 1;
    while world.say(id, Command::Ping) == Reading::Go {
        said += 1;
        assert!(said < 1000);
    }
    assert_eq!(said, 63);
    world.relay(&[joined("chat:a")]);
    assert_eq!(world.hub.take_resumed(), [id]);
    assert_eq!(client.lines().len(), 64);
    assert_eq!(world.hub.reading(id), Reading::Go);
}

#[test]
fn a_connection_that_is_gone_takes_its_pending_commands_with_it() {
    let mut world = World::new();
    world.broker.answers_later.store(true, Ordering::Relaxed);
    let (id, _) = world.connected();
    world.say(id, publish("chat:a", "a"));
    world.hub.lost(id);
    let (_, next) = world.connected();
    world.settle(&[0]);
    assert!(next.lines().is_empty(), "the slot is another's now");
}
