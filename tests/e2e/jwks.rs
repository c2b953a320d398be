//! Keys from an identity provider that is slow, broken, hostile, or changes them.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use ullim_tests::{Client, Encoding, Node, NodeBuilder, eventually};

use crate::bystander::Bystander;

/// What the provider answers.
#[derive(Debug, Clone)]
enum Answer {
    /// This status and this body.
    Body(u16, String),
    /// To be found elsewhere.
    Redirect(String),
    /// A body without an end.
    Endless,
    /// Nothing.
    Silence,
}

/// An identity provider.
struct Provider {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Provider {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let mut serving = JoinSet::new();
        let (answers, counter) = (Arc::clone(&answer), Arc::clone(&asked));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = answers.lock().unwrap().clone();
                connections.spawn(serve(stream, answer));
            }
        });
        Self { address, answer, asked, _serving: serving }
    }

    fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, answer: Answer) {
    let mut request = [0; 4096];
    let _request = stream.read(&mut request).await;
    let text = match answer {
        Answer::Body(status, body) => {
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        }
        Answer::Redirect(to) => {
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Answer::Endless => {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"keys\":[";
            let mut sent = stream.write_all(head.as_bytes()).await;
            while sent.is_ok() {
                sent = stream.write_all(&[b' '; 4096]).await;
            }
            return;
        }
        Answer::Silence => return std::future::pending().await,
    };
    let _gone = stream.write_all(text.as_bytes()).await;
}

/// Keys and tokens that PyJWT has made.
struct Made {
    jwks: String,
    token: String,
}

fn make() -> Made {
    let folder = TempDir::new().unwrap();
    let tests = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(format!("{tests}/.tools/python/bin/python"));
    let output = command.arg(format!("{tests}/clients/tokens.py")).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tokens: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let jwks = std::fs::read_to_string(folder.path().join("jwks.json")).unwrap();
    Made { jwks, token: tokens["accepted"]["ES256 of the set"].as_str().unwrap().to_owned() }
}

fn builder(provider: &Provider) -> NodeBuilder {
    Node::builder()
        .set("auth.jwks.url", &provider.url())
        .set("auth.jwks.allow_private_addresses", "true")
        .set("auth.jwks.timeout", "500ms")
        .set("auth.jwks.min_refresh_interval", "200ms")
}

async fn connect(node: &Node, token: &str) -> Result<(), String> {
    let mut client = Client::open(node, Encoding::Json).await;
    let reply = client.call("connect", json!({"token": token})).await;
    match reply.get("error") {
        None => Ok(()),
        Some(error) => Err(error["name"].as_str().unwrap().to_owned()),
    }
}

#[tokio::test]
async fn keys_that_are_rotated_are_found() {
    let (old, new) = (make(), make());
    let provider = Provider::start(Answer::Body(200, old.jwks)).await;
    let node = builder(&provider).start().await;
    assert_eq!(connect(&node, &old.token).await, Ok(()));
    // The other set has the same kids, as careless providers do: the new token's signature cannot match yet.
    assert_eq!(connect(&node, &new.token).await, Err("bad_token".to_owned()));
    let renamed = new.jwks.replace("set-ES256", "set-ES256-new");
    provider.answers(Answer::Body(200, renamed));
    assert_eq!(connect(&node, &old.token).await, Ok(()), "known keys serve until they are fetched anew");
}

#[tokio::test]
async fn a_provider_that_misbehaves_lets_nobody_in_and_harms_nobody() {
    let made = make();
    let elsewhere = Provider::start(Answer::Body(200, made.jwks.clone())).await;
    let cases = [
        ("silence", Answer::Silence),
        ("an endless body", Answer::Endless),
        ("a large body", Answer::Body(200, format!("{}{}", " ".repeat(1 << 20), made.jwks))),
        ("a redirect", Answer::Redirect(elsewhere.url())),
        ("garbage", Answer::Body(200, "<html>\u{0}".to_owned())),
        ("JSON that is no set", Answer::Body(200, "[1,2]".to_owned())),
        (
            "keys that are none",
            Answer::Body(200, r#"{"keys":[1,{"kty":"RSA","n":"!","e":"AQAB","kid":"set-ES256"}]}"#.to_owned()),
        ),
        ("an error", Answer::Body(500, made.jwks.clone())),
        ("nothing", Answer::Body(200, String::new())),
    ];
    let provider = Provider::start(Answer::Silence).await;
    let node = builder(&provider).start().await;
    let mut bystander = Bystander::of(&node).await;
    for (what, answer) in cases {
        provider.answers(answer);
        let verdict = connect(&node, &made.token).await;
        assert!(
            matches!(verdict.as_ref().map_err(String::as_str), Err("bad_token" | "unavailable")),
            "{what}: {verdict:?}"
        );
        bystander.is_undisturbed().await;
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect is not followed");
    provider.answers(Answer::Body(200, made.jwks.clone()));
    eventually("the keys", async || connect(&node, &made.token).await.ok()).await;
    provider.answers(Answer::Body(500, String::new()));
    assert_eq!(connect(&node, &made.token).await, Ok(()), "what was fetched once serves on");
}

#[tokio::test]
async fn private_addresses_are_refused_unless_they_are_allowed() {
    let made = make();
    let provider = Provider::start(Answer::Body(200, made.jwks)).await;
    let port = provider.address.port();
    for url in [
        format!("https://127.0.0.1:{port}/jwks.json"),
        format!("https://localhost:{port}/jwks.json"),
        format!("https://[::ffff:127.0.0.1]:{port}/jwks.json"),
    ] {
        let node = Node::builder().set("auth.jwks.url", &url).set("auth.jwks.timeout", "500ms").start().await;
        let verdict = connect(&node, &made.token).await;
        assert!(
            matches!(verdict.as_ref().map_err(String::as_str), Err("bad_token" | "unavailable")),
            "{url}: {verdict:?}"
        );
    }
    assert_eq!(provider.asked(), 0, "nobody even connected");
}

#[tokio::test]
async fn unknown_keys_cost_the_provider_little() {
    let made = make();
    let provider = Provider::start(Answer::Body(200, made.jwks)).await;
    let node = builder(&provider).set("auth.jwks.min_refresh_interval", "1h").start().await;
    assert_eq!(connect(&node, &made.token).await, Ok(()));
    let mut attempts = JoinSet::new();
    for number in 0..100 {
        let header = json!({"alg": "ES256", "kid": format!("unknown-{number}")});
        let forged = format!("{}.AAAA", ullim_tests::token::unsigned(&header, &ullim_tests::token::claims("eve")));
        let mut client = Client::open(&node, Encoding::Json).await;
        attempts.spawn(async move { client.refused("connect", json!({"token": forged})).await });
    }
    while let Some(verdict) = attempts.join_next().await {
        assert_eq!(verdict.unwrap(), "bad_token");
    }
    assert!(provider.asked() <= 2, "{} requests for 100 unknown keys", provider.asked());
}
