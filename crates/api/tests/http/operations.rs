//! Health and metrics.

use ullim_api::Config;

use crate::fixture::{listener, listener_with, parts};

#[tokio::test]
async fn a_node_lives_before_it_is_ready_and_while_it_drains() {
    let listener = listener().await;
    assert_eq!(parts(&listener.get("/health/live").await).0, 200);
    let (status, starting) = parts(&listener.get("/health/ready").await);
    assert_eq!((status, starting["status"].as_str()), (503, Some("starting")));
    assert!(starting["reason"].is_string());
    listener.readiness.serving();
    let (status, ready) = parts(&listener.get("/health/ready").await);
    assert_eq!((status, ready), (200, serde_json::json!({"status": "ready"})));
    listener.readiness.draining();
    assert_eq!(parts(&listener.get("/health/ready").await).0, 503);
    assert_eq!(parts(&listener.get("/health/live").await).0, 200);
    assert!(listener.get("/metrics").await.contains("\nullim_draining 1\n"));
}

#[tokio::test]
async fn metrics_are_openmetrics_and_the_listener_ends_when_told() {
    let mut listener = listener_with(Config::default()).await;
    let metrics = listener.get("/metrics").await;
    assert!(metrics.contains("content-type: application/openmetrics-text"), "{metrics}");
    for line in ["ullim_connections 0", "ullim_config_hash 7"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in {metrics}");
    }
    assert!(metrics.contains("\nprocess_open_fds ") && metrics.ends_with("# EOF\n"), "{metrics}");
    listener.shutdown.cancel();
    assert!(listener.task.join_next().await.unwrap().unwrap().is_ok());
}
