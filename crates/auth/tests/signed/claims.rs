//! What a token's claims have to be.

use serde_json::{Value, json};
use ullim_auth::{Config, Identity, Rejection, Secret, Verifier};

use crate::signer::{Signer, claims, now};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn config() -> Config {
    Config { hs256_secret: Some(Secret::new(SECRET)), ..Config::default() }
}

fn verify(config: &Config, claims: &str) -> Result<Identity, Rejection> {
    let token = Signer::hs256(SECRET).sign(r#"{"alg":"HS256"}"#, claims);
    Verifier::new(config).unwrap().verify(Some(&token)).at_once()
}

fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    claims.to_string()
}

fn is_invalid(found: &Result<Identity, Rejection>) -> bool {
    matches!(found, Err(Rejection::Invalid(_)))
}

#[test]
fn the_claims_make_the_identity() {
    let expires = now() + 60;
    let found = verify(&config(), &json!({"sub": "울림", "exp": expires, "info": {"b": 1, "a": [null]}}).to_string());
    let identity = found.unwrap();
    assert_eq!((identity.user.as_deref(), identity.expires), (Some("울림"), Some(expires)));
    assert_eq!(identity.info.unwrap().as_str(), r#"{"b":1,"a":[null]}"#);
    assert_eq!(verify(&config(), &with("info", Value::Null)).unwrap().info, None);
}

#[test]
fn a_token_ends_at_the_second_of_its_exp() {
    let expired = |exp: Value| verify(&config(), &with("exp", exp)) == Err(Rejection::Expired);
    for exp in [json!(0), json!(now()), json!(now() - 1), json!(now() as f64 + 0.4), json!(-5), json!(-0.5)] {
        assert!(expired(exp.clone()), "{exp}");
    }
    let exp = now() + 60;
    assert_eq!(verify(&config(), &with("exp", json!(exp as f64 + 0.9))).unwrap().expires, Some(exp));
    for exp in [json!("9999999999"), Value::Null, json!([]), json!(1e300), json!(u64::MAX), json!(true)] {
        assert!(is_invalid(&verify(&config(), &with("exp", exp.clone()))), "{exp}");
    }
    assert!(is_invalid(&verify(&config(), r#"{"sub":"alice"}"#)));
}

#[test]
fn a_token_is_not_good_before_its_nbf() {
    for nbf in [json!(now() + 30), json!(now() as f64 + 1.5), json!("now"), json!(1e300)] {
        assert!(is_invalid(&verify(&config(), &with("nbf", nbf.clone()))), "{nbf}");
    }
    for nbf in [json!(now()), json!(now() as f64 - 0.5), json!(0), Value::Null] {
        assert!(verify(&config(), &with("nbf", nbf.clone())).is_ok(), "{nbf}");
    }
}

#[test]
fn the_audience_must_be_one_of_ours() {
    let config = Config { audience: vec!["ullim".to_owned(), "chat".to_owned()], ..config() };
    for aud in [json!("ullim"), json!("chat"), json!(["other", "chat"]), json!(["ullim"])] {
        assert!(verify(&config, &with("aud", aud.clone())).is_ok(), "{aud}");
    }
    for aud in [json!("other"), json!("Ullim"), json!("ullim "), json!([]), json!(["other"]), Value::Null, json!("")] {
        assert!(is_invalid(&verify(&config, &with("aud", aud.clone()))), "{aud}");
    }
    for aud in [json!([["ullim"]]), json!({"ullim": 1}), json!(7), json!(["ullim", 7])] {
        assert!(is_invalid(&verify(&config, &with("aud", aud.clone()))), "{aud}");
    }
    assert!(is_invalid(&verify(&config, &claims().to_string())), "it is required");
    assert!(verify(&self::config(), &with("aud", json!("other"))).is_ok(), "where none is set it is not looked at");
}

#[test]
fn the_issuer_must_be_one_of_ours() {
    let config = Config { issuer: vec!["https://id.example".to_owned()], ..config() };
    assert!(verify(&config, &with("iss", json!("https://id.example"))).is_ok());
    let wrong = ["https://id.example/", "https://evil.example", ""].map(Value::from);
    for iss in wrong.into_iter().chain([json!(["https://id.example"]), Value::Null, json!(1)]) {
        assert!(is_invalid(&verify(&config, &with("iss", iss.clone()))), "{iss}");
    }
    assert!(is_invalid(&verify(&config, &claims().to_string())), "it is required");
    assert!(verify(&self::config(), &with("iss", json!("https://evil.example"))).is_ok());
}

#[test]
fn a_claim_that_is_there_twice_is_refused() {
    let exp = now() + 60;
    for claims in [
        format!(r#"{{"sub":"alice","sub":"bob","exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":1,"exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"aud":"a","aud":"b"}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"channel":"a","channel":"b"}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"\u0073ub":"bob"}}"#),
    ] {
        assert!(is_invalid(&verify(&config(), &claims)), "{claims}");
    }
}

#[test]
fn what_an_application_says_of_a_user_is_bounded() {
    let info = |length: usize| verify(&config(), &with("info", json!("x".repeat(length - 2))));
    assert!(info(4096).is_ok());
    assert!(is_invalid(&info(4097)));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert!(is_invalid(&verify(&config(), &format!(r#"{{"sub":"alice","exp":{},"info":{deep}}}"#, now() + 60))));
}
