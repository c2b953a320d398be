//! Any course of events, against a trivial model of a stream: publications, epochs with and without a cut, breaks of the
//! link, reads that are answered late, publications that Redis relays and that it does not.

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
    /// Redis loses the last of its entries, and does not know.
    GoBack {
        by: usize,
    },
    /// A publication of an epoch that nobody opened.
    Forge,
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
        1 => (1..4usize).prop_map(|by| Event::GoBack { by }),
        1 => Just(Event::Forge),
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
    /// How many publications there were.
    serial: u64,
    /// Its time does not pass.
    stands_still: bool,
    number: u64,
    /// What the shards stand at.
    heard: Option<Position>,
    /// Redis has lost something, or the stream was deleted; and how many gaps were told.
    lost: bool,
    deleted: bool,
    gaps: usize,
    /// It went back; and how often that was told.
    went_back: bool,
    resets: usize,
    /// Redis' time.
    clock: u64,
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
            serial: 0,
            stands_still: false,
            number: 0,
            heard: None,
            lost: false,
            deleted: false,
            gaps: 0,
            went_back: false,
            resets: 0,
            clock: 1,
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
                self.position = self.open();
                self.cut = Some(last);
                self.lost = true;
                self.drop_link();
            }
            Event::GoBack { by } => {
                let rest = self.stream.len().saturating_sub(by);
                let gone = self.stream.split_off(rest);
                if let Some(first) = gone.first() {
                    self.position = before(first.position);
                    self.cut = first.cut;
                    self.went_back = true;
                }
            }
            Event::Forge => {
                self.clock += 1;
                let position = epoch(self.clock + 1000).next();
                let kept = self.kept(position, None, true);
                self.relayed.push_back(kept);
                self.went_back = true;
            }
            Event::Trim => drop(self.stream.drain(..self.stream.len() / 2)),
            Event::Delete => {
                self.stream.clear();
                self.position = self.open();
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
                    self.asked = Some((self.number, self.cursor.at(), None));
                    self.read(self.cursor.after(), limit);
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
        self.clock += u64::from(!self.stands_still);
        let kept = self.kept(position, cut, is_readable);
        self.stream.push(kept.clone());
        if self.is_linked && is_relayed {
            self.relayed.push_back(kept);
        }
    }

    fn open(&mut self) -> Position {
        self.clock += 1;
        epoch(self.clock)
    }

    fn kept(&mut self, position: Position, cut: Option<Position>, is_readable: bool) -> Kept {
        let time = self.clock;
        self.serial += 1;
        let publication = Publication {
            data: Data::Text(self.serial.to_string().into()),
            time,
            headers: None,
            position: Some(position),
        };
        let routed = Routed { channel: self.channel.clone(), publication, exclude: None, published: Window::at(time) };
        Kept { position, cut, time, routed: is_readable.then(|| Arc::new(routed)) }
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
        let time = self.clock;
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
                let is_anew = (self.deleted || self.went_back) && position.epoch > heard.epoch && position.offset == 1;
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
            Relayed::Reset(_, position) => {
                assert!(self.went_back, "back from {heard} to {position}");
                self.resets += 1;
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
                Event::Failover { .. } | Event::GoBack { .. } | Event::Forge | Event::Trim | Event::Delete => {
                    &Event::Break
                }
                Event::Publish { is_relayed, .. } => {
                    published += 1;
                    &Event::Publish { is_relayed: *is_relayed, is_readable: true }
                }
                other => other,
            };
            world.happen(event);
        }
        prop_assert_eq!((world.position.offset, world.gaps, world.resets), (published, 0, 0));
    }

    #[test]
    fn whoever_heard_what_is_published_anew_is_told(
        before in 2..10u64,
        by in 1..9usize,
        anew in 1..20u64,
        heard in 0..20u64,
        stands_still in any::<bool>(),
    ) {
        let mut world = World::new();
        let publish = Event::Publish { is_relayed: true, is_readable: true };
        let read = |world: &mut World| [Event::Read { limit: 50 }, Event::Answer].iter().for_each(|event| world.happen(event));
        read(&mut world);
        (0..before).for_each(|_| world.happen(&publish));
        (0..before).for_each(|_| world.happen(&Event::Hear));
        world.happen(&Event::GoBack { by });
        // Even within a millisecond, if as much is published as was lost.
        world.stands_still = stands_still && anew >= by as u64;
        (0..anew).for_each(|_| world.happen(&publish));
        // However many it hears before the history is read.
        (0..heard).for_each(|_| world.happen(&Event::Hear));
        read(&mut world);
        (0..anew).for_each(|_| world.happen(&Event::Hear));
        read(&mut world);
        prop_assert_eq!(world.resets, 1);
        prop_assert_eq!(world.heard, Some(world.position));
    }
}
