//! The same messages through clients that are not ours: npm `ws` with `@msgpack/msgpack`, PyPI `websockets`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use ullim_tests::{Cluster, Node, Process};

use crate::turn;

const TESTS: &str = env!("CARGO_MANIFEST_DIR");
const MESSAGES: usize = 10_000;
const CHANNELS: usize = 20;

fn channel(number: usize) -> String {
    format!("chat:{}", number % CHANNELS)
}

/// A client program and what it was asked for.
struct Listener {
    process: Process,
    channels: Vec<String>,
    _folder: TempDir,
}

impl Listener {
    fn start(program: &[&str], node: &Node, encoding: &str, channels: Vec<String>) -> Self {
        let folder = TempDir::new().unwrap();
        let addresses = &node.addresses;
        let count = (MESSAGES / CHANNELS).to_string();
        let mut command = Command::new(program[0]);
        command.args(&program[1..]);
        command.args([&addresses.ws, &addresses.token, encoding, &channels.join(","), &count]);
        Self { process: Process::start("client", &mut command, folder.path()), channels, _folder: folder }
    }

    fn ws(node: &Node, encoding: &str, channels: Vec<String>) -> Self {
        let installed = Path::new(TESTS).join("clients/node_modules/ws");
        assert!(installed.is_dir(), "npm's ws is not installed: tests/run does it");
        Self::start(&["node", &format!("{TESTS}/clients/ws.mjs")], node, encoding, channels)
    }

    fn websockets(node: &Node, channels: Vec<String>) -> Self {
        let python = format!("{TESTS}/.tools/python/bin/python");
        assert!(Path::new(&python).is_file(), "PyPI's websockets is not installed: tests/run does it");
        Self::start(&[&python, &format!("{TESTS}/clients/websockets_client.py")], node, "json", channels)
    }

    async fn is_subscribed(&mut self) {
        self.process.line("its subscriptions", |line| line.get("subscribed").is_some()).await;
    }

    async fn heard_exactly_its_channels(&mut self) {
        self.process.line("its last line", |line| line.get("done").is_some()).await;
        assert!(self.process.end().await.success());
        let lines = self.process.json_lines();
        let publications = &lines[1..lines.len() - 1];
        for channel in &self.channels {
            let heard: Vec<&Value> = publications.iter().filter(|push| push["channel"] == **channel).collect();
            let numbers = heard.iter().map(|push| push["pub"]["data"]["n"].as_u64());
            assert!(numbers.eq((0..(MESSAGES / CHANNELS) as u64).map(Some)), "{channel}: {heard:?}");
        }
        assert_eq!(publications.len(), self.channels.len() * MESSAGES / CHANNELS, "something else came");
    }
}

#[tokio::test]
async fn clients_that_are_not_ours_hear_everything_in_order_and_once() {
    let _turn = turn::take().await;
    let cluster = Cluster::start(3).await;
    let mut listeners = Vec::new();
    for number in 0..3 {
        let node = cluster.node(number);
        let channels = |first: usize| (first..first + 4).map(|next| channel(number * 5 + next)).collect();
        listeners.push(Listener::ws(node, "json", channels(0)));
        listeners.push(Listener::ws(node, "msgpack", channels(3)));
        listeners.push(Listener::websockets(node, channels(6)));
    }
    for listener in &mut listeners {
        listener.is_subscribed().await;
    }
    let names: Vec<_> = (0..CHANNELS).map(channel).collect();
    let message = |number: usize| (names[number % CHANNELS].as_str(), json!({"n": number / CHANNELS}).to_string());
    cluster.redis.publish_pipeline((0..MESSAGES).map(message));
    for listener in &mut listeners {
        listener.heard_exactly_its_channels().await;
    }
}
