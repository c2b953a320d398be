//! A process of the run: it is ended, by its id, at the latest when it is dropped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Ports below those that the system gives to outgoing connections (32768 and higher): one of these could take the port
/// of a server that is to start again.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// How many ports this process has tried.
static TRIED: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nothing listens on, and that this process has given to nobody else.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    // Other processes begin elsewhere.
    let start = std::process::id().wrapping_mul(7919) % u32::from(COUNT);
    for _ in 0..COUNT {
        let tried = u32::from(TRIED.fetch_add(1, Ordering::Relaxed));
        // Less than COUNT.
        let port = FIRST + ((start + tried) % u32::from(COUNT)) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("every port from {FIRST} on is taken")
}

/// A running program, whose output goes to a file.
pub(crate) struct Server {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Server {
    /// Starts `command`. What it says goes to `<name>.log` in `folder`.
    pub(crate) fn start(name: &str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails, with what it said last, if it has ended.
    pub(crate) fn still_runs(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}): {}", self.name, self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.trim().lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
