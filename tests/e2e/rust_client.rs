//! The Rust client of Ullim, against nodes that come and go.

use serde_json::json;
use tempfile::TempDir;
use ullim_client::{
    Client, Config, Data, Event, Events, GapReason, Publication, Reason, SubscribeOptions, TlsError, Token, connect,
};
use ullim_tests::{Authority, CertificateFiles, Cli, Cluster, Node, eventually, free_address, now_ms, token, within};

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
    config.token = Some(nodes[0].addresses.token.as_str().into());
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
        Event::Gap { channel, from, to, reason, .. } => Some((channel, from, to, reason)),
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

/// A token of `user` that is fetched anew whenever one is needed, and lives for `seconds`.
fn fetched(user: &'static str, seconds: u64) -> Token {
    Token::callback(move || async move {
        let claims = json!({"sub": user, "exp": now_ms() / 1000 + seconds});
        Ok(token::signed(&json!({"alg": "HS256"}), &claims))
    })
}

async fn next_members(events: &mut Events) -> Vec<String> {
    let members = |event| match event {
        Event::Members { page, .. } => Some(page.members.into_iter().filter_map(|member| member.user).collect()),
        _ => None,
    };
    next(events, "the members", members).await
}

#[tokio::test]
async fn a_session_goes_on_at_another_node_and_knows_who_is_there() {
    let mut cluster = Cluster::start(2).await;
    let mut config = Config::new(cluster.nodes.iter().map(|node| node.addresses.ws.as_str()));
    config.token = Some(token::good("alice").into());
    let (client, mut events) = connect(config).unwrap();
    let connected = |event| match event {
        Event::Connected { session, url, resumed, .. } => Some((session, url, resumed)),
        _ => None,
    };
    let (session, url, resumed) = next(&mut events, "a session", connected).await;
    assert!(!resumed);
    let options = SubscribeOptions { presence: true, events: true, ..SubscribeOptions::default() };
    client.subscribe_with("chat:1", options).await.unwrap();
    assert_eq!(next_members(&mut events).await, ["alice"]);
    assert_eq!(client.presence_count("chat:1").await.unwrap().users, 1);

    let dies = cluster.nodes.iter().position(|node| node.addresses.ws == url).unwrap();
    cluster.nodes[dies].process.kill();
    let again = next(&mut events, "the session", connected).await;
    assert_eq!((again.0, again.2), (session, true));
    assert_eq!(next_members(&mut events).await, ["alice"]);
    client.close().await;
}

#[tokio::test]
async fn a_session_whose_token_is_fetched_outlives_it_without_a_break() {
    let node = Node::start().await;
    let mut config = Config::new([node.addresses.ws.as_str()]);
    config.token = Some(fetched("alice", 4));
    let (client, mut events) = connect(config).unwrap();
    client.subscribe("chat:1").await.unwrap();
    let end = now_ms() + 10_000;
    eventually("the end of the first token, and of the second", async || {
        client.publish("chat:1", Data::json(&now_ms()).unwrap()).await.unwrap();
        (now_ms() > end).then_some(())
    })
    .await;
    client.close().await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Disconnected { .. } | Event::Gap { .. }), "{event:?}");
    }
}

#[tokio::test]
async fn wss_is_spoken_to_whom_the_ca_file_vouches_for() {
    let (authority, folder, address) = (Authority::new(), TempDir::new().unwrap(), free_address());
    let files = CertificateFiles::write(folder.path(), &authority.issue());
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).unwrap();
    let _node = Node::builder()
        .set("client.tls.listen", &address.to_string())
        .set("client.tls.certificate", files.certificate.to_str().unwrap())
        .set("client.tls.key", files.key.to_str().unwrap())
        .start()
        .await;
    let url = format!("wss://localhost:{}/ws", address.port());

    let mut stranger = Config::new([url.as_str()]);
    std::fs::write(folder.path().join("other.pem"), Authority::new().pem()).unwrap();
    stranger.ca_file = Some(folder.path().join("other.pem"));
    let (_stranger, mut failures) = connect(stranger).unwrap();
    let reason = |event| match event {
        Event::Disconnected { reason, .. } => Some(reason),
        _ => None,
    };
    let unknown = Reason::Tls(TlsError::UnknownAuthority { host: "localhost".to_owned() });
    assert_eq!(next(&mut failures, "a failure", reason).await, unknown);

    let cli = Cli::default();
    let (ca, user) = (ca_file.to_str().unwrap(), token::good("alice"));
    let arguments =
        ["sub", "--json", "--presence", "--count", "1", "--url", &url, "--ca", ca, "--token", &user, "chat:1"];
    let mut sub = cli.spawn("sub", &arguments);
    sub.line("the members", |line| line["event"] == "presence").await;
    let mut config = Config::new([url.as_str()]);
    config.ca_file = Some(ca_file.clone());
    config.token = Some(token::good("bob").into());
    let (client, _events) = connect(config).unwrap();
    client.subscribe("chat:1").await.unwrap();
    sub.line("the coming of bob", |line| line["event"] == "join" && line["user"] == "bob").await;
    cli.ok(&["pub", "--url", &url, "--ca", ca, "chat:1", "1"]);
    assert!(sub.end().await.success(), "{}", sub.stderr());
    client.close().await;
}
