//! Which entries of a JWK Set become keys.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ed25519(kid: &str) -> Value {
    let key = Ed25519KeyPair::generate().unwrap();
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(key.public_key().as_ref())})
}

fn p256(kid: &str) -> Value {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = key.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": encode(&point[1..33]), "y": encode(&point[33..])})
}

/// A modulus of so many bits. Nothing can be signed with it.
fn rsa(kid: &str, bits: usize) -> Value {
    let mut modulus = vec![0xff; bits / 8];
    modulus[0] = 0xc5;
    json!({"kty": "RSA", "kid": kid, "n": encode(&modulus), "e": "AQAB"})
}

fn with(mut entry: Value, member: &str, value: Value) -> Value {
    entry[member] = value;
    entry
}

fn parse(keys: Value) -> Result<KeySet, SetError> {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
}

fn skipped(entry: Value) -> Option<Skipped> {
    serde_json::from_value::<Entry>(entry).unwrap().key().err()
}

#[test]
fn the_algorithm_follows_from_the_type() {
    let set = parse(json!([rsa("r", 2048), p256("p"), ed25519("e")])).unwrap();
    let algorithm = |kid| set.named(kid).unwrap().algorithm();
    assert_eq!(
        [algorithm("r"), algorithm("p"), algorithm("e")],
        [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]
    );
    assert_eq!(set.len(), 3);
    assert!(set.only().is_none() && set.named("x").is_none());
}

#[test]
fn what_is_not_for_signatures_is_left_out() {
    let warned = |entry| matches!(skipped(entry), Some(Skipped::Warned(_)));
    assert!(warned(with(ed25519("a"), "use", json!("enc"))));
    assert!(warned(with(ed25519("a"), "key_ops", json!(["sign"]))));
    assert!(warned(json!({"kty": "oct", "k": encode(&[7; 64]), "alg": "HS256"})), "a symmetric key");
    assert_eq!(skipped(with(with(ed25519("a"), "use", json!("sig")), "key_ops", json!(["verify"]))), None);
}

#[test]
fn an_algorithm_that_contradicts_the_type_is_left_out() {
    for (entry, algorithm) in [
        (rsa("a", 2048), "HS256"),
        (rsa("a", 2048), "ES256"),
        (p256("a"), "RS256"),
        (p256("a"), "HS256"),
        (ed25519("a"), "ES256"),
        (ed25519("a"), "none"),
    ] {
        let found = skipped(with(entry, "alg", json!(algorithm)));
        assert_eq!(found, Some(Skipped::Warned("its \"alg\" contradicts its \"kty\"")), "{algorithm}");
    }
    for (entry, algorithm) in [(rsa("a", 2048), "RS256"), (p256("a"), "ES256"), (ed25519("a"), "EdDSA")] {
        assert_eq!(skipped(with(entry, "alg", json!(algorithm))), None, "{algorithm}");
    }
}

#[test]
fn what_is_not_known_is_left_out() {
    assert_eq!(skipped(with(rsa("a", 2048), "alg", json!("PS256"))), Some(Skipped::Unknown));
    assert_eq!(skipped(with(p256("a"), "crv", json!("P-384"))), Some(Skipped::Unknown));
    assert_eq!(skipped(with(ed25519("a"), "crv", json!("X25519"))), Some(Skipped::Unknown));
    assert_eq!(skipped(json!({"kty": "AKP", "alg": "ML-DSA-44"})), Some(Skipped::Unknown));
}

#[test]
fn keys_that_are_weak_or_broken_are_left_out() {
    assert_eq!(skipped(rsa("a", 1024)), Some(Skipped::Key(KeyError::RsaBits(1024))));
    assert_eq!(skipped(rsa("a", 2040)), Some(Skipped::Key(KeyError::RsaBits(2040))));
    assert!(skipped(with(rsa("a", 2048), "e", json!("AQ"))).is_some(), "an exponent of 1");
    assert!(skipped(with(rsa("a", 2048), "n", json!("+/=="))).is_some(), "not base64url");
    assert!(skipped(with(p256("a"), "y", json!(encode(&[1; 32])))).is_some(), "not on the curve");
    assert!(skipped(with(p256("a"), "x", json!(encode(&[1; 31])))).is_some(), "too short");
    assert!(skipped(with(ed25519("a"), "x", json!(encode(&[1; 31])))).is_some(), "too short");
    assert!(skipped(json!({"kty": "EC", "crv": "P-256"})).is_some(), "nothing in it");
}

#[test]
fn one_bad_entry_does_not_spoil_the_others() {
    let bad = json!([7, {"kty": 7}, {}, rsa("weak", 1024), {"kty": "oct", "kid": "s", "k": "AAAA"}, ed25519("good")]);
    let set = parse(bad).unwrap();
    assert!(set.len() == 1 && set.named("good").is_some());
    let twice = r#"{"keys":[{"kty":"OKP","kty":"RSA","crv":"Ed25519"}]}"#;
    assert_eq!(KeySet::parse(twice.as_bytes()).err(), Some(SetError::Empty(1)));
}

#[test]
fn of_two_keys_with_one_name_the_first_is_taken() {
    let set = parse(json!([p256("a"), ed25519("a")])).unwrap();
    assert_eq!((set.len(), set.named("a").unwrap().algorithm()), (1, Algorithm::Es256));
    assert_eq!(parse(json!([ed25519(&"x".repeat(256))])).err(), Some(SetError::Empty(1)));
}

#[test]
fn a_key_without_a_name_is_taken_if_it_is_alone() {
    let mut unnamed = ed25519("");
    unnamed.as_object_mut().unwrap().remove("kid");
    let set = parse(json!([unnamed])).unwrap();
    assert!(set.only().is_some() && set.named("").is_none());
    assert!(parse(json!([unnamed, ed25519("a")])).unwrap().only().is_none());
}

#[test]
fn what_is_no_set_is_told_apart_from_an_empty_one() {
    for text in ["", "garbage", "[]", "[[]]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, "\u{feff}{\"keys\":[]}"] {
        assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(SetError::Malformed), "{text}");
    }
    assert_eq!(parse(json!([])).err(), Some(SetError::Empty(0)));
    assert_eq!(parse(vec![json!({}); 1025].into()).err(), Some(SetError::TooMany(1025)));
}
