//! The Rust client of Ullim, against nodes that come and go.

use serde_json::json;
use ullim_client::{Client, Config, Data, Event, Events, GapReason, Publication, connect};
use ullim_tests::{Cluster, Node, now_ms, within};

/// The next event for which `wanted` yields something. Others are skipped.
async fn next<T>(events: &mut Events, what: &str, wanted: impl Fn(Event) -> Option<T>) -> T {
    within(what, async {
        loop {
            let event = events.next().await.unwrap_or_else(|| panic!("the client ended before {what}"));
            if let Event::Closed { reason } = &event {
                panic!("the client closed before {what}: {reason}");
            }
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    })
    .await
}

async fn next_url(events: &mut Events) -> String {
    let url = |event| match event {
        Event::Connected { url, .. } => Some(url),
        _ => None,
    };
    next(events, "a session", url).await
}

async fn next_publication(events: &mut Events) -> Publication {
    let publication = |event| match event {
        Event::Publication { publication, .. } => Some(publication),
        Event::Gap { .. } => panic!("a gap without a reason: {event:?}"),
        _ => None,
    };
    next(events, "a publication", publication).await
}

fn client_of(nodes: &[Node]) -> (Client, Events) {
    let mut config = Config::new(nodes.iter().map(|node| node.addresses.ws.as_str()));
    config.token = Some(nodes[0].addresses.token.clone());
    connect(config).unwrap()
}

#[tokio::test]
async fn a_client_whose_node_dies_moves_to_another_and_says_what_it_may_have_missed() {
    let mut cluster = Cluster::start(2).await;
    let (client, mut events) = client_of(&cluster.nodes);
    let url = next_url(&mut events).await;
    client.subscribe("chat:1").await.unwrap();
    cluster.redis.publish("chat:1", "1");
    assert_eq!(next_publication(&mut events).await.data, Data::json(&1).unwrap());

    let before = now_ms();
    let dies = cluster.nodes.iter().position(|node| node.addresses.ws == url).unwrap();
    cluster.nodes[dies].process.kill();
    assert_eq!(next_url(&mut events).await, cluster.nodes[1 - dies].addresses.ws);
    let gap = |event| match event {
        Event::Gap { channel, from, to, reason } => Some((channel, from, to, reason)),
        Event::Publication { .. } => panic!("a publication before the gap: {event:?}"),
        _ => None,
    };
    let (channel, from, to, reason) = next(&mut events, "a gap", gap).await;
    assert_eq!((channel.as_str(), reason), ("chat:1", GapReason::Disconnected));
    assert!(from <= before && before <= to && to <= now_ms(), "{from} to {to}, and it died at {before}");

    cluster.redis.publish("chat:1", "2");
    assert_eq!(next_publication(&mut events).await.data, Data::json(&2).unwrap());
    client.close().await;
}

#[tokio::test]
async fn every_kind_of_data_comes_as_it_was_published() {
    let node = Node::start().await;
    let (client, mut events) = client_of(std::slice::from_ref(&node));
    client.subscribe("chat:1").await.unwrap();
    let kinds = [
        Data::json(&json!({"a": [1, null]})).unwrap(),
        Data::Text("hello".to_owned()),
        Data::Binary(vec![0, 255].into()),
    ];
    for data in kinds {
        client.publish("chat:1", data.clone()).await.unwrap();
        assert_eq!(next_publication(&mut events).await.data, data);
    }
    client.close().await;
}

#[tokio::test]
async fn what_the_node_refuses_is_told_with_its_name() {
    let node = Node::start().await;
    let (client, _events) = client_of(std::slice::from_ref(&node));
    let refused = client.publish("news:1", Data::Text("x".to_owned())).await.unwrap_err();
    assert!(refused.to_string().contains("permission_denied"), "{refused}");
    let refused = client.subscribe("chat:*").await.unwrap_err();
    assert!(refused.to_string().contains("bad_channel"), "{refused}");
    client.close().await;
}
