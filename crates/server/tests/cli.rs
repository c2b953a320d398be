//! The binary as it is called: what it prints, and its exit codes.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn ullim() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ullim"));
    command.env_remove("ULLIM_LOG__LEVEL");
    command
}

fn run(arguments: &[&str]) -> Output {
    ullim().args(arguments).output().unwrap()
}

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    path.into_os_string().into_string().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn config_check_says_ok_or_all_that_is_wrong() {
    let good = run(&["config", "check", "--config", &fixture("good.toml")]);
    assert_eq!((good.status.code(), stdout(&good)), (Some(0), "ok\n"));
    let wrong = run(&["config", "check", "--config", &fixture("wrong-key.toml")]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("did you mean \"client.listen\"?"), "{}", stderr(&wrong));
    assert_eq!(stderr(&wrong).matches("unknown key").count(), 3);
}

#[test]
fn config_show_hides_secrets_and_heeds_the_environment() {
    let mut command = ullim();
    command.args(["config", "show", "--config", &fixture("good.yaml"), "--set", "hub.subscriptions=7"]);
    let shown = command.env("ULLIM_CLIENT__LISTEN", "127.0.0.1:7000").env("ULLIM_CLIENT_SHARDS", "1").output().unwrap();
    let text = stdout(&shown);
    assert!(text.contains("listen = \"127.0.0.1:7000\"") && text.contains("subscriptions = 7"), "{text}");
    assert!(text.contains("hs256_secret = \"***\"") && !text.contains("hunter2"), "{text}");
    assert!(stderr(&shown).contains("did you mean ULLIM_CLIENT__SHARDS?"), "{}", stderr(&shown));
}

#[test]
fn what_cannot_be_configured_ends_with_2() {
    let serve = run(&["serve", "--config", &fixture("wrong-type.toml")]);
    assert_eq!(serve.status.code(), Some(2));
    assert!(stderr(&serve).contains("client.shards in "), "{}", stderr(&serve));
    assert_eq!(run(&["serve", "--set", "nonsense"]).status.code(), Some(2));
    let public = run(&["dev", "--listen", "0.0.0.0:0"]);
    assert_eq!(public.status.code(), Some(2));
    assert!(stderr(&public).contains("loopback addresses only"), "{}", stderr(&public));
}

#[test]
fn a_passcode_is_hashed_as_the_configuration_takes_it() {
    let hash = |passcode: &str| {
        let mut command = ullim();
        command.arg("passcode").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(passcode.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let made = hash("hunter2\n");
    let text = stdout(&made).trim_end();
    assert!(made.status.success() && text.starts_with("$argon2id$") && made.stderr.is_empty(), "{made:?}");
    let set = format!("auth.users.backend.passcode={text}");
    let checked = run(&["config", "check", "--config", &fixture("good.toml"), "--set", &set]);
    assert_eq!(stdout(&checked), "ok\n", "{}", stderr(&checked));
    assert_eq!(hash("").status.code(), Some(2));
}

#[test]
fn a_token_is_printed_alone() {
    let token = run(&["token", "alice"]);
    assert_eq!(stdout(&token).trim_end().split('.').count(), 3);
    assert!(stderr(&token).contains("ullim dev"));
    let secret = run(&["token", "alice", "--secret", "0123456789abcdef0123456789abcdef", "--ttl", "2d"]);
    assert!(secret.status.success() && secret.stderr.is_empty());
    assert_eq!(run(&["token", "alice", "--secret", "short"]).status.code(), Some(2));
    assert!(run(&["token", "alice", "--config", &fixture("good.toml")]).status.success());
}

/// A development node that ends with the test.
struct Dev {
    child: Child,
    ready: serde_json::Value,
}

impl Dev {
    fn start(arguments: &[&str]) -> Self {
        let mut command = ullim();
        command.args(["dev", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--json"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    fn get(&self, path: &str) -> String {
        let mut stream =
            TcpStream::connect(self.ready["internal"].as_str().unwrap().trim_start_matches("http://")).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_development_node_says_where_it_is_and_drains_at_sigterm() {
    let mut node = Dev::start(&[]);
    assert!(node.ready["ws"].as_str().unwrap().ends_with("/ws"));
    assert_eq!(node.ready["api_key"], "ullim-development-api-key");
    assert!(node.get("/health/ready").starts_with("HTTP/1.1 200"));
    assert!(node.get("/metrics").contains("ullim_connections 0"));
    node.signal(Signal::TERM);
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_node_listens_before_redis_is_there_and_is_not_ready() {
    let node = Dev::start(&["--redis", "redis://127.0.0.1:1"]);
    let ready = node.get("/health/ready");
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("broker"), "{ready}");
    assert!(node.get("/health/live").starts_with("HTTP/1.1 200"));
}

#[test]
fn what_pub_says_sub_prints() {
    let node = Dev::start(&[]);
    let url = node.ready["ws"].as_str().unwrap();
    let mut sub = ullim();
    sub.args(["sub", "chat:1", "--json", "--count", "2", "--url", url]).stdout(Stdio::piped());
    let mut sub = sub.spawn().unwrap();
    let lines = BufReader::new(sub.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    assert!(lines.any(|line| line["event"] == "subscribed"));
    for data in [r#"{"a":1}"#, "hello"] {
        assert!(run(&["pub", "chat:1", data, "--url", url]).status.success());
    }
    let first = lines.next().unwrap();
    assert_eq!(first["data"]["a"], 1, "{first}");
    assert_eq!(lines.next().unwrap()["text"], "hello");
    assert_eq!(sub.wait().unwrap().code(), Some(0));
}

#[test]
fn what_a_node_refuses_ends_with_1_and_its_reason() {
    let node = Dev::start(&[]);
    let url = node.ready["ws"].as_str().unwrap();
    let denied = run(&["pub", "news:1", "x", "--url", url]);
    assert_eq!(denied.status.code(), Some(1));
    assert!(stderr(&denied).contains("permission_denied"), "{}", stderr(&denied));
    let token = run(&["sub", "chat:1", "--url", url, "--token", "bad"]);
    assert_eq!(token.status.code(), Some(1));
    assert!(stderr(&token).contains("bad_token"), "{}", stderr(&token));
}
