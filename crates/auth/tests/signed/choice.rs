//! Which key a token is checked with, and what of its header is looked at.

use std::collections::BTreeMap;

use serde_json::json;
use ullim_auth::{Config, JwksConfig, Rejection, Secret, Verifier};

use crate::signer::{Signer, claims};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn invalid(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.verify(Some(token)).at_once() {
        Err(Rejection::Invalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn is_accepted(verifier: &Verifier, token: &str) -> bool {
    verifier.verify(Some(token)).at_once().is_ok()
}

#[test]
fn a_token_is_checked_with_the_key_that_it_names_and_no_other() {
    let (first, second) = (Signer::es256(), Signer::eddsa());
    let keys = BTreeMap::from([("1".to_owned(), first.config()), ("2".to_owned(), second.config())]);
    let verifier = Verifier::new(&Config { keys, ..Config::default() }).unwrap();
    assert!(is_accepted(&verifier, &first.token(Some("1"), &claims())));
    assert!(is_accepted(&verifier, &second.token(Some("2"), &claims())));
    invalid(&verifier, &first.token(Some("2"), &claims()));
    invalid(&verifier, &second.token(Some("1"), &claims()));
    assert!(invalid(&verifier, &first.token(Some("3"), &claims())).contains("not known"));
    assert!(invalid(&verifier, &first.token(Some(""), &claims())).contains("not known"));
    assert!(invalid(&verifier, &first.token(None, &claims())).contains("has several"));
}

#[test]
fn a_configured_key_goes_before_one_of_the_set() {
    let (ours, theirs, other) = (Signer::eddsa(), Signer::eddsa(), Signer::es256());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, json!({"keys": [theirs.jwk("a"), other.jwk("b")]}).to_string()).unwrap();
    let keys = BTreeMap::from([("a".to_owned(), ours.config())]);
    let jwks = JwksConfig { file: Some(file), ..JwksConfig::default() };
    let verifier = Verifier::new(&Config { keys, jwks, ..Config::default() }).unwrap();
    assert!(is_accepted(&verifier, &ours.token(Some("a"), &claims())));
    invalid(&verifier, &theirs.token(Some("a"), &claims()));
    assert!(is_accepted(&verifier, &other.token(Some("b"), &claims())));
    assert!(invalid(&verifier, &other.token(None, &claims())).contains("has several"));
    assert_eq!(verifier.counters().keys, 3);
}

#[test]
fn a_set_with_one_key_needs_no_name() {
    let signer = Signer::rs256();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, json!({"keys": [signer.jwk("a")]}).to_string()).unwrap();
    let jwks = JwksConfig { file: Some(file), ..JwksConfig::default() };
    let verifier = Verifier::new(&Config { jwks, ..Config::default() }).unwrap();
    assert!(is_accepted(&verifier, &signer.token(None, &claims())));
    assert!(is_accepted(&verifier, &signer.token(Some("a"), &claims())));
    invalid(&verifier, &Signer::hs256(signer.pem()).token(None, &claims()));
}

#[test]
fn a_configured_key_and_one_of_the_set_are_two() {
    let (ours, theirs) = (Signer::eddsa(), Signer::eddsa());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, json!({"keys": [theirs.jwk("b")]}).to_string()).unwrap();
    let keys = BTreeMap::from([("a".to_owned(), ours.config())]);
    let jwks = JwksConfig { file: Some(file), ..JwksConfig::default() };
    let verifier = Verifier::new(&Config { keys, jwks, ..Config::default() }).unwrap();
    for signer in [&ours, &theirs] {
        assert!(invalid(&verifier, &signer.token(None, &claims())).contains("has several"));
    }
}

#[test]
fn headers_are_bounded_and_critical_ones_are_refused() {
    let signer = Signer::hs256(SECRET);
    let verifier = Verifier::new(&Config { hs256_secret: Some(Secret::new(SECRET)), ..Config::default() }).unwrap();
    let with = |header: &str| signer.sign(header, &claims().to_string());
    assert!(is_accepted(&verifier, &with(r#"{"alg":"HS256"}"#)));
    for crit in [r#"["exp"]"#, "[]", "null", r#""x""#] {
        let token = with(&format!(r#"{{"alg":"HS256","crit":{crit}}}"#));
        assert!(invalid(&verifier, &token).contains("crit"), "{crit}");
    }
    assert!(invalid(&verifier, &signer.token(Some(&"k".repeat(256)), &claims())).contains("255"));
    assert!(invalid(&verifier, &signer.token(Some(&"k".repeat(7000)), &claims())).contains("8192"));
    for header in [
        r#"{"alg":"HS256","kid":7}"#,
        r#"{"alg":"HS256","kid":["a"]}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256"} x"#,
        r#"["HS256"]"#,
        "null",
        "",
    ] {
        assert!(invalid(&verifier, &with(header)).contains("malformed"), "{header}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let signer = Signer::hs256(SECRET);
    let verifier = Verifier::new(&Config { hs256_secret: Some(Secret::new(SECRET)), ..Config::default() }).unwrap();
    let good = signer.token(None, &claims());
    for token in ["", ".", "..", "...", "a.b.c", "\u{0}", &format!("{good}."), &format!(".{good}"), &format!("{good}=")]
    {
        invalid(&verifier, token);
    }
    invalid(&verifier, &good.replace('.', ".."));
    invalid(&verifier, &format!("{good}{}", "A".repeat(9000)));
    invalid(&verifier, &format!(" {good}"));
    let list = r#"["alice",9999999999,null,null,null,null,null]"#;
    for claims in ["", "x", "[]", "null", "7", "{", "{}", list] {
        invalid(&verifier, &signer.sign(r#"{"alg":"HS256"}"#, claims));
    }
}
