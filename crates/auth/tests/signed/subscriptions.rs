//! Subscription tokens: what they allow, and that they are never taken for the others.

use serde_json::{Value, json};
use ullim_auth::{Config, Grant, Minted, Rejection, Secret, Verifier, mint_with};

use crate::signer::{Signer, now};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn config() -> Config {
    Config { hs256_secret: Some(Secret::new(SECRET)), ..Config::default() }
}

fn verifier() -> Verifier {
    Verifier::new(&config()).unwrap()
}

fn grant(claims: &Value) -> Result<Grant, Rejection> {
    verifier().verify_subscription(&Signer::hs256(SECRET).token(None, claims)).at_once()
}

#[test]
fn a_subscription_token_says_who_may_hear_what() {
    let expires = now() + 60;
    let claims = json!({"sub": "alice", "channel": "chat:42", "exp": expires, "info": {"admin": true}});
    let found = grant(&claims).unwrap();
    assert_eq!((found.user.as_deref(), found.channel.as_str(), found.expires), (Some("alice"), "chat:42", expires));
    assert_eq!(found.info.unwrap().as_str(), r#"{"admin":true}"#);
    let anonymous = grant(&json!({"channel": "chat:42", "exp": expires})).unwrap();
    assert_eq!((anonymous.user, anonymous.info), (None, None));
}

#[test]
fn the_two_kinds_of_tokens_are_never_mistaken() {
    let secret = Secret::new(SECRET);
    let minted = Minted { user: Some("alice"), expires: now() + 60, ..Minted::default() };
    let connect = mint_with(&secret, &minted).unwrap();
    let subscribe = mint_with(&secret, &Minted { channel: Some("chat:42"), ..minted }).unwrap();
    assert!(verifier().verify(Some(&connect)).at_once().is_ok());
    assert!(verifier().verify_subscription(&subscribe).at_once().is_ok());
    assert!(matches!(verifier().verify(Some(&subscribe)).at_once(), Err(Rejection::Invalid(_))));
    assert!(matches!(verifier().verify_subscription(&connect).at_once(), Err(Rejection::Invalid(_))));
    for channel in [Value::Null, json!(7), json!("")] {
        let claims = json!({"sub": "alice", "exp": now() + 60, "channel": channel});
        let token = Signer::hs256(SECRET).token(None, &claims);
        assert!(matches!(verifier().verify(Some(&token)).at_once(), Err(Rejection::Invalid(_))), "{channel}");
    }
}

#[test]
fn a_subscription_token_keeps_the_rules_of_every_token() {
    let good = json!({"sub": "alice", "channel": "a", "exp": now() + 60});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    assert!(grant(&good).is_ok());
    assert_eq!(grant(&with("exp", json!(now()))), Err(Rejection::Expired));
    for claims in [
        with("nbf", json!(now() + 30)),
        with("sub", json!("")),
        with("sub", json!("~x")),
        with("sub", json!(7)),
        with("channel", Value::Null),
        with("channel", json!(["a"])),
        with("info", json!("x".repeat(5000))),
    ] {
        assert!(matches!(grant(&claims), Err(Rejection::Invalid(_))), "{claims}");
    }
    let forged = Signer::hs256("another secret of at least 32 bytes!").token(None, &good);
    assert!(matches!(verifier().verify_subscription(&forged).at_once(), Err(Rejection::Invalid(_))));
    let config = Config { audience: vec!["ullim".to_owned()], ..config() };
    let strict = Verifier::new(&config).unwrap();
    let for_us = Signer::hs256(SECRET).token(None, &with("aud", json!("ullim")));
    assert!(strict.verify_subscription(&for_us).at_once().is_ok());
    let for_others = Signer::hs256(SECRET).token(None, &good);
    assert!(matches!(strict.verify_subscription(&for_others).at_once(), Err(Rejection::Invalid(_))));
}
