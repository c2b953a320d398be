//! One run: servers, traffic, faults, the last word on every channel, the books.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::checker::check;
use super::faults::{self, Scene, Skipped};
use super::log::{Channel, Fault, Log, Member, Promise, Publication, Subscriber};
use super::schedule::Dice;
use super::topology::World;
use super::traffic::publisher::{self, Door, Publisher};
use super::traffic::subscriber::{self, Habit};
use super::traffic::wire::line::Dialect;
use super::traffic::{Levers, Orders, library, orders};
use super::{Options, Report};
use crate::now_ms;
use crate::stomp::Version;

const BUSY: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_secs(3);

/// How long the last publications may take to arrive.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// The publisher of last words, and of bursts.
const LAST: u32 = 0;
const BURST: u32 = 1;

/// Does it all.
pub async fn run(options: &Options) -> Report {
    let channels = channels(options);
    let settings = settings(options);
    let started = Instant::now();
    let mut world = World::start(options.form, options.nodes, channels.clone(), options.ullim.clone(), settings).await;
    let (levers, orders) = orders();
    let mut publishers = JoinSet::new();
    let mut subscribers = JoinSet::new();
    let wanted = start_subscribers(options, &world, &orders, &mut subscribers);
    if !await_count(&levers.counts.subscribed, wanted, Duration::from_secs(30)).await {
        say(options, &levers, started, "not everybody could subscribe");
    }
    start_publishers(&world, &orders, &mut publishers);
    say(options, &levers, started, "traffic runs");
    sleep(if options.brief { Duration::from_secs(2) } else { Duration::from_secs(5) }).await;

    let mut log = Log { channels: channels.clone(), ..Log::default() };
    let mut skipped = Vec::new();
    let burst_channel = channels.iter().position(|channel| channel.name == "news:burst");
    let mut burst = last_word(&world, &levers, BURST, burst_channel.unwrap_or(0));
    let mut dice = Dice::new(options.seed);
    let mut names = options.faults.clone();
    loop {
        dice.shuffle(&mut names);
        for name in &names {
            let Some(&(name, _)) = faults::ALL.iter().find(|(known, _)| known == name) else {
                skipped.push((name.clone(), "there is no such fault".to_owned()));
                continue;
            };
            let begin = now_ms();
            say(options, &levers, started, &format!("{name} begins"));
            let mut scene =
                Scene { world: &mut world, levers: &levers, dice: &mut dice, burst: &mut burst, brief: options.brief };
            match faults::inject(name, &mut scene).await {
                Ok(done) => {
                    say(options, &levers, started, &format!("{name} is over ({})", done.detail));
                    log.faults.push(Fault { name, detail: done.detail, begin, end: now_ms(), touches: done.touches });
                }
                Err(Skipped(why)) => {
                    say(options, &levers, started, &format!("{name} is skipped: {why}"));
                    skipped.push((name.to_owned(), why));
                }
            }
            sleep(options.quiet).await;
        }
        if started.elapsed() >= options.length {
            break;
        }
        if names.is_empty() {
            sleep(options.length.saturating_sub(started.elapsed())).await;
            break;
        }
    }

    levers.publishers_end.send_replace(true);
    while let Some(publications) = publishers.join_next().await {
        log.publications.extend(publications.unwrap_or_default());
    }
    log.publications.extend(burst.publications());
    sleep(Duration::from_secs(3)).await;
    // Whoever vanished with a node is back before the last words.
    let killed = log.faults.iter().filter(|fault| !fault.touches.killed.is_empty()).map(|fault| fault.begin).max();
    let back = killed.map_or(0, |begin| begin + subscriber::VANISHED + 5000);
    sleep(Duration::from_millis(back.saturating_sub(now_ms()))).await;
    log.publications.extend(last_words(&world, &levers).await);
    say(options, &levers, started, "the last words are said");
    let heard = await_count(&levers.counts.ends, wanted_ends(&wanted_of(options, &world)), LAST_WORDS).await;
    if !heard {
        say(options, &levers, started, "not everybody has heard them");
    }
    log.end = now_ms();
    levers.subscribers_end.send_replace(true);
    while let Some(subscriber) = subscribers.join_next().await {
        log.subscribers.extend(subscriber.ok());
    }
    log.subscribers.sort_by(|one, other| one.name.cmp(&other.name));
    let verdict = check(&log);
    Report::new(options, &log, verdict, skipped, world.warnings())
}

/// The channels of a run.
fn channels(options: &Options) -> Vec<Channel> {
    let channel = |name: &str, promise, busy| Channel { name: name.to_owned(), promise, busy };
    let mut channels = Vec::new();
    let (live, recoverable) = options.promises;
    if live {
        for name in ["news:0", "news:1", "chat:0"] {
            channels.push(channel(name, Promise::Live, true));
        }
        for name in ["news:quiet", "news:burst"] {
            channels.push(channel(name, Promise::Live, false));
        }
        channels.push(channel(ROOM, Promise::Live, false));
    }
    if recoverable {
        for name in ["orders:0", "orders:1", "orders:mixed"] {
            channels.push(channel(name, Promise::Recoverable, true));
        }
        for name in ["orders:quiet", "orders:still"] {
            channels.push(channel(name, Promise::Recoverable, false));
        }
    }
    channels
}

/// The channel whose comings and goings are watched.
const ROOM: &str = "chat:room";

fn settings(options: &Options) -> Vec<String> {
    let mut settings = vec!["auth.resume_secret=a secret of the chaos runs, which protects nothing".to_owned()];
    if options.promises.1 {
        // Whoever is away for a while finds all of it.
        settings.push("namespaces.orders.history_size=20000".to_owned());
        settings.push("namespaces.orders.recover_limit=20000".to_owned());
    }
    settings.extend(options.settings.iter().cloned());
    settings
}

/// Who listens to what: the numbers of channels of each subscriber.
fn wanted_of(options: &Options, world: &World) -> Vec<Vec<usize>> {
    plans(options, world).into_iter().map(|seat| seat.wants).collect()
}

fn wanted_ends(wants: &[Vec<usize>]) -> usize {
    wants.iter().map(Vec::len).sum()
}

struct SubscriberPlan {
    name: String,
    home: usize,
    habit: Habit,
    member: Option<Member>,
    events: bool,
    speaks: Speaks,
    wants: Vec<usize>,
}

enum Speaks {
    /// Over our Rust client.
    Library,
    /// By itself.
    Plain(Dialect),
}

const NATIVE: Speaks = Speaks::Plain(Dialect::Native);

fn plans(options: &Options, world: &World) -> Vec<SubscriberPlan> {
    let all = |is_room: bool| -> Vec<usize> {
        let room = |index: &usize| (world.channels[*index].name == ROOM) == is_room;
        (0..world.channels.len()).filter(room).collect()
    };
    let mut plans = Vec::new();
    for home in 0..options.nodes {
        let mut plan = |kind: &str, habit, member, events, speaks, room| {
            let wants = all(room);
            let name = format!("{kind}-{home}");
            plans.push(SubscriberPlan { name, home, habit, member, events, speaks, wants });
        };
        plan("steady-a", Habit::Steady, None, false, NATIVE, false);
        plan("steady-b", Habit::Steady, None, false, NATIVE, false);
        plan("leaver", Habit::Leaves, None, false, NATIVE, false);
        plan("library", Habit::Steady, None, false, Speaks::Library, false);
        // The first of them speak the newest.
        let version = [Version::V1_2, Version::V1_1, Version::V1_0][home % 3];
        plan("stomp", Habit::Steady, None, false, Speaks::Plain(Dialect::Stomp(version)), false);
        if home == 0 {
            plan("staller", Habit::Stalls, None, false, NATIVE, false);
            plan("stomp-leaver", Habit::Leaves, None, false, Speaks::Plain(Dialect::Stomp(Version::V1_2)), false);
        }
        if options.promises.0 {
            plan("watcher", Habit::Steady, None, true, NATIVE, true);
            plan("returns", Habit::Steady, Some(Member::Returns), false, NATIVE, true);
            plan("vanishes", Habit::Steady, Some(Member::Vanishes), false, NATIVE, true);
        }
    }
    plans
}

/// Starts them: how many subscriptions there will be.
fn start_subscribers(
    options: &Options,
    world: &World,
    orders: &Orders,
    subscribers: &mut JoinSet<Subscriber>,
) -> usize {
    let channels = Arc::new(world.channels.clone());
    let seats: Vec<_> = world.seats.iter().map(|seat| seat.client).collect();
    let stomp: Vec<_> = world.seats.iter().map(|seat| seat.stomp).collect();
    let mut dice = Dice::new(options.seed ^ 0x5eed);
    let mut count = 0;
    for plan in plans(options, world) {
        let SubscriberPlan { name, home, habit, member, events, speaks, wants } = plan;
        count += wants.len();
        let Speaks::Plain(dialect) = speaks else {
            let (seats, channels, orders) = (seats.clone(), Arc::clone(&channels), orders.clone());
            subscribers.spawn(library::run(name, home, seats, channels, wants, orders));
            continue;
        };
        let plan = subscriber::Plan {
            name,
            dialect,
            habit,
            member,
            wants,
            events,
            home,
            seats: if dialect == Dialect::Native { seats.clone() } else { stomp.clone() },
            channels: Arc::clone(&channels),
            dice: Dice::new(dice.next()),
            frames: options.frames.clone(),
        };
        subscribers.spawn(subscriber::run(plan, orders.clone()));
    }
    count
}

fn start_publishers(world: &World, orders: &Orders, publishers: &mut JoinSet<Vec<Publication>>) {
    let redis = || Door::Redis(world.directory());
    let http = || Door::Http(world.seats.iter().map(|seat| seat.internal).collect());
    let client = || Door::Client(world.seats.iter().map(|seat| seat.client).collect());
    let stomp = || Door::Stomp(world.seats.iter().map(|seat| seat.stomp).collect());
    let mut number = 10;
    for (index, channel) in world.channels.iter().enumerate() {
        let doors = match channel.name.as_str() {
            ROOM | "news:burst" | "orders:still" => vec![],
            "chat:0" => vec![redis(), client(), stomp()],
            "news:1" => vec![redis(), http()],
            "orders:mixed" => vec![redis(), http(), client()],
            _ => vec![redis()],
        };
        for door in doors {
            number += 1;
            let pace = if channel.busy { BUSY } else { QUIET };
            let plan = publisher::Plan {
                publisher: number,
                door,
                channel: index,
                name: channel.name.clone(),
                promise: channel.promise,
                pace,
            };
            publishers.spawn(publisher::run(plan, orders.clone()));
        }
    }
}

fn last_word(world: &World, levers: &Levers, publisher: u32, channel: usize) -> Publisher {
    let Channel { name, promise, .. } = world.channels[channel].clone();
    let door = Door::Redis(world.directory());
    let plan = publisher::Plan { publisher, door, channel, name, promise, pace: BUSY };
    Publisher::new(plan, Arc::clone(&levers.counts))
}

/// One more publication on each channel, so that it is seen if something before it did not come.
async fn last_words(world: &World, levers: &Levers) -> Vec<Publication> {
    let mut said = Vec::new();
    for channel in 0..world.channels.len() {
        let mut publisher = last_word(world, levers, LAST, channel);
        publisher.publish(true, 0).await;
        said.extend(publisher.publications());
    }
    said
}

/// Waits until a counter has come so far: whether it has.
async fn await_count(counter: &std::sync::atomic::AtomicUsize, wanted: usize, patience: Duration) -> bool {
    let since = Instant::now();
    while counter.load(Ordering::Relaxed) < wanted {
        if since.elapsed() > patience {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}

fn say(options: &Options, levers: &Levers, started: Instant, what: &str) {
    if options.talks {
        let counts = &levers.counts;
        println!(
            "{:7.1} s  {:7} published  {:8} heard  {:4} signals   {what}",
            started.elapsed().as_secs_f64(),
            counts.published.load(Ordering::Relaxed),
            counts.heard.load(Ordering::Relaxed),
            counts.signals.load(Ordering::Relaxed),
        );
    }
}
