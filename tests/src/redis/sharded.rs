//! A Redis Cluster: three masters with a replica each.

use std::net::SocketAddr;

use redis::{RedisResult, Value};

use crate::redis::server::{Data, Server, ask};
use crate::{eventually, free_port};

const MASTERS: usize = 3;
const SLOTS: u16 = 16384;

/// The servers: three masters first, then the replica of each. Failovers change that.
pub struct Sharded {
    /// All six.
    pub servers: Vec<Server>,
}

/// A range of slots, and who serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// The master.
    pub master: SocketAddr,
}

impl Sharded {
    /// Starts all, and waits until every slot is served and every master has its replica.
    pub async fn start() -> Self {
        let mut servers = Vec::new();
        for _ in 0..2 * MASTERS {
            let bus = free_port().to_string();
            let mut server = Server::new(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "2000",
                "--cluster-port",
                &bus,
                "--repl-diskless-sync-delay",
                "0",
            ]);
            server.start(Data::None).await;
            servers.push((server, bus));
        }
        for (server, bus) in &servers[1..] {
            servers[0].0.text(&["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string(), bus]).await;
        }
        let servers: Vec<Server> = servers.into_iter().map(|(server, _)| server).collect();
        let share = SLOTS / MASTERS as u16;
        for (index, server) in (0..).zip(&servers[..MASTERS]) {
            let first = share * index;
            let last = if usize::from(index) == MASTERS - 1 { SLOTS - 1 } else { first + share - 1 };
            server.text(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
        }
        let started = Self { servers };
        eventually("the servers to know each other", async || started.all_say("cluster_known_nodes:6").await).await;
        for (index, replica) in started.servers[MASTERS..].iter().enumerate() {
            let id = started.servers[index].text(&["CLUSTER", "MYID"]).await;
            eventually("a replica to know its master", async || replica.ask(&["CLUSTER", "REPLICATE", &id]).await.ok())
                .await;
        }
        started.settled().await;
        started
    }

    /// Waits until every server says that all is well, and three of them follow a master.
    pub async fn settled(&self) {
        eventually("the cluster to be whole", async || {
            self.all_say("cluster_state:ok").await?;
            let mut following = 0;
            for server in &self.servers {
                let state = server.text(&["INFO", "replication"]).await;
                following += usize::from(state.contains("role:slave") && state.contains("master_link_status:up"));
            }
            (following == MASTERS).then_some(())
        })
        .await;
    }

    async fn all_say(&self, what: &str) -> Option<()> {
        for server in &self.servers {
            if !server.text(&["CLUSTER", "INFO"]).await.contains(what) {
                return None;
            }
        }
        Some(())
    }

    /// The addresses of all servers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::address).collect()
    }

    /// The server at this address.
    pub fn at(&self, address: SocketAddr) -> usize {
        self.servers.iter().position(|server| server.address() == address).expect("one of ours")
    }

    /// Which servers are masters with slots.
    pub async fn masters(&self) -> Vec<usize> {
        let ranges = eventually("the slots", async || ranges(&self.addresses()).await).await;
        let mut masters: Vec<usize> = ranges.iter().map(|range| self.at(range.master)).collect();
        masters.sort_unstable();
        masters.dedup();
        masters
    }

    /// Moves one slot with its keys from its master to `target`, key by key, while it is served.
    pub async fn migrate(&self, slot: u16, target: usize) {
        let source = eventually("the slot's master", async || {
            owner(&ranges(&self.addresses()).await?, slot).map(|address| self.at(address))
        })
        .await;
        let (source, target) = (&self.servers[source], &self.servers[target]);
        let (source_id, target_id) = (source.text(&["CLUSTER", "MYID"]).await, target.text(&["CLUSTER", "MYID"]).await);
        let slot = slot.to_string();
        target.text(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]).await;
        source.text(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]).await;
        loop {
            let keys = source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"]).await.unwrap();
            let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
            if keys.is_empty() {
                break;
            }
            let port = target.port().to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            source.text(&words).await;
        }
        for server in [target, source] {
            server.text(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]).await;
        }
    }
}

/// Who serves what, as the first of these servers says that answers.
pub async fn ranges(servers: &[SocketAddr]) -> Option<Vec<Range>> {
    for server in servers {
        if let Ok(answer) = ask(*server, &["CLUSTER", "SLOTS"]).await {
            return parse(answer).ok();
        }
    }
    None
}

/// Who serves `slot`.
pub fn owner(ranges: &[Range], slot: u16) -> Option<SocketAddr> {
    ranges.iter().find(|range| (range.first..=range.last).contains(&slot)).map(|range| range.master)
}

/// The slot of a key: CRC16 (XMODEM) of what is in its braces.
pub fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let mut crc: u16 = 0;
    for byte in tag.filter(|tag| !tag.is_empty()).unwrap_or(key).bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % SLOTS
}

fn parse(answer: Value) -> RedisResult<Vec<Range>> {
    let mut ranges = Vec::new();
    for range in redis::from_redis_value::<Vec<Vec<Value>>>(answer)? {
        let mut parts = range.into_iter();
        let (Some(first), Some(last), Some(Value::Array(master))) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let mut master = master.into_iter();
        let (Some(host), Some(port)) = (master.next(), master.next()) else { continue };
        let (host, port): (String, u16) = (redis::from_redis_value(host)?, redis::from_redis_value(port)?);
        if let Ok(master) = format!("{host}:{port}").parse() {
            let (first, last) = (redis::from_redis_value(first)?, redis::from_redis_value(last)?);
            ranges.push(Range { first, last, master });
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::slot;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot("123456789"), 12739);
        assert_eq!(slot("ullim:{123456789}:ids"), 12739);
        assert_eq!(slot("foo"), 12182);
    }
}
