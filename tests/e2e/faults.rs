//! Redis fails under traffic: nobody is disconnected, and what is missing is told exactly once.

use std::time::Duration;

use tokio::time::sleep;
use ullim_tests::{Cluster, Node, Proxy, Redis, eventually, http, now_ms};

use crate::scene::Scene;
use crate::turn;

const NODES: usize = 3;

/// How long SIGSTOP lasts: it is the fault, not a wait.
const FROZEN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn without_a_fault_nobody_is_told_a_gap() {
    let _turn = turn::take().await;
    let mut scene = Scene::start(Cluster::start(NODES).await).await;
    let now = now_ms();
    scene.resumes(now + 1000).await;
    let outcome = scene.end().await;
    outcome.gaps(|_, gaps| gaps == 0);
}

#[tokio::test]
async fn a_restart_of_redis_is_one_gap() {
    let _turn = turn::take().await;
    let mut scene = Scene::start(Cluster::start(NODES).await).await;
    scene.redis().kill();
    scene.redis().resume().await;
    the_fault_is_one_gap(scene).await;
}

#[tokio::test]
async fn a_redis_that_is_frozen_for_ten_seconds_is_one_gap() {
    let _turn = turn::take().await;
    let mut scene = Scene::start(Cluster::start(NODES).await).await;
    scene.redis().freeze();
    sleep(FROZEN).await;
    scene.redis().thaw();
    the_fault_is_one_gap(scene).await;
}

#[tokio::test]
async fn a_killed_subscription_link_is_one_gap() {
    let _turn = turn::take().await;
    let mut scene = Scene::start(Cluster::start(NODES).await).await;
    let killed = scene.redis().cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(killed.trim(), NODES.to_string(), "each node has one subscription link");
    the_fault_is_one_gap(scene).await;
}

#[tokio::test]
async fn links_that_are_killed_again_and_again_hide_nothing() {
    const KILLS: usize = 5;
    let _turn = turn::take().await;
    let mut scene = Scene::start(Cluster::start(NODES).await).await;
    let mut back = 0;
    for _ in 0..KILLS {
        eventually("a link to kill", async || {
            let killed = scene.redis().cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            (killed.trim() != "0").then_some(())
        })
        .await;
        back = now_ms();
    }
    scene.resumes(back).await;
    let outcome = scene.end().await;
    outcome.resumed_soon(back);
    outcome.gaps(|_, gaps| (1..=KILLS).contains(&gaps));
}

#[tokio::test]
async fn a_payload_that_makes_redis_cut_the_links_is_one_gap() {
    let _turn = turn::take().await;
    let mut scene = Scene::start(Cluster::start(NODES).await).await;
    let channel = scene.channels[0].clone();
    scene.redis().publish_bytes(&channel, &vec![b'x'; 40 << 20]).await;
    // Each subscription link carried the channel, so each was cut, and with it all of its channels.
    the_fault_is_one_gap(scene).await;
}

#[tokio::test]
async fn a_link_that_is_half_open_is_one_gap_for_its_node_and_none_for_the_others() {
    let _turn = turn::take().await;
    let redis = Redis::start().await;
    let proxy = Proxy::start(&redis).await;
    let behind = Node::builder().redis_at(&proxy.url()).start().await;
    let direct = Node::builder().redis(&redis).start().await;
    let mut scene = Scene::start(Cluster { redis, nodes: vec![behind, direct] }).await;
    proxy.stall();
    // The link is given up, and its successors do not get through either.
    let relay = scene.cluster.nodes[0].internal("/metrics");
    eventually("the node to notice", async || {
        http::get(&relay).await.body.contains("\nullim_relay_up 0\n").then_some(())
    })
    .await;
    proxy.flow();
    let back = now_ms();
    scene.resumes(back).await;
    let outcome = scene.end().await;
    outcome.resumed_soon(back);
    outcome.gaps(|node, gaps| gaps == usize::from(node == 0));
}

/// Redis is back from now on: traffic resumes soon, and every subscriber of every channel was told one gap.
async fn the_fault_is_one_gap(mut scene: Scene) {
    let back = now_ms();
    scene.resumes(back).await;
    let outcome = scene.end().await;
    outcome.resumed_soon(back);
    outcome.one_gap_each();
}
