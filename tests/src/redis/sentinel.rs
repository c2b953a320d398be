//! A master, two replicas, and three sentinels that watch over them.

use std::net::SocketAddr;

use crate::eventually;
use crate::redis::server::{Data, Server, ask};

/// The name that the sentinels have for the master.
pub const MASTER: &str = "mymaster";

/// The servers.
pub struct Sentinel {
    /// The data servers; which one is the master changes.
    pub servers: Vec<Server>,
    /// The sentinels.
    pub sentinels: Vec<Server>,
}

impl Sentinel {
    /// Starts all, and waits until the sentinels know each other and both replicas.
    pub async fn start() -> Self {
        let mut servers: Vec<Server> = (0..3).map(|_| Server::new(&["--repl-diskless-sync-delay", "0"])).collect();
        for server in &mut servers {
            server.start(Data::None).await;
        }
        let master = servers[0].port().to_string();
        for replica in &servers[1..] {
            replica.text(&["REPLICAOF", "127.0.0.1", &master]).await;
        }
        let mut sentinels: Vec<Server> = (0..3).map(|_| Server::new(&[])).collect();
        for sentinel in &mut sentinels {
            let configuration = format!(
                "sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 5000\n\
                 sentinel parallel-syncs {MASTER} 2\n"
            );
            sentinel.start_as_sentinel(&configuration).await;
        }
        let started = Self { servers, sentinels };
        started.settled().await;
        started
    }

    /// Waits until each sentinel sees a master, two replicas that follow it, and two other sentinels.
    pub async fn settled(&self) {
        eventually("the sentinels to agree", async || {
            let master = self.master().await?;
            for sentinel in &self.sentinels {
                let state = sentinel.text(&["INFO", "sentinel"]).await;
                let wanted = format!("status=ok,address={master},slaves=2,sentinels=3");
                if !state.contains(&wanted) {
                    return None;
                }
            }
            let replication = redis::from_redis_value::<String>(ask(master, &["INFO", "replication"]).await.ok()?);
            let replication = replication.ok()?;
            (replication.contains("role:master") && replication.matches("state=online").count() == 2).then_some(())
        })
        .await;
    }

    /// The addresses of the sentinels.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(Server::address).collect()
    }

    /// Where the master is, as most sentinels say.
    pub async fn master(&self) -> Option<SocketAddr> {
        master(&self.addresses()).await
    }

    /// Which of [`Self::servers`] is the master.
    pub async fn master_index(&self) -> usize {
        eventually("a master", async || {
            let address = self.master().await?;
            self.servers.iter().position(|server| server.address() == address)
        })
        .await
    }
}

/// Where the master is, as most of these sentinels say.
pub async fn master(sentinels: &[SocketAddr]) -> Option<SocketAddr> {
    let mut said: Vec<SocketAddr> = Vec::new();
    for sentinel in sentinels {
        let Ok(answer) = ask(*sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await else { continue };
        let Ok((host, port)) = redis::from_redis_value::<(String, u16)>(answer) else { continue };
        said.extend(format!("{host}:{port}").parse::<SocketAddr>().ok());
    }
    let votes = |address: &SocketAddr| said.iter().filter(|other| *other == address).count();
    said.iter().find(|address| votes(address) * 2 > sentinels.len()).copied()
}
