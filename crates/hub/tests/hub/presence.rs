//! Members enter, leave and are told of; clients ask who is there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ullim_protocol::command::{Command, MembersOf, Subscribe};

use crate::fakes::{World, connect, event, gap, joined, published, subscribe, subscribe_many};

fn with_members(channel: &str) -> Command {
    Command::Subscribe(Subscribe { presence: true, ..Subscribe::plain(channel) })
}

fn with_events(channel: &str) -> Command {
    Command::Subscribe(Subscribe { events: true, ..Subscribe::plain(channel) })
}

fn members_of(channel: &str, cursor: Option<&str>) -> Command {
    Command::Presence(MembersOf { channel: channel.to_owned(), limit: 7, cursor: cursor.map(str::to_owned) })
}

#[test]
fn a_subscriber_is_answered_once_it_is_a_member() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice {\"name\":1}");
    world.say_as(id, 5, subscribe("room:1"));
    assert!(world.presence.take_asked().is_empty(), "the broker has not confirmed");
    world.relay(&[joined("room:1")]);
    assert!(client.lines().is_empty(), "the entry is not written");
    assert_eq!(world.presence.take_asked(), ["enter room:1 alice {\"name\":1}"]);
    let entry = world.presence.entry.lock().unwrap().take().unwrap();
    assert_eq!((Some(entry.session), entry.grace), (world.lines.session.get(), Duration::from_secs(5)));
    world.finish();
    assert_eq!(client.lines(), ["0:5 Subscribe"]);

    let (second, client) = world.connected();
    world.say_as(second, 5, subscribe("room:1"));
    assert!(client.lines().is_empty(), "not at once, although the channel is joined");
    world.finish();
    assert_eq!(client.lines(), ["0:5 Subscribe"]);
    assert_eq!(world.presence.take_asked(), ["enter room:1 ~"]);
    let other = world.presence.entry.lock().unwrap().take().unwrap();
    assert_ne!(other.claim, entry.claim);
}

#[test]
fn members_leave_with_the_subscription_the_connection_and_the_loss() {
    let mut world = World::new();
    let (unsubscribing, _) = world.member("alice", "room:1");
    let (closing, _) = world.member("bob", "room:1");
    let (lost, _) = world.member("carol", "room:1");
    let claim = world.presence.entry.lock().unwrap().as_ref().map(|entry| entry.claim);
    world.presence.take_asked();
    world.say(unsubscribing, Command::Unsubscribe("room:1".to_owned()));
    world.hub.closed_by_peer(closing, 1000, |_| {});
    assert_eq!(world.presence.take_asked(), ["leave room:1", "leave room:1"]);
    world.hub.lost(lost);
    assert_eq!(world.presence.take_asked(), ["leave room:1"]);
    assert_eq!(*world.presence.left.lock().unwrap(), claim);
    assert_eq!(world.hub.counters().channels, 0);
    assert_eq!(world.broker.take_asked(), ["subscribe room:1", "unsubscribe room:1"]);
}

#[test]
fn a_member_that_is_gone_before_its_entry_is_written_leaves() {
    let mut world = World::new();
    let (id, _) = world.connected_as("alice");
    world.say(id, subscribe("room:1"));
    world.relay(&[joined("room:1")]);
    world.hub.lost(id);
    world.finish();
    assert_eq!(world.presence.take_asked(), ["enter room:1 alice", "leave room:1"]);
    assert_eq!(world.hub.counters().subscriptions, 0);
}

#[test]
fn an_entry_that_fails_or_does_not_come_takes_the_subscription_back() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    world.presence.fails_to_enter.store(true, Ordering::Relaxed);
    world.say_as(id, 5, subscribe_many(["room:1", "chat:1"]));
    world.relay(&[joined("room:1"), joined("chat:1")]);
    world.finish();
    assert_eq!(client.lines(), ["0:5 subscribed room:1 unavailable, chat:1 ok"]);
    assert_eq!(world.presence.take_asked(), ["enter room:1 alice", "leave room:1"]);
    assert_eq!(world.hub.counters().subscriptions, 1);

    world.presence.fails_to_enter.store(false, Ordering::Relaxed);
    world.say_as(id, 6, subscribe("room:1"));
    world.relay(&[joined("room:1"), published("room:1", "held")]);
    world.wait(Duration::from_secs(6));
    let lines: Vec<_> = client.lines().into_iter().filter(|line| line != "0:ping").collect();
    assert_eq!(lines, ["0:6 unavailable"]);
    assert_eq!(world.presence.take_asked(), ["enter room:1 alice", "leave room:1"]);
    world.finish();
    world.relay(&[published("room:1", "x")]);
    assert!(client.lines().is_empty());
}

#[test]
fn an_older_entry_that_ends_does_not_answer_for_a_newer_one() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, subscribe("room:1"));
    world.relay(&[joined("room:1")]);
    world.wait(Duration::from_secs(6));
    client.lines();
    world.say_as(id, 6, subscribe("room:1"));
    world.relay(&[joined("room:1")]);
    world.settle(&[0]);
    assert!(client.lines().is_empty());
    world.settle(&[1]);
    assert_eq!(client.lines(), ["0:6 Subscribe"]);
}

#[test]
fn the_members_come_with_the_reply_where_they_are_wanted() {
    let mut world = World::new();
    *world.presence.users.lock().unwrap() = vec!["alice", "bob"];
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, with_members("room:1"));
    world.relay(&[joined("room:1")]);
    world.finish();
    assert_eq!(client.lines(), ["0:5 Subscribe [alice bob]"]);
    let asked = ["enter room:1 alice", "members room:1 100"];
    assert_eq!(world.presence.take_asked(), asked, "in this order: the list has the session itself");
    world.say_as(id, 6, with_members("room:1"));
    world.finish();
    assert_eq!(client.lines(), ["0:6 Subscribe [alice bob]"], "again");
    assert_eq!(world.presence.take_asked(), ["members room:1 100"]);
    world.say_as(
        id,
        7,
        Command::SubscribeMany(vec![
            Subscribe { presence: true, ..Subscribe::plain("room:1") },
            Subscribe { presence: true, ..Subscribe::plain("chat:1") },
            Subscribe::plain("room:1"),
        ]),
    );
    world.finish();
    assert_eq!(client.lines(), ["0:7 subscribed room:1 ok [alice bob], chat:1 no_presence, room:1 ok"]);
}

#[test]
fn one_command_is_answered_with_so_many_lists_and_no_more() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    let names: Vec<String> = (0..20).map(|number| format!("room:{number:02}")).collect();
    let wanted = names.iter().map(|name| Subscribe { presence: true, ..Subscribe::plain(name) });
    world.say_as(id, 5, Command::SubscribeMany(wanted.chain([Subscribe::plain("room:20")]).collect()));
    let confirmed: Vec<_> = names.iter().map(String::as_str).chain(["room:20"]).map(joined).collect();
    world.relay(&confirmed);
    world.finish();
    let line = client.lines().pop().unwrap();
    assert_eq!((line.matches(" ok []").count(), line.matches("bad_message").count()), (16, 4), "{line}");
    assert!(line.contains("room:15 ok []") && line.contains("room:16 bad_message") && line.ends_with("room:20 ok"));
    assert_eq!(world.hub.counters().subscriptions, 17);
    world.say_as(id, 6, with_members("room:16"));
    world.relay(&[joined("room:16")]);
    world.finish();
    assert_eq!(client.lines(), ["0:6 Subscribe []"]);
}

#[test]
fn a_list_that_fails_takes_back_what_has_begun_but_not_what_stood() {
    let mut world = World::new();
    world.presence.fails_to_list.store(true, Ordering::Relaxed);
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, with_members("room:1"));
    world.relay(&[joined("room:1")]);
    world.finish();
    assert_eq!(client.lines(), ["0:5 unavailable"]);
    assert_eq!(world.hub.counters().subscriptions, 0);
    world.say_as(id, 6, subscribe("room:1"));
    world.relay(&[joined("room:1")]);
    world.finish();
    world.say_as(id, 7, with_members("room:1"));
    world.finish();
    world.relay(&[published("room:1", "x")]);
    assert_eq!(client.lines(), ["0:6 Subscribe", "0:7 unavailable", "0:room:1 x"]);
}

#[test]
fn several_commands_that_wait_for_one_entry_are_all_answered() {
    let mut world = World::new();
    *world.presence.users.lock().unwrap() = vec!["alice"];
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, subscribe("room:1"));
    world.say_as(id, 6, with_members("room:1"));
    world.relay(&[joined("room:1")]);
    world.say_as(id, 7, subscribe_many(["room:1", "room:1"]));
    world.finish();
    let answered = ["0:5 Subscribe", "0:6 Subscribe [alice]", "0:7 subscribed room:1 ok, room:1 ok"];
    assert_eq!(client.lines(), answered);
    assert_eq!(world.presence.take_asked(), ["enter room:1 alice", "members room:1 100"]);
}

#[test]
fn joins_and_leaves_are_for_those_who_want_them_in_order_with_the_publications() {
    let mut world = World::new();
    let (_, watching) = world.member("alice", "room:1");
    let (plain_id, plain) = world.connected();
    world.say(plain_id, subscribe("room:1"));
    world.finish();
    plain.lines();
    world.relay(&[
        published("room:1", "1"),
        event("room:1", true, "bob"),
        event("room:1", true, "carol"),
        published("room:1", "2"),
        published("room:1", "3"),
        event("room:1", false, "bob"),
        gap("room:1", 0, 9),
        event("room:1", true, "dave"),
    ]);
    let heard = ["1", "join bob", "join carol", "2", "3", "leave bob", "gap 0..9", "join dave"];
    assert_eq!(watching.lines(), heard.map(|heard| format!("0:room:1 {heard}")));
    assert_eq!(plain.lines(), ["1", "2", "3", "gap 0..9"].map(|heard| format!("0:room:1 {heard}")));
    assert_eq!(world.hub.counters().presence_events, 4);
}

#[test]
fn a_batch_of_joins_is_encoded_once_and_written_once() {
    let mut world = World::new();
    let watching = ["alice", "bob"].map(|user| world.member(user, "room:1").1);
    watching.iter().for_each(|client| drop((client.lines(), client.writes())));
    let before = world.lines.encoded.get();
    let batch: Vec<_> = (0..10).map(|n| event("room:1", n % 2 == 0, "carol")).collect();
    world.relay(&batch);
    assert_eq!(world.lines.encoded.get() - before, 10);
    for client in &watching {
        assert_eq!((client.writes(), client.lines().len()), (1, 10));
    }
}

#[test]
fn subscribing_again_sets_whether_joins_and_leaves_are_heard() {
    let mut world = World::new();
    let (id, client) = world.member("alice", "room:1");
    world.say_as(id, 5, subscribe("room:1"));
    world.relay(&[event("room:1", true, "bob")]);
    assert_eq!(client.lines(), ["0:5 Subscribe"]);
    world.say_as(id, 6, with_events("room:1"));
    world.relay(&[event("room:1", true, "carol")]);
    assert_eq!(client.lines(), ["0:6 Subscribe", "0:room:1 join carol"]);
    let (_, other) = world.member("bob", "room:1");
    world.say(id, Command::Unsubscribe("room:1".to_owned()));
    client.lines();
    world.relay(&[event("room:1", true, "dave")]);
    assert!(client.lines().is_empty());
    assert_eq!(other.lines(), ["0:room:1 join dave"]);
}

#[test]
fn presence_shows_what_a_refreshed_token_says_after_the_next_subscribe() {
    let mut world = World::new();
    let (id, _) = world.member("alice {\"v\":1}", "room:1");
    world.say(id, Command::Refresh { token: "alice@2000 {\"v\":2}".to_owned() });
    assert_eq!(world.presence.take_asked(), ["enter room:1 alice {\"v\":1}"]);
    world.say(id, subscribe("room:1"));
    assert_eq!(world.presence.take_asked(), ["enter room:1 alice {\"v\":2}"]);
    let token = Some("alice/room:1@2000 {\"v\":3}".to_owned());
    world.say(id, Command::Subscribe(Subscribe { token, ..Subscribe::plain("room:1") }));
    assert_eq!(world.presence.take_asked(), ["enter room:1 alice {\"v\":3}"], "the subscription's token says more");
}

#[test]
fn a_member_that_cannot_be_shown_anew_stays_subscribed() {
    let mut world = World::new();
    let (id, client) = world.member("alice {\"v\":1}", "room:1");
    world.say(id, Command::Refresh { token: "alice@2000 {\"v\":2}".to_owned() });
    client.lines();
    world.presence.fails_to_enter.store(true, Ordering::Relaxed);
    world.say_as(id, 5, with_events("room:1"));
    world.finish();
    world.relay(&[published("room:1", "x"), event("room:1", true, "bob")]);
    assert_eq!(client.lines(), ["0:5 unavailable", "0:room:1 x", "0:room:1 join bob"]);
}

#[test]
fn clients_ask_who_and_how_many_are_there() {
    let mut world = World::new();
    *world.presence.users.lock().unwrap() = vec!["alice"];
    let (id, client) = world.connected_as("alice");
    world.say_as(id, 5, members_of("room:1", None));
    world.say_as(id, 6, members_of("room:1", Some("17")));
    world.say_as(id, 7, Command::PresenceCount("room:1".to_owned()));
    world.say_as(id, 8, Command::Ping);
    assert!(client.lines().is_empty());
    world.finish();
    assert_eq!(client.lines(), ["0:5 [alice]", "0:6 [alice …]", "0:7 3/2", "0:8 Ping"]);
    assert_eq!(world.presence.take_asked(), ["members room:1 7", "members room:1 7", "count room:1"]);
    world.say_as(id, 9, members_of("room:1", Some("wrong")));
    world.presence.fails_to_list.store(true, Ordering::Relaxed);
    world.finish();
    world.say_as(id, 10, members_of("room:1", None));
    world.finish();
    assert_eq!(client.lines(), ["0:9 bad_message", "0:10 unavailable"]);
}

#[test]
fn only_those_who_may_subscribe_or_have_may_ask() {
    let mut world = World::new();
    let (id, client) = world.connected_as("alice");
    for (command, code) in [
        (members_of("hall:bob", None), "permission_denied"),
        (Command::PresenceCount("hall:bob".to_owned()), "permission_denied"),
        (members_of("own:bob", None), "permission_denied"),
        (members_of("chat:1", None), "no_presence"),
        (Command::PresenceCount("chat:1".to_owned()), "no_presence"),
        (with_members("chat:1"), "no_presence"),
        (with_events("chat:1"), "no_presence"),
        (members_of("room:*", None), "bad_channel"),
    ] {
        world.say_as(id, 5, command);
        assert_eq!(client.lines(), [format!("0:5 {code}")]);
    }
    let token = Some("alice/hall:bob@2000".to_owned());
    world.say(id, Command::Subscribe(Subscribe { token, ..Subscribe::plain("hall:bob") }));
    world.relay(&[joined("hall:bob")]);
    world.finish();
    client.lines();
    world.say_as(id, 6, Command::PresenceCount("hall:bob".to_owned()));
    world.finish();
    assert_eq!(client.lines(), ["0:6 3/2"], "its token let it in");
}

#[test]
fn a_resumed_session_enters_with_a_claim_of_its_own() {
    let mut world = World::new();
    let (first, _) = world.member("alice", "room:1");
    let old = world.presence.entry.lock().unwrap().take().unwrap();
    let resume = world.lines.resume.borrow().clone();
    let (second, client) = world.open(ullim_hub::Wire(0));
    world.say(second, Command::Connect { token: None, resume });
    world.say(second, subscribe("room:1"));
    world.relay(&[joined("room:1")]);
    world.finish();
    let new = world.presence.entry.lock().unwrap().take().unwrap();
    assert_eq!((new.session, *world.presence.left.lock().unwrap()), (old.session, Some(old.claim)));
    assert_ne!(new.claim, old.claim);
    assert!(client.lines()[0].contains("resumed"));
    assert_eq!(world.hub.reading(first), ullim_hub::Reading::Discard);
    let (anonymous, _) = world.open(ullim_hub::Wire(0));
    world.say(anonymous, connect(None));
}
