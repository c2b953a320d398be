//! Many members of one channel, and what Redis says of them.

use std::collections::BTreeMap;

use serde_json::json;
use ullim_tests::{Client, Encoding, Node, Redis, token};

/// Sessions of different users that stay in a channel until they are dropped.
pub(crate) struct Members(#[expect(dead_code, reason = "they are there")] Vec<Client>);

impl Members {
    /// `count` users `<prefix>-0`, `<prefix>-1` …
    pub(crate) async fn enter(node: &Node, channel: &str, count: usize, prefix: &str) -> Self {
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            let mut client = Client::open(node, Encoding::Json).await;
            client.ok("connect", json!({"token": token::good(&format!("{prefix}-{number}"))})).await;
            client.subscribe(channel).await;
            clients.push(client);
        }
        Self(clients)
    }
}

/// The hash of a channel's members: session → entry.
pub(crate) fn entries(redis: &Redis, channel: &str) -> BTreeMap<String, String> {
    let printed = redis.cli(&["HGETALL", &format!("ullim:{{{channel}}}:presence")]);
    let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
    lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

/// How many sessions and how many people the hashes have.
pub(crate) fn counts(redis: &Redis, channel: &str) -> (usize, usize) {
    let length = |hash: &str| redis.cli(&["HLEN", &format!("ullim:{{{channel}}}:{hash}")]).trim().parse().unwrap();
    (length("presence"), length("users"))
}
