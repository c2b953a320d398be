//! How sessions begin, go on elsewhere, and are prolonged.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ullim_broker::{Control, Relayed};
use ullim_hub::{ConnectionId, Reading, Wire};
use ullim_protocol::command::{Command, Subscribe};

use crate::fakes::{Client, World, connect, joined, publish, subscribe};

/// A new connection that resumes the session that was opened or refreshed last.
fn resume(world: &mut World, token: Option<&str>) -> (ConnectionId, Client) {
    let resume = world.lines.resume.borrow().clone();
    let (id, client) = world.open(Wire(0));
    world.say_as(id, 1, Command::Connect { token: token.map(str::to_owned), resume });
    (id, client)
}

fn refresh(token: &str) -> Command {
    Command::Refresh { token: token.to_owned() }
}

#[test]
fn what_is_said_before_the_verdict_waits_for_it() {
    let mut world = World::new();
    let (id, client) = world.open(Wire(0));
    world.say_as(id, 1, connect(Some("later:alice@500")));
    world.say_as(id, 2, subscribe("users:1"));
    world.say_as(id, 3, Command::Ping);
    world.say_as(id, 4, connect(Some("alice")));
    assert!(client.lines().is_empty());
    assert_eq!(client.admitted(), 0);
    world.finish();
    assert_eq!(client.lines(), ["0:1 connected alice until 500"]);
    world.relay(&[joined("users:1")]);
    assert_eq!(client.lines(), ["0:2 Subscribe", "0:3 Ping", "0:4 already_connected"]);
    assert_eq!(client.admitted(), 1);
}

#[test]
fn a_token_that_is_refused_later_leaves_the_next_connect_its_chance() {
    let mut world = World::new();
    let (id, client) = world.open(Wire(0));
    world.say_as(id, 1, connect(Some("later:bad")));
    world.say_as(id, 2, Command::Ping);
    world.say_as(id, 3, connect(Some("later:alice")));
    world.say_as(id, 4, Command::Ping);
    world.finish();
    assert_eq!(client.lines(), ["0:1 bad_token", "0:2 not_connected", "0:3 connected alice until 1000000", "0:4 Ping"]);
    assert_eq!(client.admitted(), 1);
}

#[test]
fn a_client_that_pipelines_behind_a_pending_connect_is_not_read_from() {
    let mut world = World::new();
    let (id, client) = world.open(Wire(0));
    world.say(id, connect(Some("later:alice")));
    let mut said = 1;
    while world.say(id, Command::Ping) == Reading::Go {
        said += 1;
        assert!(said < 100);
    }
    assert_eq!(said, 63);
    world.finish();
    assert_eq!((client.lines().len(), world.hub.take_resumed()), (64, vec![id]));
}

#[test]
fn a_verdict_that_comes_too_late_or_for_a_connection_that_is_gone_is_dropped() {
    let mut world = World::new();
    let (late, client) = world.open(Wire(0));
    world.say(late, connect(Some("later:alice")));
    world.wait(Duration::from_secs(11));
    assert_eq!(client.lines().last().unwrap(), "0:close connect_timeout");
    let (gone, _) = world.open(Wire(0));
    world.say(gone, connect(Some("later:bob")));
    world.hub.lost(gone);
    let (_, next) = world.open(Wire(0));
    world.finish();
    assert!(client.lines().is_empty() && next.lines().is_empty());
    assert_eq!((client.admitted(), next.admitted()), (0, 0));
}

#[test]
fn refused_tokens_are_counted_by_reason() {
    let mut world = World::new();
    world.tokens.refuses_anonymous.store(true, Ordering::Relaxed);
    let (id, client) = world.open(Wire(0));
    for token in [None, Some("expired"), Some("bad"), Some("later:bad")] {
        world.say_as(id, 1, connect(token));
        world.finish();
    }
    assert_eq!(client.lines(), ["0:1 bad_token", "0:1 token_expired", "0:1 bad_token", "0:1 bad_token"]);
    let failures = world.hub.counters().auth_failures;
    assert_eq!(failures.into_iter().collect::<Vec<_>>(), [("expired", 1), ("invalid", 2), ("missing", 1)]);
}

#[test]
fn a_session_goes_on_without_its_token_as_who_it_was() {
    let mut world = World::new();
    let (first, old) = world.connected_as("alice@500");
    let session = world.lines.session.get();
    world.hub.lost(first);
    let (_, client) = resume(&mut world, None);
    assert_eq!(client.lines(), ["0:1 connected resumed alice until 500"]);
    assert_eq!(world.lines.session.get(), session);
    assert!(old.lines().is_empty());
    assert_eq!((client.admitted(), world.hub.counters().resumed, world.hub.counters().replaced), (1, 1, 0));
}

#[test]
fn an_anonymous_session_goes_on_too_but_not_where_none_may_begin() {
    let mut world = World::new();
    let (first, _) = world.connected();
    let session = world.lines.session.get();
    world.hub.lost(first);
    let (second, client) = resume(&mut world, None);
    assert_eq!(client.lines(), ["0:1 connected resumed"]);
    assert_eq!(world.lines.session.get(), session);
    world.hub.lost(second);
    world.tokens.refuses_anonymous.store(true, Ordering::Relaxed);
    let (_, client) = resume(&mut world, None);
    assert_eq!(client.lines(), ["0:1 bad_token"]);
    let (_, client) = resume(&mut world, Some("alice"));
    assert_eq!(client.lines(), ["0:1 connected alice until 1000000"], "with a token a new one begins");
}

#[test]
fn a_session_that_is_resumed_with_a_token_has_what_the_token_says() {
    let mut world = World::new();
    let (first, _) = world.connected_as("alice@500");
    world.hub.lost(first);
    let (_, client) = resume(&mut world, Some("later:alice@800"));
    world.finish();
    assert_eq!(client.lines(), ["0:1 connected resumed alice until 800"]);
}

#[test]
fn another_users_session_is_never_resumed() {
    let mut world = World::new();
    let (first, old) = world.connected_as("alice");
    let session = world.lines.session.get();
    for (token, line) in
        [("bob", "0:1 connected bob until 1000000"), ("bad", "0:1 bad_token"), ("expired", "0:1 token_expired")]
    {
        let alices = world.lines.resume.borrow().clone();
        let (_, client) = resume(&mut world, Some(token));
        assert_eq!(client.lines(), [line]);
        *world.lines.resume.borrow_mut() = alices;
    }
    assert_ne!(world.lines.session.get(), session);
    assert!(old.lines().is_empty() && world.hub.reading(first) == Reading::Go);
    assert!(world.broker.take_ordered().is_empty());

    // Nor does a token make an anonymous session its user's.
    world.connected();
    let (_, client) = resume(&mut world, Some("alice"));
    assert_eq!(client.lines(), ["0:1 connected alice until 1000000"]);
}

#[test]
fn a_resume_token_that_has_run_out_is_as_if_it_had_not_been_sent() {
    let mut world = World::new();
    world.connected_as("alice@500");
    world.broker.set_seconds(500);
    let alices = world.lines.resume.borrow().clone();
    let (_, client) = resume(&mut world, None);
    assert_eq!(client.lines(), ["0:1 connected"], "anonymous");
    *world.lines.resume.borrow_mut() = alices;
    world.tokens.refuses_anonymous.store(true, Ordering::Relaxed);
    let (_, client) = resume(&mut world, None);
    assert_eq!(client.lines(), ["0:1 bad_token"]);
    *world.lines.resume.borrow_mut() = Some("nonsense".to_owned());
    let (_, client) = resume(&mut world, Some("alice"));
    assert_eq!(client.lines(), ["0:1 connected alice until 1000000"]);
}

#[test]
fn the_newer_connection_of_a_session_wins_on_this_shard_and_on_others() {
    let mut world = World::new();
    let (_, first) = world.connected_as("alice");
    let (second, client) = resume(&mut world, None);
    assert_eq!(first.lines(), ["0:close session_replaced"]);
    assert_eq!(client.lines(), ["0:1 connected resumed alice until 1000000"]);
    let own = world.broker.take_ordered();
    world.relay(&own);
    assert_eq!(world.hub.reading(second), Reading::Go, "its own order does not close it");

    let [Relayed::Control(own)] = own.as_slice() else { panic!() };
    let Control::Replace { session, keep } = **own else { panic!() };
    let newer = Control::Replace { session, keep: keep.wrapping_add(1) };
    world.relay(&[Relayed::Control(newer.into())]);
    assert_eq!(client.lines(), ["0:close session_replaced"]);
    assert_eq!(world.hub.counters().replaced, 2);
    assert_eq!(world.hub.counters().ended.get(&4007), Some(&2));
}

#[test]
fn of_two_that_resume_at_once_the_one_whose_order_is_last_wins() {
    let mut world = World::new();
    world.connected_as("alice");
    let (_, client) = resume(&mut world, None);
    client.lines();
    let own = world.broker.take_ordered();
    let session = world.lines.session.get().unwrap();
    let other = || Relayed::Control(Control::Replace { session, keep: 7 }.into());
    world.relay(&[other()]);
    assert!(client.lines().is_empty(), "its own order is behind the other's");
    world.relay(&own);
    world.relay(&[other()]);
    assert_eq!(client.lines(), ["0:close session_replaced"]);
}

#[test]
fn a_connection_whose_order_is_lost_obeys_others_after_a_while() {
    let mut world = World::new();
    world.connected_as("alice");
    let (_, client) = resume(&mut world, None);
    world.wait(Duration::from_secs(6));
    client.lines();
    let session = world.lines.session.get().unwrap();
    world.relay(&[Relayed::Control(Control::Replace { session, keep: 7 }.into())]);
    assert_eq!(client.lines(), ["0:close session_replaced"]);
}

#[test]
fn a_refreshed_session_lives_until_the_new_tokens_end() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice@500");
    world.say_as(id, 2, refresh("alice@900"));
    world.say_as(id, 3, refresh("later:alice@1000"));
    world.say_as(id, 4, Command::Ping);
    assert_eq!(client.lines(), ["0:2 refreshed until 900"]);
    world.finish();
    assert_eq!(client.lines(), ["0:3 refreshed until 1000", "0:4 Ping"]);
    world.broker.set_seconds(999);
    world.wait(Duration::from_secs(1));
    assert!(client.lines().is_empty());
    let (_, resumed) = resume(&mut world, None);
    assert_eq!(resumed.lines(), ["0:1 connected resumed alice until 1000"], "the newer resume token knows");
}

#[test]
fn a_session_is_refreshed_only_by_its_own_users_good_token() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice@500");
    for token in ["bob@900", "bad", "later:expired"] {
        world.say_as(id, 2, refresh(token));
        world.finish();
    }
    assert_eq!(client.lines(), ["0:2 bad_token", "0:2 bad_token", "0:2 token_expired"]);
    let (anonymous, client) = world.connected();
    world.say_as(anonymous, 2, refresh("alice@900"));
    assert_eq!(client.lines(), ["0:2 bad_token"]);
    world.broker.set_seconds(500);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.hub.reading(id), Reading::Discard, "nothing was moved");
    assert_eq!(world.hub.reading(anonymous), Reading::Go);
}

#[test]
fn a_session_ends_with_its_token() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice@500");
    let (_, other) = world.connected_as("bob@501");
    world.say(id, publish("chat:a", "x"));
    client.lines();
    world.broker.set_seconds(499);
    world.wait(Duration::from_secs(1));
    assert!(client.lines().is_empty());
    world.broker.set_seconds(500);
    world.wait(Duration::from_secs(2));
    assert_eq!(client.lines(), ["0:close token_expired"]);
    assert!(!other.lines().iter().any(|line| line.contains("close")));
    assert_eq!(world.hub.counters().ended.get(&4005), Some(&1));
}

#[test]
fn the_end_of_a_session_that_is_gone_does_not_end_the_next_in_its_place() {
    let mut world = World::new();
    let (first, _) = world.connected_as("alice@500");
    let token = Some("alice/token:1@400".to_owned());
    world.say(first, Command::Subscribe(Subscribe { token, ..Subscribe::plain("token:1") }));
    world.relay(&[joined("token:1")]);
    world.hub.lost(first);
    let (second, client) = world.connected_as("bob@900");
    assert_eq!(second.slot(), first.slot());
    let token = Some("bob/token:1@800".to_owned());
    world.say_as(second, 5, Command::Subscribe(Subscribe { token, ..Subscribe::plain("token:1") }));
    world.relay(&[joined("token:1")]);
    world.broker.set_seconds(600);
    world.wait(Duration::from_secs(1));
    assert_eq!(client.lines(), ["0:5 Subscribe"]);
    assert_eq!(world.hub.reading(second), Reading::Go);
}
