//! What the README has a newcomer type: miss something, and get it all the same.

use ullim_tests::{Cli, Node, Redis, eventually};

/// What `ullim sub` printed last: where to go on.
fn where_to_go_on(said: &str) -> String {
    let (_, position) = said.trim_end().rsplit_once("--since ").unwrap_or_else(|| panic!("no position in {said:?}"));
    position.to_owned()
}

#[tokio::test]
async fn what_was_missed_while_sub_was_away_is_printed_when_it_comes_back() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).start().await;
    let (cli, url) = (Cli::default(), node.addresses.ws.as_str());
    let publish =
        |data: &str| redis.cli(&["FCALL", "ullim_publish", "1", "ullim:{orders:7}", data]).split_whitespace().count();

    let mut sub = cli.spawn("first", &["sub", "orders:7", "--count", "1", "--url", url]);
    eventually("the subscription", async || sub.stderr().contains("subscribed to orders:7").then_some(())).await;
    assert_eq!(publish(r#"{"n":1}"#), 2, "an epoch and an offset");
    assert!(sub.end().await.success());
    assert_eq!(sub.stdout(), "orders:7 #1 {\"n\":1}\n");
    let since = where_to_go_on(&sub.stderr());

    publish(r#"{"n":2}"#);
    let printed = cli.ok(&["pub", "orders:7", r#"{"n":3}"#, "--id", "once", "--url", url]);
    assert!(printed.trim_end().ends_with("-3"), "{printed}");
    assert_eq!(cli.ok(&["pub", "orders:7", r#"{"n":3}"#, "--id", "once", "--url", url]), printed);

    let arguments = ["sub", "orders:7", "--count", "2", "--url", url, "--since", &since];
    let mut sub = cli.spawn("second", &arguments);
    assert!(sub.end().await.success());
    assert!(sub.stderr().contains("orders:7: goes on behind "), "{}", sub.stderr());
    assert_eq!(sub.stdout(), "orders:7 #2 {\"n\":2}\norders:7 #3 {\"n\":3}\n");

    let history = cli.ok(&["history", "orders:7", "--reverse", "--limit", "2", "--url", url]);
    assert_eq!(history, "orders:7 #3 {\"n\":3}\norders:7 #2 {\"n\":2}\n");

    // Through Redis as well, though nobody has given it the nodes' configuration.
    let printed = cli.ok(&["pub", "--redis", &redis.url(), "orders:7", r#"{"n":4}"#]);
    assert!(printed.trim_end().ends_with("-4"), "{printed}");
}

#[tokio::test]
async fn a_position_that_cannot_be_recovered_is_not_where_sub_says_to_go_on() {
    let redis = Redis::start().await;
    let node = Node::builder().redis(&redis).start().await;
    let (cli, url) = (Cli::default(), node.addresses.ws.as_str());
    let publish = |data: &str| redis.cli(&["FCALL", "ullim_publish", "1", "ullim:{orders:7}", data]);
    let published = publish("1");
    let epoch = published.split_whitespace().next().unwrap();

    // Ahead of the history, as after a restore of older data.
    let ahead = format!("{epoch}-9");
    let mut sub = cli.spawn("ahead", &["sub", "orders:7", "--count", "1", "--url", url, "--since", &ahead]);
    eventually("the loss", async || sub.stdout().contains("cannot be recovered").then_some(())).await;
    publish("2");
    assert!(sub.end().await.success());
    assert_eq!(where_to_go_on(&sub.stderr()), format!("{epoch}-2"));

    // On a live channel there is nothing to go on from.
    let mut sub = cli.spawn("live", &["sub", "chat:7", "--count", "1", "--url", url, "--since", &ahead]);
    eventually("the loss", async || sub.stdout().contains("nothing is kept").then_some(())).await;
    redis.publish("chat:7", "1");
    assert!(sub.end().await.success());
    assert!(!sub.stderr().contains("--since"), "{}", sub.stderr());
}
