//! More is published than a node can carry: it says so.

use ullim_tests::traffic::{self, Heard};
use ullim_tests::{Client, Encoding, Node, Redis};

use crate::turn;

#[tokio::test]
async fn what_a_shard_cannot_carry_is_told_as_a_gap() {
    const MESSAGES: u64 = 1000;
    const CLIENTS: usize = 20;
    let _turn = turn::take().await;
    let redis = Redis::start().await;
    let node = Node::builder()
        .redis(&redis)
        .set("client.shards", "1")
        .set("broker.payload_bytes", "100000")
        .set("broker.shard_queue_bytes", "100000")
        .set("hub.queue_bytes", "100000000")
        .start()
        .await;
    let channels = ["chat:1".to_owned()];
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = Client::connect(&node, Encoding::ALL[number % 2]).await;
        client.subscribe("chat:1").await;
        let channels = channels.clone();
        clients.spawn(async move { traffic::listen(client, &channels).await });
    }
    let published = traffic::burst(&redis, "chat:1", MESSAGES, 20_000).await;
    ullim_tests::eventually("what was dropped to be told", async || {
        let metrics = ullim_tests::http::get(&node.internal("/metrics")).await.body;
        let received = format!("ullim_messages_in_total{{source=\"broker\"}} {MESSAGES}\n");
        metrics.contains(&received).then_some(())
    })
    .await;
    redis.publish("chat:1", r#"{"end":true}"#);

    let mut gaps = Vec::new();
    while let Some(heard) = clients.join_next().await {
        let heard = &heard.unwrap()["chat:1"];
        gaps.push(traffic::account(heard, &published));
        for event in heard {
            if let Heard::Gap { reason, .. } = event {
                assert_eq!(reason, "overload", "{event:?}");
            }
        }
    }
    assert!(gaps.iter().all(|count| *count == gaps[0] && *count > 0), "gaps of each subscriber: {gaps:?}");
}
