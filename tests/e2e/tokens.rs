//! Tokens that prove nothing.

use serde_json::{Value, json};
use ullim_tests::{Client, Encoding, Node, now_ms, token};

use crate::bystander::Bystander;

/// Connects with `token`: the name of the error, or the user.
async fn connect(node: &Node, token: &str) -> Result<String, String> {
    let mut client = Client::open(node, Encoding::Json).await;
    let reply = client.call("connect", json!({"token": token})).await;
    match reply.get("error") {
        Some(error) => {
            let shown = error["message"].as_str().unwrap();
            assert!(token.len() < 10 || !shown.contains(token), "the message shows the token: {shown}");
            // The connection is still there, and still has no session.
            assert_eq!(client.refused("ping", json!({})).await, "not_connected");
            Err(error["name"].as_str().unwrap().to_owned())
        }
        None => Ok(reply["connect"]["user"].as_str().unwrap().to_owned()),
    }
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

#[tokio::test]
async fn a_token_tells_who_one_is() {
    let node = Node::start().await;
    assert_eq!(connect(&node, &token::good("alice")).await.as_deref(), Ok("alice"));
}

#[tokio::test]
async fn a_token_that_proves_nothing_is_refused() {
    let node = Node::start().await;
    let mut bystander = Bystander::of(&node).await;
    let claims = token::claims("eve");
    let good = token::good("eve");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let without = |claim: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(claim);
        token::signed(&hs256(), &claims)
    };
    let labelled = |algorithm: &str| token::signed(&json!({"alg": algorithm, "typ": "JWT"}), &claims);
    let none = token::unsigned(&json!({"alg": "none"}), &claims);
    let forged = token::unsigned(&hs256(), &token::claims("admin"));
    let cases = [
        ("empty", String::new()),
        ("not a token", "hello".to_owned()),
        ("two dots", "..".to_owned()),
        ("alg none, without a signature", format!("{none}.")),
        ("alg none, with a signature", format!("{none}.{signature}")),
        ("labelled RS256", labelled("RS256")),
        ("labelled ES256", labelled("ES256")),
        ("labelled HS512", labelled("HS512")),
        ("labelled hs256", labelled("hs256")),
        ("signed by another", token::signed_by("another secret, as long as it has to be", &hs256(), &claims)),
        ("signed by nothing", token::signed_by("", &hs256(), &claims)),
        ("another's claims", format!("{forged}.{signature}")),
        ("without a signature", signed.to_owned()),
        ("without exp", without("exp")),
        ("without sub", without("sub")),
        ("an exp of text", token::signed(&hs256(), &json!({"sub": "eve", "exp": "never"}))),
        ("a sub of a number", token::signed(&hs256(), &json!({"sub": 1, "exp": now_ms() / 1000 + 60}))),
        ("claims that are no object", token::signed(&hs256(), &json!([1]))),
        ("huge", token::signed(&hs256(), &json!({"sub": "x".repeat(40_000), "exp": now_ms() / 1000 + 60}))),
        ("huge garbage", "a".repeat(60_000)),
        ("not text", "\0\u{1F600}.\u{FFFD}.x".to_owned()),
    ];
    for (what, token) in &cases {
        assert_eq!(connect(&node, token).await, Err("bad_token".to_owned()), "{what}");
    }
    bystander.is_undisturbed().await;
}

#[tokio::test]
async fn an_expired_token_is_told_so() {
    let node = Node::start().await;
    for exp in [0, now_ms() / 1000 - 1] {
        let expired = token::signed(&hs256(), &json!({"sub": "alice", "exp": exp}));
        assert_eq!(connect(&node, &expired).await, Err("token_expired".to_owned()));
    }
}

#[tokio::test]
async fn a_refused_client_may_try_again() {
    let node = Node::start().await;
    let mut client = Client::open(&node, Encoding::MessagePack).await;
    assert_eq!(client.refused("connect", json!({"token": "x"})).await, "bad_token");
    client.ok("connect", json!({"token": token::good("alice")})).await;
}

#[tokio::test]
async fn where_nobody_may_be_anonymous_a_token_is_needed() {
    let node = Node::with("auth.anonymous", "false").await;
    let mut client = Client::open(&node, Encoding::Json).await;
    assert_eq!(client.refused("connect", json!({})).await, "bad_token");
    client.ok("connect", json!({"token": node.addresses.token})).await;
}
