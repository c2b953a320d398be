//! Numbered publications through Redis, what each subscriber heard of them, and whether it adds up.
//!
//! Each publication carries its number and the time at which Redis took it, stamped inside of Redis.
//! What a subscriber did not hear must lie in the window of a gap that stands where it is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::redis::server::connect_within;
use crate::{Client, Redis, eventually, now_ms};

/// `EVAL`: publishes `{"n":…,"t":…,"filling":"…"}` and returns its time.
const STAMP_AND_PUBLISH: &str = "\
    local time = redis.call('TIME')
    local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    redis.call('PUBLISH', ARGV[1], '{\"n\":' .. ARGV[2] .. ',\"t\":' .. ms .. ',\"filling\":\"' .. ARGV[3] .. '\"}')
    return ms";

/// How often one of the channels is published to.
const PACE: Duration = Duration::from_millis(4);

/// What was published in one channel: number → Redis' time. Numbers of which that is not known are left out.
pub type Published = BTreeMap<u64, u64>;

/// Publishes until it is stopped.
pub struct Publisher {
    stop: Arc<AtomicBool>,
    task: JoinSet<BTreeMap<String, Published>>,
}

/// What a subscriber heard of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A publication: its number, Redis' time, and when it arrived.
    Message {
        /// The number.
        n: u64,
        /// When Redis took it.
        t: u64,
        /// When it arrived.
        at: u64,
    },
    /// A gap.
    Gap {
        /// Where it begins.
        from: u64,
        /// Where it ends.
        to: u64,
        /// Why.
        reason: String,
    },
}

impl Publisher {
    /// Publishes in `channels` in turn. It waits for Redis as long as it takes.
    pub fn start(redis: &Redis, channels: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut task = JoinSet::new();
        task.spawn(publish(redis.address(), channels.to_vec(), stop.clone()));
        Self { stop, task }
    }

    /// Ends the traffic with one message `{"end":true}` in each channel.
    pub async fn stop(mut self, redis: &Redis) -> BTreeMap<String, Published> {
        self.stop.store(true, Ordering::Relaxed);
        let published = crate::within("the publisher", self.task.join_next()).await.unwrap().unwrap();
        for channel in published.keys() {
            redis.publish(channel, r#"{"end":true}"#);
        }
        published
    }
}

async fn publish(address: SocketAddr, channels: Vec<String>, stop: Arc<AtomicBool>) -> BTreeMap<String, Published> {
    let mut published: BTreeMap<String, Published> =
        channels.iter().map(|channel| (channel.clone(), Published::new())).collect();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = connect_within(address, None).await.ok();
    for n in 0.. {
        for channel in &channels {
            pace.tick().await;
            if stop.load(Ordering::Relaxed) {
                return published;
            }
            if connection.is_none() {
                connection = connect_within(address, None).await.ok();
            }
            let Some(link) = &mut connection else {
                continue;
            };
            match stamped(channel, n, "").query_async::<String>(link).await {
                Ok(time) => {
                    published.get_mut(channel).unwrap().insert(n, time.parse().unwrap());
                }
                // It may have been published or not: the number stays without a time.
                Err(_) => connection = None,
            }
        }
    }
    unreachable!("the numbers do not end")
}

fn stamped(channel: &str, n: u64, filling: &str) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(STAMP_AND_PUBLISH).arg(0).arg(format!("ullim:{{{channel}}}")).arg(n).arg(filling);
    command
}

/// Publishes the numbers below `count`, each with `filling` more bytes, as fast as Redis takes them.
pub async fn burst(redis: &Redis, channel: &str, count: u64, filling: usize) -> Published {
    let filling = "x".repeat(filling);
    let mut pipeline = redis::pipe();
    for n in 0..count {
        pipeline.add_command(stamped(channel, n, &filling));
    }
    let times: Vec<String> = pipeline.query_async(&mut redis.connection().await).await.unwrap();
    (0..).zip(times.iter().map(|time| time.parse().unwrap())).collect()
}

/// Listens to its channels until each of them has ended.
///
/// # Panics
/// If the connection is closed, or anything but publications and gaps comes.
pub async fn listen(mut client: Client, channels: &[String]) -> BTreeMap<String, Vec<Heard>> {
    let mut heard: BTreeMap<String, Vec<Heard>> =
        channels.iter().map(|channel| (channel.clone(), Vec::new())).collect();
    let mut open: BTreeSet<&String> = channels.iter().collect();
    while !open.is_empty() {
        let push = client.push().await;
        let at = now_ms();
        let channel = push["channel"].as_str().unwrap();
        let stream = heard.get_mut(channel).unwrap_or_else(|| panic!("it never subscribed to {channel}"));
        match (push.get("pub"), push.get("gap")) {
            (Some(publication), None) if publication["data"] == json!({"end": true}) => {
                assert!(open.remove(&channel.to_owned()), "{channel} ended twice");
            }
            (Some(publication), None) => match number_and_time(publication) {
                Some((n, t)) => stream.push(Heard::Message { n, t, at }),
                None => panic!("not a publication of this traffic: {publication}"),
            },
            (None, Some(gap)) => stream.push(Heard::Gap {
                from: gap["from"].as_u64().unwrap(),
                to: gap["to"].as_u64().unwrap(),
                reason: gap["reason"].as_str().unwrap().to_owned(),
            }),
            _ => panic!("neither a publication nor a gap: {push}"),
        }
    }
    heard
}

/// Waits until something numbered has been heard in each channel, so that faults meet running traffic.
pub async fn running(client: &mut Client, channels: &[String]) {
    let mut silent: BTreeSet<&str> = channels.iter().map(String::as_str).collect();
    eventually("traffic in each channel", async || {
        let push = client.push().await;
        silent.remove(push["channel"].as_str().unwrap());
        silent.is_empty().then_some(())
    })
    .await;
}

/// Checks what was heard of one channel, and returns how many gaps there were.
///
/// # Panics
/// If the order is wrong, anything came twice, or something that is missing is in no gap's window.
pub fn account(heard: &[Heard], published: &Published) -> usize {
    let mut missing: Vec<u64> = Vec::new();
    let mut windows: Vec<(u64, u64)> = Vec::new();
    let mut gaps = 0;
    // A subscription begins somewhere: what was published before its first message is not missing.
    let mut next = None;
    let settle = |missing: &mut Vec<u64>, windows: &mut Vec<(u64, u64)>| {
        for n in missing.drain(..) {
            let time = published[&n];
            let covered = windows.iter().any(|(from, to)| (*from..=*to).contains(&time));
            assert!(covered, "number {n} of {time} is missing, and the gaps there are {windows:?}");
        }
        windows.clear();
    };
    for event in heard {
        match event {
            Heard::Gap { from, to, .. } => {
                assert!(from <= to, "{event:?}");
                gaps += 1;
                windows.push((*from, *to));
            }
            Heard::Message { n, t, .. } => {
                if let Some(next) = next {
                    assert!(*n >= next, "number {n} after number {}", next - 1);
                    missing.extend(published.range(next..*n).map(|(missed, _)| *missed));
                }
                assert!(published.get(n).is_none_or(|time| time == t), "number {n} was published at another time");
                settle(&mut missing, &mut windows);
                next = Some(n + 1);
            }
        }
    }
    if let Some(next) = next {
        missing.extend(published.range(next..).map(|(missed, _)| *missed));
    }
    settle(&mut missing, &mut windows);
    gaps
}

/// How long after `since` (Unix milliseconds) a message that was published after it arrived first.
pub fn resumed_after(heard: &[Heard], since: u64) -> Option<Duration> {
    heard.iter().find_map(|event| match event {
        Heard::Message { t, at, .. } if *t >= since => Some(Duration::from_millis(at - since)),
        _ => None,
    })
}

fn number_and_time(publication: &Value) -> Option<(u64, u64)> {
    let data = publication.get("data")?;
    Some((data["n"].as_u64()?, data["t"].as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u64) -> Heard {
        Heard::Message { n, t: n * 10, at: n * 10 }
    }

    fn gap(from: u64, to: u64) -> Heard {
        Heard::Gap { from, to, reason: "broker_link".to_owned() }
    }

    /// How many gaps there were, or `None` if the books are wrong.
    fn gaps(heard: &[Heard]) -> Option<usize> {
        let published = (0..10).map(|n| (n, n * 10)).collect();
        std::panic::catch_unwind(|| account(heard, &published)).ok()
    }

    #[test]
    fn whatever_is_not_accounted_for_is_found() {
        let all: Vec<_> = (3..10).map(message).collect();
        assert_eq!(gaps(&all), Some(0), "what was before the subscription is not missing");
        let gapped = |between: &[Heard]| [&all[..2], between, &all[4..]].concat();
        assert_eq!(gaps(&gapped(&[gap(50, 60)])), Some(1));
        assert_eq!(gaps(&gapped(&[gap(45, 55), gap(55, 65)])), Some(2));
        assert_eq!(gaps(&gapped(&[])), None, "no gap");
        assert_eq!(gaps(&gapped(&[gap(51, 60)])), None, "it begins too late");
        assert_eq!(gaps(&gapped(&[gap(50, 59)])), None, "it ends too early");
        assert_eq!(gaps(&[&all[..2], &all[4..6], &[gap(50, 60)], &all[6..]].concat()), None, "it stands elsewhere");
        assert_eq!(gaps(&[&all[..2], &all[1..]].concat()), None, "a message came twice");
        assert_eq!(gaps(&[&all[..1], &all[2..3], &all[1..2]].concat()), None, "out of order");
        assert_eq!(gaps(&all[..5]), None, "the end is missing");
        assert_eq!(gaps(&[&all[..5], &[gap(80, 90)]].concat()), Some(1));
    }
}
