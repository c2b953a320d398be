//! When a provider is asked, by how many, and who waits.

use std::time::Duration;

use tokio::task::JoinSet;
use ullim_auth::{Config, JwksConfig, Rejection, Verified, Verifier};

use crate::http::{Answer, Provider};
use crate::scene::{Scene, local, set, verdict};
use crate::signer::{Signer, claims};

/// At most one fetch for unknown keys during a test.
fn once() -> JwksConfig {
    JwksConfig { min_refresh_interval: Duration::from_secs(60), ..local("") }
}

/// As many as there are tokens.
fn often() -> JwksConfig {
    JwksConfig { min_refresh_interval: Duration::from_millis(1), ..local("") }
}

#[tokio::test]
async fn nothing_is_fetched_before_it_is_watched() {
    let provider = Provider::start(Answer::ok(set(&[]))).await;
    let jwks = JwksConfig { url: Some(provider.url()), ..once() };
    let verifier = Verifier::new(&Config { jwks, ..Config::default() }).unwrap();
    let found = verifier.verify(Some(&Signer::eddsa().token(Some("a"), &claims())));
    assert!(matches!(found, Verified::Now(Err(Rejection::Unavailable(_)))));
    assert_eq!(provider.connections(), 0);
}

#[tokio::test]
async fn tokens_wait_for_the_first_fetch_and_cause_no_other() {
    let signer = Signer::eddsa();
    let provider = Provider::start(Answer::ok(set(&[("a", &signer)]))).await;
    let scene = Scene::new(JwksConfig { url: Some(provider.url()), ..once() });
    let token = signer.token(Some("a"), &claims());
    let mut verdicts = JoinSet::new();
    for _ in 0..100 {
        let verified = scene.verifier.verify(Some(&token));
        assert!(matches!(verified, Verified::Later(_)));
        verdicts.spawn(verdict(verified));
    }
    let subscription = scene.verifier.verify_subscription(&token);
    assert!(matches!(subscription, Verified::Later(_)));
    assert!(verdicts.join_all().await.into_iter().all(|verdict| verdict.is_ok()));
    assert!(verdict(subscription).await.is_err(), "it is a token for connect");
    assert_eq!(provider.connections(), 1);
    assert!(matches!(scene.verifier.verify(Some(&token)), Verified::Now(Ok(_))), "what is known is not waited for");
}

#[tokio::test]
async fn a_token_without_a_name_waits_for_the_first_fetch_too() {
    let signer = Signer::eddsa();
    let provider = Provider::start(Answer::ok(set(&[("a", &signer)]))).await;
    let scene = Scene::new(JwksConfig { url: Some(provider.url()), ..once() });
    let verified = scene.verifier.verify(Some(&signer.token(None, &claims())));
    assert!(matches!(verified, Verified::Later(_)) && verdict(verified).await.is_ok());
}

#[tokio::test]
async fn a_rotated_key_is_fetched_once_for_all_who_bring_it() {
    let (old, new) = (Signer::eddsa(), Signer::es256());
    let provider = Provider::start(Answer::ok(set(&[("old", &old)]))).await;
    let scene = Scene::settled(&provider, often()).await;
    assert!(scene.verify(&old, "old").await.is_ok());
    provider.answer_with(Answer::ok(set(&[("new", &new)])));
    scene.until(|counters| counters.jwks_age > Some(Duration::from_millis(1))).await;
    let token = new.token(Some("new"), &claims());
    let verdicts: JoinSet<_> = (0..100).map(|_| verdict(scene.verifier.verify(Some(&token)))).collect();
    assert!(verdicts.join_all().await.into_iter().all(|verdict| verdict.is_ok()));
    assert_eq!(provider.connections(), 2, "the start, and one for all");
    assert!(matches!(scene.verify(&old, "old").await, Err(Rejection::Invalid(_))), "the old one is gone");
}

#[tokio::test]
async fn unknown_keys_cause_no_more_than_one_fetch_in_a_time() {
    let signer = Signer::eddsa();
    let provider = Provider::start(Answer::ok(set(&[("a", &signer)]))).await;
    let scene = Scene::settled(&provider, once()).await;
    for number in 0..200 {
        let verified = scene.verifier.verify(Some(&signer.token(Some(&format!("made up {number}")), &claims())));
        assert!(matches!(verified, Verified::Now(Err(Rejection::Invalid(_)))), "{number}");
    }
    assert!(scene.verify(&signer, "a").await.is_ok());
    assert_eq!(provider.connections(), 1);
}

#[tokio::test]
async fn a_key_is_not_known_until_the_time_has_passed() {
    let (old, new) = (Signer::eddsa(), Signer::eddsa());
    let provider = Provider::start(Answer::ok(set(&[("old", &old)]))).await;
    let interval = Duration::from_secs(1);
    let scene = Scene::settled(&provider, JwksConfig { min_refresh_interval: interval, ..local("") }).await;
    provider.answer_with(Answer::ok(set(&[("old", &old), ("new", &new)])));
    assert!(matches!(scene.verify(&new, "new").await, Err(Rejection::Invalid(_))), "too soon");
    scene.until(|counters| counters.jwks_age.is_some_and(|age| age >= interval)).await;
    assert!(scene.verify(&new, "new").await.is_ok());
    assert_eq!(provider.connections(), 2);
}

#[tokio::test]
async fn the_set_is_read_again_at_each_interval() {
    let (old, new) = (Signer::eddsa(), Signer::eddsa());
    let provider = Provider::start(Answer::ok(set(&[("old", &old)]))).await;
    let jwks = JwksConfig { refresh_interval: Duration::from_millis(50), ..once() };
    let scene = Scene::settled(&provider, jwks).await;
    provider.answer_with(Answer::ok(set(&[("old", &old), ("new", &new)])));
    scene.until(|counters| counters.keys == 2).await;
    assert!(scene.verify_now(&new, "new").is_ok());
}

#[tokio::test]
async fn old_keys_stay_when_a_provider_fails_and_it_is_asked_again() {
    let (old, new) = (Signer::eddsa(), Signer::eddsa());
    let provider = Provider::start(Answer::ok(set(&[("old", &old)]))).await;
    let often = Duration::from_millis(20);
    let jwks = JwksConfig { refresh_interval: often, min_refresh_interval: often, ..local("") };
    let scene = Scene::settled(&provider, jwks).await;
    for answer in [Answer::status("500 Oops", "", ""), Answer::ok("garbage"), Answer::ok(r#"{"keys":[]}"#)] {
        provider.answer_with(answer);
        let failed = scene.verifier.counters().jwks_refreshes_failed;
        let counters = scene.until(|counters| counters.jwks_refreshes_failed > failed + 1).await;
        assert_eq!(counters.keys, 1);
        assert!(scene.verify_now(&old, "old").is_ok());
        let unknown = scene.verify(&new, "new").await;
        assert!(matches!(unknown, Err(Rejection::Unavailable(_))), "it may be known later: {unknown:?}");
    }
    provider.answer_with(Answer::ok(set(&[("new", &new)])));
    scene.until(|counters| counters.keys == 1 && scene.verify_now(&new, "new").is_ok()).await;
    assert!(scene.verify(&old, "old").await.is_err());
}

#[tokio::test]
async fn a_provider_that_comes_late_is_found() {
    let signer = Signer::eddsa();
    let provider = Provider::start(Answer::status("503 Not Yet", "", "")).await;
    let jwks = JwksConfig { min_refresh_interval: Duration::from_millis(20), ..local("") };
    let scene = Scene::settled(&provider, jwks).await;
    assert!(matches!(scene.verify(&signer, "a").await, Err(Rejection::Unavailable(_))));
    provider.answer_with(Answer::ok(set(&[("a", &signer)])));
    scene.until(|counters| counters.keys == 1).await;
    assert!(scene.verify_now(&signer, "a").is_ok());
}

#[tokio::test]
async fn those_who_wait_are_bounded() {
    let signer = Signer::eddsa();
    let provider = Provider::start(Answer::Silence).await;
    let jwks = JwksConfig { url: Some(provider.url()), timeout: Duration::from_secs(60), ..once() };
    let scene = Scene::new(jwks);
    let token = signer.token(Some("a"), &claims());
    let waiting: Vec<_> = (0..4096).map(|_| scene.verifier.verify(Some(&token))).collect();
    assert!(waiting.iter().all(|verified| matches!(verified, Verified::Later(_))));
    let more = scene.verifier.verify(Some(&token));
    assert!(matches!(more, Verified::Now(Err(Rejection::Unavailable(_)))));
    drop(waiting);
    let verified = scene.verifier.verify(Some(&token));
    assert!(matches!(verified, Verified::Later(_)), "who no longer waits leaves room");
}

#[tokio::test]
async fn whoever_waits_hears_that_nobody_reads_any_more() {
    let provider = Provider::start(Answer::Silence).await;
    let scene = Scene::new(JwksConfig { url: Some(provider.url()), ..once() });
    let token = Signer::eddsa().token(Some("a"), &claims());
    let waiting = scene.verifier.verify(Some(&token));
    assert!(matches!(waiting, Verified::Later(_)));
    drop(scene.watch);
    assert!(matches!(verdict(waiting).await, Err(Rejection::Unavailable(_))));
    let after = scene.verifier.verify(Some(&token));
    assert!(matches!(after, Verified::Now(Err(Rejection::Unavailable(_)))));
}

#[tokio::test]
async fn a_second_watch_does_nothing() {
    let signer = Signer::eddsa();
    let provider = Provider::start(Answer::ok(set(&[("a", &signer)]))).await;
    let scene = Scene::settled(&provider, once()).await;
    drop(scene.verifier.watch());
    assert!(scene.verify(&signer, "a").await.is_ok());
    assert_eq!(provider.connections(), 1);
}
