//! A child process with its output in files; it is killed, by its id, when it is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::eventually;

/// What a failed test shows of each process.
const SHOWN_LINES: usize = 60;

/// A running program.
pub struct Process {
    child: Child,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`. Its output goes to `<name>.out` and `<name>.err` in `folder`.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, name: name.to_owned(), stdout, stderr }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _already_gone = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn end(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        eventually(&what, async || self.ended()).await
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    /// What it has logged so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// The lines that it has printed so far, as JSON. A last line that is not complete yet is left out.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let printed = self.stdout();
        let complete = printed.rsplit_once('\n').map_or("", |(complete, _)| complete);
        complete.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Waits for the first printed line for which `wanted` holds.
    pub async fn line(&mut self, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let name = self.name.clone();
        eventually(&format!("{what} from {name}"), async || {
            if let Some(line) = self.json_lines().into_iter().find(|line| wanted(line)) {
                return Some(line);
            }
            if let Some(status) = self.ended() {
                // It may have printed between the two looks.
                let line = self.json_lines().into_iter().find(|line| wanted(line));
                assert!(line.is_some(), "{name} ended ({status}) without {what}:\n{}{}", self.stdout(), self.stderr());
                return line;
            }
            None
        })
        .await
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            // A folder that is gone already has taken the log with it.
            let log = fs::read_to_string(&self.stderr).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("---- {}, the last of {} lines:\n{}", self.name, lines.len(), last.join("\n"));
        }
    }
}
