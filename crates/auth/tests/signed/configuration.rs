//! Keys and sources that cannot work are refused at start, each with what is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RsaKeyPair;
use serde_json::json;
use ullim_auth::{Algorithm, Config, JwksConfig, KeyConfig, Secret, Verifier};

use crate::signer::{Signer, claims, pem};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn problem(config: &Config) -> String {
    Verifier::new(config).err().expect("it is refused").to_string()
}

fn with_key(key: KeyConfig) -> Config {
    Config { keys: BTreeMap::from([("a".to_owned(), key)]), ..Config::default() }
}

fn with_jwks(jwks: JwksConfig) -> Config {
    Config { jwks, ..Config::default() }
}

fn public(algorithm: Algorithm, pem: &str) -> Config {
    with_key(KeyConfig { algorithm: Some(algorithm), public_key: Some(pem.to_owned()), ..KeyConfig::default() })
}

#[track_caller]
fn assert_problem(config: &Config, expected: &str) {
    let found = problem(config);
    assert!(found.contains(expected), "{found}\nis not\n{expected}");
}

#[test]
fn a_key_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    let signer = Signer::es256();
    std::fs::write(&file, signer.pem()).unwrap();
    let key = KeyConfig { algorithm: Some(Algorithm::Es256), file: Some(file), ..KeyConfig::default() };
    let verifier = Verifier::new(&with_key(key)).unwrap();
    assert!(verifier.verify(Some(&signer.token(Some("a"), &claims()))).at_once().is_ok());
    assert_eq!(verifier.counters().keys, 1);
}

#[test]
fn a_key_says_what_it_needs() {
    let key = KeyConfig { algorithm: None, public_key: Some(Signer::es256().pem()), ..KeyConfig::default() };
    assert_problem(&with_key(key), "auth.keys.a: algorithm is missing");
    let secret = |secret: &str, algorithm| {
        with_key(KeyConfig { algorithm: Some(algorithm), secret: Some(Secret::new(secret)), ..KeyConfig::default() })
    };
    assert_problem(&secret("short", Algorithm::Hs256), "auth.keys.a.secret has 5 bytes");
    assert_problem(&secret(SECRET, Algorithm::Rs256), "auth.keys.a: it takes one of public_key and file");
    assert_problem(&secret(&Signer::eddsa().pem(), Algorithm::Hs256), "auth.keys.a.secret: this is a key in PEM");
    assert_problem(&public(Algorithm::Hs256, &Signer::eddsa().pem()), "auth.keys.a: HS256 takes secret");
    let none = KeyConfig { algorithm: Some(Algorithm::EdDsa), ..KeyConfig::default() };
    assert_problem(&with_key(none), "auth.keys.a: it takes one of");
    let nowhere =
        KeyConfig { algorithm: Some(Algorithm::EdDsa), file: Some("/none.pem".into()), ..KeyConfig::default() };
    assert_problem(&with_key(nowhere), "auth.keys.a.file: No such file");
    let unnamed = Config { keys: BTreeMap::from([(String::new(), Signer::eddsa().config())]), ..Config::default() };
    assert_problem(&unnamed, "1 to 255 bytes");
}

#[test]
fn a_key_must_be_of_its_algorithm() {
    let signers = [(Algorithm::Es256, Signer::es256().pem()), (Algorithm::EdDsa, Signer::eddsa().pem())];
    let signers = signers.into_iter().chain([(Algorithm::Rs256, Signer::rs256().pem())]);
    for (right, pem) in signers {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            if algorithm == right {
                assert!(Verifier::new(&public(algorithm, &pem)).is_ok(), "{algorithm:?}");
            } else {
                assert_problem(&public(algorithm, &pem), "auth.keys.a.public_key: it is no public key of this");
            }
        }
    }
}

#[test]
fn what_is_no_public_key_is_refused() {
    let private = pem(&[7; 32]).replace("PUBLIC", "PRIVATE");
    for text in ["", "AAAA", &private, "-----BEGIN PUBLIC KEY-----\n"] {
        assert_problem(&public(Algorithm::EdDsa, text), "it holds no PUBLIC KEY");
    }
    assert_problem(&public(Algorithm::EdDsa, &pem(&[7; 32 + 1])), "it is no public key of this");
    let weak = Signer::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
    assert!(Verifier::new(&public(Algorithm::Rs256, &weak.pem())).is_ok());
}

#[test]
fn secrets_and_names_are_looked_at() {
    let good = Config { hs256_secret: Some(Secret::new(SECRET)), ..Config::default() };
    assert_problem(
        &Config { resume_secret: Some(Secret::new("short")), ..good.clone() },
        "auth.resume_secret has 5 bytes",
    );
    assert_problem(&Config { audience: vec![String::new()], ..good.clone() }, "auth.audience: ");
    assert_problem(&Config { issuer: vec![String::new()], ..good }, "auth.issuer: ");
}

#[test]
fn a_set_in_a_file_must_be_there_and_good() {
    let folder = tempfile::tempdir().unwrap();
    let file = |text: &str| -> PathBuf {
        let file = folder.path().join("jwks.json");
        std::fs::write(&file, text).unwrap();
        file
    };
    let with = |file: PathBuf| with_jwks(JwksConfig { file: Some(file), bytes: 4096, ..JwksConfig::default() });
    assert_problem(&with("/none.json".into()), "auth.jwks.file: No such file");
    assert_problem(&with(file("garbage")), "auth.jwks.file: it is no JSON object");
    assert_problem(&with(file(r#"{"keys":[]}"#)), "auth.jwks.file: none of its 0 keys");
    assert_problem(&with(file(&json!({"keys": [Signer::hs256(SECRET).jwk("a")]}).to_string())), "none of its 1 keys");
    assert_problem(&with(file(&" ".repeat(4097))), "more than 4096 bytes");
    assert!(Verifier::new(&with(file(&json!({"keys": [Signer::eddsa().jwk("a")]}).to_string()))).is_ok());
}

#[test]
fn a_url_must_be_one_that_may_be_gone_to() {
    let with = |url: &str| with_jwks(JwksConfig { url: Some(url.to_owned()), ..JwksConfig::default() });
    assert!(Verifier::new(&with("https://id.example/jwks.json")).is_ok(), "nothing is fetched yet");
    assert_problem(&with("http://id.example/jwks.json"), "auth.jwks.url: it must be https");
    assert_problem(&with("id.example"), "auth.jwks.url: it is no https URL");
    assert_problem(&with("https://user:secret@id.example/"), "auth.jwks.url: a URL with a user");
    let both = JwksConfig { file: Some("a".into()), url: Some("https://a/".to_owned()), ..JwksConfig::default() };
    assert_problem(&with_jwks(both), "auth.jwks: it takes one of file and url");
}

#[test]
fn a_file_of_authorities_must_hold_some() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("ca.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let with = |file: &Path| {
        let url = Some("https://id.example/".to_owned());
        with_jwks(JwksConfig { url, ca_file: Some(file.to_owned()), ..JwksConfig::default() })
    };
    assert_problem(&with(&empty), "auth.jwks.ca_file: it holds no CERTIFICATE");
    assert_problem(&with(Path::new("/none.pem")), "auth.jwks.ca_file: ");
}
