//! The commands of `ullim` as a user types them.

use std::fs;

use serde_json::json;
use ullim_tests::{Cli, Client, Node, Raw, Redis, Request, TOKEN_SECRET, eventually, free_address, http, token};

const GOOD: &str = r#"
[auth]
hs256_secret = "a secret that protects nothing but this test"

[namespaces.chat]
"#;

#[tokio::test]
async fn sub_prints_what_pub_publishes() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).start().await;
    let (url, token) = (node.addresses.ws.as_str(), node.addresses.token.as_str());
    let cli = Cli::default();
    let mut sub =
        cli.spawn("sub", &["sub", "--json", "--count", "3", "--url", url, "--token", token, "chat:1", "chat:2"]);
    for channel in ["ullim:{chat:1}", "ullim:{chat:2}"] {
        eventually("the subscription in Redis", async || {
            redis.cli(&["PUBSUB", "NUMSUB", channel]).trim().ends_with('1').then_some(())
        })
        .await;
    }
    cli.ok(&["pub", "--redis", &redis.url(), "chat:1", r#"{"by":"redis"}"#]);
    cli.ok(&["pub", "--url", url, "--token", token, "chat:2", "by a node"]);
    cli.ok(&["pub", "--url", url, "chat:1", "3"]);
    assert!(sub.end().await.success(), "{}", sub.stderr());
    // What happens to the connection is told in lines of their own.
    let lines: Vec<_> = sub.json_lines().into_iter().filter(|line| line.get("event").is_none()).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!((&lines[0]["channel"], &lines[0]["data"]), (&json!("chat:1"), &json!({"by": "redis"})), "{lines:?}");
    assert_eq!((&lines[1]["channel"], &lines[1]["text"]), (&json!("chat:2"), &json!("by a node")), "{lines:?}");
    assert_eq!((&lines[2]["channel"], &lines[2]["data"]), (&json!("chat:1"), &json!(3)), "{lines:?}");
}

#[tokio::test]
async fn pub_says_what_the_node_said() {
    let node = Node::start().await;
    let output = Cli::default().run(&["pub", "--url", &node.addresses.ws, "news:1", "1"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("permission_denied"), "{said}");
}

#[tokio::test]
async fn token_makes_a_token_that_a_node_takes() {
    let node = Node::start().await;
    let token = Cli::default().ok(&["token", "--secret", TOKEN_SECRET, "alice"]);
    let mut client = Client::open(&node, ullim_tests::Encoding::Json).await;
    let reply = client.ok("connect", json!({"token": token.trim()})).await;
    assert_eq!(reply["user"], "alice");
}

#[tokio::test]
async fn dev_prints_exactly_one_line_for_programs() {
    let node = Node::start().await;
    let _client = Client::subscribed(&node, "chat:1").await;
    assert_eq!(node.process.stdout().lines().count(), 1, "{}", node.process.stdout());
}

#[test]
fn dev_stays_on_this_machine() {
    let output = Cli::default().run(&["dev", "--listen", "0.0.0.0:0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("loopback"), "{said}");
}

#[test]
fn config_check_names_the_nearest_key() {
    let cli = Cli::default();
    fs::write(cli.folder.path().join("good.toml"), GOOD).unwrap();
    assert!(cli.ok(&["config", "check", "--config", "good.toml"]).contains("ok"));

    let wrong = format!("{GOOD}\n[hub]\nqueue_byte = 5\n");
    fs::write(cli.folder.path().join("wrong.toml"), wrong).unwrap();
    let output = cli.run(&["config", "check", "--config", "wrong.toml"]);
    let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("queue_byte") && said.contains("hub.queue_bytes"), "{said}");

    let output = cli.run(&["serve", "--set", "client.origin=x"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("client.origins"), "{said}");
}

#[test]
fn config_show_hides_secrets() {
    let cli = Cli::default();
    fs::write(cli.folder.path().join("good.toml"), GOOD).unwrap();
    let shown = cli.ok(&["config", "show", "--config", "good.toml"]);
    assert!(shown.contains("***") && !shown.contains("protects nothing"), "{shown}");
    assert!(shown.contains("queue_bytes"), "{shown}");
}

#[tokio::test]
async fn serve_takes_its_configuration_from_a_file_the_environment_and_flags() {
    let cli = Cli::default();
    let (client, internal) = (free_address(), free_address());
    let file = format!("client:\n  listen: {client}\ninternal:\n  listen: 127.0.0.1:1\nnamespaces:\n  chat: {{}}\n");
    fs::write(cli.folder.path().join("ullim.yaml"), file).unwrap();
    let secret = ("ULLIM_AUTH__HS256_SECRET", TOKEN_SECRET);
    let arguments = ["serve", "--config", "ullim.yaml", "--log-format", "json", "--internal", &internal.to_string()];
    let mut node = cli.spawn_with("serve", &arguments, secret);
    eventually("the node to be ready", async || {
        assert!(node.ended().is_none(), "{}", node.stderr());
        (http::get(&format!("http://{internal}/health/ready")).await.status == 200).then_some(())
    })
    .await;
    let mut raw = Raw::dial(client).await;
    assert_eq!(raw.ask(&Request::default()).await.status, 101);
    raw.send_text(r#"{"id":1,"connect":{}}"#).await;
    assert!(raw.text().await.contains("bad_token"), "nobody is anonymous unless it is configured");
    raw.send_text(&json!({"id": 2, "connect": {"token": token::good("alice")}}).to_string()).await;
    assert!(raw.text().await.contains(r#""user":"alice""#));
    raw.send_text(r#"{"id":3,"publish":{"channel":"chat:1","data":1}}"#).await;
    assert!(raw.text().await.contains("permission_denied"), "no client publishes unless it is configured");
    node.signal(rustix::process::Signal::TERM);
    assert_eq!(raw.closed().await.code, 1001);
    assert!(node.end().await.success());
    let log = node.stdout() + &node.stderr();
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(!log.is_empty() && log.lines().all(is_json), "{log}");
    assert!(!log.contains(TOKEN_SECRET), "the secret is in the log");
}
