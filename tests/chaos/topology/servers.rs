//! Redis in one of its forms.

use std::net::SocketAddr;

use clap::ValueEnum;

use super::directory::{Directory, Masters};
use crate::redis::sentinel::{MASTER, Sentinel};
use crate::redis::server::{Data, Server};
use crate::redis::sharded::Sharded;
use crate::{Link, NodeBuilder};

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One server.
    Single,
    /// A master and two replicas, watched by three sentinels.
    Sentinel,
    /// Three masters with a replica each.
    Cluster,
}

/// The servers.
pub(crate) enum Servers {
    /// One server.
    Single(Server),
    /// With sentinels.
    Sentinel(Sentinel),
    /// A cluster.
    Cluster(Sharded),
}

impl Servers {
    /// Starts all.
    pub(crate) async fn start(form: Form) -> Self {
        match form {
            Form::Single => {
                let mut server = Server::new(&["--enable-debug-command", "yes"]);
                server.start(Data::None).await;
                Self::Single(server)
            }
            Form::Sentinel => Self::Sentinel(Sentinel::start().await),
            Form::Cluster => Self::Cluster(Sharded::start().await),
        }
    }

    /// Which form it is.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Single(_) => Form::Single,
            Self::Sentinel(_) => Form::Sentinel,
            Self::Cluster(_) => Form::Cluster,
        }
    }

    /// Where publishers ask.
    pub(crate) fn directory(&self) -> Directory {
        match self {
            Self::Single(server) => Directory::Fixed(server.address()),
            Self::Sentinel(sentinel) => Directory::Sentinels(Masters::watch(sentinel.addresses())),
            Self::Cluster(cluster) => Directory::Cluster(cluster.addresses()),
        }
    }

    /// Tells a node where Redis is.
    pub(crate) fn tell(&self, builder: NodeBuilder, link: Option<&Link>) -> NodeBuilder {
        let list =
            |addresses: Vec<SocketAddr>| addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        match self {
            Self::Single(server) => {
                let address = link.map_or(server.address(), Link::address);
                builder.redis_at(&format!("redis://{address}"))
            }
            Self::Sentinel(sentinel) => builder
                .set("broker.kind", "redis")
                .set("broker.redis.sentinels", &list(sentinel.addresses()))
                .set("broker.redis.master", MASTER),
            Self::Cluster(cluster) => {
                builder.set("broker.kind", "redis").set("broker.redis.cluster", &list(cluster.addresses()))
            }
        }
    }

    /// The servers that take writes now.
    pub(crate) async fn masters(&self) -> Vec<&Server> {
        match self {
            Self::Single(server) => vec![server],
            Self::Sentinel(sentinel) => vec![&sentinel.servers[sentinel.master_index().await]],
            Self::Cluster(cluster) => {
                cluster.masters().await.into_iter().map(|index| &cluster.servers[index]).collect()
            }
        }
    }

    /// One command on each of them.
    pub(crate) async fn each(&self, words: &[&str]) {
        for master in self.masters().await {
            master.text(words).await;
        }
    }
}
