//! A cluster under traffic, with subscribers that take note of everything they hear.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use ullim_tests::traffic::{self, Heard, Publisher};
use ullim_tests::{Client, Cluster, Encoding, Redis, eventually};

const CLIENTS: usize = 30;
const CHANNELS: usize = 4;

/// How many of the channels each client hears.
const CHANNELS_EACH: usize = 2;

/// How soon messages must come again when Redis is back.
const RESUMED: Duration = Duration::from_secs(2);

/// It begins with running traffic; then comes the fault.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) channels: Vec<String>,
    publisher: Publisher,
    /// One per node: they tell when traffic is back there.
    witnesses: Vec<Client>,
    subscribers: JoinSet<(usize, BTreeMap<String, Vec<Heard>>)>,
}

/// What became of it.
pub(crate) struct Outcome {
    subscriptions: Vec<Subscription>,
}

/// What one subscriber heard of one channel.
struct Subscription {
    node: usize,
    heard: Vec<Heard>,
    gaps: usize,
}

impl Scene {
    pub(crate) async fn start(cluster: Cluster) -> Self {
        let channels: Vec<_> = (0..CHANNELS).map(|number| format!("chat:{number}")).collect();
        let mut subscribers = JoinSet::new();
        for number in 0..CLIENTS {
            let node = number % cluster.nodes.len();
            let mut client = Client::connect(&cluster.nodes[node], Encoding::ALL[number / 3 % 2]).await;
            let mine: Vec<_> = (0..CHANNELS_EACH).map(|next| channels[(number + next) % CHANNELS].clone()).collect();
            for channel in &mine {
                client.subscribe(channel).await;
            }
            subscribers.spawn(async move { (node, traffic::listen(client, &mine).await) });
        }
        let mut witnesses = Vec::new();
        for node in &cluster.nodes {
            let mut witness = Client::connect(node, Encoding::Json).await;
            for channel in &channels {
                witness.subscribe(channel).await;
            }
            witnesses.push(witness);
        }
        let publisher = Publisher::start(&cluster.redis, &channels);
        for witness in &mut witnesses {
            traffic::running(witness, &channels).await;
        }
        Self { cluster, channels, publisher, witnesses, subscribers }
    }

    pub(crate) fn redis(&mut self) -> &mut Redis {
        &mut self.cluster.redis
    }

    /// Waits until messages that were published after `since` (Unix milliseconds) come on every node and channel.
    pub(crate) async fn resumes(&mut self, since: u64) {
        for node in 0..self.witnesses.len() {
            self.resumes_on(node, since).await;
        }
    }

    /// The same on one node.
    pub(crate) async fn resumes_on(&mut self, node: usize, since: u64) {
        for channel in &self.channels {
            let witness = &mut self.witnesses[node];
            eventually("messages after the fault", async || {
                let push = witness.push().await;
                let is_new = push["pub"]["data"]["t"].as_u64().is_some_and(|time| time >= since);
                (push["channel"] == **channel && is_new).then_some(())
            })
            .await;
        }
    }

    /// Ends the traffic and checks every subscriber's books.
    pub(crate) async fn end(mut self) -> Outcome {
        let published = self.publisher.stop(&self.cluster.redis).await;
        let mut subscriptions = Vec::new();
        while let Some(subscriber) = self.subscribers.join_next().await {
            let (node, channels) = subscriber.unwrap();
            for (channel, heard) in channels {
                let gaps = traffic::account(&heard, &published[&channel]);
                subscriptions.push(Subscription { node, heard, gaps });
            }
        }
        assert_eq!(subscriptions.len(), CLIENTS * CHANNELS_EACH);
        Outcome { subscriptions }
    }
}

impl Outcome {
    /// Asserts that each subscriber heard a message of after `since` soon after it.
    pub(crate) fn resumed_soon(&self, since: u64) {
        for subscription in &self.subscriptions {
            let delay = traffic::resumed_after(&subscription.heard, since).expect("messages after the fault");
            assert!(delay <= RESUMED, "messages came again only {delay:?} after Redis was back");
        }
    }

    /// Asserts that `is_right` holds for the number of gaps of each subscription, given its node.
    pub(crate) fn gaps(&self, is_right: impl Fn(usize, usize) -> bool) {
        let all: Vec<_> =
            self.subscriptions.iter().map(|subscription| (subscription.node, subscription.gaps)).collect();
        assert!(all.iter().all(|(node, gaps)| is_right(*node, *gaps)), "node and gaps of each subscription: {all:?}");
        for event in self.subscriptions.iter().flat_map(|subscription| &subscription.heard) {
            if let Heard::Gap { reason, .. } = event {
                assert_eq!(reason, "broker_link", "{event:?}");
            }
        }
    }

    /// Asserts that each subscriber was told one gap per channel.
    pub(crate) fn one_gap_each(&self) {
        self.gaps(|_, gaps| gaps == 1);
    }
}
