//! Short chaos runs: nothing is lost silently, and nothing is said without a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

use std::time::Duration;

use tokio::sync::Mutex;
use ullim_tests::chaos::{Form, Options, run};
use ullim_tests::eventually;
use ullim_tests::redis::sentinel::Sentinel;
use ullim_tests::redis::server::{Data, ask};
use ullim_tests::redis::sharded::{Sharded, owner, ranges, slot};

/// One at a time: each of them has the machine for itself.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_faults_nothing_is_signalled_and_nothing_is_lost() {
    let _turn = TURN.lock().await;
    let mut options = Options::new(Form::Single);
    options.length = Duration::from_secs(15);
    options.brief = true;
    let report = run(&options).await;
    assert!(report.findings().is_empty(), "{report}");
    assert_eq!(report.verdict.signals, 0, "{report}");
    assert_eq!(report.verdict.unknown, 0, "every way to publish works: {report}");
    assert!(report.verdict.heard > 1000, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_nothing_is_lost_silently() {
    let _turn = TURN.lock().await;
    let mut options = Options::new(Form::Single);
    options.seed = 7;
    options.brief = true;
    options.quiet = Duration::from_secs(5);
    options.faults = ["node-kill", "pubsub-kill", "redis-stop", "redis-kill-empty", "half-open", "rolling-restart"]
        .map(str::to_owned)
        .to_vec();
    let report = run(&options).await;
    assert!(report.findings().is_empty(), "{report}");
    assert_eq!(report.faults, options.faults.len(), "{report}");
    assert!(report.verdict.signals > 0, "who was told nothing had no faults: {report}");
}

#[tokio::test]
async fn the_sentinels_of_the_tests_fail_over() {
    let _turn = TURN.lock().await;
    let mut sentinel = Sentinel::start().await;
    let old = sentinel.master_index().await;
    sentinel.servers[old].kill();
    let new = eventually("another master", async || {
        let now = sentinel.master_index().await;
        (now != old).then_some(now)
    })
    .await;
    sentinel.servers[old].start(Data::None).await;
    sentinel.servers[old].text(&["REPLICAOF", "127.0.0.1", &sentinel.servers[new].port().to_string()]).await;
    sentinel.settled().await;
    assert_eq!(sentinel.master_index().await, new);
}

#[tokio::test]
async fn the_cluster_of_the_tests_moves_slots_and_keys() {
    let _turn = TURN.lock().await;
    let cluster = Sharded::start().await;
    let masters = cluster.masters().await;
    assert_eq!(masters.len(), 3);
    let key = "ullim:{orders:1}";
    let before = owner(&ranges(&cluster.addresses()).await.unwrap(), slot(key)).unwrap();
    ask(before, &["SET", key, "1"]).await.unwrap();
    let target = masters.into_iter().find(|master| cluster.servers[*master].address() != before).unwrap();
    cluster.migrate(slot(key), target).await;
    let after = owner(&ranges(&cluster.addresses()).await.unwrap(), slot(key)).unwrap();
    assert_eq!(after, cluster.servers[target].address());
    let value: String = redis::from_redis_value(ask(after, &["GET", key]).await.unwrap()).unwrap();
    assert_eq!(value, "1");
}
