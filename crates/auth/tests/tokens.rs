//! Which tokens are accepted, and which vectors of attack are not. The tokens are put together by hand where a library
//! would refuse to make them.
#![allow(clippy::unwrap_used)]

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use ullim_auth::{Config, ConfigError, Minted, Rejection, Secret, Verifier, mint_with};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn verifier(anonymous: bool) -> Verifier {
    Verifier::new(&Config { hs256_secret: Some(Secret::new(SECRET)), anonymous, ..Config::default() }).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn minted(user: &str, expires: u64) -> String {
    mint_with(&Secret::new(SECRET), &Minted { user: Some(user), expires, ..Minted::default() }).unwrap()
}

fn signed(algorithm: Algorithm, secret: &str, claims: &serde_json::Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

#[test]
fn a_minted_token_names_its_user() {
    let token = minted("alice", now() + 60);
    let identity = verifier(false).verify(Some(&token)).at_once().unwrap();
    assert_eq!(identity.user.as_deref(), Some("alice"));
}

#[test]
fn without_a_token_only_anonymous_clients_pass() {
    assert_eq!(verifier(false).verify(None).at_once(), Err(Rejection::Missing));
    assert_eq!(verifier(true).verify(None).at_once().unwrap().user, None);
    assert!(verifier(true).verify(Some("garbage")).at_once().is_err(), "a token that is given is checked");
}

#[test]
fn an_expired_token_is_told_apart() {
    let token = minted("alice", now() - 1);
    assert_eq!(verifier(false).verify(Some(&token)).at_once(), Err(Rejection::Expired));
}

#[test]
fn the_algorithm_is_the_keys_and_not_the_tokens() {
    let claims = json!({"sub": "alice", "exp": now() + 60});
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut refused: Vec<String> = ["none", "None", "nOnE", "RS256", "ES256", "HS999"]
        .iter()
        .map(|alg| format!("{}.{}.", encode(&json!({"alg": alg, "typ": "JWT"})), encode(&claims)))
        .collect();
    refused.push(signed(Algorithm::HS384, SECRET, &claims));
    refused.push(signed(Algorithm::HS512, SECRET, &claims));
    for token in refused {
        assert!(matches!(verifier(true).verify(Some(&token)).at_once(), Err(Rejection::Invalid(_))), "{token}");
    }
}

#[test]
fn wrong_keys_missing_claims_and_odd_users_are_refused() {
    let later = now() + 60;
    let refused = [
        signed(Algorithm::HS256, "another secret of at least 32 bytes", &json!({"sub": "alice", "exp": later})),
        signed(Algorithm::HS256, SECRET, &json!({"sub": "alice"})),
        signed(Algorithm::HS256, SECRET, &json!({"exp": later})),
        signed(Algorithm::HS256, SECRET, &json!({"sub": "", "exp": later})),
        signed(Algorithm::HS256, SECRET, &json!({"sub": "~forged", "exp": later})),
        signed(Algorithm::HS256, SECRET, &json!({"sub": "a\nb", "exp": later})),
        signed(Algorithm::HS256, SECRET, &json!({"sub": "x".repeat(256), "exp": later})),
        signed(Algorithm::HS256, SECRET, &json!({"sub": 7, "exp": later})),
        signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "exp": "soon"})),
        signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "exp": later, "nbf": later})),
        "x".repeat(9000),
        String::new(),
        "a.b.c".to_owned(),
    ];
    for token in refused {
        assert!(matches!(verifier(true).verify(Some(&token)).at_once(), Err(Rejection::Invalid(_))), "{token}");
    }
}

#[test]
fn expiry_may_be_fractional_and_critical_headers_are_refused() {
    let claims = json!({"sub": "alice", "exp": now() as f64 + 60.5});
    assert!(verifier(false).verify(Some(&signed(Algorithm::HS256, SECRET, &claims))).at_once().is_ok());
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["x".to_owned()]);
    let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert!(matches!(verifier(false).verify(Some(&token)).at_once(), Err(Rejection::Invalid(_))));
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let refused = |config: &Config| Verifier::new(config).err().unwrap();
    assert_eq!(refused(&Config::default()), ConfigError::Nobody);
    let short = Config { hs256_secret: Some(Secret::new("short")), anonymous: true, ..Config::default() };
    assert_eq!(refused(&short), ConfigError::ShortSecret { key: "auth.hs256_secret".to_owned(), bytes: 5 });
    let keyless = Verifier::new(&Config { hs256_secret: None, anonymous: true, ..Config::default() }).unwrap();
    let token = minted("alice", now() + 60);
    assert!(matches!(keyless.verify(Some(&token)).at_once(), Err(Rejection::Invalid(_))));
}
