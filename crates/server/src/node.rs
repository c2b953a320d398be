//! How a node is put together: broker, clients' side, internal listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ullim_api::{ApiState, ClientCounters, CounterSource, Readiness};
use ullim_auth::{KeyWatch, ResumeKey, Verifier};
use ullim_broker::config::Kind;
use ullim_broker::memory::MemoryBroker;
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelRules, History, Presence};
use ullim_gateway::{Gateway, Pages};

use crate::configuration::{self, Settings};
use crate::file_limit;

/// A node that serves.
pub(crate) struct Node {
    pub(crate) readiness: Readiness,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) broker: Arc<dyn Broker>,
    /// The same, where it is Redis: it has to be stopped.
    pub(crate) redis: Option<Arc<RedisBroker>>,
    /// The internal listener's task.
    pub(crate) api: JoinSet<io::Result<()>>,
    /// Ends it.
    pub(crate) stop_api: CancellationToken,
    /// A backend has asked this node to end.
    pub(crate) end_asked: CancellationToken,
    /// Over how long its clients are then sent away.
    pub(crate) drain_window: Duration,
    /// Keeps the keys of tokens up to date.
    _keys: KeyWatch,
    internal_address: SocketAddr,
}

impl Node {
    /// Starts a node that also serves `pages` to its clients. It serves when this returns, though its broker may not
    /// have been reached yet.
    pub(crate) async fn start(settings: Settings, pages: Pages) -> anyhow::Result<Self> {
        file_limit::raise();
        let config_hash = hash(&configuration::show(&settings)?);
        let namespaces = Arc::new(settings.namespaces);
        let Joined { broker, presence, history, redis } = join(&settings.broker, namespaces.channel_rules())?;
        let internal = settings.internal.listen;
        let listener = TcpListener::bind(internal).await;
        let in_vain = || format!("cannot listen on {internal} (internal.listen): does another node run here?");
        let listener = listener.with_context(in_vain)?;
        let internal_address = listener.local_addr()?;

        let verifier = Arc::new(Verifier::new(&settings.auth)?);
        let keys = verifier.watch();
        let setup = ullim_hub::Setup {
            config: settings.hub,
            namespaces: Arc::clone(&namespaces),
            verifier: verifier.clone(),
            broker: Arc::clone(&broker),
            presence: Arc::clone(&presence),
            history: Arc::clone(&history),
            resume: Arc::new(ResumeKey::new(&settings.auth).context("there is no randomness to be had")?),
        };
        let gateway = Gateway::start(&settings.client, settings.broker.shard_queue_bytes, &setup, pages)?;
        let gateway = Arc::new(gateway);

        let readiness = Readiness::default();
        let end_asked = CancellationToken::new();
        let state = ApiState {
            config: settings.internal,
            body_bytes: settings.broker.payload_bytes,
            broker: Arc::clone(&broker),
            presence,
            history,
            namespaces,
            readiness: readiness.clone(),
            end: end_asked.clone(),
            counters: counters(Arc::clone(&gateway), verifier),
            config_hash,
        };
        let stop_api = CancellationToken::new();
        let mut api = JoinSet::new();
        api.spawn(ullim_api::serve(listener, state, stop_api.clone()));
        readiness.serving();
        Ok(Self {
            readiness,
            gateway,
            broker,
            redis,
            api,
            stop_api,
            end_asked,
            drain_window: settings.drain.window,
            _keys: keys,
            internal_address,
        })
    }

    /// Where clients connect with STOMP over TCP, if they can.
    pub(crate) fn stomp_address(&self) -> Option<SocketAddr> {
        self.gateway.stomp_local_addr()
    }

    /// Where clients connect.
    pub(crate) fn client_address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    /// Where operators and backends do.
    pub(crate) fn internal_address(&self) -> SocketAddr {
        self.internal_address
    }
}

/// What a scrape of the metrics reads.
fn counters(gateway: Arc<Gateway>, verifier: Arc<Verifier>) -> CounterSource {
    CounterSource::new(move || {
        let ullim_gateway::Counters { hub, handshakes_refused, handshake_duration, address_limited, tls } =
            gateway.counters();
        let tls = gateway.tls_local_addr().or(gateway.stomp_tls_local_addr()).map(|_| ullim_api::TlsCounters {
            handshakes: tls.handshakes,
            failures: tls.failures,
            resumed: tls.resumed,
            reloads: tls.reloads,
            reload_failures: tls.reload_failures,
            certificate_expires: tls.certificate_expires,
        });
        ClientCounters { hub, handshakes_refused, handshake_duration, address_limited, tls, keys: verifier.counters() }
    })
}

/// A number that differs where `text` does (FNV-1a), the same in every build, and exact as a double: 52 bits.
fn hash(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix) >> 12
}

/// What joins this node to others, seen as what it can do.
struct Joined {
    broker: Arc<dyn Broker>,
    presence: Arc<dyn Presence>,
    history: Arc<dyn History>,
    redis: Option<Arc<RedisBroker>>,
}

fn join(config: &ullim_broker::Config, rules: ChannelRules) -> anyhow::Result<Joined> {
    Ok(match config.kind {
        Kind::Memory => {
            let memory = Arc::new(MemoryBroker::new(config, rules));
            Joined { broker: memory.clone(), presence: memory.clone(), history: memory, redis: None }
        }
        Kind::Redis => {
            let redis = RedisBroker::start(config, rules).context("broker.redis")?;
            Joined { broker: redis.clone(), presence: redis.clone(), history: redis.clone(), redis: Some(redis) }
        }
    })
}
