//! What the shards hear when Redis, or the way to it, fails.

use ullim_broker::Broker;

use super::node::{ROOMY, heard, join, node, publish};
use super::redis_server::RedisServer;
use super::shard::Shard;
use super::wait::until;

#[tokio::test]
async fn what_was_published_while_the_link_was_down_is_delivered_unseen() {
    let server = RedisServer::start().await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let mut at = join(&mut shard, &broker, "orders:1").await;
    for round in 0..5 {
        let _: i64 = server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        for n in 0..20 {
            at = at.next();
            let text = format!("{round} {n}");
            assert_eq!(publish(&broker, "orders:1", &text).await.unwrap(), at);
        }
        for n in 0..20 {
            assert_eq!(heard(&mut shard).await.1, format!("{round} {n}"));
        }
        until("back", || broker.status() == ullim_broker::Status::Up).await;
    }
    assert_eq!(broker.counters().gaps, 0);
}
