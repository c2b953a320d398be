//! Whole gateways: who is accepted by which shard, and what a drain does to those who come.

use std::net::TcpStream;

use tokio::time::{interval, timeout};
use ullim_auth::{ResumeKey, Verifier};
use ullim_broker::ChannelRules;
use ullim_broker::memory::MemoryBroker;
use ullim_hub::Namespaces;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn gateway(shards: usize) -> Gateway {
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), shards, ..Config::default() };
    let auth = ullim_auth::Config { anonymous: true, ..Default::default() };
    let broker = Arc::new(MemoryBroker::new(&ullim_broker::Config::default(), ChannelRules::default()));
    let setup = Setup {
        config: ullim_hub::Config::default(),
        namespaces: Arc::new(Namespaces::default()),
        verifier: Arc::new(Verifier::new(&auth).unwrap()),
        broker: broker.clone(),
        presence: broker.clone(),
        history: broker,
        resume: Arc::new(ResumeKey::new(&auth).unwrap()),
    };
    Gateway::start(&config, 1 << 20, &setup, Pages::default()).unwrap()
}

/// How many connections each shard has, once it is so many together.
async fn dealt(gateway: &Gateway, all: usize) -> Vec<usize> {
    let mut looks = interval(Duration::from_millis(2));
    let dealt = async {
        loop {
            looks.tick().await;
            let dealt: Vec<usize> =
                (0..gateway.shards.len()).map(|shard| gateway.acceptor.connections(shard)).collect();
            if dealt.iter().sum::<usize>() == all {
                return dealt;
            }
        }
    };
    timeout(PATIENCE, dealt).await.unwrap()
}

#[tokio::test]
async fn shards_have_equally_many_connections_when_they_come_one_by_one() {
    let gateway = gateway(3);
    let mut clients = Vec::new();
    for count in 1..=30 {
        clients.push(TcpStream::connect(gateway.local_addr()).unwrap());
        let dealt = dealt(&gateway, count).await;
        let (most, fewest) = (dealt.iter().max().unwrap(), dealt.iter().min().unwrap());
        assert!(most - fewest <= 1, "{dealt:?}");
    }
    drop(clients);
    dealt(&gateway, 0).await;
}

#[tokio::test]
async fn shards_have_about_equally_many_after_a_storm_too() {
    let gateway = gateway(2);
    let address = gateway.local_addr();
    let storm = || std::thread::spawn(move || (0..150).map(|_| TcpStream::connect(address).unwrap()).collect());
    let storms = [storm(), storm()];
    let clients: Vec<Vec<TcpStream>> = storms.into_iter().map(|storm| storm.join().unwrap()).collect();
    let dealt = dealt(&gateway, 300).await;
    assert!(dealt[0].abs_diff(dealt[1]) <= 32, "{dealt:?}");
    drop(clients);
}

#[tokio::test]
async fn who_drains_accepts_nobody_first_of_all() {
    let gateway = gateway(2);
    let address = gateway.local_addr();
    let _client = TcpStream::connect(address).unwrap();
    dealt(&gateway, 1).await;
    gateway.drain(Duration::ZERO).await;
    assert!(TcpStream::connect(address).is_err());
}
