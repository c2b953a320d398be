//! A node that publishes numbers without a pause, and what another heard of them: all, in order, or with a gap told for
//! what is missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ullim_broker::Relayed;
use ullim_broker::redis::RedisBroker;
use ullim_protocol::outgoing::Gap;

use super::publish;
use super::shard::Shard;

/// What was published for certain: each number with the times before and after.
pub(crate) type Published = BTreeMap<u64, (u64, u64)>;

pub(crate) struct Load {
    stop: CancellationToken,
    task: JoinSet<Published>,
    broker: Arc<RedisBroker>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Load {
    /// Publishes 0, 1, 2, … on `channel` through `broker`.
    pub(crate) fn start(broker: Arc<RedisBroker>, channel: &'static str) -> Self {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let (publisher, stopped) = (Arc::clone(&broker), stop.clone());
        task.spawn(async move {
            let mut published = Published::new();
            for number in 0.. {
                if stopped.is_cancelled() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                let before = now();
                if publish(&publisher, channel, &number.to_string()).await.is_ok() {
                    published.insert(number, (before, now()));
                }
            }
            published
        });
        Self { stop, task, broker }
    }

    /// Stops, and compares with what `shard` heard. Returns how many were missed, and the gaps.
    pub(crate) async fn finish(mut self, shard: &mut Shard, channel: &str) -> (usize, Vec<Gap>) {
        self.stop.cancel();
        let published = self.task.join_next().await.unwrap().unwrap();
        publish(&self.broker, channel, "end").await.unwrap();
        let (mut heard, mut gaps) = (Vec::<u64>::new(), Vec::new());
        loop {
            match shard.next().await {
                Relayed::Publication(routed) => {
                    let text = String::from_utf8_lossy(routed.publication.data.bytes()).into_owned();
                    match text.parse() {
                        Ok(number) => heard.push(number),
                        Err(_) => break,
                    }
                }
                Relayed::Gap(_, gap) => gaps.push(gap),
                other => panic!("not published: {other:?}"),
            }
        }
        assert!(heard.is_sorted_by(|a, b| a < b), "out of order, or twice");
        assert!(published.len() > 50, "{} were published", published.len());
        let mut missed = 0;
        for (number, (before, after)) in &published {
            if heard.binary_search(number).is_err() {
                missed += 1;
                let covered = gaps.iter().any(|gap| gap.from <= *after && *before <= gap.to);
                assert!(covered, "{number} of {before}-{after} is not in {gaps:?}");
            }
        }
        (missed, gaps)
    }
}
