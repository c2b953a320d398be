//! The library: loaded again when it is gone, and by whom when nodes disagree.

use std::time::Duration;

use ullim_broker::Broker;
use ullim_broker::redis::RedisBroker;

use super::node::{ROOMY, heard, join, node, node_at, publish, rules};
use super::shard::Shard;
use ullim_tests::redis::server::Server;

#[tokio::test]
async fn functions_that_are_gone_are_loaded_again_and_nothing_fails() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let mut at = join(&mut shard, &broker, "orders:1").await;
    for n in 0..5 {
        let _: String = server.run(&["FUNCTION", "FLUSH"]).await;
        at = at.next();
        assert_eq!(publish(&broker, "orders:1", &n.to_string()).await.unwrap(), at);
        assert_eq!(heard(&mut shard).await, (at, n.to_string()));
        let _: String = server.run(&["FUNCTION", "FLUSH"]).await;
        let other = format!("orders:other {n}");
        join(&mut shard, &broker, &other).await;
        broker.unsubscribe(shard.id, &super::wait::name(&other));
    }
}

#[tokio::test]
async fn a_node_that_starts_with_other_options_has_its_way_and_others_yield() {
    let server = Server::running(&[]).await;
    let first = node_at(server.url(), rules(3, Duration::from_secs(60))).await;
    for n in 0..20 {
        publish(&first, "orders:1", &n.to_string()).await.unwrap();
    }
    assert_eq!(server.run::<u64>(&["XLEN", "ullim:{orders:1}"]).await, 3);
    let second = node_at(server.url(), rules(7, Duration::from_secs(60))).await;
    publish(&second, "orders:1", "loaded").await.unwrap();
    until_kept(&server, &first, 7).await;
    // Also when it is the other one that loads.
    let _: String = server.run(&["FUNCTION", "FLUSH"]).await;
    until_kept(&server, &first, 7).await;
}

/// Publishes until the stream has that many.
async fn until_kept(server: &Server, broker: &RedisBroker, size: u64) {
    let deadline = tokio::time::Instant::now() + super::wait::PATIENCE;
    loop {
        publish(broker, "orders:1", "more").await.unwrap();
        if server.run::<u64>(&["XLEN", "ullim:{orders:1}"]).await == size {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "never {size}");
    }
}

#[tokio::test]
async fn deployments_with_other_prefixes_keep_their_options() {
    let server = Server::running(&[]).await;
    let ours = node(&server).await;
    let mut config = super::node::config(server.url());
    config.redis.prefix = "other".to_owned();
    let theirs = ullim_broker::redis::RedisBroker::start(&config, rules(2, Duration::from_secs(60))).unwrap();
    super::wait::until("up", || theirs.status() == ullim_broker::Status::Up).await;
    for n in 0..5 {
        publish(&ours, "orders:1", &n.to_string()).await.unwrap();
        publish(&theirs, "orders:1", &n.to_string()).await.unwrap();
    }
    assert_eq!(server.run::<u64>(&["XLEN", "ullim:{orders:1}"]).await, 5);
    assert_eq!(server.run::<u64>(&["XLEN", "other:{orders:1}"]).await, 2);
}
