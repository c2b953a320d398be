//! Which server a channel's publications go to, as a backend would find out.

use std::net::SocketAddr;

use crate::redis::{sentinel, sharded};

/// Where to ask.
#[derive(Debug, Clone)]
pub(crate) enum Directory {
    /// It is always this one.
    Fixed(SocketAddr),
    /// These sentinels know.
    Sentinels(Vec<SocketAddr>),
    /// Each of these servers knows.
    Cluster(Vec<SocketAddr>),
}

impl Directory {
    /// The server for `key`, if it is known now.
    pub(crate) async fn server(&self, key: &str) -> Option<SocketAddr> {
        match self {
            Self::Fixed(address) => Some(*address),
            Self::Sentinels(sentinels) => sentinel::master(sentinels).await,
            Self::Cluster(servers) => sharded::owner(&sharded::ranges(servers).await?, sharded::slot(key)),
        }
    }

    /// Whether live publications are sharded.
    pub(crate) fn is_sharded(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}
