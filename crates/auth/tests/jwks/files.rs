//! A JWK Set in a file.

use std::time::Duration;

use ullim_auth::JwksConfig;

use crate::scene::{Scene, set};
use crate::signer::Signer;

fn from(file: &std::path::Path) -> JwksConfig {
    let often = Duration::from_millis(20);
    JwksConfig {
        file: Some(file.to_owned()),
        refresh_interval: often,
        min_refresh_interval: often,
        ..JwksConfig::default()
    }
}

#[tokio::test]
async fn a_file_is_known_at_once_and_read_again() {
    let (old, new) = (Signer::eddsa(), Signer::eddsa());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, set(&[("old", &old)]).to_string()).unwrap();
    let scene = Scene::new(from(&file));
    assert!(scene.verify_now(&old, "old").is_ok(), "nobody waits for a file");
    std::fs::write(&file, set(&[("old", &old), ("new", &new)]).to_string()).unwrap();
    scene.until(|counters| counters.keys == 2).await;
    assert!(scene.verify_now(&new, "new").is_ok());
}

#[tokio::test]
async fn a_file_that_breaks_leaves_the_old_keys() {
    let signer = Signer::eddsa();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, set(&[("a", &signer)]).to_string()).unwrap();
    let scene = Scene::new(from(&file));
    std::fs::write(&file, "garbage").unwrap();
    scene.until(|counters| counters.jwks_refreshes_failed > 0).await;
    assert!(scene.verify_now(&signer, "a").is_ok());
    std::fs::remove_file(&file).unwrap();
    let failed = scene.verifier.counters().jwks_refreshes_failed;
    scene.until(|counters| counters.jwks_refreshes_failed > failed + 1).await;
    assert!(scene.verify_now(&signer, "a").is_ok());
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_in_the_file() {
    let (old, new) = (Signer::eddsa(), Signer::eddsa());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, set(&[("old", &old)]).to_string()).unwrap();
    let seldom = JwksConfig { refresh_interval: Duration::from_secs(3600), ..from(&file) };
    let scene = Scene::new(seldom);
    std::fs::write(&file, set(&[("new", &new)]).to_string()).unwrap();
    assert!(scene.verify(&new, "new").await.is_ok());
    assert!(scene.verify(&old, "old").await.is_err());
}
