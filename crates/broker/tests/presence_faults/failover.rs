//! A replica that takes the place of its master, without the last writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelRules, Status};

use super::member::{enter, leave, until_occupancy};
use super::proxy::Proxy;
use super::{REPAIRED, by_node, config, node_names, until_equal, users};
use ullim_tests::redis::server::Server;

async fn node_at(proxy: &Proxy) -> Arc<RedisBroker> {
    let broker = RedisBroker::start(&config(proxy.url()), ChannelRules::default()).unwrap();
    super::wait::until("up", || broker.status() == Status::Up).await;
    broker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_that_lost_the_last_writes_everybody_is_where_they_are() {
    let mut master = Server::running(&[]).await;
    let replica = Server::running(&[]).await;
    let proxy = Proxy::start(master.address().to_string()).await;
    let nodes = [node_at(&proxy).await, node_at(&proxy).await];
    for n in 0..100 {
        enter(&*nodes[n as usize % 2], "a", n, &format!("user {}", n % 50)).await;
    }
    let port = master.port().to_string();
    replica.run::<()>(&["REPLICAOF", "127.0.0.1", &port]).await;
    until_equal(50, async || users(&replica, "a").await.len()).await;
    // From here on it hears nothing more, and the master goes on.
    replica.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    for n in 0..10 {
        leave(&*nodes[n as usize % 2], "a", n);
        leave(&*nodes[n as usize % 2], "a", 50 + n);
    }
    for n in 100..120 {
        enter(&*nodes[n as usize % 2], "a", n, &format!("user {n}")).await;
    }
    // A session that has moved from one node to the other.
    enter(&*nodes[0], "a", 61, "user 11").await;
    leave(&*nodes[1], "a", 61);
    until_occupancy(&*nodes[0], "a", (100, 60)).await;
    let since = Instant::now();
    *proxy.server.lock().unwrap() = replica.address().to_string();
    proxy.swallow();
    master.kill();
    let mut expected: BTreeMap<String, u64> = (10..50).map(|n| (format!("user {n}"), 2)).collect();
    expected.extend((100..120).map(|n| (format!("user {n}"), 1)));
    until_equal(expected, async || users(&replica, "a").await).await;
    until_equal(100, async || by_node(&replica, "a").await.values().sum::<usize>()).await;
    until_equal(0, async || replica.run::<u64>(&["ZCARD", "ullim:{a}:leaving"]).await).await;
    let took = since.elapsed();
    assert!(took < REPAIRED, "{took:?}");
    eprintln!("all right again {took:?} after a failover");
    let mut names = node_names(&replica).await;
    names.sort();
    assert_eq!(names, by_node(&replica, "a").await.into_keys().collect::<Vec<_>>());
}
