//! A plain subscriber: it keeps what it hears, and when its connection ends it goes elsewhere and recovers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Orders;
use super::tracker::Tracker;
use super::wire::Coming;
use super::wire::line::{Dialect, Line};
use crate::chaos::log::{Channel, Member, Ms, Position, Promise, Subscriber, What};
use crate::chaos::schedule::Dice;
use crate::{now_ms, token};

/// How often it pings, and looks after what is to be done.
const BEAT: Duration = Duration::from_millis(500);

/// A connection on which no ping was answered for so long is given up.
const SILENCE: Ms = 6000;

/// How long a refused subscription waits.
const AGAIN: Ms = 300;

/// How long a member that vanishes stays away.
pub(crate) const VANISHED: Ms = 15_000;

/// How a subscriber behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It stays.
    Steady,
    /// It leaves channels and comes back.
    Leaves,
    /// It stops reading when it is told to.
    Stalls,
}

/// Who it is, and what it wants.
pub(crate) struct Plan {
    /// The user of its session.
    pub(crate) name: String,
    /// What it speaks.
    pub(crate) dialect: Dialect,
    /// How it behaves.
    pub(crate) habit: Habit,
    /// How it behaves in presence.
    pub(crate) member: Option<Member>,
    /// Its channels.
    pub(crate) wants: Vec<usize>,
    /// Whether it asks for comings and goings.
    pub(crate) events: bool,
    /// The node that it begins with.
    pub(crate) home: usize,
    /// Where the nodes speak that.
    pub(crate) seats: Vec<SocketAddr>,
    /// All channels.
    pub(crate) channels: Arc<Vec<Channel>>,
    /// Its chance.
    pub(crate) dice: Dice,
    /// The folder for what it receives, as it is received.
    pub(crate) frames: Option<PathBuf>,
}

/// Runs until it is told to end: what it saw.
pub(crate) async fn run(mut plan: Plan, mut orders: Orders) -> Subscriber {
    let mut tracker = Tracker::new(Arc::clone(&plan.channels), Arc::clone(&orders.counts));
    let token = long_token(&plan.name);
    let mut frames = open(&plan);
    let mut resume: Option<String> = None;
    let mut node = plan.home;
    let narrow = plan.habit == Habit::Stalls;
    loop {
        if *orders.subscribers_end.borrow() {
            break;
        }
        let Some(wire) = Line::open(plan.dialect, plan.seats[node], &token, resume.as_deref(), narrow).await else {
            node = (node + 1) % plan.seats.len();
            sleep(Duration::from_millis(plan.dice.between(50, 400))).await;
            continue;
        };
        resume = wire.resume().map(str::to_owned);
        tracker.note(now_ms(), What::Connected { node });
        let (since, code) = Session::new(wire, &mut plan, &mut tracker, &mut frames).run(&mut orders).await;
        if *orders.subscribers_end.borrow() {
            break;
        }
        tracker.note(now_ms(), What::Lost { since, code });
        // Without a close frame the node died.
        if code == 0 && plan.member == Some(Member::Vanishes) {
            sleep(Duration::from_millis(VANISHED)).await;
        }
        node = (node + 1) % plan.seats.len();
        sleep(Duration::from_millis(plan.dice.between(0, 100))).await;
    }
    if let Some(frames) = &mut frames {
        let _folder_is_full = frames.flush();
    }
    Subscriber { name: plan.name, entries: tracker.entries, wants: plan.wants, member: plan.member }
}

/// A token that outlasts any run, also on a node whose clock is wrong.
pub(crate) fn long_token(user: &str) -> String {
    let exp = now_ms() / 1000 + 30 * 24 * 3600;
    token::signed(&json!({"alg": "HS256", "typ": "JWT"}), &json!({"sub": user, "exp": exp}))
}

fn open(plan: &Plan) -> Option<BufWriter<File>> {
    let folder = plan.frames.as_ref()?;
    File::create(folder.join(format!("{}.frames", plan.name))).ok().map(BufWriter::new)
}

/// One connection.
struct Session<'a> {
    wire: Line,
    plan: &'a mut Plan,
    tracker: &'a mut Tracker,
    frames: &'a mut Option<BufWriter<File>>,
    /// Replies that are due: the channel, and what was asked for.
    asked: HashMap<u64, (usize, Option<Position>)>,
    /// Channels that it is leaving.
    leaving: HashMap<u64, usize>,
    /// Channels to subscribe to, and when.
    wanted: Vec<(Ms, usize)>,
    /// Pings that are due: when they were sent.
    pings: HashMap<u64, Ms>,
    /// When the last ping was sent that was answered.
    read: Ms,
}

impl<'a> Session<'a> {
    fn new(wire: Line, plan: &'a mut Plan, tracker: &'a mut Tracker, frames: &'a mut Option<BufWriter<File>>) -> Self {
        let now = now_ms();
        let wanted = plan.wants.iter().map(|channel| (now, *channel)).collect();
        Self {
            wire,
            plan,
            tracker,
            frames,
            asked: HashMap::new(),
            leaving: HashMap::new(),
            wanted,
            pings: HashMap::new(),
            read: now,
        }
    }

    /// Runs until the connection ends, or the traffic: until when all was read, and the code.
    async fn run(mut self, orders: &mut Orders) -> (Ms, u16) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stalled = 0;
        loop {
            tokio::select! {
                coming = self.wire.next() => match coming {
                    Coming::Message(message, text) => {
                        self.take(&message, &text);
                        if self.wire.settle().await.is_none() {
                            return (self.read, 0);
                        }
                    }
                    Coming::End(code) => return (self.read, code),
                    Coming::Broken(detail) => {
                        self.tracker.note(now_ms(), What::Malformed { detail });
                        return (self.read, 1);
                    }
                },
                _ = beat.tick() => {
                    let until = *orders.stall.borrow();
                    if self.plan.habit == Habit::Stalls && until > stalled && until > now_ms() {
                        stalled = until;
                        self.tracker.note(now_ms(), What::Stalled { until });
                        sleep(Duration::from_millis(until - now_ms())).await;
                        self.pings.clear();
                        continue;
                    }
                    let may_leave = !*orders.publishers_end.borrow();
                    if self.beat(may_leave).await.is_none() {
                        return (self.read, 0);
                    }
                }
                _ = orders.subscribers_end.changed() => return (self.read, 0),
            }
        }
    }

    fn take(&mut self, message: &serde_json::Value, text: &str) {
        let now = now_ms();
        if let Some(frames) = self.frames {
            let _folder_is_full = writeln!(frames, "{now} {text}");
        }
        if let Some(push) = message.get("push") {
            self.tracker.push(now, push);
            return;
        }
        let Some(id) = message["id"].as_u64() else { return };
        if let Some(sent) = self.pings.remove(&id) {
            self.read = sent;
        }
        // Only now is it known what was still heard, and from where to recover.
        if let Some(channel) = self.leaving.remove(&id) {
            self.wanted.push((now + self.plan.dice.between(0, 3000), channel));
        }
        let Some((channel, asked)) = self.asked.remove(&id) else { return };
        if let Some(reply) = message.get("subscribe") {
            self.tracker.subscribed(now, channel, asked, reply);
        } else {
            let error = message["error"]["name"].as_str().unwrap_or_default().to_owned();
            self.tracker.note(now, What::Refused { channel, error });
            self.wanted.push((now + AGAIN, channel));
        }
    }

    /// Pings, and subscribes to what is wanted. `None` when the connection is to be given up.
    async fn beat(&mut self, may_leave: bool) -> Option<()> {
        let now = now_ms();
        if self.pings.values().any(|sent| sent + SILENCE < now) {
            return None;
        }
        if may_leave && self.plan.habit == Habit::Leaves && self.plan.dice.below(6) == 0 {
            self.leave(now).await?;
        }
        let (due, later): (Vec<_>, Vec<_>) = self.wanted.drain(..).partition(|(when, _)| *when <= now);
        self.wanted = later;
        for (_, channel) in due {
            let Channel { name, promise, .. } = &self.plan.channels[channel];
            let mut body = json!({"channel": name});
            if self.plan.events && name.starts_with("chat:") {
                body["events"] = true.into();
            }
            let asked = self.tracker.position(channel).filter(|_| *promise == Promise::Recoverable);
            if let Some(Position { epoch, offset }) = asked {
                body["recover"] = json!({"epoch": epoch.to_string(), "offset": offset});
            }
            let id = self.wire.send("subscribe", body).await?;
            self.asked.insert(id, (channel, asked));
        }
        let sent = now_ms();
        let id = self.wire.send("ping", json!({})).await?;
        self.pings.insert(id, sent);
        Some(())
    }

    /// Leaves one channel for a while, if it is subscribed to all.
    async fn leave(&mut self, now: Ms) -> Option<()> {
        if !self.wanted.is_empty() || !self.asked.is_empty() || !self.leaving.is_empty() {
            return Some(());
        }
        let channel = self.plan.wants[self.plan.dice.below(self.plan.wants.len())];
        self.tracker.note(now, What::Left { channel, since: self.read });
        let id = self.wire.send("unsubscribe", json!({"channel": self.plan.channels[channel].name})).await?;
        self.leaving.insert(id, channel);
        Some(())
    }
}
