//! What a provider can answer.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use ullim_auth::{JwksConfig, Rejection};

use crate::http::{Answer, Provider};
use crate::scene::{Scene, local, set};
use crate::signer::Signer;

/// Asks once; what comes of it must be an error that leaves no key.
async fn assert_failure(answer: Answer, jwks: JwksConfig) -> Provider {
    let provider = Provider::start(answer).await;
    let scene = Scene::settled(&provider, jwks).await;
    let counters = scene.verifier.counters();
    assert_eq!((counters.jwks_refreshes_ok, counters.jwks_refreshes_failed), (0, 1));
    assert_eq!((counters.keys, counters.jwks_age), (0, None));
    let found = scene.verify_now(&Signer::eddsa(), "a");
    assert!(matches!(found, Err(Rejection::Unavailable(_))), "{found:?}");
    provider
}

#[tokio::test]
async fn each_algorithm_is_accepted_from_a_set() {
    let signers = [("e", Signer::es256()), ("d", Signer::eddsa())];
    let mut known: Vec<_> = signers.iter().map(|(kid, signer)| (*kid, signer)).collect();
    known.push(("r", Signer::rs256()));
    let provider = Provider::start(Answer::ok(set(&known))).await;
    let scene = Scene::settled(&provider, local("")).await;
    for (kid, signer) in &known {
        assert_eq!(scene.verify(signer, kid).await.unwrap().user.as_deref(), Some("alice"), "{kid}");
    }
    assert_eq!(scene.verifier.counters().keys, 3);
    assert!(scene.verifier.counters().jwks_age.is_some());
}

#[tokio::test]
async fn the_request_is_plain() {
    let provider = Provider::start(Answer::ok(set(&[("a", &Signer::eddsa())]))).await;
    let _scene = Scene::settled(&provider, local("")).await;
    let requests = provider.requests();
    assert!(requests[0].starts_with("GET /jwks.json HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[0].contains(&format!("host: {}\r\n", provider.address)), "{requests:?}");
    assert!(requests[0].contains("accept-encoding: identity\r\n"), "{requests:?}");
}

#[tokio::test]
async fn the_type_of_the_content_does_not_matter() {
    let body = set(&[("a", &Signer::eddsa())]);
    let provider = Provider::start(Answer::status("200 OK", "content-type: text/html\r\n", body)).await;
    assert_eq!(Scene::settled(&provider, local("")).await.verifier.counters().keys, 1);
}

#[tokio::test]
async fn only_a_200_with_a_set_is_believed() {
    let good = set(&[("a", &Signer::eddsa())]);
    for status in
        ["500 Internal Server Error", "404 Not Found", "201 Created", "206 Partial Content", "304 Not Modified"]
    {
        assert_failure(Answer::status(status, "", &good), local("")).await;
    }
    for body in ["", "garbage", "[]", "{}", r#"{"keys":[]}"#, "<html></html>", r#"{"keys":"#] {
        assert_failure(Answer::ok(body), local("")).await;
    }
    let secret = json!({"keys": [Signer::hs256("0123456789abcdef0123456789abcdef").jwk("a")]});
    assert_failure(Answer::ok(secret), local("")).await;
}

#[tokio::test]
async fn what_is_not_http_is_an_error() {
    for bytes in ["", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "HTTP/1.1 200 OK\r\n"] {
        assert_failure(Answer::Bytes(bytes.into()), local("")).await;
    }
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    assert_failure(Answer::Bytes(head.into_bytes()), local("")).await;
}

#[tokio::test]
async fn a_compressed_answer_is_refused() {
    let good = set(&[("a", &Signer::eddsa())]);
    assert_failure(Answer::status("200 OK", "content-encoding: gzip\r\n", good), local("")).await;
}

#[tokio::test]
async fn a_body_is_bounded_whether_it_says_its_length_or_not() {
    assert_failure(Answer::Endless, local("")).await;
    let good = set(&[("a", &Signer::eddsa())]).to_string();
    let exactly = JwksConfig { bytes: good.len(), ..local("") };
    let provider = Provider::start(Answer::ok(&good)).await;
    assert_eq!(Scene::settled(&provider, exactly.clone()).await.verifier.counters().keys, 1);
    assert_failure(Answer::ok(format!("{good} ")), exactly).await;
}

#[tokio::test]
async fn a_provider_that_does_not_answer_in_time_is_given_up() {
    for answer in [Answer::Silence, Answer::Drip] {
        let begun = Instant::now();
        assert_failure(answer, JwksConfig { timeout: Duration::from_millis(200), ..local("") }).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn redirects_are_refused_unless_they_are_allowed() {
    let signer = Signer::eddsa();
    let there = Provider::start(Answer::ok(set(&[("a", &signer)]))).await;
    let answer = Answer::redirect(&there.url());
    assert_failure(answer.clone(), local("")).await;
    assert_eq!(there.connections(), 0);
    let provider = Provider::start(answer).await;
    let scene = Scene::settled(&provider, JwksConfig { allow_redirects: true, ..local("") }).await;
    assert!(scene.verify(&signer, "a").await.is_ok());
}

#[tokio::test]
async fn redirects_end() {
    let allowed = JwksConfig { allow_redirects: true, ..local("") };
    let provider = assert_failure(Answer::redirect("/again"), allowed.clone()).await;
    assert_eq!(provider.connections(), 4, "the first, and three redirects");
    for location in ["ftp://127.0.0.1/", "//127.0.0.1/", "jwks.json", "https://u:p@127.0.0.1/"] {
        let provider = assert_failure(Answer::redirect(location), allowed.clone()).await;
        assert_eq!(provider.connections(), 1, "{location}");
    }
}
