//! Whatever happens, in whatever order, and however late answers come: what a client hears of a recoverable channel is
//! without a hole and without repetition from its reply's position on, but for what it is told.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use ullim_broker::Relayed;
use ullim_hub::ConnectionId;
use ullim_protocol::command::{Command, Subscribe};
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::position::Position;

use crate::fakes::{Client, World, at, name};

#[derive(Debug, Clone)]
enum Step {
    /// Is published, and handed to the shard's queue.
    Publish,
    /// The same, and large: few of them can be held.
    Large,
    /// Is published, and does not fit into the queue.
    Overflow,
    /// The shard takes so many from its queue.
    Relay(usize),
    /// One of what is waited for ends.
    Settle(usize),
    /// A client subscribes, with its position if it has one.
    Subscribe(usize),
    /// A client subscribes as if for the first time.
    Begin(usize),
    Unsubscribe(usize),
    /// A client's connection is lost. It comes back.
    Lose(usize),
    /// The broker loses its last publications.
    Forget(usize),
    /// The history goes back by so many.
    GoBack(usize),
    /// The history keeps so many.
    Trim(usize),
    /// The history cannot be read, or can again.
    Fail(bool),
    /// Reads see what there is at once, or late.
    Early(bool),
    /// A second passes.
    Wait,
}

fn harmless() -> BoxedStrategy<Step> {
    prop_oneof![
        10 => Just(Step::Publish),
        8 => (1usize..6).prop_map(Step::Relay),
        8 => (0usize..8).prop_map(Step::Settle),
        2 => Just(Step::Overflow),
        6 => (0usize..3).prop_map(Step::Subscribe),
        1 => (0usize..3).prop_map(Step::Begin),
        1 => (0usize..3).prop_map(Step::Unsubscribe),
        2 => (0usize..3).prop_map(Step::Lose),
        1 => any::<bool>().prop_map(Step::Early),
    ]
    .boxed()
}

fn harmful() -> BoxedStrategy<Step> {
    prop_oneof![
        30 => harmless(),
        3 => Just(Step::Large),
        1 => (0usize..4).prop_map(Step::Forget),
        1 => (1usize..4).prop_map(Step::GoBack),
        1 => (0usize..6).prop_map(Step::Trim),
        1 => any::<bool>().prop_map(Step::Fail),
        2 => Just(Step::Wait),
    ]
    .boxed()
}

/// A client, and what it knows.
struct Listener {
    id: ConnectionId,
    client: Client,
    /// The last position that it was told.
    at: Option<Position>,
    /// What it has sent as `recover`, by the number of the command.
    sent: HashMap<u64, Option<Position>>,
    subscribed: bool,
    /// A reply has crossed into a new epoch: a gap must follow.
    owed_gap: bool,
    /// Gaps, and replies that say that it has not recovered.
    losses: usize,
}

struct Model {
    world: World,
    channel: &'static str,
    listeners: Vec<Listener>,
    /// All that was published there: more than one if the history has gone back.
    texts: HashMap<Position, Vec<String>>,
    queue: Vec<Relayed>,
    listening: bool,
    published: u64,
    seconds: u64,
    number: u64,
}

impl Model {
    fn new(channel: &'static str) -> Self {
        let mut world = World::new();
        let listeners = (0..3).map(|_| {
            let (id, client) = world.connected();
            let sent = HashMap::new();
            Listener { id, client, at: None, sent, subscribed: false, owed_gap: false, losses: 0 }
        });
        let listeners = listeners.collect();
        let (queue, texts) = (Vec::new(), HashMap::new());
        Self { world, channel, listeners, texts, queue, listening: false, published: 0, seconds: 0, number: 1000 }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish | Step::Large => {
                let size = if matches!(step, Step::Large) { 25_000 } else { 1 };
                let item = self.publish(size);
                if self.listening {
                    self.queue.push(item);
                }
            }
            Step::Overflow => {
                self.publish(1);
                let gap = Gap { from: 0, to: 9, reason: GapReason::Overload, position: None };
                if self.listening {
                    self.queue.push(Relayed::Gap(name(self.channel), gap));
                }
            }
            Step::Relay(count) => {
                let items: Vec<_> = self.queue.drain(..count.min(self.queue.len())).collect();
                self.world.relay(&items);
            }
            Step::Settle(place) => self.world.settle_any(place),
            Step::Subscribe(who) => self.subscribe(who, self.listeners[who].at),
            Step::Begin(who) => self.subscribe(who, None),
            Step::Unsubscribe(who) => {
                self.number += 1;
                self.world.say_as(self.listeners[who].id, self.number, Command::Unsubscribe(self.channel.to_owned()));
            }
            Step::Lose(who) => {
                self.hear();
                self.world.hub.lost(self.listeners[who].id);
                let (id, client) = self.world.connected();
                let listener = &mut self.listeners[who];
                (listener.id, listener.client, listener.subscribed) = (id, client, false);
                listener.sent.clear();
            }
            Step::Forget(count) => {
                let gap = self.world.history.lose(self.channel, count);
                if self.listening {
                    self.queue.push(gap);
                }
            }
            Step::GoBack(by) => {
                let reset = self.world.history.go_back(self.channel, by);
                if self.listening {
                    self.queue.push(reset);
                }
            }
            Step::Trim(keep) => self.world.history.trim(self.channel, keep),
            Step::Fail(fails) => self.world.history.fails.store(fails, Ordering::Relaxed),
            Step::Early(early) => self.world.history.reads_early.store(early, Ordering::Relaxed),
            Step::Wait => {
                self.seconds += 1;
                self.world.wait(Duration::from_secs(self.seconds));
                self.listeners.iter().for_each(|listener| self.world.hub.heard(listener.id));
            }
        }
        for asked in self.world.broker.take_asked() {
            self.listening = asked.starts_with("subscribe");
            if self.listening {
                self.queue.push(self.world.history.joined(self.channel));
            }
        }
        self.hear();
    }

    fn publish(&mut self, size: usize) -> Relayed {
        self.published += 1;
        let text = format!("{:size$}", self.published).replace(' ', "_");
        let item = self.world.history.publish(self.channel, &text);
        self.texts.entry(self.world.history.at(self.channel)).or_default().push(text);
        item
    }

    fn subscribe(&mut self, who: usize, recover: Option<Position>) {
        self.number += 1;
        let listener = &mut self.listeners[who];
        listener.sent.insert(self.number, recover);
        let subscribe = Subscribe { recover, ..Subscribe::plain(self.channel) };
        self.world.say_as(listener.id, self.number, Command::Subscribe(subscribe));
    }

    /// Holds what was heard against what was published.
    fn hear(&mut self) {
        for listener in &mut self.listeners {
            for line in listener.client.lines() {
                let words: Vec<&str> = line[2..].split(' ').collect();
                match words[..] {
                    ["ping"] => {}
                    [number, "Subscribe", ref rest @ ..] => {
                        let since = listener.sent[&number.parse().unwrap()];
                        listener.replied(since, rest, &self.texts, &line);
                    }
                    [_, "ended", "history_reset"] => {
                        assert!(listener.subscribed, "{line}");
                        (listener.subscribed, listener.at, listener.owed_gap) = (false, None, false);
                    }
                    // It subscribes anew.
                    [_, "history_reset"] => listener.at = None,
                    [_, "Unsubscribe"] => listener.subscribed = false,
                    [_, "unavailable" | "subscription_ended"] => {}
                    [_, "gap", _, reason, position] => {
                        assert!(reason == "history" && at(position) >= listener.at.unwrap(), "{line}");
                        (listener.at, listener.owed_gap) = (Some(at(position)), false);
                        listener.losses += 1;
                    }
                    [_, position, text] => listener.hears(position, text, &self.texts, &line),
                    _ => panic!("{line}"),
                }
            }
        }
    }

    /// Everything that is under way comes to its end.
    fn end(&mut self) {
        self.step(&Step::Fail(false));
        for _ in 0..10 {
            self.step(&Step::Relay(usize::MAX));
            self.world.finish();
            self.step(&Step::Wait);
        }
        for listener in &self.listeners {
            assert!(!listener.owed_gap);
            if listener.subscribed {
                assert_eq!(listener.at, Some(self.world.history.at(self.channel)), "it has heard all, or knows");
            }
        }
    }
}

fn parenthesised(word: &str) -> Position {
    at(word.trim_start_matches('(').trim_end_matches(')'))
}

impl Listener {
    fn replied(&mut self, since: Option<Position>, words: &[&str], texts: &HashMap<Position, Vec<String>>, line: &str) {
        let (recovered, words) = match words {
            ["recovered", rest @ ..] => (true, rest),
            ["lost", rest @ ..] => (false, rest),
            _ => (false, words),
        };
        let (position, pubs) = (at(words[0]), &words[1..]);
        let mut last = since.filter(|_| recovered);
        for pair in pubs.chunks(2) {
            let next = parenthesised(pair[0]);
            assert!(texts[&next].iter().any(|text| text == pair[1]), "{line}");
            self.owed_gap |= recovered && last.unwrap().epoch != next.epoch;
            assert!(!recovered || self.owed_gap || last.unwrap().next() == next, "{line} after {since:?}");
            last = Some(next);
        }
        self.owed_gap |= recovered && since.unwrap().epoch != position.epoch;
        assert!(!recovered || self.owed_gap || last == Some(position), "{line} after {since:?}");
        if self.subscribed {
            assert_eq!(self.at, Some(position), "nothing is left out of what it hears already: {line}");
        } else {
            self.losses += usize::from(since.is_some() && !recovered);
        }
        (self.at, self.subscribed) = (Some(position), true);
    }

    fn hears(&mut self, position: &str, text: &str, texts: &HashMap<Position, Vec<String>>, line: &str) {
        let position = parenthesised(position);
        assert!(self.subscribed && !self.owed_gap, "{line}");
        assert_eq!(Some(position), self.at.map(Position::next), "{line}");
        assert!(texts[&position].iter().any(|published| published == text), "{line}");
        self.at = Some(position);
    }
}

fn channel() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("orders:1"), Just("prices:1"), Just("team:1"), Just("long:1")]
}

/// More with `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(1000), ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_heard_is_dense_but_for_what_is_told(
        channel in channel(),
        steps in prop::collection::vec(harmful(), 0..120),
    ) {
        let mut model = Model::new(channel);
        steps.iter().for_each(|step| model.step(step));
        model.end();
    }

    #[test]
    fn while_nothing_is_lost_for_good_nobody_is_told_of_a_loss(
        steps in prop::collection::vec(harmless(), 0..120),
    ) {
        let mut model = Model::new("long:1");
        steps.iter().for_each(|step| model.step(step));
        model.end();
        prop_assert!(model.listeners.iter().all(|listener| listener.losses == 0));
    }
}
