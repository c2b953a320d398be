//! TLS on every link, with an authority of the test's own; a client's certificate; a user with a password.

use std::sync::{Arc, Mutex, OnceLock};

use tempfile::TempDir;
use ullim_broker::redis::{RedisBroker, check};
use ullim_broker::{Broker, ChannelRules, Status};
use ullim_tests::{Authority, free_port};

use super::member::{enter, occupancy};
use super::shard::Shard;
use super::{ROOMY, config, publish, start, started, wait};
use ullim_tests::redis::server::Server;

/// Certificates on disk, and a server that takes TLS on a port of its own.
struct Secured {
    files: TempDir,
    server: Server,
    port: u16,
}

impl Secured {
    async fn start(further: &[&str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let issued = authority.issue();
        let path = |name: &str| files.path().join(name).display().to_string();
        std::fs::write(path("ca.pem"), authority.pem()).unwrap();
        std::fs::write(path("other.pem"), Authority::new().pem()).unwrap();
        std::fs::write(path("cert.pem"), issued.certificate).unwrap();
        std::fs::write(path("key.pem"), issued.key).unwrap();
        let port = free_port();
        let (port_text, ca, cert, key) = (port.to_string(), path("ca.pem"), path("cert.pem"), path("key.pem"));
        let mut arguments = vec!["--tls-port", &port_text, "--tls-ca-cert-file", &ca];
        arguments.extend(["--tls-cert-file", &cert, "--tls-key-file", &key]);
        arguments.extend(further);
        let server = Server::running(&arguments).await;
        Self { files, server, port }
    }

    fn config(&self, credentials: &str, ca: &str) -> ullim_broker::Config {
        let mut config = config(format!("rediss://{credentials}localhost:{}", self.port));
        config.redis.ca_file = Some(self.files.path().join(ca));
        config
    }
}

/// What all tests log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

static LOG: OnceLock<Log> = OnceLock::new();

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        let log = LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        });
        log.clone()
    }

    /// The lines about the server at `port`.
    fn about(&self, port: u16) -> String {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        text.lines().filter(|line| line.contains(&format!(":{port}"))).map(|line| format!("{line}\n")).collect()
    }
}

#[tokio::test]
async fn all_links_go_over_tls_with_an_own_authority_and_a_user() {
    let secured = Secured::start(&["--tls-auth-clients", "no"]).await;
    secured.server.run::<()>(&["ACL", "SETUSER", "u", "on", ">p@ss", "+@all", "~*", "&*"]).await;
    let config = secured.config("u:p%40ss@", "ca.pem");
    assert_eq!(check(&config.redis), Ok(()));
    let broker = started(&config).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    // More than one record of TLS.
    let long = "x".repeat(1 << 20);
    assert_eq!(publish(&broker, "a", &long).await, Ok(()));
    assert_eq!(shard.next_data("a").await, long);
    enter(&*broker, "b", 1, "alice").await;
    assert_eq!(occupancy(&*broker, "b").await, (1, 1));
    let clients = secured.server.run::<String>(&["CLIENT", "LIST"]).await;
    let of_user = clients.lines().filter(|line| line.contains(" user=u ")).count();
    assert_eq!(of_user, 3, "{clients}");
}

#[tokio::test]
async fn a_certificate_of_our_own_is_shown_where_redis_asks_for_one() {
    let secured = Secured::start(&["--tls-auth-clients", "yes"]).await;
    let mut config = secured.config("", "ca.pem");
    config.redis.certificate = Some(secured.files.path().join("cert.pem"));
    assert!(check(&config.redis).unwrap_err().to_string().contains("belong together"));
    config.redis.key = Some(secured.files.path().join("key.pem"));
    let broker = started(&config).await;
    assert_eq!(publish(&broker, "a", "x").await, Ok(()));
    config.redis.key = Some(secured.files.path().join("cert.pem"));
    assert!(check(&config.redis).unwrap_err().to_string().contains("broker.redis.key"));
}

#[tokio::test]
async fn a_certificate_by_another_authority_is_refused_and_said() {
    let secured = Secured::start(&["--tls-auth-clients", "no"]).await;
    let log = Log::start();
    let broker = start(&secured.config("", "other.pem"));
    let said = "by an authority that is not trusted: see broker.redis.ca_file";
    wait::until("it is said", || log.about(secured.port).contains(said)).await;
    assert_eq!(broker.status(), Status::Starting);
}

#[tokio::test]
async fn a_file_that_is_no_certificate_is_refused_at_the_start() {
    let files = tempfile::tempdir().unwrap();
    let mut config = config("rediss://localhost:1".to_owned());
    for (content, said) in [(None, "No such file"), (Some("nothing"), "no CERTIFICATE")] {
        let path = files.path().join("ca.pem");
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        config.redis.ca_file = Some(path);
        let error = RedisBroker::start(&config, ChannelRules::default()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("broker.redis.ca_file") && error.contains(said), "{error}");
    }
}
