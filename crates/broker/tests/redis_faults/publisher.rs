//! A backend that publishes numbers without a pause, through faults, and remembers when; and the comparison with what
//! was heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ullim_broker::Relayed;
use ullim_protocol::outgoing::{Gap, GapReason};

use super::shard::Shard;

/// Publishes 0, 1, 2, … to each of its channels until it is stopped.
pub(crate) struct Publisher {
    stop: CancellationToken,
    task: JoinSet<Published>,
}

/// What was published for certain: each number with the times before and after.
pub(crate) type Published = BTreeMap<u64, (u64, u64)>;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Publisher {
    pub(crate) fn start(url: String, channels: &'static [&'static str]) -> Self {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(publish(url, channels, stop.clone()));
        Self { stop, task }
    }

    /// Stops, and returns what was published.
    pub(crate) async fn finish(mut self) -> Published {
        self.stop.cancel();
        self.task.join_next().await.unwrap().unwrap()
    }
}

async fn publish(url: String, channels: &[&str], stop: CancellationToken) -> Published {
    let client = redis::Client::open(url).unwrap();
    let patient = redis::AsyncConnectionConfig::new()
        .set_response_timeout(Some(Duration::from_secs(10)))
        .set_connection_timeout(Some(Duration::from_secs(10)));
    let mut connection = None;
    let mut published = Published::new();
    for number in 0.. {
        if stop.is_cancelled() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        if connection.is_none() {
            let connecting = client.get_multiplexed_async_connection_with_config(&patient);
            connection = connecting.await.ok();
        }
        let Some(open) = &mut connection else {
            continue;
        };
        let mut commands = redis::pipe();
        for channel in channels {
            commands.cmd("PUBLISH").arg(format!("ullim:{{{channel}}}")).arg(number).ignore();
        }
        let before = now();
        match commands.query_async::<()>(open).await {
            Ok(()) => drop(published.insert(number, (before, now()))),
            Err(_) => connection = None,
        }
    }
    published
}

/// What one shard heard of one channel.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) numbers: Vec<u64>,
    pub(crate) gaps: Vec<Gap>,
}

impl Heard {
    fn take(&mut self, item: Relayed) {
        match item {
            Relayed::Publication(routed) => {
                let text = String::from_utf8_lossy(routed.publication.data.bytes()).into_owned();
                self.numbers.push(text.parse().unwrap());
            }
            Relayed::Gap(_, gap) => self.gaps.push(gap),
            other => panic!("not published: {other:?}"),
        }
    }

    /// Everything came once and in order, or is covered by one gap.
    pub(crate) fn check(&self, published: &Published) {
        assert!(self.numbers.is_sorted_by(|a, b| a < b), "out of order");
        let [gap] = self.gaps[..] else { panic!("not one gap: {:?}", self.gaps) };
        assert_eq!(gap.reason, GapReason::BrokerLink);
        let last = *self.numbers.last().unwrap();
        let first = self.numbers[0];
        for (number, (before, after)) in published.range(first..=last) {
            let covered = gap.from <= *after && *before <= gap.to;
            let heard = self.numbers.binary_search(number).is_ok();
            assert!(heard || covered, "{number} of {before}-{after} is not in {gap:?}");
        }
    }
}

/// Reads what a shard hears until a publication of each channel has come after its gap.
pub(crate) async fn hear_past_gaps(shard: &mut Shard, channels: &[&str]) -> BTreeMap<String, Heard> {
    let mut heard = BTreeMap::<String, Heard>::new();
    let mut recovered = BTreeSet::new();
    while recovered.len() < channels.len() {
        let item = shard.next().await;
        let (channel, is_publication) = match &item {
            Relayed::Joined(channel, _) | Relayed::Gap(channel, _) => (channel.to_string(), false),
            Relayed::Publication(routed) => (routed.channel.to_string(), true),
            other => panic!("not published: {other:?}"),
        };
        let of_channel = heard.entry(channel.clone()).or_default();
        of_channel.take(item);
        if is_publication && !of_channel.gaps.is_empty() {
            recovered.insert(channel);
        }
    }
    heard
}
