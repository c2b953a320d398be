//! Autobahn|Testsuite's base groups (1 to 7, 9, 10) against the frame decoder that the nodes use.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use ullim_tests::{Process, artifact, eventually};

/// Where `tests/run` puts it.
const WSTEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/autobahn/bin/wstest");

/// How many cases the base groups have.
const CASES: usize = 301;

/// What a case may end with.
const GOOD: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    behavior: String,
    behavior_close: String,
}

#[tokio::test]
async fn the_decoder_passes_autobahn() {
    if !Path::new(WSTEST).is_file() {
        // Past the capture of the test harness, so that it is seen.
        let skipped =
            "!!! SKIPPED: Autobahn|Testsuite is not installed (tests/run does it where there is a Python 2.7)";
        writeln!(io::stderr(), "{skipped}").unwrap();
        return;
    }
    let folder = TempDir::new().unwrap();
    let (_echo, address) = start_echo(folder.path()).await;
    run_wstest(folder.path(), &address);

    let index = fs::read_to_string(folder.path().join("reports/index.json")).unwrap();
    let agents: BTreeMap<String, BTreeMap<String, Case>> = serde_json::from_str(&index).unwrap();
    let cases = &agents["ullim"];
    let is_bad = |case: &Case| [&case.behavior, &case.behavior_close].iter().any(|end| !GOOD.contains(&end.as_str()));
    let bad: Vec<_> = cases
        .iter()
        .filter(|(_, case)| is_bad(case))
        .map(|(name, case)| format!("{name}: {} / {}", case.behavior, case.behavior_close))
        .collect();
    assert!(bad.is_empty(), "{} of {} cases:\n{}", bad.len(), cases.len(), bad.join("\n"));
    assert!(cases.len() >= CASES, "only {} cases ran", cases.len());
}

async fn start_echo(folder: &Path) -> (Process, String) {
    let program = artifact("examples/echo");
    assert!(program.is_file(), "{} does not exist: cargo test --workspace builds it", program.display());
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0"]);
    let echo = Process::start("echo", &mut command, folder);
    let address = eventually("the echo to listen", async || {
        let printed = echo.stdout();
        printed.strip_prefix("listening on ")?.strip_suffix('\n').map(str::to_owned)
    })
    .await;
    (echo, address)
}

fn run_wstest(folder: &Path, address: &str) {
    let spec = json!({
        "outdir": "reports",
        "servers": [{"agent": "ullim", "url": format!("ws://{address}")}],
        "cases": ["*"],
        "exclude-cases": ["12.*", "13.*"],
        "exclude-agent-cases": {},
    });
    fs::write(folder.join("spec.json"), spec.to_string()).unwrap();
    let mut command = Command::new(WSTEST);
    command.args(["-m", "fuzzingclient", "-s", "spec.json"]).current_dir(folder).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
