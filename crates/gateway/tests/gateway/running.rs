//! A gateway with a memory broker, and certificates of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use tempfile::TempDir;
use tokio::time::{interval, timeout};
use ullim_auth::{Audience, ResumeKey, Verifier};
use ullim_broker::ChannelRules;
use ullim_broker::memory::MemoryBroker;
use ullim_gateway::{Config, Counters, Gateway, Pages, StartError};
use ullim_hub::{NamespaceConfig, Namespaces, Setup};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Running {
    pub(crate) gateway: Gateway,
    directory: TempDir,
}

/// A certificate for `localhost` and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::valid_until(2100)
    }

    pub(crate) fn valid_until(year: i32) -> Self {
        Self::of(&KeyPair::generate().unwrap(), year)
    }

    /// With a key that takes its time.
    pub(crate) fn slow() -> Self {
        Self::of(&KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072).unwrap(), 2100)
    }

    fn of(key: &KeyPair, year: i32) -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        Self { certificate: params.self_signed(key).unwrap().pem(), key: key.serialize_pem() }
    }

    fn write(&self, directory: &Path) {
        std::fs::write(directory.join("tls.crt"), &self.certificate).unwrap();
        std::fs::write(directory.join("tls.key"), &self.key).unwrap();
    }
}

impl Running {
    /// A gateway with both listeners, which shows `pair`.
    pub(crate) fn with_tls(pair: &Pair, change: impl FnOnce(&mut Config)) -> Self {
        Self::try_with_tls(pair, change).unwrap()
    }

    pub(crate) fn try_with_tls(pair: &Pair, change: impl FnOnce(&mut Config)) -> Result<Self, StartError> {
        Self::start(Some(pair), Pages::default(), change)
    }

    /// A gateway without TLS.
    pub(crate) fn plain(change: impl FnOnce(&mut Config)) -> Self {
        Self::start(None, Pages::default(), change).unwrap()
    }

    pub(crate) fn start(
        pair: Option<&Pair>,
        pages: Pages,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        let directory = tempfile::tempdir().unwrap();
        let mut config =
            Config { listen: "127.0.0.1:0".parse().unwrap(), shards: 2, message_bytes: 2 << 20, ..Config::default() };
        if let Some(pair) = pair {
            pair.write(directory.path());
            config.tls.listen = Some("127.0.0.1:0".parse().unwrap());
            config.tls.certificate = Some(directory.path().join("tls.crt"));
            config.tls.key = Some(directory.path().join("tls.key"));
            config.tls.reload_interval = Duration::from_millis(10);
        }
        change(&mut config);
        let gateway = Gateway::start(&config, 64 << 20, &setup(), pages)?;
        Ok(Self { gateway, directory })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.gateway.tls_local_addr().unwrap()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts other files in the place of the old ones.
    pub(crate) fn install(&self, pair: &Pair) {
        pair.write(self.directory.path());
    }

    /// Waits until the counters are as they should be.
    pub(crate) async fn counted(&self, what: &str, is_so: impl Fn(&Counters) -> bool) -> Counters {
        let counted = async {
            let mut looks = interval(Duration::from_millis(5));
            loop {
                looks.tick().await;
                let counters = self.gateway.counters();
                if is_so(&counters) {
                    return counters;
                }
            }
        };
        let counted = timeout(PATIENCE, counted).await;
        counted.unwrap_or_else(|_| panic!("{what}: {:?}", self.gateway.counters()))
    }
}

fn setup() -> Setup {
    let auth = ullim_auth::Config { anonymous: true, ..Default::default() };
    let anyone = NamespaceConfig { subscribe: Audience::Anyone, publish: Audience::Anyone, ..Default::default() };
    let broker = Arc::new(MemoryBroker::new(&ullim_broker::Config::default(), ChannelRules::default()));
    Setup {
        config: ullim_hub::Config::default(),
        namespaces: Arc::new(Namespaces(BTreeMap::from([("chat".to_owned(), anyone)]))),
        verifier: Arc::new(Verifier::new(&auth).unwrap()),
        broker: broker.clone(),
        presence: broker.clone(),
        history: broker,
        resume: Arc::new(ResumeKey::new(&auth).unwrap()),
    }
}
