//! The page of `ullim dev` in a real browser, over TLS: `tests/browser` says what is done there.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use ullim_tests::{Authority, CertificateFiles, Node, Redis, free_address};

use crate::turn;

const TESTS: &str = env!("CARGO_MANIFEST_DIR");

/// How long the browser may take from one line to the next, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// A script that drives the browser, and says in lines of JSON how far it is.
struct Driver {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<Value>,
}

impl Driver {
    /// Starts it with `home` as its home folder.
    fn start(script: &str, url: &str, home: &Path) -> Self {
        let installed = Path::new(TESTS).join("clients/node_modules/playwright-core");
        assert!(installed.is_dir(), "npm's playwright-core is not installed: tests/run does it");
        let mut command = Command::new("node");
        command.args([&format!("{TESTS}/browser/{script}"), url]).env("HOME", home);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel(16);
        // It ends with the script's output.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                let _ended = sender.blocking_send(line);
            }
        });
        Self { child, stdin, lines }
    }

    /// Waits until it says `expected`: the next that it says.
    async fn says(&mut self, expected: Value) {
        match timeout(PATIENCE, self.lines.recv()).await {
            Err(_) => panic!("waited {PATIENCE:?} in vain for {expected} from the browser"),
            Ok(Some(line)) => assert_eq!(line, expected),
            Ok(None) => panic!("the script ended before it said {expected}: {}", self.child.wait().unwrap()),
        }
    }

    fn go_on(&mut self) {
        writeln!(self.stdin, "{}", json!({"go": true})).unwrap();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        self.child.wait().unwrap();
    }
}

/// Makes browsers whose home folder is `home` trust `authority`.
fn trust(authority: &Authority, home: &Path) {
    let (store, pem) = (home.join(".pki/nssdb"), home.join("authority.pem"));
    fs::create_dir_all(&store).unwrap();
    fs::write(&pem, authority.pem()).unwrap();
    let store = format!("sql:{}", store.display());
    let certutil = |arguments: &[&str]| {
        let output = Command::new("certutil").args(["-d", &store]).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("certutil ({error}): tests/run installs it"));
        assert!(output.status.success(), "certutil {arguments:?}: {output:?}");
    };
    certutil(&["-N", "--empty-password"]);
    certutil(&["-A", "-t", "C,,", "-n", "the tests' authority", "-i", pem.to_str().unwrap()]);
}

#[tokio::test]
async fn two_tabs_meet_on_the_page_and_are_told_what_they_missed() {
    let _turn = turn::take().await;
    let home = TempDir::new().unwrap();
    let authority = Authority::new();
    trust(&authority, home.path());
    let files = CertificateFiles::write(home.path(), &authority.issue());
    let mut redis = Redis::start().await;
    let address = free_address();
    let _node = Node::builder()
        .redis(&redis)
        .set("client.tls.listen", &address.to_string())
        .set("client.tls.certificate", files.certificate.to_str().unwrap())
        .set("client.tls.key", files.key.to_str().unwrap())
        .start()
        .await;

    let url = format!("https://localhost:{}/", address.port());
    let mut driver = Driver::start("page.mjs", &url, home.path());
    driver.says(json!({"at": "redis"})).await;
    redis.kill();
    redis.resume().await;
    driver.go_on();
    driver.says(json!({"done": true})).await;
    assert!(driver.child.wait().unwrap().success());
}
