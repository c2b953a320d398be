//! What the tests of this folder begin with.

use std::time::Duration;

use serde_json::{Value, json};
use ullim_auth::{Config, Identity, JwksConfig, KeyCounters, KeyWatch, Rejection, Verified, Verifier};

use crate::http::Provider;
use crate::signer::{Signer, claims};

/// No test waits longer for what it expects.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source that may be on this machine.
pub(crate) fn local(url: &str) -> JwksConfig {
    JwksConfig { url: Some(url.to_owned()), allow_private_addresses: true, ..JwksConfig::default() }
}

pub(crate) fn set(signers: &[(&str, &Signer)]) -> Value {
    json!({"keys": signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect::<Vec<_>>()})
}

/// The verdict, waited for where it has to be.
pub(crate) async fn verdict<T>(verified: Verified<T>) -> Result<T, Rejection> {
    match verified {
        Verified::Now(verdict) => verdict,
        Verified::Later(verdict) => verdict.await,
    }
}

/// A verifier whose only source is read.
pub(crate) struct Scene {
    pub(crate) verifier: Verifier,
    pub(crate) watch: KeyWatch,
}

impl Scene {
    pub(crate) fn new(jwks: JwksConfig) -> Self {
        let verifier = Verifier::new(&Config { jwks, ..Config::default() }).unwrap();
        let watch = verifier.watch();
        Self { verifier, watch }
    }

    /// One that has asked `provider` once.
    pub(crate) async fn settled(provider: &Provider, jwks: JwksConfig) -> Self {
        let scene = Self::new(JwksConfig { url: Some(provider.url()), ..jwks });
        scene.refreshed(1).await;
        scene
    }

    /// The verdict of a token that `signer` signs as `kid`.
    pub(crate) async fn verify(&self, signer: &Signer, kid: &str) -> Result<Identity, Rejection> {
        let verified = self.verifier.verify(Some(&signer.token(Some(kid), &claims())));
        tokio::time::timeout(PATIENCE, verdict(verified)).await.expect("a verdict in time")
    }

    /// The verdict that is there at once.
    pub(crate) fn verify_now(&self, signer: &Signer, kid: &str) -> Result<Identity, Rejection> {
        self.verifier.verify(Some(&signer.token(Some(kid), &claims()))).at_once()
    }

    /// Waits until so many reads have ended.
    pub(crate) async fn refreshed(&self, reads: u64) -> KeyCounters {
        self.until(|counters| counters.jwks_refreshes_ok + counters.jwks_refreshes_failed >= reads).await
    }

    pub(crate) async fn until(&self, condition: impl Fn(&KeyCounters) -> bool) -> KeyCounters {
        let reached = async {
            loop {
                let counters = self.verifier.counters();
                if condition(&counters) {
                    return counters;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the counters come to it in time")
    }
}
