//! Addresses that only this network can reach are not asked.

use ullim_auth::{Config, JwksConfig, Rejection, Verifier};

use crate::http::{Answer, Provider};
use crate::scene::{Scene, local, set, verdict};
use crate::signer::Signer;

#[tokio::test]
async fn private_addresses_are_refused_as_literals_and_as_names() {
    let provider = Provider::start(Answer::ok(set(&[("a", &Signer::eddsa())]))).await;
    let port = provider.address.port();
    // Some resolvers read the last three as 127.0.0.1 too.
    for host in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433", "0x7f000001"]
    {
        let url = Some(format!("https://{host}:{port}/jwks.json"));
        let scene = Scene::new(JwksConfig { url, ..JwksConfig::default() });
        let counters = scene.refreshed(1).await;
        assert_eq!((counters.jwks_refreshes_failed, counters.keys), (1, 0), "{host}");
        assert!(matches!(scene.verify_now(&Signer::eddsa(), "a"), Err(Rejection::Unavailable(_))), "{host}");
    }
    assert_eq!(provider.connections(), 0);
}

#[tokio::test]
async fn plain_http_is_for_loopback_only_and_only_where_it_is_allowed() {
    let signer = Signer::eddsa();
    let provider = Provider::start(Answer::ok(set(&[("a", &signer)]))).await;
    let plain = JwksConfig { url: Some(provider.url()), ..JwksConfig::default() };
    assert!(Verifier::new(&Config { jwks: plain, ..Config::default() }).is_err());
    let by_name = Scene::new(local(&format!("http://localhost:{}/", provider.address.port())));
    assert!(by_name.verify(&signer, "a").await.is_ok());
    let asked = provider.connections();
    // 0.0.0.0 leads to this machine, but is not its loopback address.
    let elsewhere = Scene::new(local(&format!("http://0.0.0.0:{}/", provider.address.port())));
    assert_eq!(elsewhere.refreshed(1).await.jwks_refreshes_failed, 1);
    assert_eq!(provider.connections(), asked);
}

#[tokio::test]
async fn each_redirect_is_held_to_the_same_rules() {
    let there = Provider::start(Answer::ok(set(&[("a", &Signer::eddsa())]))).await;
    let provider = Provider::start(Answer::redirect(&format!("http://0.0.0.0:{}/", there.address.port()))).await;
    let scene = Scene::settled(&provider, JwksConfig { allow_redirects: true, ..local("") }).await;
    assert_eq!(scene.verifier.counters().jwks_refreshes_failed, 1);
    assert_eq!((provider.connections(), there.connections()), (1, 0));
}

#[tokio::test]
async fn a_url_that_a_token_brings_is_never_asked() {
    let provider = Provider::start(Answer::ok(set(&[]))).await;
    let scene = Scene::settled(&provider, local("")).await;
    let (signer, trap) = (Signer::eddsa(), Provider::start(Answer::ok(set(&[]))).await);
    for name in ["jku", "x5u", "iss"] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{0}","{name}":"{0}"}}"#, trap.url());
        let claims = format!(r#"{{"sub":"alice","exp":9999999999,"iss":"{}"}}"#, trap.url());
        let found = verdict(scene.verifier.verify(Some(&signer.sign(&header, &claims)))).await;
        assert!(found.is_err());
    }
    assert_eq!(trap.connections(), 0);
}
