//! Two nodes as the broker of Spring's relay, unmodified: two instances of `tests/spring`, each with a node of its own.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use ullim_tests::{Node, Process, Redis, eventually, free_address, http};

use crate::stomp::program::{Program, Way};
use crate::stomp::server::Server;
use crate::turn;

/// Where `tests/run` puts it.
const APPLICATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/spring/target/application.jar");

/// How long an instance may take to be there, or there again, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is asked.
const LOOK: Duration = Duration::from_millis(50);

/// One instance of the application.
struct Application {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Application {
    /// Starts it, with its relay to `broker`.
    fn start(broker: SocketAddr) -> Self {
        let folder = TempDir::new().unwrap();
        let address = free_address();
        let mut command = Command::new("java");
        // Small, and soon there rather than fast later.
        command.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", APPLICATION]);
        command.env("SERVER_ADDRESS", address.ip().to_string()).env("SERVER_PORT", address.port().to_string());
        command.env("RELAY_HOST", broker.ip().to_string()).env("RELAY_PORT", broker.port().to_string());
        // The user of `ullim dev`, which is Spring's default too.
        command.env("RELAY_LOGIN", "guest").env("RELAY_PASSCODE", "guest");
        command.current_dir(folder.path());
        Self { process: Process::start("application", &mut command, folder.path()), address, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until its relay has, or has lost, its broker.
    async fn has_broker(&mut self, has: bool) {
        let (wanted, url) = (if has { 200 } else { 503 }, self.url("/relay"));
        let said = async {
            while http::get(&url).await.status != wanted {
                assert_eq!(self.process.ended(), None, "the application ended:\n{}", self.process.stdout());
                sleep(LOOK).await;
            }
        };
        let in_time = timeout(PATIENCE, said).await.is_ok();
        assert!(in_time, "waited {PATIENCE:?} in vain for a relay with its broker ({has}):\n{}", self.process.stdout());
    }

    /// A browser of `user`, which is greeted and gets letters, and connects again by itself.
    async fn browser(&self, user: &str) -> Program {
        let subscribe = json!([
            {"destination": "/topic/greetings", "headers": {"id": "greetings", "receipt": "greetings"}},
            {"destination": "/user/queue/letters", "headers": {"id": "letters", "receipt": "letters"}},
        ]);
        let url = format!("ws://{}/ws?user={user}", self.address);
        let mut browser = Way::Browser.start();
        browser.run("connect", json!({"url": url, "reconnect": 200, "subscribe": subscribe}));
        is_subscribed(&mut browser, user).await;
        browser
    }

    /// A message from this instance to one user.
    async fn write_to(&self, user: &str, text: &str) {
        let url = self.url(&format!("/letters/{user}"));
        let answer = http::post(&url, &[], json!({"text": text}).to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Waits until a browser is connected and the broker has both of its subscriptions.
async fn is_subscribed(browser: &mut Program, user: &str) {
    // It tries until the application and its broker are there, and says each time that it failed.
    let connected = timeout(PATIENCE, async {
        loop {
            if let Some(headers) = browser.event().await.get("connected") {
                return headers.clone();
            }
        }
    });
    let connected = connected.await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for {user}'s session"));
    assert_eq!(connected["user-name"], user, "{connected}");
    let mut receipts = Vec::new();
    for _ in 0..2 {
        receipts.push(browser.next("receipt").await["receipt-id"].as_str().unwrap().to_owned());
    }
    receipts.sort();
    assert_eq!(receipts, ["greetings", "letters"]);
}

fn hello(browser: &mut Program, name: &str) {
    let headers = json!({"content-type": "application/json"});
    let body = json!({"name": name}).to_string();
    browser.run("send", json!({"destination": "/app/hello", "headers": headers, "body": body}));
}

async fn hears(browser: &mut Program, subscription: &str, body: Value) {
    let message = browser.message().await;
    assert_eq!(message.header("subscription"), subscription, "{message:?}");
    assert_eq!(serde_json::from_str::<Value>(message.body()).unwrap(), body, "{message:?}");
}

#[tokio::test]
async fn springs_relay_has_two_nodes_as_its_broker() {
    if !Path::new(APPLICATION).is_file() {
        // Past the capture of the test harness, so that it is seen.
        let skipped =
            "!!! SKIPPED: Spring's relay: the application is not built (tests/run does it with JDK 17 and Maven)";
        writeln!(io::stderr(), "{skipped}").unwrap();
        return;
    }
    let _turn = turn::take().await;
    let redis = Redis::start().await;
    let builder = || Node::builder().redis(&redis).set("auth.anonymous", "false");
    let tcp = free_address();
    let mut first = Server::at(tcp, builder()).await;
    let second = Server::of(builder()).await;
    let mut applications = [Application::start(first.tcp), Application::start(second.tcp)];
    for application in &mut applications {
        application.has_broker(true).await;
    }

    let mut ann = applications[0].browser("ann").await;
    let mut ben = applications[1].browser("ben").await;
    hello(&mut ann, "all");
    for browser in [&mut ann, &mut ben] {
        hears(browser, "greetings", json!({"content": "Hello, all!", "from": "ann"})).await;
    }
    applications[0].write_to("ben", "from the first instance").await;
    hears(&mut ben, "letters", json!({"text": "from the first instance"})).await;
    applications[1].write_to("ann", "from the second").await;
    hears(&mut ann, "letters", json!({"text": "from the second"})).await;

    first.node.process.kill();
    drop(first);
    applications[0].has_broker(false).await;
    let _first = Server::at(tcp, builder()).await;
    applications[0].has_broker(true).await;
    // Spring has ended the sessions that it could not keep.
    is_subscribed(&mut ann, "ann").await;
    hello(&mut ben, "again");
    for browser in [&mut ann, &mut ben] {
        hears(browser, "greetings", json!({"content": "Hello, again!", "from": "ben"})).await;
    }
    applications[0].write_to("ben", "I am back").await;
    hears(&mut ben, "letters", json!({"text": "I am back"})).await;

    for application in &applications {
        let url = application.url("/users");
        eventually("each instance to know the users of both", async || {
            (http::get(&url).await.body == "ann,ben").then_some(())
        })
        .await;
    }
}
