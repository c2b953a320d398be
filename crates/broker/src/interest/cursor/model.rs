//! Any course of events, against a trivial model of a stream: publications, epochs with and without a cut, breaks of the
//! link, reads that are answered late, publications that Redis relays and that it does not.

use bytes::Bytes;
use proptest::prelude::*;
use ullim_protocol::position::Epoch;
use ullim_protocol::publication::{Data, Publication};

use super::*;
use crate::queue::Window;

#[derive(Debug, Clone)]
enum Event {
    Publish {
        is_relayed: bool,
        is_readable: bool,
    },
    /// Redis loses the last of its entries, and is another one.
    Failover {
        lost: usize,
    },
    /// The oldest entries are gone.
    Trim,
    /// The stream is gone, and nothing else is.
    Delete,
    /// The node hears what was relayed.
    Hear,
    Break,
    Confirm,
    /// A quiet channel is verified.
    Verify,
    /// The read is made.
    Read {
        limit: usize,
    },
    /// Its answer comes.
    Answer,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (prop::bool::weighted(0.9), prop::bool::weighted(0.95))
            .prop_map(|(is_relayed, is_readable)| Event::Publish { is_relayed, is_readable }),
        1 => (0..4usize).prop_map(|lost| Event::Failover { lost }),
        1 => Just(Event::Trim),
        1 => Just(Event::Delete),
        6 => Just(Event::Hear),
        1 => Just(Event::Break),
        3 => Just(Event::Confirm),
        2 => Just(Event::Verify),
        4 => (1..6usize).prop_map(|limit| Event::Read { limit }),
        4 => Just(Event::Answer),
    ]
}

struct World {
    cursor: Cursor,
    channel: ChannelName,
    /// What Redis has, and where it stands.
    stream: Vec<Kept>,
    position: Position,
    cut: Option<Position>,
    /// On the way to the node.
    relayed: std::collections::VecDeque<Kept>,
    is_linked: bool,
    /// The read that is under way, behind which position, and its answer.
    asked: Option<(u64, Option<Position>, Option<Read>)>,
    number: u64,
    /// What the shards stand at.
    heard: Option<Position>,
    /// Redis has lost something, or the stream was deleted; and how many gaps were told.
    lost: bool,
    deleted: bool,
    gaps: usize,
}

fn epoch(number: u64) -> Position {
    Position::start(Epoch::new(number * 1000).unwrap())
}

impl World {
    fn new() -> Self {
        let mut cursor = Cursor::new(&Arc::default());
        cursor.repair();
        Self {
            cursor,
            channel: ChannelName::parse("orders:1").unwrap(),
            stream: Vec::new(),
            position: epoch(1),
            cut: None,
            relayed: Default::default(),
            is_linked: true,
            asked: None,
            number: 0,
            heard: None,
            lost: false,
            deleted: false,
            gaps: 0,
        }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Publish { is_relayed, is_readable } => self.publish(is_relayed, is_readable),
            Event::Failover { lost } => {
                let rest = self.stream.len().saturating_sub(lost);
                let first = self.stream.first().map(|kept| before(kept.position));
                self.stream.truncate(rest);
                let last = match self.stream.last() {
                    Some(kept) => kept.position,
                    None => first.unwrap_or(self.position),
                };
                self.position = epoch(self.position.epoch.micros() / 1000 + 1);
                self.cut = Some(last);
                self.lost = true;
                self.drop_link();
            }
            Event::Trim => drop(self.stream.drain(..self.stream.len() / 2)),
            Event::Delete => {
                self.stream.clear();
                self.position = epoch(self.position.epoch.micros() / 1000 + 1);
                self.cut = None;
                self.deleted = true;
            }
            Event::Hear => {
                if let Some(kept) = self.relayed.pop_front() {
                    self.hear(kept);
                }
            }
            Event::Break => self.drop_link(),
            Event::Confirm => {
                if !self.is_linked {
                    self.is_linked = true;
                    self.cursor.repair();
                }
            }
            Event::Verify => {
                if self.is_linked && self.cursor.is_steady() && self.cursor.ask == Ask::No {
                    self.cursor.ask = Ask::Queued;
                }
            }
            Event::Read { limit } => {
                if self.is_linked && self.cursor.ask == Ask::Queued {
                    self.number += 1;
                    self.cursor.ask = Ask::Asked(self.number, self.cursor.held());
                    let after = self.cursor.at();
                    self.asked = Some((self.number, after, None));
                    self.read(after, limit);
                }
            }
            Event::Answer => self.answer(),
        }
    }

    fn drop_link(&mut self) {
        self.is_linked = false;
        self.relayed.clear();
        self.asked = None;
        self.cursor.broken();
    }

    fn publish(&mut self, is_relayed: bool, is_readable: bool) {
        self.position = self.position.next();
        let (position, cut) = (self.position, self.cut.take());
        let time = position.epoch.opened() + position.offset;
        let publication = Publication { data: Data::Text(Bytes::new()), time, headers: None, position: Some(position) };
        let routed = Routed { channel: self.channel.clone(), publication, exclude: None, published: Window::at(time) };
        let kept = Kept { position, cut, time, routed: is_readable.then(|| Arc::new(routed)) };
        self.stream.push(kept.clone());
        if self.is_linked && is_relayed {
            self.relayed.push_back(kept);
        }
    }

    fn hear(&mut self, kept: Kept) {
        let Some(routed) = &kept.routed else {
            // It cannot be placed.
            if self.cursor.is_steady() {
                self.cursor.repair();
            }
            return;
        };
        match self.cursor.hear(routed, kept.position, kept.cut) {
            Heard::Pass => self.told(Relayed::Publication(Arc::clone(routed))),
            Heard::PassBehind(gap) => {
                self.told(Relayed::Gap(self.channel.clone(), gap));
                self.told(Relayed::Publication(Arc::clone(routed)));
            }
            Heard::Repeated | Heard::Held { .. } => {}
        }
    }

    fn read(&mut self, after: Option<Position>, limit: usize) {
        let behind: Vec<Kept> = match after {
            Some(after) => self.stream.iter().filter(|kept| kept.position > after).cloned().collect(),
            None => Vec::new(),
        };
        let more = behind.len() > limit;
        let entries = behind.into_iter().take(limit).collect();
        let time = self.position.epoch.opened() + self.position.offset;
        let read = Read { position: self.position, cut: self.cut, entries, more, time, since_time: None };
        if let Some((_, _, answer)) = &mut self.asked {
            *answer = Some(read);
        }
    }

    fn answer(&mut self) {
        let Some((number, after, Some(read))) = self.asked.take() else { return };
        if !matches!(self.cursor.ask, Ask::Asked(asked, _) if asked == number) {
            return;
        }
        let mut out = Vec::new();
        self.cursor.apply(&self.channel.clone(), after, &read, &mut out);
        if self.heard.is_none() {
            self.heard = Some(read.position);
        }
        out.into_iter().for_each(|item| self.told(item));
    }

    /// A shard hears: dense offsets, epochs that begin at 1, and jumps only where a gap says so.
    fn told(&mut self, item: Relayed) {
        let heard = self.heard.unwrap();
        match item {
            Relayed::Publication(routed) => {
                let position = routed.publication.position.unwrap();
                let is_anew = self.deleted && position.epoch > heard.epoch && position.offset == 1;
                assert!(position == heard.next() || is_anew, "{position} behind {heard}");
                self.heard = Some(position);
            }
            Relayed::Gap(_, gap) => {
                assert!(gap.from <= gap.to, "{gap:?}");
                let position = gap.position.unwrap();
                self.gaps += 1;
                assert!(position > heard || self.lost, "a gap back from {heard} to {position}");
                self.heard = Some(position);
            }
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn shards_hear_a_dense_order_and_reach_where_the_stream_stands(
        events in prop::collection::vec(events(), 1..150),
    ) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        // Then all is well for long enough.
        world.happen(&Event::Confirm);
        world.happen(&Event::Publish { is_relayed: true, is_readable: true });
        for _ in 0..300 {
            world.happen(&Event::Hear);
            world.happen(&Event::Verify);
            world.happen(&Event::Read { limit: 5 });
            world.happen(&Event::Answer);
        }
        prop_assert!(world.cursor.is_steady());
        prop_assert_eq!(world.heard, Some(world.position));
    }

    #[test]
    fn without_a_fault_of_redis_nobody_hears_of_a_gap(
        events in prop::collection::vec(events(), 1..150),
    ) {
        let mut world = World::new();
        let mut published = 0;
        for event in &events {
            let event = match event {
                Event::Failover { .. } | Event::Trim | Event::Delete => &Event::Break,
                Event::Publish { is_relayed, .. } => {
                    published += 1;
                    &Event::Publish { is_relayed: *is_relayed, is_readable: true }
                }
                other => other,
            };
            world.happen(event);
        }
        prop_assert_eq!((world.position.offset, world.gaps), (published, 0));
    }
}
