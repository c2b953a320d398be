//! A key checks one algorithm, and a token never chooses it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ullim_auth::{Config, Identity, Rejection, Secret, Verifier};

use crate::signer::{Signer, claims, encode};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn all() -> [Signer; 3] {
    [Signer::hs256(SECRET), Signer::es256(), Signer::eddsa()]
}

fn verifier(keys: &[(&str, &Signer)]) -> Verifier {
    let keys = keys.iter().map(|(kid, signer)| ((*kid).to_owned(), signer.config()));
    Verifier::new(&Config { keys: BTreeMap::from_iter(keys), ..Config::default() }).unwrap()
}

fn verify(verifier: &Verifier, token: &str) -> Result<Identity, Rejection> {
    verifier.verify(Some(token)).at_once()
}

fn assert_invalid(verifier: &Verifier, token: &str, why: &str) {
    let found = verify(verifier, token);
    assert!(matches!(found, Err(Rejection::Invalid(_))), "{why}: {found:?}");
}

fn header(alg: &str) -> String {
    json!({"alg": alg, "typ": "JWT", "kid": "a"}).to_string()
}

#[test]
fn each_algorithm_is_accepted_with_its_key() {
    for signer in all().iter().chain([Signer::rs256()]) {
        let verifier = verifier(&[("a", signer)]);
        for kid in [Some("a"), None] {
            let identity = verify(&verifier, &signer.token(kid, &claims())).unwrap();
            assert_eq!(identity.user.as_deref(), Some("alice"), "{}", signer.alg());
        }
    }
}

#[test]
fn another_key_of_the_same_algorithm_is_not_enough() {
    let others = [Signer::hs256("another secret of at least 32 bytes!"), Signer::es256(), Signer::eddsa()];
    for (signer, other) in all().iter().zip(&others) {
        assert_invalid(&verifier(&[("a", signer)]), &other.token(Some("a"), &claims()), signer.alg());
    }
}

#[test]
fn a_public_key_is_no_secret() {
    // The oldest confusion: HS256 with what everybody knows.
    for signer in [Signer::rs256(), &Signer::es256(), &Signer::eddsa()] {
        let verifier = verifier(&[("a", signer)]);
        let pem = signer.pem();
        let secrets = [pem.clone().into_bytes(), pem.trim_end().into(), signer.der(), signer.der()[24..].to_vec()];
        for secret in secrets {
            let forger = Signer::hs256(secret);
            for kid in [Some("a"), None] {
                assert_invalid(&verifier, &forger.token(kid, &claims()), signer.alg());
            }
            // The key's own algorithm, as if that made it one.
            assert_invalid(&verifier, &forger.sign(&header(signer.alg()), &claims().to_string()), signer.alg());
        }
    }
}

#[test]
fn a_good_signature_under_another_name_is_refused() {
    let names = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES256K", "EdDSA"];
    for signer in all().iter().chain([Signer::rs256()]) {
        let verifier = verifier(&[("a", signer)]);
        for name in names.into_iter().filter(|name| *name != signer.alg()) {
            assert_invalid(&verifier, &signer.sign(&header(name), &claims().to_string()), name);
        }
        let lower = signer.alg().to_lowercase();
        assert_invalid(&verifier, &signer.sign(&header(&lower), &claims().to_string()), &lower);
    }
}

#[test]
fn none_is_no_algorithm_in_any_spelling() {
    for signer in all().iter().chain([Signer::rs256()]) {
        let verifier = verifier(&[("a", signer)]);
        for alg in ["none", "None", "NONE", "nOnE", "none ", "", "null"] {
            let unsigned = format!("{}.{}.", encode(header(alg)), encode(claims().to_string()));
            assert_invalid(&verifier, &unsigned, alg);
            assert_invalid(&verifier, &signer.sign(&header(alg), &claims().to_string()), alg);
        }
        for alg in [Value::Null, json!(["ES256"]), json!({}), json!(0), json!(true)] {
            let header = json!({"alg": alg, "kid": "a"}).to_string();
            assert_invalid(&verifier, &signer.sign(&header, &claims().to_string()), &header);
        }
        assert_invalid(&verifier, &signer.sign(r#"{"kid":"a"}"#, &claims().to_string()), "no alg");
    }
}

#[test]
fn a_signature_that_is_missing_short_or_changed_is_refused() {
    for signer in all().iter().chain([Signer::rs256()]) {
        let verifier = verifier(&[("a", signer)]);
        let token = signer.token(Some("a"), &claims());
        let (message, signature) = token.rsplit_once('.').unwrap();
        let zeros = encode(vec![0; 64]);
        for signature in ["", &signature[..signature.len() - 8], &format!("{signature}AAAA"), &zeros, "!!"] {
            assert_invalid(&verifier, &format!("{message}.{signature}"), signer.alg());
        }
        let (header, _) = message.split_once('.').unwrap();
        let root = encode(json!({"sub": "root", "exp": 9_999_999_999u64}).to_string());
        assert_invalid(&verifier, &format!("{header}.{root}.{signature}"), "other claims");
    }
}

#[test]
fn keys_that_a_token_brings_along_are_not_looked_at() {
    let (signer, forger) = (Signer::es256(), Signer::es256());
    let verifier = verifier(&[("a", &signer)]);
    let bring = |signer: &Signer, name: &str, value: Value| {
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "a"});
        header[name] = value;
        verify(&verifier, &signer.sign(&header.to_string(), &claims().to_string()))
    };
    let url = json!("https://127.0.0.1:1/keys");
    for (name, value) in [("jwk", forger.jwk("a")), ("jku", url.clone()), ("x5u", url), ("x5c", json!(["AAAA"]))] {
        let forged = bring(&forger, name, value.clone());
        assert!(matches!(forged, Err(Rejection::Invalid(_))), "{name}: {forged:?}");
        assert!(bring(&signer, name, value).is_ok(), "{name}");
    }
    assert!(bring(&signer, "typ", json!("at+jwt")).is_ok(), "typ is not examined");
}

#[test]
fn a_key_that_is_named_goes_before_the_secret_and_the_secret_before_no_name() {
    let (signer, secret) = (Signer::eddsa(), Signer::hs256(SECRET));
    let keys = BTreeMap::from([("a".to_owned(), signer.config())]);
    let config = Config { hs256_secret: Some(Secret::new(SECRET)), keys, ..Config::default() };
    let verifier = Verifier::new(&config).unwrap();
    assert!(verify(&verifier, &secret.token(None, &claims())).is_ok());
    assert!(verify(&verifier, &signer.token(Some("a"), &claims())).is_ok());
    assert_invalid(&verifier, &secret.token(Some("a"), &claims()), "the secret under the name of a key");
    assert_invalid(&verifier, &secret.token(Some("b"), &claims()), "the secret has no name");
    assert_invalid(&verifier, &signer.token(None, &claims()), "without a name the secret is meant");
}
