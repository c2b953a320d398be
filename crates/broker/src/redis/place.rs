//! Where Redis is at the moment: one server, the master that sentinels name, or a Cluster.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, AddressError, Credentials, Url};
use super::cluster::Topology;
use super::sentinel::Sentinels;
use super::tls::Tls;
use crate::config::RedisConfig;

/// How Redis is reached.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) access: Access,
    pub(super) form: Form,
}

/// What every connection needs beside an address.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) credentials: Credentials,
    pub(super) tls: Option<Tls>,
    /// How long a connection's set-up may take, and an answer.
    pub(super) set_up: Duration,
    pub(super) response: Duration,
}

#[derive(Debug)]
pub(super) enum Form {
    Single(Address),
    Sentinel(Sentinels),
    Cluster(Arc<Topology>),
}

impl Place {
    /// Reads the configuration, and the files for TLS. Connects to nothing.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, AddressError> {
        let Url { address, credentials, is_tls } = Url::parse(&config.url)?;
        let tls = is_tls.then(|| Tls::new(config)).transpose()?;
        let servers = |texts: &[String]| -> Result<Vec<Address>, AddressError> {
            texts.iter().map(|text| Address::parse(text).ok_or_else(|| AddressError::Server(text.clone()))).collect()
        };
        let access = Access { credentials, tls, set_up: config.ping_timeout, response: config.command_timeout };
        let form = match (&config.sentinels[..], &config.cluster[..]) {
            ([], []) => Form::Single(address),
            (sentinels, []) if config.master.is_empty() => {
                let _ = servers(sentinels)?;
                return Err(AddressError::Form("sentinels need the name of a master: broker.redis.master"));
            }
            (sentinels, []) => {
                let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
                let credentials = Credentials {
                    username: some(&config.sentinel_username),
                    password: some(&config.sentinel_password),
                };
                let access = Access { credentials, ..access.clone() };
                Form::Sentinel(Sentinels::new(servers(sentinels)?, config.master.clone(), access))
            }
            ([], seeds) => Form::Cluster(Arc::new(Topology::new(servers(seeds)?, access.clone()))),
            _ => return Err(AddressError::Form("either sentinels or a cluster")),
        };
        Ok(Self { access, form })
    }

    /// The server to connect to now. With sentinels: once they have been asked.
    pub(super) async fn master(&self) -> Result<Address, String> {
        match &self.form {
            Form::Single(address) => Ok(address.clone()),
            Form::Sentinel(sentinels) => sentinels.master().await,
            Form::Cluster(_) => Err("a cluster has several masters".to_owned()),
        }
    }

    /// Channels are published with `SPUBLISH`.
    pub(super) fn is_sharded(&self) -> bool {
        matches!(self.form, Form::Cluster(_))
    }

    /// Waits until another server than `address` is the one to connect to.
    pub(super) async fn moved(&self, address: &Address) {
        match &self.form {
            Form::Single(_) | Form::Cluster(_) => std::future::pending().await,
            Form::Sentinel(sentinels) => sentinels.moved(address).await,
        }
    }
}

/// For the log: without credentials.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Single(address) => address.fmt(f),
            Form::Sentinel(sentinels) => sentinels.fmt(f),
            Form::Cluster(_) => f.write_str("the cluster"),
        }
    }
}
