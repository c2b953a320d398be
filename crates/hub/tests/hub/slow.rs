//! Clients that read too slowly, in namespaces that let publications give way.

use std::sync::Arc;

use ullim_broker::{Relayed, Routed, Window};
use ullim_hub::Config;
use ullim_protocol::command::Command;

use crate::fakes::{Client, World, joined, name, publish, published, subscribe, subscribe_many};

/// A publication of 100 bytes, and its number, at that time.
fn numbered(channel: &str, number: u64) -> Relayed {
    let Relayed::Publication(routed) = published(channel, &format!("{number:0100}")) else { unreachable!() };
    let (publication, published) = (routed.publication.clone(), Window::at(number));
    Relayed::Publication(Arc::new(Routed { channel: name(channel), publication, exclude: None, published }))
}

/// What was heard, with numbers for publications.
fn heard(client: &Client) -> Vec<String> {
    let short = |line: String| match line.split_once(' ') {
        Some((channel, number)) if number.len() == 100 => {
            format!("{} {}", &channel[2..], number.trim_start_matches('0'))
        }
        _ => line[2..].to_owned(),
    };
    client.lines().into_iter().map(short).collect()
}

/// A world in which 1,000 bytes may wait, and a client that hears these channels and does not read.
fn stalled<const COUNT: usize>(channels: [&str; COUNT]) -> (World, ullim_hub::ConnectionId, Client) {
    let mut world = World::with(Config { queue_bytes: 1000, ..Config::default() });
    let (id, client) = world.connected();
    world.say(id, subscribe_many(channels));
    world.relay(&channels.map(joined));
    assert_eq!(client.lines().len(), 1);
    client.takes(Some(0));
    (world, id, client)
}

/// The client reads again, all there is.
fn read(world: &mut World, id: ullim_hub::ConnectionId, client: &Client) -> Vec<String> {
    client.takes(None);
    world.hub.writable(id);
    heard(client)
}

#[test]
fn the_oldest_give_way_and_are_told_as_a_gap_in_their_place() {
    let (mut world, id, client) = stalled(["feed:a"]);
    client.takes(Some(50));
    for number in 1..=30 {
        world.relay(&[numbered("feed:a", number)]);
    }
    let heard = read(&mut world, id, &client);
    assert_eq!(heard[0], "feed:a 1", "it had begun");
    let kept = heard.len() as u64 - 2;
    assert!((6..=9).contains(&kept), "{heard:?}");
    assert_eq!(heard[1], format!("feed:a gap 2..{}", 30 - kept));
    let newest: Vec<_> = (31 - kept..=30).map(|number| format!("feed:a {number}")).collect();
    assert_eq!(heard[2..], newest);
    world.relay(&[numbered("feed:a", 31)]);
    assert_eq!(client.lines().len(), 1, "it goes on");
    assert_eq!(world.hub.counters().dropped_oldest, 29 - kept);
}

#[test]
fn many_at_once_give_way_as_those_that_come_one_by_one() {
    let (mut world, id, client) = stalled(["feed:a", "feed:b"]);
    let items: Vec<_> = (1..=30).flat_map(|number| [numbered("feed:a", number), numbered("feed:b", number)]).collect();
    world.relay(&items);
    let heard = read(&mut world, id, &client);
    for channel in ["feed:a", "feed:b"] {
        let own: Vec<_> = heard.iter().filter(|line| line.starts_with(channel)).collect();
        // The last is the newest, and what is missing was told.
        let mut next = 1;
        for line in own {
            let told = line.split_once(' ').unwrap().1;
            match told.strip_prefix("gap ") {
                Some(window) => {
                    let (from, to) = window.split_once("..").unwrap();
                    assert_eq!(from, next.to_string());
                    next = to.parse::<u64>().unwrap() + 1;
                }
                None => {
                    assert_eq!(told, next.to_string());
                    next += 1;
                }
            }
        }
        assert_eq!(next, 31, "{channel}");
    }
}

#[test]
fn of_a_channel_whose_latest_counts_only_that_waits() {
    let (mut world, id, client) = stalled(["state:a", "state:b"]);
    for number in 1..=1000 {
        world.relay(&[numbered("state:a", number), numbered("state:a", number), numbered("state:b", number)]);
    }
    assert_eq!(read(&mut world, id, &client), ["state:a 1000", "state:b 1000"]);
    let counters = world.hub.counters();
    assert_eq!((counters.dropped_latest, counters.slow_closes, counters.gaps), (2998, 0, 0));
}

#[test]
fn what_has_begun_is_finished_before_the_latest() {
    let (mut world, id, client) = stalled(["state:a"]);
    client.takes(Some(150));
    world.relay(&[numbered("state:a", 1), numbered("state:a", 2), numbered("state:a", 3)]);
    world.relay(&[numbered("state:a", 4)]);
    assert_eq!(read(&mut world, id, &client), ["state:a 1", "state:a 2", "state:a 4"]);
}

#[test]
fn what_may_not_give_way_closes_the_connection_all_the_same() {
    let (mut world, id, client) = stalled(["chat:a", "feed:a"]);
    for number in 1..=9 {
        world.relay(&[numbered("chat:a", number), numbered("feed:a", number)]);
    }
    assert_eq!(world.hub.counters().slow_closes, 0);
    for number in 10..=20 {
        world.relay(&[numbered("chat:a", number)]);
    }
    assert_eq!(read(&mut world, id, &client).last().unwrap(), "close slow_consumer");
    let counters = world.hub.counters();
    assert_eq!((counters.slow_closes, counters.dropped_oldest), (1, 9));
}

#[test]
fn replies_make_publications_give_way_too_and_never_do_themselves() {
    let (mut world, id, client) = stalled(["feed:a"]);
    for number in 1..=9 {
        world.relay(&[numbered("feed:a", number)]);
    }
    for number in 100..120 {
        world.say_as(id, number, publish("chat:a", "x"));
    }
    world.say_as(id, 120, Command::Unsubscribe("feed:a".to_owned()));
    world.say_as(id, 121, subscribe("feed:a"));
    let heard = read(&mut world, id, &client);
    let replies = heard.iter().filter(|line| line.contains("Publish")).count();
    assert_eq!(replies, 20);
    assert!(heard.iter().any(|line| line.starts_with("feed:a gap 1..")), "{heard:?}");
    assert_eq!(world.hub.counters().slow_closes, 0);
}
