//! The cases of the contract about presence, orders and lists of channels.

use std::time::Duration;

use tokio::time::Instant;
use ullim_broker::{ChannelsRequest, Claim, Control, Entry, PageRequest, PresenceError, Relayed};
use ullim_protocol::presence::MembersPage;

use super::Fixture;
use super::cases::{publish, text};
use super::member::{GRACE, answer, enter, entry, id, leave, members, occupancy, page, until_occupancy};
use super::shard::Shard;
use super::wait::{name, until};

const ROOMY: usize = 64 << 20;

impl Shard {
    /// What comes next, which is a coming (`+user`) or a going (`-user`) in `channel`.
    pub(crate) async fn next_event(&mut self, channel: &str) -> String {
        match self.next().await {
            Relayed::Presence(routed) if routed.channel.as_str() == channel => {
                let event = &routed.event;
                assert!(event.joined || event.info.is_none());
                format!("{}{}", if event.joined { '+' } else { '-' }, event.user)
            }
            other => panic!("no coming or going in {channel}: {other:?}"),
        }
    }
}

async fn watch(fixture: &Fixture, channel: &str) -> Shard {
    let mut shard = Shard::attach(&*fixture.broker, ROOMY);
    shard.join(&*fixture.broker, channel).await;
    shard
}

pub(crate) async fn who_enters_is_told_once_and_can_be_read_at_once(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    let before = fixture.broker.now();
    enter(presence, "auto:a", 1, "alice").await;
    let read = members(presence, "auto:a", 100).await;
    let [member] = &read[..] else { panic!("{read:?}") };
    assert_eq!((member.session, member.user.as_deref()), (id(1), Some("alice")));
    assert_eq!(member.info.as_ref().unwrap().as_str(), "{\"a\": [1, 1.50]}");
    assert!(member.since + 5 >= before && member.since <= fixture.broker.now() + 5);
    enter(presence, "auto:a", 2, "").await;
    let Relayed::Presence(routed) = shard.next().await else { panic!() };
    assert!(routed.event.joined && &*routed.event.user == "alice");
    assert_eq!(routed.event.info, member.info);
    assert!(routed.published.from <= routed.published.to && routed.published.to + 5 >= before);
    assert_eq!(shard.next_event("auto:a").await, format!("+~{}", id(2)));
    let anonymous = members(presence, "auto:a", 100).await.pop().unwrap();
    assert_eq!((anonymous.user, anonymous.info), (None, None));
    assert_eq!(fixture.broker.counters().presence_members, 2);
}

pub(crate) async fn a_user_comes_with_the_first_session_and_goes_with_the_last(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    enter(presence, "auto:a", 1, "alice").await;
    enter(presence, "auto:a", 2, "alice").await;
    enter(presence, "auto:a", 3, "bob").await;
    assert_eq!(occupancy(presence, "auto:a").await, (3, 2));
    leave(presence, "auto:a", 1);
    until_occupancy(presence, "auto:a", (2, 2)).await;
    let left = Instant::now();
    leave(presence, "auto:a", 2);
    until_occupancy(presence, "auto:a", (1, 1)).await;
    assert!(left.elapsed() < GRACE, "the numbers tell the truth at once");
    assert_eq!(shard.next_event("auto:a").await, "+alice");
    assert_eq!(shard.next_event("auto:a").await, "+bob");
    assert_eq!(shard.next_event("auto:a").await, "-alice");
    let after = left.elapsed();
    assert!(after >= GRACE && after < GRACE + Duration::from_secs(2), "{after:?}");
    assert_eq!(fixture.broker.counters().presence_members, 1);
}

pub(crate) async fn a_return_within_the_grace_is_not_told(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    enter(presence, "auto:a", 1, "alice").await;
    leave(presence, "auto:a", 1);
    until_occupancy(presence, "auto:a", (0, 0)).await;
    enter(presence, "auto:a", 2, "alice").await;
    // Somebody else's grace begins and ends after hers would have.
    enter(presence, "auto:a", 3, "bob").await;
    leave(presence, "auto:a", 3);
    assert_eq!(shard.next_event("auto:a").await, "+alice");
    assert_eq!(shard.next_event("auto:a").await, "+bob");
    assert_eq!(shard.next_event("auto:a").await, "-bob");
    assert_eq!(occupancy(presence, "auto:a").await, (1, 1));
}

pub(crate) async fn who_returns_after_the_grace_comes_again(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    for session in 1..3 {
        enter(presence, "auto:a", session, "alice").await;
        leave(presence, "auto:a", session);
        assert_eq!(shard.next_event("auto:a").await, "+alice");
        assert_eq!(shard.next_event("auto:a").await, "-alice");
    }
}

pub(crate) async fn nobody_has_no_grace(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    let mut nobody = entry("auto:a", 1, "");
    nobody.grace = Duration::from_secs(60);
    answer(presence.enter(nobody)).await.unwrap();
    leave(presence, "auto:a", 1);
    assert_eq!(shard.next_event("auto:a").await, format!("+~{}", id(1)));
    assert_eq!(shard.next_event("auto:a").await, format!("-~{}", id(1)));
    assert_eq!(occupancy(presence, "auto:a").await, (0, 0));
}

pub(crate) async fn the_end_of_an_older_claim_takes_nobody_out(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    enter(presence, "auto:a", 1, "alice").await;
    let since = members(presence, "auto:a", 100).await[0].since;
    let mut resumed = entry("auto:a", 1, "alice");
    resumed.claim = Claim(77);
    resumed.info = None;
    answer(presence.enter(resumed)).await.unwrap();
    leave(presence, "auto:a", 1);
    presence.leave(&name("auto:a"), id(9), Claim(9), Duration::ZERO);
    presence.leave(&name("auto:never"), id(1), Claim(77), Duration::ZERO);
    enter(presence, "auto:a", 2, "bob").await;
    assert_eq!(occupancy(presence, "auto:a").await, (2, 2));
    let resumed = &members(presence, "auto:a", 100).await[0];
    assert_eq!((resumed.since, &resumed.info), (since, &None));
    presence.leave(&name("auto:a"), id(1), Claim(77), Duration::ZERO);
    until_occupancy(presence, "auto:a", (1, 1)).await;
    assert_eq!(shard.next_event("auto:a").await, "+alice");
    assert_eq!(shard.next_event("auto:a").await, "+bob");
    assert_eq!(shard.next_event("auto:a").await, "-alice");
}

pub(crate) async fn a_session_that_becomes_another_users_is_counted_for_that_one(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    enter(presence, "auto:a", 1, "alice").await;
    enter(presence, "auto:a", 1, "bob").await;
    assert_eq!(occupancy(presence, "auto:a").await, (1, 1));
    assert_eq!(shard.next_event("auto:a").await, "+alice");
    assert_eq!(shard.next_event("auto:a").await, "+bob");
    assert_eq!(shard.next_event("auto:a").await, "-alice");
    leave(presence, "auto:a", 1);
    assert_eq!(shard.next_event("auto:a").await, "-bob");
    assert_eq!(occupancy(presence, "auto:a").await, (0, 0));
}

pub(crate) async fn pages_hold_every_member(fixture: Fixture) {
    let presence = &*fixture.presence;
    let entering: Vec<_> = (0..1200).map(|n| presence.enter(entry("auto:a", n, &format!("user {n}")))).collect();
    for entered in entering {
        answer(entered).await.unwrap();
    }
    assert_eq!(occupancy(presence, "auto:a").await, (1200, 1200));
    let read = members(presence, "auto:a", 100).await;
    assert_eq!(read.len(), 1200);
    assert!(read.iter().enumerate().all(|(n, member)| member.user.as_deref() == Some(&format!("user {n}")[..])));
    let (first, cursor) = page(presence, "auto:a", None, 100).await.unwrap();
    assert!((50..200).contains(&first.len()) && cursor.is_some(), "{}", first.len());
    let nobody = answer(presence.members(&name("auto:b"), PageRequest { cursor: None, limit: 100 })).await;
    assert_eq!(nobody, Ok(MembersPage::default()));
    for cursor in ["", "x", "-1", "1 2", "99999999999999999999999999", "%"] {
        let refused = page(presence, "auto:a", Some(cursor.to_owned()), 100).await;
        assert_eq!(refused, Err(PresenceError::Cursor), "{cursor}");
    }
    (0..1200).for_each(|n| leave(presence, "auto:a", n));
    until_occupancy(presence, "auto:a", (0, 0)).await;
}

pub(crate) async fn comings_and_goings_keep_their_place_among_publications(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    for session in 0..20 {
        enter(presence, "auto:a", session, &format!("user {session}")).await;
        publish(&*fixture.broker, "auto:a", text(format!("no {session}"))).await;
    }
    for session in 0..20 {
        assert_eq!(shard.next_event("auto:a").await, format!("+user {session}"));
        assert_eq!(shard.next_data("auto:a").await, format!("no {session}"));
    }
    // It is counted once it is told.
    until("counted", || fixture.broker.counters().received == 20).await;
    let counters = fixture.broker.counters();
    assert_eq!(counters.undecodable, 0);
    assert!(counters.last_message_age.is_some());
}

pub(crate) async fn orders_reach_every_shard(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shards: Vec<Shard> = (0..2).map(|_| Shard::attach(broker, ROOMY)).collect();
    let orders = [
        Control::Disconnect { user: "alice".into() },
        Control::Unsubscribe { user: "alice".into(), channel: name("auto:a") },
        Control::Replace { session: id(7), keep: u64::MAX },
    ];
    for order in &orders {
        answer(broker.control(order.clone())).await.unwrap();
    }
    for shard in &mut shards {
        for order in &orders {
            let Relayed::Control(heard) = shard.next().await else { panic!() };
            assert_eq!(&*heard, order);
        }
    }
    // It is counted once it is told.
    until("counted", || broker.counters().control_received == 3).await;
    let counters = broker.counters();
    assert_eq!((counters.control_received, counters.control_dropped, counters.published), (3, 0, 0));
}

pub(crate) async fn channels_are_listed_by_prefix_and_page(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    for channel in ["b:2", "a:1", "b:1", "b:3", "c", "b"] {
        shard.join(broker, channel).await;
    }
    let list = async |prefix: &str, after: Option<&str>, limit| {
        let after = after.map(str::to_owned);
        let page = answer(broker.channels(ChannelsRequest { prefix: prefix.to_owned(), after, limit })).await.unwrap();
        (page.channels.iter().map(|channel| channel.as_str().to_owned()).collect::<Vec<_>>().join(" "), page.more)
    };
    let cases = [
        ("", None, 100, ("a:1 b b:1 b:2 b:3 c", false)),
        ("b:", None, 2, ("b:1 b:2", true)),
        ("b:", Some("b:2"), 2, ("b:3", false)),
        ("b:", Some("a"), 100, ("b:1 b:2 b:3", false)),
        ("b:", Some("b:9"), 100, ("", false)),
        ("b", Some("c"), 100, ("", false)),
        ("*", None, 100, ("", false)),
        ("", None, 6, ("a:1 b b:1 b:2 b:3 c", false)),
        ("", None, 0, ("", true)),
    ];
    for (prefix, after, limit, (channels, more)) in cases {
        assert_eq!(list(prefix, after, limit).await, (channels.to_owned(), more), "{prefix} {after:?} {limit}");
    }
}

pub(crate) async fn whoever_is_sent_elsewhere_has_not_left_if_they_come_back(fixture: Fixture) {
    let presence = &*fixture.presence;
    let mut shard = watch(&fixture, "auto:a").await;
    enter(presence, "auto:a", 1, "alice").await;
    let anonymous = Entry { user: None, ..entry("auto:a", 2, "") };
    answer(presence.enter(anonymous.clone())).await.unwrap();
    assert_eq!(shard.next_event("auto:a").await, "+alice");
    let came = shard.next_event("auto:a").await;
    assert!(came.starts_with("+~"), "{came}");
    let away = Duration::from_secs(60);
    presence.leave(&name("auto:a"), id(1), Claim(1), away);
    presence.leave(&name("auto:a"), id(2), Claim(2), away);
    until_occupancy(presence, "auto:a", (0, 0)).await;
    enter(presence, "auto:a", 1, "alice").await;
    answer(presence.enter(Entry { claim: Claim(77), ..anonymous })).await.unwrap();
    enter(presence, "auto:a", 3, "bob").await;
    assert_eq!(shard.next_event("auto:a").await, "+bob", "nobody has left or come anew");
}
