//! Whom a provider's certificate has to come from.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use ullim_auth::JwksConfig;

use crate::http::{Answer, Provider};
use crate::scene::{Scene, local, set};
use crate::signer::Signer;

/// A server's side of TLS for `name`, and its certificate in PEM.
fn certified(name: &str) -> (TlsAcceptor, String) {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), cert.pem())
}

fn file(folder: &tempfile::TempDir, pem: &str) -> Option<PathBuf> {
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    Some(file)
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    for (name, host) in [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")] {
        let (tls, pem) = certified(name);
        let signer = Signer::eddsa();
        let provider = Provider::start_with(Answer::ok(set(&[("a", &signer)])), Some(tls)).await;
        let url = format!("https://{host}:{}/jwks.json", provider.address.port());
        let scene = Scene::new(JwksConfig { ca_file: file(&folder, &pem), ..local(&url) });
        assert!(scene.verify(&signer, "a").await.is_ok(), "{host}");
    }
}

#[tokio::test]
async fn other_certificates_and_other_names_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, pem) = certified("id.example");
    let provider = Provider::start_with(Answer::ok(set(&[("a", &Signer::eddsa())])), Some(tls)).await;
    let url = format!("https://localhost:{}/jwks.json", provider.address.port());
    let (_, other) = certified("localhost");
    for ca_file in [None, file(&folder, &other), file(&folder, &pem)] {
        let scene = Scene::new(JwksConfig { ca_file, ..local(&url) });
        let counters = scene.refreshed(1).await;
        assert_eq!((counters.jwks_refreshes_failed, counters.keys), (1, 0));
    }
    assert!(provider.requests().is_empty(), "nothing was asked of a stranger");
}
