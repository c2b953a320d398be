//! What others publish: raw, wrong, too large. And what a node may do in Redis.

use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelRules, ChannelsRequest, Control, Relayed};
use ullim_protocol::outgoing::{Gap, GapReason};
use ullim_protocol::publication::Kind;

use super::member::{answer, enter, leave, members, occupancy, until_occupancy};
use super::shard::Shard;
use super::wait::until;
use super::{ROOMY, broker, config, publish, up};
use ullim_tests::redis::server::Server;

async fn next_gap(shard: &mut Shard, channel: &str) -> Gap {
    match shard.next().await {
        Relayed::Gap(of, gap) if of.as_str() == channel => gap,
        other => panic!("not a gap of {channel}: {other:?}"),
    }
}

async fn publish_raw(server: &Server, channel: &str, payload: &[u8]) {
    let mut client = server.client().await.unwrap();
    client.set_response_timeout(std::time::Duration::from_secs(10));
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel).arg(payload);
    command.query_async::<u64>(&mut client).await.unwrap();
}

#[tokio::test]
async fn a_plain_publish_is_heard_with_the_time_of_redis() {
    let server = Server::running(&[]).await;
    let broker = broker(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "chat:1").await;
    let cases: [(&[u8], Kind); 3] = [(b"{\"a\":1}", Kind::Json), (b"hello", Kind::Text), (b"\xff\r\n", Kind::Binary)];
    for (payload, kind) in cases {
        let (seconds, _): (u64, u64) = server.run(&["TIME"]).await;
        publish_raw(&server, "ullim:{chat:1}", payload).await;
        let Relayed::Publication(routed) = shard.next().await else { panic!() };
        assert_eq!(routed.publication.data.kind(), kind);
        assert_eq!(&routed.publication.data.bytes()[..], payload);
        assert!(routed.publication.time.abs_diff(seconds * 1000) < 5_000);
    }
}

#[tokio::test]
async fn envelopes_that_cannot_be_decoded_are_gaps_in_their_place() {
    let server = Server::running(&[]).await;
    let broker = broker(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    let garbage: [&[u8]; 4] = [
        b"\x89ULLIM\r\n",
        b"\x89ULLIM\r\n\x02\x00",
        b"\x89ULLIM\r\n\x01\xff\x00\x00\x00",
        b"\x89ULLIM\r\n\x01\x81\x00\x01\x01\x00not JSON",
    ];
    for payload in garbage {
        let before = broker.now();
        publish_raw(&server, "ullim:{a}", payload).await;
        publish_raw(&server, "ullim:{a}", b"fine").await;
        let gap = next_gap(&mut shard, "a").await;
        assert_eq!(gap.reason, GapReason::Undecodable);
        assert!(gap.from <= before && before <= gap.to, "the window covers when it was published");
        assert_eq!(shard.next_data("a").await, "fine");
    }
    // It is counted once it is told.
    until("counted", || broker.counters().gaps == 4).await;
    let counters = broker.counters();
    assert_eq!((counters.undecodable, counters.reconnects), (4, 0));
}

#[tokio::test]
async fn a_payload_above_the_limit_is_a_gap_and_not_a_broken_link() {
    let server = Server::running(&[]).await;
    let broker = broker(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    for bytes in [(16 << 20) + 1, 20 << 20] {
        publish_raw(&server, "ullim:{a}", &vec![b'x'; bytes]).await;
        assert_eq!(next_gap(&mut shard, "a").await.reason, GapReason::Undecodable);
    }
    publish_raw(&server, "ullim:{a}", &vec![b'x'; 16 << 20]).await;
    assert_eq!(shard.next_data("a").await.len(), 16 << 20);
    assert_eq!(broker.counters().reconnects, 0);
}

#[tokio::test]
async fn a_payload_that_makes_redis_cut_the_link_is_one_gap() {
    let server = Server::running(&[]).await;
    let broker = broker(&server).await;
    let mut shards: Vec<Shard> = (0..2).map(|_| Shard::attach(&*broker, ROOMY)).collect();
    for shard in &mut shards {
        for channel in ["a", "quiet"] {
            shard.join(&*broker, channel).await;
        }
    }
    let before = broker.now();
    publish_raw(&server, "ullim:{a}", &vec![b'x'; 40 << 20]).await;
    let published = broker.now();
    for shard in &mut shards {
        let mut channels = Vec::new();
        for _ in 0..2 {
            let Relayed::Gap(channel, gap) = shard.next().await else { panic!() };
            assert_eq!(gap.reason, GapReason::BrokerLink);
            assert!(gap.from <= published && before <= gap.to, "{gap:?} {before}-{published}");
            channels.push(channel.to_string());
        }
        channels.sort_unstable();
        assert_eq!(channels, ["a", "quiet"]);
    }
    until("rebuilt", || broker.counters().reconnects >= 1).await;
    publish_raw(&server, "ullim:{a}", b"after").await;
    for shard in &mut shards {
        assert_eq!(shard.next_data("a").await, "after");
    }
    assert_eq!(broker.counters().gaps, 4);
}

#[tokio::test]
async fn nodes_hear_each_other_and_other_prefixes_are_other_clusters() {
    let server = Server::running(&[]).await;
    let first = broker(&server).await;
    let second = broker(&server).await;
    let mut other_config = config(server.url());
    other_config.redis.prefix = "other".to_owned();
    let other = RedisBroker::start(&other_config, ChannelRules::default()).unwrap();
    up(&other).await;
    let mut shard = Shard::attach(&*first, ROOMY);
    shard.join(&*first, "a").await;
    assert_eq!(publish(&other, "a", "not for us").await, Ok(()));
    assert_eq!(publish(&second, "a", "for us").await, Ok(()));
    assert_eq!(shard.next_data("a").await, "for us");
}

#[tokio::test]
async fn orders_that_cannot_be_read_are_counted_and_harm_nothing() {
    let server = Server::running(&[]).await;
    let broker = broker(&server).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    for payload in [&b""[..], b"{}", b"{\"explode\":{}}", b"\xff", &vec![b'x'; 20 << 20]] {
        publish_raw(&server, "ullim:control", payload).await;
    }
    publish_raw(&server, "ullim:control", b"{\"disconnect\":{\"user\":\"alice\",\"later\":1}}").await;
    let Relayed::Control(order) = shard.next().await else { panic!() };
    assert_eq!(*order, Control::Disconnect { user: "alice".into() });
    // An order is counted behind its delivery.
    super::wait::until("counted", || broker.counters().control_received == 1).await;
    let counters = broker.counters();
    assert_eq!(counters.control_dropped, 5);
    assert_eq!((counters.reconnects, counters.stray), (0, 0));
}

#[tokio::test]
async fn the_documented_rights_suffice() {
    let server = Server::running(&[]).await;
    let page = include_str!("../../../../docs/redis.md");
    let rights = page.split("ACL of a node's user: `").nth(1).unwrap().split('`').next().unwrap();
    let mut command = vec!["ACL", "SETUSER", "node", "on", ">p@ss"];
    command.extend(rights.split_whitespace());
    server.run::<()>(&command).await;
    let url = server.url().replace("redis://", "redis://node:p%40ss@");
    let broker = RedisBroker::start(&config(url), ChannelRules::default()).unwrap();
    up(&broker).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    assert_eq!(publish(&broker, "a", "heard").await, Ok(()));
    assert_eq!(shard.next_data("a").await, "heard");
    enter(&*broker, "a", 1, "alice").await;
    assert_eq!(members(&*broker, "a", 100).await.len(), 1);
    assert_eq!(occupancy(&*broker, "a").await, (1, 1));
    leave(&*broker, "a", 1);
    until_occupancy(&*broker, "a", (0, 0)).await;
    for joined in [true, false] {
        let Relayed::Presence(routed) = shard.next().await else { panic!() };
        assert_eq!(routed.event.joined, joined);
    }
    assert_eq!(answer(broker.control(Control::Disconnect { user: "alice".into() })).await, Ok(()));
    assert!(matches!(shard.next().await, Relayed::Control(_)));
    let channels = answer(broker.channels(ChannelsRequest { limit: 9, ..ChannelsRequest::default() })).await.unwrap();
    assert_eq!(channels.channels.len(), 1);
    // Somebody dies, and is cleaned up after.
    server.run::<()>(&["HSET", "ullim:nodes", "dead", "1"]).await;
    server.run::<()>(&["SADD", "ullim:node:dead:channels", "a"]).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
    while server.run::<u64>(&["HLEN", "ullim:nodes"]).await > 1 {
        assert!(tokio::time::Instant::now() < deadline, "nobody cleans up");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let log: Vec<redis::Value> = server.run(&["ACL", "LOG"]).await;
    assert_eq!(log, [], "nothing was refused");
    assert_eq!(broker.counters().redis_errors, 0);
    let names: String = server.run(&["CLIENT", "LIST"]).await;
    assert!(names.contains(&format!("name=ullim-sub-{}", std::process::id())));
}
