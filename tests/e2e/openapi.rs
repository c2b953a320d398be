//! The document of the HTTP API against a node: schemathesis makes requests out of it, right and wrong ones, and holds
//! each answer against it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use ullim_tests::{Node, Process};

use crate::turn;

const TESTS: &str = env!("CARGO_MANIFEST_DIR");

/// Requests for each route, beside those for the bounds of every field.
const EXAMPLES: &str = "100";

/// So that every run makes the same requests.
const SEED: &str = "1";

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

#[tokio::test]
async fn the_http_api_is_what_its_document_says() {
    let schemathesis = format!("{TESTS}/.tools/python/bin/schemathesis");
    assert!(Path::new(&schemathesis).is_file(), "PyPI's schemathesis is not installed: tests/run does it");
    let _turn = turn::take().await;
    let builder = Node::builder().set("namespaces.chat.presence", "true").set("namespaces.default.presence", "true");
    let builder = builder.set("namespaces.chat.recoverable", "true").set("namespaces.default.recoverable", "true");
    let node = builder.start().await;
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(&schemathesis);
    command.arg("run").arg(node.internal("/api/openapi.json"));
    command.args(["--header", &format!("Authorization: Bearer {}", node.addresses.api_key)]);
    // It would end the node.
    command.args(["--exclude-path", "/api/drain"]);
    command.args(["--checks", "all", "--max-examples", EXAMPLES, "--seed", SEED, "--no-color"]);
    command.env("SCHEMATHESIS_HOOKS", "openapi_hooks");
    command.env("PYTHONPATH", format!("{TESTS}/clients")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.current_dir(folder.path());
    let mut process = Process::start("schemathesis", &mut command, folder.path());
    let ended = async {
        loop {
            if let Some(status) = process.ended() {
                return status;
            }
            sleep(LOOK).await;
        }
    };
    let status = timeout(PATIENCE, ended).await;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{status:?}\n{stdout}{stderr}");
    assert!(stdout.contains("No issues found"), "{stdout}{stderr}");
}
