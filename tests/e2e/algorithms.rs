//! Tokens of every algorithm, made by PyJWT, which has not seen our code.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use ullim_tests::{Client, Encoding, Node};

const TESTS: &str = env!("CARGO_MANIFEST_DIR");

/// What `tests/clients/tokens.py` printed; its keys are in `folder`.
fn tokens(folder: &Path) -> Value {
    let python = format!("{TESTS}/.tools/python/bin/python");
    assert!(Path::new(&python).is_file(), "PyJWT is not installed: tests/run does it");
    let script = format!("{TESTS}/clients/tokens.py");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names and tokens of one kind.
fn all<'t>(tokens: &'t Value, kind: &str) -> impl Iterator<Item = (&'t String, &'t str)> {
    tokens[kind].as_object().unwrap().iter().map(|(name, token)| (name, token.as_str().unwrap()))
}

async fn node(folder: &Path) -> Node {
    let mut builder = Node::builder()
        .set("auth.audience", "ullim")
        .set("auth.issuer", "https://id.example")
        .set("auth.anonymous", "false")
        .set("auth.jwks.file", folder.join("jwks.json").to_str().unwrap());
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let file = folder.join(format!("{algorithm}.pem"));
        builder = builder
            .set(&format!("auth.keys.own-{algorithm}.algorithm"), algorithm)
            .set(&format!("auth.keys.own-{algorithm}.file"), file.to_str().unwrap());
    }
    builder.start().await
}

#[tokio::test]
async fn the_four_algorithms_are_taken_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let tokens = tokens(folder.path());
    let node = node(folder.path()).await;
    for (name, token) in all(&tokens, "accepted") {
        let mut client = Client::open(&node, Encoding::Json).await;
        let reply = client.call("connect", json!({"token": token})).await;
        assert_eq!(reply["connect"]["user"], "alice", "{name}: {reply}");
    }
    let mut client = Client::open(&node, Encoding::Json).await;
    for (kind, error) in [("refused", "bad_token"), ("expired", "token_expired")] {
        for (name, token) in all(&tokens, kind) {
            assert_eq!(client.refused("connect", json!({"token": token})).await, error, "{name}");
        }
    }
    let log = node.process.stderr();
    for (name, token) in all(&tokens, "accepted").chain(all(&tokens, "refused")) {
        assert!(!log.contains(token), "the log shows a token: {name}");
    }
}
