//! The cases of the contract.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures_util::future::join_all;
use ullim_broker::{Answer, Broker, PublishError, PublishRequest, Relayed, Status};
use ullim_protocol::outgoing::GapReason;
use ullim_protocol::publication::{Data, Headers};
use ullim_protocol::session::SessionId;

use super::Fixture;
use super::shard::Shard;
use super::wait::{name, until};

const ROOMY: usize = 64 << 20;

pub(crate) fn request(channel: &str, data: Data) -> PublishRequest {
    PublishRequest { channel: name(channel), data, headers: None, exclude: None, id: None }
}

pub(crate) fn text(text: impl Into<String>) -> Data {
    Data::Text(Bytes::from(text.into()))
}

pub(crate) async fn answer<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Ready(result) => result,
        Answer::Pending(result) => result.await,
    }
}

pub(crate) async fn publish(broker: &dyn Broker, channel: &str, data: Data) {
    answer(broker.publish(request(channel, data))).await.unwrap();
}

pub(crate) async fn joining_comes_before_publications_and_they_keep_their_order(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    publish(broker, "auto:a", text("before")).await;
    shard.join(broker, "auto:a").await;
    for n in 0..500 {
        publish(broker, "auto:a", text(format!("no {n}"))).await;
    }
    for n in 0..500 {
        assert_eq!(shard.next_data("auto:a").await, format!("no {n}"));
    }
}

pub(crate) async fn data_of_every_kind_comes_back_in_every_namespace(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    let all = [
        Data::Json(Bytes::from_static(b" {\"a\": [1, null]} ")),
        text("hello"),
        text("42"),
        text("{\"text\":\"that looks like JSON\"}"),
        text(""),
        Data::Binary(Bytes::from_static(b"could be text")),
        Data::Binary(Bytes::from_static(b"\x00\xff\r\n")),
        Data::Binary(Bytes::from_static(b"\x89ULLIM\r\n\x01\x00 not an envelope")),
        Data::Binary(Bytes::new()),
    ];
    for channel in ["auto:a", "json:a", "text:a", "binary:a", "unconfigured:a"] {
        shard.join(broker, channel).await;
        for data in &all {
            publish(broker, channel, data.clone()).await;
            match shard.next().await {
                Relayed::Publication(routed) => {
                    assert_eq!(&routed.publication.data, data, "{channel}");
                }
                other => panic!("{channel}: {other:?}"),
            }
        }
    }
}

pub(crate) async fn headers_and_exclusion_come_along(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    shard.join(broker, "auto:a").await;
    let headers =
        BTreeMap::from([("trace".to_owned(), "1f".to_owned()), ("quote\"".to_owned(), "\u{1F980}\n".to_owned())]);
    let mut request = request("auto:a", text("hi"));
    request.headers = Headers::new(headers);
    request.exclude = Some(SessionId([9; 16]));
    answer(broker.publish(request.clone())).await.unwrap();
    let Relayed::Publication(routed) = shard.next().await else { panic!() };
    assert_eq!(routed.publication.headers, request.headers);
    assert_eq!(routed.publication.data, request.data);
    assert_eq!(routed.exclude, request.exclude);
}

pub(crate) async fn each_shard_hears_its_own_channels_once(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut both = Shard::attach(broker, ROOMY);
    let mut one = Shard::attach(broker, ROOMY);
    assert_ne!(both.id, one.id);
    both.join(broker, "auto:a").await;
    both.join(broker, "auto:b").await;
    one.join(broker, "auto:b").await;
    publish(broker, "auto:a", text("to a")).await;
    publish(broker, "auto:b", text("to b")).await;
    publish(broker, "auto:c", text("to nobody")).await;
    publish(broker, "auto:b", text("last")).await;
    assert_eq!(both.next_data("auto:a").await, "to a");
    for shard in [&mut both, &mut one] {
        assert_eq!(shard.next_data("auto:b").await, "to b");
        assert_eq!(shard.next_data("auto:b").await, "last");
    }
}

pub(crate) async fn who_has_left_hears_nothing(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut stays = Shard::attach(broker, ROOMY);
    let mut leaves = Shard::attach(broker, ROOMY);
    for channel in ["auto:a", "auto:b"] {
        stays.join(broker, channel).await;
        leaves.join(broker, channel).await;
    }
    broker.unsubscribe(leaves.id, &name("auto:a"));
    broker.unsubscribe(leaves.id, &name("auto:never"));
    publish(broker, "auto:a", text("to a")).await;
    publish(broker, "auto:b", text("to b")).await;
    assert_eq!(leaves.next_data("auto:b").await, "to b");
    assert_eq!(stays.next_data("auto:a").await, "to a");
}

pub(crate) async fn subscribing_twice_joins_once(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    broker.subscribe(shard.id, &name("auto:a"));
    shard.join(broker, "auto:a").await;
    broker.subscribe(shard.id, &name("auto:a"));
    publish(broker, "auto:a", text("once")).await;
    publish(broker, "auto:a", text("twice")).await;
    assert_eq!(shard.next_data("auto:a").await, "once");
    assert_eq!(shard.next_data("auto:a").await, "twice");
}

pub(crate) async fn who_returns_joins_again(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    for round in 0..20 {
        shard.join(broker, "auto:a").await;
        publish(broker, "auto:a", text(format!("round {round}"))).await;
        assert_eq!(shard.next_data("auto:a").await, format!("round {round}"));
        broker.unsubscribe(shard.id, &name("auto:a"));
    }
}

pub(crate) async fn a_channel_that_nobody_wants_is_forgotten_and_can_return(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    for _ in 0..3 {
        shard.join(broker, "auto:a").await;
        publish(broker, "auto:a", text("heard")).await;
        assert_eq!(shard.next_data("auto:a").await, "heard");
        broker.unsubscribe(shard.id, &name("auto:a"));
        until("forgotten", || broker.counters().channels == 0).await;
    }
}

pub(crate) async fn a_full_queue_is_a_gap_where_it_overflowed(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut roomy = Shard::attach(broker, ROOMY);
    let mut tiny = Shard::attach(broker, 3000);
    for channel in ["auto:a", "auto:b"] {
        roomy.join(broker, channel).await;
        tiny.join(broker, channel).await;
    }
    publish(broker, "auto:b", text("first")).await;
    for n in 0..10 {
        publish(broker, "auto:a", text(format!("{n}{}", "x".repeat(1000)))).await;
    }
    until("all received", || broker.counters().received == 11).await;
    assert_eq!(roomy.next_data("auto:b").await, "first");
    let mut windows = Vec::new();
    for _ in 0..10 {
        let Relayed::Publication(routed) = roomy.next().await else { panic!() };
        windows.push(routed.published);
    }
    assert_eq!(tiny.next_data("auto:b").await, "first");
    let mut heard = 0;
    let gap = loop {
        match tiny.next().await {
            Relayed::Publication(_) => heard += 1,
            Relayed::Gap(channel, gap) => {
                assert_eq!(channel.as_str(), "auto:a");
                break gap;
            }
            other => panic!("not published: {other:?}"),
        }
    };
    assert!((1..10).contains(&heard), "{heard}");
    let lost = (windows[heard].from, windows[9].to, GapReason::Overload);
    assert_eq!((gap.from, gap.to, gap.reason), lost);
    publish(broker, "auto:a", text("after")).await;
    assert_eq!(tiny.next_data("auto:a").await, "after");
    let counters = broker.counters();
    assert_eq!((counters.overflowed, counters.gaps), (10 - heard as u64, 1));
}

pub(crate) async fn data_above_the_limit_is_refused(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    shard.join(broker, "auto:a").await;
    let refused = answer(broker.publish(request("auto:a", text("x".repeat(100_001))))).await;
    assert_eq!(refused, Err(PublishError::TooLarge { bytes: 100_001, limit: 100_000 }));
    publish(broker, "auto:a", text("x".repeat(100_000))).await;
    assert_eq!(shard.next_data("auto:a").await.len(), 100_000);
    publish(broker, "auto:a", Data::Binary(Bytes::from(vec![b'x'; 100_000]))).await;
    assert_eq!(shard.next_data("auto:a").await.len(), 100_000);
}

pub(crate) async fn many_channels_are_joined_and_heard(fixture: Fixture) {
    const CHANNELS: usize = 3000;
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    let names: HashSet<String> = (0..CHANNELS).map(|n| format!("auto:{n}")).collect();
    for channel in &names {
        broker.subscribe(shard.id, &name(channel));
    }
    let mut joined = HashSet::new();
    while joined.len() < CHANNELS {
        let Relayed::Joined(channel, _) = shard.next().await else { panic!() };
        assert!(joined.insert(channel.to_string()));
    }
    assert_eq!(joined, names);
    assert_eq!(broker.counters().channels, CHANNELS as u64);
    let answers = names.iter().map(|channel| answer(broker.publish(request(channel, text("hi")))));
    assert!(join_all(answers).await.iter().all(Result::is_ok));
    let mut heard = HashSet::new();
    while heard.len() < CHANNELS {
        let Relayed::Publication(routed) = shard.next().await else { panic!() };
        assert!(heard.insert(routed.channel.to_string()));
    }
}

pub(crate) async fn the_order_is_that_of_the_calls_not_of_the_polls(fixture: Fixture) {
    let broker = &*fixture.broker;
    let mut shard = Shard::attach(broker, ROOMY);
    shard.join(broker, "auto:a").await;
    let mut answers: Vec<_> = (0..1000)
        .map(|n| {
            let mut request = request("auto:a", text(format!("no {n}")));
            // Raw and enveloped alike.
            request.exclude = (n % 2 == 0).then_some(SessionId([0; 16]));
            broker.publish(request)
        })
        .collect();
    // One is never asked for its answer.
    drop(answers.remove(500));
    answers.reverse();
    assert!(join_all(answers.into_iter().map(answer)).await.iter().all(Result::is_ok));
    for n in 0..1000 {
        assert_eq!(shard.next_data("auto:a").await, format!("no {n}"));
    }
}

pub(crate) async fn times_and_counters_tell_what_happened(fixture: Fixture) {
    let broker = &*fixture.broker;
    assert_eq!(broker.status(), Status::Up);
    let mut shard = Shard::attach(broker, ROOMY);
    shard.join(broker, "auto:a").await;
    let before = broker.now();
    publish(broker, "auto:a", text("raw")).await;
    let mut enveloped = request("auto:a", text("enveloped"));
    enveloped.exclude = Some(SessionId([0; 16]));
    answer(broker.publish(enveloped)).await.unwrap();
    for _ in 0..2 {
        let Relayed::Publication(routed) = shard.next().await else { panic!() };
        let lived = before.saturating_sub(5)..=broker.now() + 5;
        assert!(lived.contains(&routed.published.to) && lived.contains(&routed.publication.time));
        assert!(routed.published.from <= routed.published.to);
    }
    // It is counted once it is told.
    until("counted", || broker.counters().received == 2).await;
    let counters = broker.counters();
    assert_eq!((counters.received, counters.published, counters.channels), (2, 2, 1));
    assert_eq!((counters.gaps, counters.publish_errors, counters.reconnects), (0, 0, 0));
}
