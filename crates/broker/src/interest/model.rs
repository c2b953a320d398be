//! Any course of events, against a trivial model of a server that confirms in order, delivers to who is subscribed, and
//! forgets everything when the link breaks.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use ullim_protocol::publication::{Data, Publication};

use super::*;
use crate::queue::{Routed, ShardInbox, Window, shard_queue};

const SHARDS: usize = 3;
const CHANNELS: [&str; 3] = ["a", "b", "c"];
const COOLDOWN: Duration = Duration::from_millis(3);

#[derive(Debug, Clone)]
enum Event {
    Subscribe {
        shard: usize,
        channel: usize,
    },
    Unsubscribe {
        shard: usize,
        channel: usize,
    },
    /// The link sends what is due.
    Send {
        batch: usize,
    },
    /// The server works through what was sent to it.
    Serve,
    /// The link reads one thing that the server sent.
    Hear,
    Publish {
        channel: usize,
    },
    Ping,
    Break,
    /// The server drops a subscription of its own accord.
    Drop {
        channel: usize,
    },
}

fn events() -> impl Strategy<Value = Event> {
    let (shard, channel) = (0..SHARDS, 0..CHANNELS.len());
    prop_oneof![
        4 => (shard.clone(), channel.clone()).prop_map(|(shard, channel)| Event::Subscribe { shard, channel }),
        3 => (shard, channel.clone()).prop_map(|(shard, channel)| Event::Unsubscribe { shard, channel }),
        4 => (1..3usize).prop_map(|batch| Event::Send { batch }),
        4 => Just(Event::Serve),
        8 => Just(Event::Hear),
        4 => channel.clone().prop_map(|channel| Event::Publish { channel }),
        2 => Just(Event::Ping),
        1 => Just(Event::Break),
        1 => channel.prop_map(|channel| Event::Drop { channel }),
    ]
}

#[derive(Debug, Clone)]
enum Command {
    Subscribe(ChannelName),
    Unsubscribe(ChannelName),
    Ping(u64),
}

#[derive(Debug, Clone)]
enum Reply {
    Subscribed(ChannelName),
    Unsubscribed(ChannelName),
    Message(ChannelName, u64),
    Pong(u64),
}

/// What one shard knows of one channel.
#[derive(Debug, Default)]
struct View {
    wants: bool,
    joined: bool,
    /// Published since it joined, and not seen yet.
    missing: Vec<u64>,
    last_seen: u64,
    /// Gaps may be told, one per outage.
    outages: usize,
}

struct World {
    interest: Interest,
    inboxes: Vec<ShardInbox>,
    views: Vec<Vec<View>>,
    /// The time, for everyone. Each publication has one of its own.
    now: u64,
    sent: VecDeque<Command>,
    replies: VecDeque<Reply>,
    subscribed: HashSet<ChannelName>,
    proven: u64,
}

fn name(channel: usize) -> ChannelName {
    ChannelName::parse(CHANNELS[channel]).unwrap()
}

impl World {
    fn new() -> Self {
        let mut interest = Interest::new(COOLDOWN);
        let attach = |_| {
            let (queue, inbox) = shard_queue(1 << 20);
            interest.attach(queue);
            inbox
        };
        let inboxes = (0..SHARDS).map(attach).collect();
        let views = (0..SHARDS).map(|_| CHANNELS.iter().map(|_| View::default()).collect()).collect();
        Self {
            interest,
            inboxes,
            views,
            now: 1,
            sent: VecDeque::new(),
            replies: VecDeque::new(),
            subscribed: HashSet::new(),
            proven: 1,
        }
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    fn happen(&mut self, event: &Event) {
        self.now += 1;
        match *event {
            Event::Subscribe { shard, channel } => {
                self.views[shard][channel].wants = true;
                self.interest.subscribe(ShardId(shard as u8), &name(channel));
            }
            Event::Unsubscribe { shard, channel } => {
                self.interest.unsubscribe(ShardId(shard as u8), &name(channel), self.elapsed());
                self.views[shard][channel] = View::default();
            }
            Event::Send { batch } => {
                let now = self.elapsed();
                self.sent.extend(self.interest.requests(batch).into_iter().map(Command::Subscribe));
                self.sent.extend(self.interest.leaves(now, batch).into_iter().map(Command::Unsubscribe));
                self.at_most_one_subscribe_is_outstanding();
            }
            Event::Serve => self.serve(),
            Event::Hear => self.hear(),
            Event::Publish { channel } => self.publish(channel),
            Event::Ping => self.sent.push_back(Command::Ping(self.now)),
            Event::Break => {
                self.sent.clear();
                self.replies.clear();
                self.subscribed.clear();
                self.interest.broken(self.proven);
                self.proven = self.now;
                let views = self.views.iter_mut().flatten();
                views.filter(|view| view.joined).for_each(|view| view.outages = 1);
            }
            Event::Drop { channel } => {
                let dropped = name(channel);
                if self.subscribed.remove(&dropped) {
                    self.replies.push_back(Reply::Unsubscribed(dropped));
                }
            }
        }
        self.read_inboxes();
    }

    fn at_most_one_subscribe_is_outstanding(&self) {
        let mut seen = HashSet::new();
        for command in &self.sent {
            if let Command::Subscribe(channel) = command {
                assert!(seen.insert(channel), "{channel} was asked for twice");
            }
        }
    }

    fn serve(&mut self) {
        for command in self.sent.drain(..) {
            self.replies.push_back(match command {
                Command::Subscribe(channel) => {
                    self.subscribed.insert(channel.clone());
                    Reply::Subscribed(channel)
                }
                Command::Unsubscribe(channel) => {
                    self.subscribed.remove(&channel);
                    Reply::Unsubscribed(channel)
                }
                Command::Ping(at) => Reply::Pong(at),
            });
        }
    }

    fn hear(&mut self) {
        let Some(reply) = self.replies.pop_front() else {
            return;
        };
        match reply {
            Reply::Subscribed(channel) => {
                self.interest.confirmed(channel.as_str(), self.now, self.elapsed());
            }
            Reply::Unsubscribed(channel) => {
                if !self.interest.left(channel.as_str(), self.proven) {
                    let at = CHANNELS.iter().position(|name| *name == channel.as_str()).unwrap();
                    let views = self.views.iter_mut().map(|views| &mut views[at]);
                    views.filter(|view| view.joined).for_each(|view| view.outages = 1);
                }
            }
            Reply::Message(channel, published) => {
                let publication =
                    Publication { data: Data::Text(Bytes::new()), time: published, headers: None, position: None };
                let published = Window::at(published);
                let routed = Routed { channel: channel.clone(), publication, exclude: None, published };
                let mut messages = vec![(channel.as_str(), routed)];
                self.interest.route(&mut messages, |_, routed| Relayed::Publication(Arc::new(routed)).into());
            }
            Reply::Pong(at) => self.proven = at,
        }
    }

    fn publish(&mut self, channel: usize) {
        let published = self.now;
        for views in &mut self.views {
            if views[channel].joined {
                views[channel].missing.push(published);
            }
        }
        let channel = name(channel);
        if self.subscribed.contains(&channel) {
            self.replies.push_back(Reply::Message(channel, published));
        }
    }

    fn read_inboxes(&mut self) {
        for (inbox, views) in self.inboxes.iter().zip(&mut self.views) {
            let mut items = Vec::new();
            inbox.take(&mut items);
            for item in items {
                let channel = match &item {
                    Relayed::Joined(channel, _) | Relayed::Gap(channel, _) => channel.as_str(),
                    Relayed::Publication(routed) => routed.channel.as_str(),
                    other => panic!("not published: {other:?}"),
                };
                let at = CHANNELS.iter().position(|name| *name == channel).unwrap();
                views[at].hear(item);
            }
        }
    }
}

impl View {
    fn hear(&mut self, item: Relayed) {
        match item {
            Relayed::Joined(channel, _) => {
                assert!(self.wants && !self.joined, "{channel} joined twice or unasked");
                self.joined = true;
            }
            Relayed::Publication(routed) => {
                assert!(self.joined, "a publication before the join");
                assert!(routed.published.to > self.last_seen, "out of order");
                self.last_seen = routed.published.to;
                self.missing.retain(|missing| *missing != routed.published.to);
            }
            Relayed::Gap(channel, gap) => {
                assert!(self.joined, "a gap before the join");
                assert_eq!(self.outages, 1, "a gap of {channel} without an outage");
                self.outages = 0;
                self.missing.retain(|missing| !(gap.from..=gap.to).contains(missing));
            }
            Relayed::Reset(..) | Relayed::Presence(_) | Relayed::Control(_) => panic!("not published"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_hole_is_told_once_and_nothing_else_is(
        events in proptest::collection::vec(events(), 1..120),
    ) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        // Then the link stands for long enough to say all.
        for _ in 0..4 {
            world.happen(&Event::Send { batch: usize::MAX });
            world.happen(&Event::Serve);
            while !world.replies.is_empty() {
                world.happen(&Event::Hear);
            }
            world.now += 10;
        }
        for view in world.views.iter().flatten() {
            prop_assert_eq!(view.wants, view.joined);
            prop_assert_eq!(view.outages, 0, "an outage was never told");
            prop_assert!(view.missing.is_empty(), "lost in silence: {:?}", view.missing);
        }
        let wanted: HashSet<&ChannelName> = world.interest.channels.keys().collect();
        let subscribed: HashSet<&ChannelName> = world.subscribed.iter().collect();
        prop_assert_eq!(wanted, subscribed);
        prop_assert_eq!(world.interest.channels_confirmed() as usize, world.subscribed.len());
    }
}
