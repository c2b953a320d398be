//! One rule each, seen from the shards' queues.

use super::*;
use crate::queue::{ShardInbox, shard_queue};

const COOLDOWN: Duration = Duration::from_secs(5);

struct Table {
    interest: Interest,
    inboxes: Vec<ShardInbox>,
}

fn table(shards: usize) -> Table {
    let mut interest = Interest::new(COOLDOWN);
    let attach = |_| {
        let (queue, inbox) = shard_queue(1 << 20);
        interest.attach(queue);
        inbox
    };
    let inboxes = (0..shards).map(attach).collect();
    Table { interest, inboxes }
}

fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Table {
    fn subscribe(&mut self, shard: u8, channel: &str) -> bool {
        self.interest.subscribe(ShardId(shard), &name(channel))
    }

    fn unsubscribe(&mut self, shard: u8, channel: &str, now: Duration) -> bool {
        self.interest.unsubscribe(ShardId(shard), &name(channel), now)
    }

    /// Subscribes and lets the link confirm.
    fn join(&mut self, shard: u8, channel: &str) {
        self.subscribe(shard, channel);
        self.interest.requests(usize::MAX);
        self.interest.confirmed(channel, 0, Duration::ZERO);
        assert_eq!(self.told(shard), [format!("joined {channel}")]);
    }

    fn told(&mut self, shard: u8) -> Vec<String> {
        let mut items = Vec::new();
        self.inboxes[usize::from(shard)].take(&mut items);
        let describe = |item| match item {
            Relayed::Joined(channel, _) => format!("joined {channel}"),
            Relayed::Publication(routed) => format!("{} at {}", routed.channel, routed.published.to),
            Relayed::Gap(channel, gap) => format!("{channel} gap {}-{}", gap.from, gap.to),
            other => format!("{other:?}"),
        };
        items.into_iter().map(describe).collect()
    }

    fn requests(&mut self) -> Vec<String> {
        self.interest.requests(usize::MAX).iter().map(ChannelName::to_string).collect()
    }

    fn leaves(&mut self, now: Duration) -> Vec<String> {
        self.interest.leaves(now, usize::MAX).iter().map(ChannelName::to_string).collect()
    }
}

#[test]
fn the_first_shard_waits_for_the_link_and_later_ones_do_not() {
    let mut table = table(2);
    assert!(table.subscribe(0, "a"));
    assert!(!table.subscribe(0, "a"));
    assert_eq!(table.requests(), ["a"]);
    assert!(table.requests().is_empty());
    assert!(table.told(0).is_empty());
    assert_eq!(table.interest.confirmed("a", 1, secs(0)), Some(0));
    assert_eq!(table.told(0), ["joined a"]);
    assert!(!table.subscribe(1, "a"));
    assert!(!table.subscribe(1, "a"));
    assert_eq!(table.told(1), ["joined a"]);
    assert_eq!(table.interest.channels_confirmed(), 1);
}

#[test]
fn requests_come_in_order_and_in_batches() {
    let mut table = table(1);
    for channel in ["c", "a", "b"] {
        table.subscribe(0, channel);
    }
    assert!(!table.unsubscribe(0, "a", secs(0)));
    assert_eq!(table.interest.requests_waiting(), 2);
    assert_eq!(table.interest.requests(1), [name("c")]);
    assert_eq!(table.interest.requests(1), [name("b")]);
    assert!(table.interest.requests(1).is_empty());
}

#[test]
fn what_came_at_once_is_queued_in_order_for_those_who_have_joined() {
    let mut table = table(2);
    table.join(0, "a");
    table.join(0, "b");
    table.subscribe(1, "b");
    assert_eq!(table.told(1), ["joined b"]);
    table.join(0, "cooling");
    table.unsubscribe(0, "cooling", secs(0));
    let mut came = vec![("b", 1), ("cooling", 2), ("a", 3), ("unknown", 4), ("b", 5)];
    let make = |channel, at| {
        Relayed::Gap(channel, Gap { from: at, to: at, reason: GapReason::Undecodable, position: None }).into()
    };
    assert_eq!(table.interest.route(&mut came, make), Delivered { gaps: 5, dropped: 0 });
    assert!(came.is_empty());
    assert_eq!(table.told(0), ["b gap 1-1", "a gap 3-3", "b gap 5-5"]);
    assert_eq!(table.told(1), ["b gap 1-1", "b gap 5-5"]);
}

#[test]
fn a_channel_without_shards_cools_down_and_is_left() {
    let mut table = table(1);
    table.join(0, "a");
    assert!(table.unsubscribe(0, "a", secs(1)));
    assert!(!table.unsubscribe(0, "a", secs(2)));
    assert_eq!(table.interest.next_leave(), Some(secs(6)));
    assert!(table.leaves(secs(5)).is_empty());
    assert_eq!(table.leaves(secs(6)), ["a"]);
    assert_eq!(table.interest.channels_confirmed(), 0);
    assert!(table.interest.left("a", 0));
    assert!(table.interest.channels.is_empty());
}

#[test]
fn a_shard_that_comes_back_while_cooling_joins_at_once() {
    let mut table = table(1);
    table.join(0, "a");
    table.unsubscribe(0, "a", secs(1));
    assert!(!table.subscribe(0, "a"));
    assert_eq!(table.told(0), ["joined a"]);
    assert_eq!(table.interest.next_leave(), None);
    assert!(table.leaves(secs(100)).is_empty());
}

#[test]
fn a_shard_that_comes_back_while_the_channel_is_left_waits_for_both_answers() {
    let mut table = table(1);
    table.join(0, "a");
    table.unsubscribe(0, "a", secs(1));
    table.leaves(secs(6));
    assert!(!table.subscribe(0, "a"));
    assert!(table.requests().is_empty());
    assert_eq!(table.interest.confirmed("a", 1, secs(6)), None);
    assert!(table.told(0).is_empty());
    assert!(table.interest.left("a", 0));
    assert_eq!(table.requests(), ["a"]);
    table.interest.confirmed("a", 1, secs(6));
    assert_eq!(table.told(0), ["joined a"]);
}

#[test]
fn a_channel_nobody_wants_when_it_is_confirmed_cools_down_first() {
    let mut table = table(1);
    table.subscribe(0, "a");
    table.requests();
    assert!(!table.unsubscribe(0, "a", secs(0)));
    table.interest.confirmed("a", 1, secs(3));
    assert!(table.told(0).is_empty());
    assert_eq!(table.leaves(secs(8)), ["a"]);
}

#[test]
fn an_outage_is_one_gap_for_those_who_had_joined() {
    let mut table = table(3);
    table.join(0, "a");
    table.interest.broken(10);
    assert!(!table.subscribe(1, "a"));
    table.requests();
    table.interest.broken(20);
    assert_eq!(table.requests(), ["a"]);
    assert_eq!(table.interest.confirmed("a", 30, secs(0)), Some(1));
    assert_eq!(table.told(0), ["a gap 10-30"]);
    assert_eq!(table.told(1), ["joined a"]);
    assert!(table.told(2).is_empty());
    table.interest.broken(40);
    table.requests();
    table.interest.confirmed("a", 50, secs(0));
    assert_eq!(table.told(0), ["a gap 40-50"]);
    assert_eq!(table.told(1), ["a gap 40-50"]);
}

#[test]
fn who_leaves_and_returns_during_an_outage_joins_anew_without_a_gap() {
    let mut table = table(2);
    table.join(0, "a");
    table.interest.broken(10);
    table.unsubscribe(0, "a", secs(0));
    assert!(table.interest.channels.is_empty());
    table.subscribe(0, "a");
    assert_eq!(table.requests(), ["a"]);
    table.interest.confirmed("a", 30, secs(0));
    assert_eq!(table.told(0), ["joined a"]);
}

#[test]
fn a_break_forgets_what_nobody_wants() {
    let mut table = table(1);
    for channel in ["leaving", "cooling"] {
        table.join(0, channel);
        table.unsubscribe(0, channel, secs(0));
    }
    assert_eq!(table.interest.leaves(secs(5), 1).len(), 1);
    table.subscribe(0, "requested");
    table.requests();
    table.unsubscribe(0, "requested", secs(0));
    assert_eq!(table.interest.channels.len(), 3);
    table.interest.broken(10);
    assert!(table.interest.channels.is_empty());
    assert!(table.requests().is_empty() && table.interest.next_leave().is_none());
}

#[test]
fn stale_and_unknown_answers_change_nothing() {
    let mut table = table(1);
    assert_eq!(table.interest.confirmed("a", 1, secs(0)), None);
    assert!(!table.interest.left("a", 0));
    table.subscribe(0, "a");
    assert_eq!(table.interest.confirmed("a", 1, secs(0)), None);
    assert!(!table.interest.left("a", 0));
    table.requests();
    assert!(!table.interest.left("a", 0));
    assert_eq!(table.interest.confirmed("a", 1, secs(0)), Some(0));
    assert_eq!(table.interest.confirmed("a", 1, secs(0)), None);
    assert_eq!(table.told(0), ["joined a"]);
}

#[test]
fn an_unsubscribe_that_was_not_asked_for_is_an_outage_of_the_channel() {
    let mut table = table(1);
    table.join(0, "a");
    table.join(0, "cooling");
    table.unsubscribe(0, "cooling", secs(0));
    assert!(!table.interest.left("cooling", 10));
    assert!(!table.interest.left("a", 10));
    assert_eq!(table.requests(), ["a"]);
    assert_eq!(table.interest.confirmed("a", 20, secs(0)), Some(1));
    assert_eq!(table.told(0), ["a gap 10-20"]);
    assert!(table.leaves(secs(100)).is_empty());
}
