//! Short chaos runs: nothing is lost silently, and nothing is said without a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

use std::time::Duration;

use ullim_tests::chaos::{Form, Options, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_faults_nothing_is_signalled_and_nothing_is_lost() {
    let mut options = Options::new(Form::Single);
    options.length = Duration::from_secs(15);
    options.brief = true;
    let report = run(&options).await;
    assert!(report.findings().is_empty(), "{report}");
    assert_eq!(report.verdict.signals, 0, "{report}");
    assert!(report.verdict.heard > 1000, "{report}");
}
