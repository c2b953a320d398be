//! Certificates that change, good and bad.

use ullim_gateway::{Counters, StartError};

use crate::client::{Client, Tls};
use crate::running::{Pair, Running};

fn reloads(number: u64) -> impl Fn(&Counters) -> bool {
    move |counters| counters.tls.reloads == number
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_nobody_is_dropped() {
    let (first, second) = (Pair::new(), Pair::valid_until(2050));
    let running = Running::with_tls(&first, |_| {});
    let mut before = Client::tls(&Tls::trusting(&first), running.tls_address()).await;
    assert_eq!(running.gateway.counters().tls.certificate_expires, Some(4_102_444_800));
    running.install(&second);
    let counters = running.counted("a reload", reloads(1)).await;
    assert_eq!(counters.tls.certificate_expires, Some(2_524_608_000));
    Client::tls(&Tls::trusting(&second), running.tls_address()).await.is_there().await;
    assert!(Tls::trusting(&first).connect(running.tls_address()).await.is_err(), "the old one is shown no more");
    before.is_there().await;
}

#[tokio::test]
async fn sessions_are_resumed_across_a_reload() {
    let (first, second) = (Pair::new(), Pair::new());
    let running = Running::with_tls(&first, |_| {});
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let before = running.gateway.counters();
        running.install(&first);
        running.counted("the first is in use", |counters| counters.tls.reloads.is_multiple_of(2)).await;
        let tls = Tls::speaking(&first, &[version]);
        // The tickets come with the first answers.
        drop(Client::tls(&tls, running.tls_address()).await);
        running.install(&second);
        running.counted("a reload", reloads(before.tls.reloads.next_multiple_of(2) + 1)).await;
        let resumed = before.tls.resumed + 1;
        Client::tls(&tls, running.tls_address()).await.is_there().await;
        running.counted("a resumed session", |counters| counters.tls.resumed == resumed).await;
    }
}

#[tokio::test]
async fn a_bad_certificate_is_refused_and_the_old_one_stays() {
    let good = Pair::new();
    let running = Running::with_tls(&good, |_| {});
    let other = Pair::new();
    let bad = [
        Pair { certificate: "rubbish".to_owned(), key: other.key.clone() },
        Pair { certificate: other.certificate.clone(), key: "rubbish".to_owned() },
        Pair { certificate: other.certificate.clone(), key: Pair::new().key },
        Pair::valid_until(2021),
    ];
    for (number, bad) in bad.iter().enumerate() {
        // What went before must not look the same.
        running.install(bad);
        running.counted("a refused certificate", |counters| counters.tls.reload_failures > number as u64).await;
        Client::tls(&Tls::trusting(&good), running.tls_address()).await.is_there().await;
    }
    std::fs::remove_file(running.file("tls.key")).unwrap();
    let before = running.gateway.counters().tls.reload_failures;
    running.counted("a missing file", |counters| counters.tls.reload_failures > before).await;
    running.install(&other);
    running.counted("a good one at last", reloads(1)).await;
    Client::tls(&Tls::trusting(&other), running.tls_address()).await.is_there().await;
}

#[tokio::test]
async fn a_bad_certificate_at_the_start_is_an_error_that_names_key_and_file() {
    let (good, other) = (Pair::new(), Pair::new());
    let refused = |pair: &Pair| match Running::try_with_tls(pair, |_| {}) {
        Err(error @ StartError::Certificate(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it starts"),
    };
    let mismatch = refused(&Pair { certificate: good.certificate.clone(), key: other.key });
    assert!(mismatch.starts_with("client.tls.key: /") && mismatch.contains("/tls.crt (client.tls.certificate)"));
    let expired = refused(&Pair::valid_until(2021));
    assert!(expired.starts_with("client.tls.certificate: /"), "{expired}");
    assert!(expired.contains("valid from Wed, 01 Jan 2020 00:00:00 GMT until Fri, 01 Jan 2021"), "{expired}");
    let empty = refused(&Pair { certificate: String::new(), key: good.key.clone() });
    assert!(empty.ends_with("/tls.crt: there is no certificate in it"), "{empty}");
    let keyless = refused(&Pair { certificate: good.certificate.clone(), key: good.certificate.clone() });
    assert!(keyless.ends_with("/tls.key: there is no private key in it"), "{keyless}");
    let missing = Running::try_with_tls(&good, |config| config.tls.key = None).err().unwrap().to_string();
    assert_eq!(missing, "client.tls.key is not set, but client.tls.listen is");
    let absent = Running::try_with_tls(&good, |config| config.tls.key = Some("/nowhere/tls.key".into()));
    let absent = absent.err().unwrap().to_string();
    assert!(absent.starts_with("client.tls.key: /nowhere/tls.key: No such file"), "{absent}");
}
