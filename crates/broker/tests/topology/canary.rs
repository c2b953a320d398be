//! Links that stand, and answer, and are on the wrong server.

use ullim_broker::{Broker, Relayed, Status};
use ullim_protocol::outgoing::GapReason;

use super::shard::Shard;
use super::wait::until;
use super::{ROOMY, config, publish, start, started};
use ullim_tests::redis::server::Server;

#[tokio::test]
async fn a_subscription_link_on_another_server_than_the_command_link_is_rebuilt() {
    let (right, wrong) = (Server::running(&[]).await, Server::running(&[]).await);
    let proxy = super::proxy::Proxy::start(right.address().to_string()).await;
    let broker = started(&config(proxy.url())).await;
    let mut shard = Shard::attach(&*broker, ROOMY);
    shard.join(&*broker, "a").await;
    // The subscription link alone is led to the other server, where it stands and answers.
    let sub = |list: String| {
        let line = list.lines().find(|line| line.contains("name=ullim-sub")).map(str::to_owned)?;
        Some(line.split(' ').next()?.strip_prefix("id=")?.to_owned())
    };
    let id = sub(right.run::<String>(&["CLIENT", "LIST"]).await).unwrap();
    *proxy.server.lock().unwrap() = wrong.address().to_string();
    right.run::<u64>(&["CLIENT", "KILL", "ID", &id]).await;
    assert!(matches!(shard.next().await, Relayed::Gap(_, gap) if gap.reason == GapReason::BrokerLink));
    until("on the wrong server, and noticed", || broker.counters().probe_failures >= 1).await;
    *proxy.server.lock().unwrap() = right.address().to_string();
    loop {
        match shard.next().await {
            Relayed::Gap(..) => {}
            other => panic!("{other:?}"),
        }
        if sub(right.run::<String>(&["CLIENT", "LIST"]).await).is_some() {
            break;
        }
    }
    until("up", || broker.status() == Status::Up).await;
    assert_eq!(publish(&broker, "a", "heard").await, Ok(()));
    assert_eq!(shard.next_data("a").await, "heard");
}

#[tokio::test]
async fn a_replica_is_not_listened_to_and_a_demoted_master_is_left() {
    let (master, other) = (Server::running(&[]).await, Server::running(&[]).await);
    let port = master.port().to_string();
    other.run::<()>(&["REPLICAOF", "127.0.0.1", &port]).await;
    let broker = start(&config(other.url()));
    let standing = started(&config(master.url())).await;
    assert_eq!(broker.status(), Status::Starting);
    other.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    until("promoted", || broker.status() == Status::Up).await;
    let port = other.port().to_string();
    master.run::<()>(&["REPLICAOF", "127.0.0.1", &port]).await;
    until("demoted", || standing.status() == Status::Down).await;
}

#[tokio::test]
async fn canaries_that_come_are_no_publications_and_nobodys_channels() {
    let server = Server::running(&[]).await;
    let mut config = config(server.url());
    config.redis.canary_interval = std::time::Duration::from_millis(5);
    let broker = started(&config).await;
    let published = async || {
        let stats = server.run::<String>(&["INFO", "commandstats"]).await;
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_publish:calls=")?.split(',').next()?.parse::<u64>().ok());
        calls.unwrap_or_default()
    };
    let deadline = tokio::time::Instant::now() + super::wait::PATIENCE;
    while published().await < 20 {
        assert!(tokio::time::Instant::now() < deadline, "no canaries");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let counters = broker.counters();
    assert_eq!((counters.published, counters.received, counters.probe_failures, counters.gaps), (0, 0, 0, 0));
    let request = ullim_broker::ChannelsRequest { prefix: String::new(), after: None, limit: 10 };
    let listed = super::member::answer(broker.channels(request)).await.unwrap();
    assert!(listed.channels.is_empty(), "{listed:?}");
}
