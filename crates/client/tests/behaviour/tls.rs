//! wss: who is trusted, and what is told about whoever is not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fastwebsockets::OpCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use ullim_client::{Config, ConfigError, Event, Events, Reason, TlsError, connect};

use crate::server::{Server, next, quick, subscribe, text_of};

/// Signs certificates of servers. Clients find its own in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
    _folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file, _folder: folder }
    }

    /// What a server with a certificate for `names` needs.
    fn acceptor(&self, names: &[&str]) -> TlsAcceptor {
        self.acceptor_of(params(names))
    }

    fn acceptor_of(&self, params: CertificateParams) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn trusted(&self, url: &str) -> Config {
        let mut config = quick(&[url]);
        config.ca_file = Some(self.file.clone());
        config
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

/// Why the next attempt failed, which is not the last.
async fn failure(events: &mut Events) -> TlsError {
    match next(events).await {
        Event::Disconnected { reason: Reason::Tls(error), retry_in: Some(_), .. } => error,
        other => panic!("{other:?} is no failure of TLS that is tried again"),
    }
}

#[tokio::test]
async fn a_trusted_node_is_spoken_to_as_any_other() {
    let authority = Authority::new();
    for host in ["localhost", "127.0.0.1"] {
        let mut server = Server::secured(host, authority.acceptor(&["localhost", "127.0.0.1"])).await;
        let (client, mut events) = connect(authority.trusted(&server.url)).unwrap();
        let mut peer = server.session().await;
        subscribe(&client, &mut peer, "c").await;
        // More than one record, and more than one read.
        for length in [1, 100_000, 1_000_000] {
            let text = "x".repeat(length);
            let (received, ()) = tokio::join!(next(&mut events), peer.publish("c", &text));
            assert!(text_of(received) == text, "{length} bytes");
        }
        let (outcome, _) = tokio::join!(client.ping(), peer.grant("ping"));
        outcome.unwrap();
        // Another connection after a break, of which the other side said nothing.
        drop(peer);
        match next(&mut events).await {
            Event::Disconnected { reason: Reason::Broken(reason), .. } => {
                assert!(!reason.contains("notify"), "{reason}")
            }
            other => panic!("{other:?}"),
        }
        let mut peer = server.session().await;
        assert_eq!(peer.resubscribe().await, ["c"]);
        let (_, (opcode, _)) = tokio::join!(client.close(), peer.frame());
        assert_eq!(opcode, OpCode::Close);
    }
}

#[tokio::test]
async fn a_stranger_s_certificate_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = Server::secured("localhost", stranger.acceptor(&["localhost"])).await;
    let (_client, mut events) = connect(authority.trusted(&server.url)).unwrap();
    let unknown = TlsError::UnknownAuthority { host: "localhost".to_owned() };
    assert_eq!(failure(&mut events).await, unknown);
    assert!(unknown.to_string().contains("CA file"), "{unknown}");
    // It stays so, however often it is tried.
    assert_eq!(failure(&mut events).await, unknown);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_with_the_names_that_it_holds() {
    let authority = Authority::new();
    let server = Server::secured("127.0.0.1", authority.acceptor(&["node.example.org"])).await;
    let (_client, mut events) = connect(authority.trusted(&server.url)).unwrap();
    let error = failure(&mut events).await;
    let TlsError::WrongName { host, names } = &error else { panic!("{error:?}") };
    assert_eq!(host, "127.0.0.1");
    assert!(names.contains("node.example.org"), "{error}");
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new();
    let host = || "localhost".to_owned();
    let mut expired = params(&["localhost"]);
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
    let mut early = params(&["localhost"]);
    (early.not_before, early.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2090, 2, 1));
    for (params, expected) in
        [(expired, TlsError::Expired { host: host() }), (early, TlsError::NotYetValid { host: host() })]
    {
        let server = Server::secured("localhost", authority.acceptor_of(params)).await;
        let (_client, mut events) = connect(authority.trusted(&server.url)).unwrap();
        assert_eq!(failure(&mut events).await, expected);
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_trusted_is_passed_over() {
    let authority = Authority::new();
    let bad = Server::secured("localhost", Authority::new().acceptor(&["localhost"])).await;
    let mut good = Server::secured("localhost", authority.acceptor(&["localhost"])).await;
    let mut config = authority.trusted(&bad.url);
    config.urls.push(good.url.clone());
    let (_client, _events) = connect(config).unwrap();
    good.session().await;
}

#[tokio::test]
async fn a_port_without_tls_is_told_as_such() {
    let authority = Authority::new();
    let server = Server::start().await;
    let (_client, mut events) = connect(authority.trusted(&server.url.replace("ws://", "wss://"))).unwrap();
    let error = failure(&mut events).await;
    assert!(matches!(error, TlsError::Handshake { .. }), "{error:?}");
    assert!(error.to_string().contains("wss://"), "{error}");
}

#[tokio::test]
async fn a_node_that_does_not_finish_the_tls_handshake_is_given_up() {
    let authority = Authority::new();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = authority.trusted(&format!("wss://{}", silent.local_addr().unwrap()));
    config.connect_timeout = Duration::from_millis(100);
    let (_client, mut events) = connect(config).unwrap();
    match next(&mut events).await {
        Event::Disconnected { reason: Reason::Broken(reason), .. } => assert!(reason.contains("100ms"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_without_authorities_is_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, content) in
        [("missing", None), ("empty", Some("")), ("text", Some("nonsense")), ("broken", Some(broken))]
    {
        let file = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let mut config = Config::new(["wss://localhost"]);
        config.ca_file = Some(file.clone());
        match connect(config) {
            Err(ConfigError::BadCaFile { path, .. }) => assert_eq!(path, file),
            other => panic!("{name}: {other:?}"),
        }
    }
}
