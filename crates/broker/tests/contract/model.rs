//! Whatever is done to recoverable channels in whatever order, a broker does what a simple model says.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use ullim_broker::{Outcome, Relayed};
use ullim_protocol::position::{Epoch, Position};

use super::Fixture;
use super::history::said;
use super::shard::Shard;
use super::wait::name;

const CASES: usize = 48;

/// What the namespace `short` keeps.
const SIZE: usize = 10;

const SHARDS: usize = 2;
const CHANNELS: usize = 3;

#[derive(Debug, Clone)]
enum Action {
    Publish { channel: usize, id: Option<u8> },
    Subscribe { shard: usize, channel: usize },
    Unsubscribe { shard: usize, channel: usize },
    Recover { channel: usize, since: Since, limit: usize },
    Read { channel: usize, since: Option<Since>, limit: usize, reverse: bool },
}

/// A position, seen from where the channel stands.
#[derive(Debug, Clone, Copy)]
enum Since {
    Back(u64),
    Beyond(u64),
    EarlierEpoch(u64),
    LaterEpoch(u64),
}

fn since() -> impl Strategy<Value = Since> {
    prop_oneof![
        6 => (0..SIZE as u64 + 4).prop_map(Since::Back),
        1 => (1..5_u64).prop_map(Since::Beyond),
        1 => (0..20_u64).prop_map(Since::EarlierEpoch),
        1 => (0..20_u64).prop_map(Since::LaterEpoch),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let limit = || prop_oneof![1..4_usize, Just(SIZE), Just(1000)];
    let action = prop_oneof![
        8 => (0..CHANNELS, prop::option::weighted(0.3, 0..4_u8))
            .prop_map(|(channel, id)| Action::Publish { channel, id }),
        2 => (0..SHARDS, 0..CHANNELS).prop_map(|(shard, channel)| Action::Subscribe { shard, channel }),
        1 => (0..SHARDS, 0..CHANNELS).prop_map(|(shard, channel)| Action::Unsubscribe { shard, channel }),
        4 => (0..CHANNELS, since(), limit()).prop_map(|(channel, since, limit)| Action::Recover { channel, since, limit }),
        2 => (0..CHANNELS, prop::option::of(since()), limit(), any::<bool>())
            .prop_map(|(channel, since, limit, reverse)| Action::Read { channel, since, limit, reverse }),
    ];
    prop::collection::vec(action, 1..80)
}

/// A channel as it should be.
#[derive(Default)]
struct Channel {
    name: String,
    epoch: Option<Epoch>,
    /// All that was ever said, from offset 1 on.
    said: Vec<String>,
    ids: HashMap<u8, u64>,
    joined: [bool; SHARDS],
}

impl Channel {
    /// Where it stands, once its epoch is known.
    fn stands(&self) -> Option<Position> {
        self.epoch.map(|epoch| Position { epoch, offset: self.said.len() as u64 })
    }

    /// That `position` is in the one epoch that there is.
    fn knows(&mut self, position: Position) -> Result<(), String> {
        let epoch = *self.epoch.get_or_insert(position.epoch);
        same("the epoch", &position.epoch, &epoch)
    }

    fn resolve(&self, since: Since) -> Option<Position> {
        let Position { epoch, offset } = self.stands()?;
        Some(match since {
            Since::Back(back) => Position { epoch, offset: offset.saturating_sub(back) },
            Since::Beyond(beyond) => Position { epoch, offset: offset + beyond },
            Since::EarlierEpoch(offset) => Position { epoch: Epoch::new(epoch.micros() - 1)?, offset },
            Since::LaterEpoch(offset) => Position { epoch: Epoch::new(epoch.micros() + 1)?, offset },
        })
    }

    /// What is kept, oldest first.
    fn kept(&self) -> Vec<(u64, String)> {
        let first = self.said.len().saturating_sub(SIZE);
        (1..).zip(self.said.iter().cloned()).skip(first).collect()
    }

    /// What was said behind a position that can be vouched for, kept or not.
    fn missed(&self, since: Position, limit: usize) -> Option<Vec<(u64, String)>> {
        let at = self.stands()?;
        let count = at.offset.checked_sub(since.offset).filter(|_| since.epoch == at.epoch)? as usize;
        let missed = || (1..).zip(self.said.iter().cloned()).skip(since.offset as usize).collect();
        (count <= limit).then(missed)
    }

    fn part(&self, since: Option<Position>, limit: usize, reverse: bool) -> Option<(Vec<(u64, String)>, bool)> {
        let epoch = self.epoch?;
        let mut kept = self.kept();
        kept.retain(|(offset, _)| {
            let position = Position { epoch, offset: *offset };
            since.is_none_or(|since| if reverse { position < since } else { position > since })
        });
        if reverse {
            kept.reverse();
        }
        let more = kept.len() > limit;
        kept.truncate(limit);
        Some((kept, more))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?} and not {expected:?}")) }
}

struct Case<'a> {
    fixture: &'a Fixture,
    shards: &'a mut [Shard; SHARDS],
    channels: [Channel; CHANNELS],
}

impl Case<'_> {
    async fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Publish { channel, id } => self.publish(channel, id).await,
            Action::Subscribe { shard, channel } => self.subscribe(shard, channel).await,
            Action::Unsubscribe { shard, channel } => {
                let channel = &mut self.channels[channel];
                channel.joined[shard] = false;
                self.fixture.broker.unsubscribe(self.shards[shard].id, &name(&channel.name));
                Ok(())
            }
            Action::Recover { channel, since, limit } => {
                let channel = &self.channels[channel];
                let (Some(since), Some(at)) = (channel.resolve(since), channel.stands()) else { return Ok(()) };
                let recovery = self.fixture.recover_some(&channel.name, since, at, limit).await;
                same("where it stands", &recovery.position, &at)?;
                let expected = channel.missed(since, limit);
                // A broker may know more for a while than what is kept.
                let is_kept = expected.as_ref().is_some_and(|missed| missed.len() <= SIZE);
                let may_be_lost = recovery.outcome == Outcome::Lost && !is_kept;
                let expected = expected.filter(|_| !may_be_lost);
                let outcome = if expected.is_some() { Outcome::Whole } else { Outcome::Lost };
                same("the outcome", &recovery.outcome, &outcome)?;
                same("what was missed", &said(&recovery.publications), &expected.unwrap_or_default())
            }
            Action::Read { channel, since, limit, reverse } => {
                let channel = &mut self.channels[channel];
                let since = since.and_then(|since| channel.resolve(since));
                let part = self.fixture.part(&channel.name, since, limit, reverse).await;
                channel.knows(part.position)?;
                same("where it stands", &Some(part.position), &channel.stands())?;
                same("the part", &Some((said(&part.publications), part.more)), &channel.part(since, limit, reverse))
            }
        }
    }

    async fn publish(&mut self, channel: usize, id: Option<u8>) -> Result<(), String> {
        let channel = &mut self.channels[channel];
        let offset = channel.said.len() as u64 + 1;
        let text = format!("{} {offset}", channel.name);
        let position = match id {
            Some(id) => self.fixture.say_once(&channel.name, text.clone(), &format!("i{id}")).await,
            None => self.fixture.say(&channel.name, text.clone()).await,
        };
        channel.knows(position)?;
        let known = id.and_then(|id| channel.ids.get(&id).copied());
        same("the offset", &position.offset, &known.unwrap_or(offset))?;
        if known.is_some() {
            return Ok(());
        }
        channel.said.push(text.clone());
        channel.ids.extend(id.map(|id| (id, offset)));
        for (shard, joined) in self.shards.iter_mut().zip(channel.joined) {
            if joined {
                same("what is heard", &shard.next_said().await, &(position, text.clone()))?;
            }
        }
        Ok(())
    }

    async fn subscribe(&mut self, shard: usize, channel: usize) -> Result<(), String> {
        let channel = &mut self.channels[channel];
        let was_joined = std::mem::replace(&mut channel.joined[shard], true);
        let shard = &mut self.shards[shard];
        if was_joined {
            self.fixture.broker.subscribe(shard.id, &name(&channel.name));
            return Ok(());
        }
        let joined = shard.join_at(self.fixture, &channel.name).await;
        channel.knows(joined)?;
        // What is behind that comes through the queue.
        for (offset, text) in (1..).zip(&channel.said).skip(joined.offset as usize) {
            same("what is heard", &shard.next_said().await, &(Position { offset, ..joined }, text.clone()))?;
        }
        Ok(())
    }

    /// Nobody is left behind for the next case.
    fn leave(self) {
        for channel in &self.channels {
            for shard in self.shards.iter() {
                self.fixture.broker.unsubscribe(shard.id, &name(&channel.name));
            }
        }
    }
}

async fn run(fixture: &Fixture, shards: &mut [Shard; SHARDS], case: &str, actions: &[Action]) -> Result<(), String> {
    let channels =
        std::array::from_fn(|number| Channel { name: format!("short:{case}-{number}"), ..Channel::default() });
    let mut case = Case { fixture, shards, channels };
    let mut result = Ok(());
    for action in actions {
        result = case.act(action.clone()).await;
        if result.is_err() {
            break;
        }
    }
    case.leave();
    result
}

/// Waits until nothing more can come of what was asked before, and throws it away.
async fn settle(fixture: &Fixture, shards: &mut [Shard; SHARDS], mark: &str) {
    for shard in shards {
        fixture.broker.subscribe(shard.id, &name(mark));
        while !matches!(shard.next().await, Relayed::Joined(channel, _) if channel.as_str() == mark) {}
        fixture.broker.unsubscribe(shard.id, &name(mark));
    }
}

pub(crate) async fn whatever_is_done_the_model_is_right(fixture: Fixture) {
    let mut shards = std::array::from_fn(|_| Shard::attach(&*fixture.broker, 64 << 20));
    let mut runner = TestRunner::default();
    for number in 0..CASES {
        let mut tree = actions().new_tree(&mut runner).unwrap();
        let Err(mut failure) = run(&fixture, &mut shards, &format!("{number}"), &tree.current()).await else {
            continue;
        };
        let mut smallest = tree.current();
        let mut goes_on = tree.simplify();
        for attempt in 0..200 {
            if !goes_on {
                break;
            }
            settle(&fixture, &mut shards, &format!("auto:{number}-{attempt}")).await;
            match run(&fixture, &mut shards, &format!("{number}-{attempt}"), &tree.current()).await {
                Err(smaller) => {
                    failure = smaller;
                    smallest = tree.current();
                    goes_on = tree.simplify();
                }
                Ok(()) => goes_on = tree.complicate(),
            }
        }
        panic!("{failure}, after {smallest:#?}");
    }
}
