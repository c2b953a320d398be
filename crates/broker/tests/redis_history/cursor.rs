//! What the shards hear when Redis, or the way to it, fails.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use ullim_broker::{Broker, Relayed};
use ullim_protocol::outgoing::GapReason;

use super::node::{ROOMY, answer, heard, join, node, node_at, publish, request, rules};
use super::proxy::Proxy;
use super::shard::Shard;
use super::wait::{name, until};
use ullim_tests::redis::server::Server;

#[tokio::test]
async fn what_was_published_while_the_link_was_down_is_delivered_unseen() {
    let server = Server::running(&[]).await;
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

#[tokio::test]
async fn what_redis_does_not_relay_is_read_before_anything_newer_is_heard() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    let epoch = start.epoch;
    // In the stream, and not published.
    for offset in 1..=3 {
        let id = format!("{epoch}-{offset}");
        let _: String = server.run(&["XADD", "ullim:{orders:1}", &id, "time", "5", "data", "silent"]).await;
    }
    assert_eq!(publish(&broker, "orders:1", "loud").await.unwrap().offset, 4);
    for offset in 1..=4 {
        assert_eq!(heard(&mut shard).await.0.offset, offset);
    }
    // It is counted once it is told.
    until("counted", || broker.counters().repairs == 1).await;
    assert_eq!(broker.counters().gaps, 0);
}

#[tokio::test]
async fn quiet_channels_are_verified_when_the_link_is_back() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let channels: Vec<String> = (0..2000).map(|n| format!("orders:{n}")).collect();
    for channel in &channels {
        broker.subscribe(shard.id, &name(channel));
    }
    for _ in &channels {
        assert!(matches!(shard.next().await, Relayed::Joined(_, Some(_))));
    }
    let verified = broker.counters().verified;
    let _: i64 = server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    let mut backend = server.client().await.unwrap();
    let mut calls = redis::pipe();
    for channel in channels.iter().step_by(10) {
        calls.cmd("FCALL").arg("ullim_publish").arg(1).arg(format!("ullim:{{{channel}}}")).arg("missed").ignore();
    }
    let _: () = calls.query_async(&mut backend).await.unwrap();
    let mut missed: Vec<String> = Vec::new();
    while missed.len() < 200 {
        match shard.next().await {
            Relayed::Publication(routed) => missed.push(routed.channel.to_string()),
            other => panic!("{other:?}"),
        }
    }
    missed.sort();
    missed.dedup();
    assert_eq!(missed.len(), 200);
    until("all are verified", || broker.counters().verified >= verified + 2000).await;
    assert_eq!(broker.counters().gaps, 0);
}

#[tokio::test]
async fn large_publications_are_read_one_by_one_and_small_ones_beside_them() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let channels: Vec<String> = (0..12).map(|n| format!("orders:{n}")).collect();
    for channel in &channels {
        join(&mut shard, &broker, channel).await;
    }
    let mut backend = server.client().await.unwrap();
    // In one go: none of them is relayed.
    let mut calls = redis::pipe();
    calls.atomic().cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").ignore();
    for (n, channel) in channels.iter().enumerate() {
        for bytes in [700_000, 10, 700_000].map(|bytes| if n % 2 == 0 { bytes } else { 10 }) {
            let call = calls.cmd("FCALL").arg("ullim_publish").arg(1).arg(format!("ullim:{{{channel}}}"));
            call.arg("x".repeat(bytes)).ignore();
        }
    }
    let _: () = calls.query_async(&mut backend).await.unwrap();
    let mut heard: BTreeMap<String, Vec<(u64, usize)>> = BTreeMap::new();
    for _ in 0..3 * channels.len() {
        let Relayed::Publication(routed) = shard.next().await else { panic!("not a publication") };
        let offset = routed.publication.position.unwrap().offset;
        let sizes = heard.entry(routed.channel.to_string()).or_default();
        sizes.push((offset, routed.publication.data.bytes().len()));
    }
    for (n, channel) in channels.iter().enumerate() {
        let large = if n % 2 == 0 { 700_000 } else { 10 };
        assert_eq!(heard[channel], [(1, large), (2, 10), (3, large)], "{channel}");
    }
    until("counted", || broker.counters().repairs >= 12).await;
    assert_eq!(broker.counters().gaps, 0);
}

#[tokio::test]
async fn a_half_open_link_loses_nothing() {
    let server = Server::running(&[]).await;
    let proxy = Proxy::start(server.address().to_string()).await;
    let broker = node_at(proxy.url(), rules(1000, std::time::Duration::from_secs(60))).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    join(&mut shard, &broker, "orders:1").await;
    proxy.swallow();
    for n in 0..20 {
        let text = n.to_string();
        let _: (String, u64) = server.run(&["FCALL", "ullim_publish", "1", "ullim:{orders:1}", &text]).await;
    }
    for n in 0..20 {
        assert_eq!(heard(&mut shard).await.1, n.to_string());
    }
    assert_eq!(broker.counters().gaps, 0);
}

#[tokio::test]
async fn what_cannot_be_decoded_is_told_once_in_its_place() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    publish(&broker, "orders:1", "before").await.unwrap();
    let bad = ["FCALL", "ullim_publish", "1", "ullim:{orders:1}", "no JSON", "type", "json"];
    let _: (String, u64) = server.run(&bad).await;
    publish(&broker, "orders:1", "after").await.unwrap();
    assert_eq!(heard(&mut shard).await.1, "before");
    let Relayed::Gap(_, gap) = shard.next().await else { panic!("not a gap") };
    assert_eq!(gap.reason, GapReason::Undecodable);
    assert_eq!(gap.position, Some(start.next().next()));
    assert_eq!(heard(&mut shard).await.1, "after");
    // It is counted once it is told.
    until("counted", || broker.counters().gaps == 1).await;
    assert_eq!(broker.counters().undecodable, 1);
}

#[tokio::test]
async fn a_plain_publication_is_delivered_without_a_position_and_counted() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let start = join(&mut shard, &broker, "orders:1").await;
    let _: u64 = server.run(&["PUBLISH", "ullim:{orders:1}", "plain"]).await;
    let Relayed::Publication(routed) = shard.next().await else { panic!("not a publication") };
    assert_eq!(routed.publication.position, None);
    publish(&broker, "orders:1", "kept").await.unwrap();
    assert_eq!(heard(&mut shard).await, (start.next(), "kept".to_owned()));
    assert_eq!(broker.counters().plain, 1);
}

#[tokio::test]
async fn a_publication_outlives_a_break_of_the_link_and_is_not_there_twice() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let mut at = join(&mut shard, &broker, "orders:1").await;
    let mut answers = Vec::new();
    for n in 0..300 {
        if n % 50 == 25 {
            let _: i64 = server.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        }
        answers.push(answer(broker.publish(request("orders:1", &n.to_string()))));
    }
    for position in join_all(answers).await {
        position.unwrap();
    }
    for n in 0..300 {
        at = at.next();
        assert_eq!(heard(&mut shard).await, (at, n.to_string()));
    }
}

#[tokio::test]
async fn a_server_that_stands_still_loses_nothing() {
    let server = Server::running(&[]).await;
    let broker = node(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    let mut at = join(&mut shard, &broker, "orders:1").await;
    for n in 0..20 {
        publish(&broker, "orders:1", &n.to_string()).await.unwrap();
    }
    server.freeze();
    until("down", || broker.status() == ullim_broker::Status::Down).await;
    server.thaw();
    until("up", || broker.status() == ullim_broker::Status::Up).await;
    for n in 20..40 {
        publish(&broker, "orders:1", &n.to_string()).await.unwrap();
    }
    for n in 0..40 {
        at = at.next();
        assert_eq!(heard(&mut shard).await, (at, n.to_string()));
    }
    assert_eq!(broker.counters().gaps, 0);
}
