//! Where it is run: Redis and the generator on one CPU, a server on the other. Each run has a server of its own, on a
//! port that was not used before.

use std::cell::Cell;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use ullim_loadtest::clock;
use ullim_loadtest::report::Report;
use ullim_loadtest::target::Target;

use crate::experiment::Contestant;

/// What a start program says if its server is not installed.
const MISSING: i32 = 77;

/// How long a server may take to listen, and to end: one of them has a virtual machine to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one run may take.
const LONGEST_RUN: Duration = Duration::from_secs(180);

/// The first port that is used; each node has room for three more at a thousand's distance.
const FIRST_PORT: u16 = 20_000;

pub(crate) struct Lab {
    bin: PathBuf,
    targets: PathBuf,
    folder: TempDir,
    server_cpu: usize,
    load_cpu: usize,
    _redis: Process,
    redis_port: u16,
    next_port: Cell<u16>,
}

/// What came of starting a server.
pub(crate) enum Started {
    Nodes(Vec<Node>),
    Missing(String),
}

/// A running node.
pub(crate) struct Node {
    process: Process,
    port: u16,
}

/// Ends when it is dropped.
struct Process(Child);

impl Process {
    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begun = clock::now();
        while clock::elapsed(begun) < PATIENCE {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Lab {
    pub(crate) fn open(bin: &Path, server_cpu: usize, load_cpu: usize) -> anyhow::Result<Self> {
        let bin = fs::canonicalize(bin).with_context(|| format!("{} is not there: build first", bin.display()))?;
        let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
        let folder = tempfile::tempdir()?;
        let redis_port = FIRST_PORT - 1;
        ensure!(TcpStream::connect(("127.0.0.1", redis_port)).is_err(), "port {redis_port} is taken");
        let mut command = pinned(load_cpu, Path::new("redis-server"));
        command.args(["--port", &redis_port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let redis = command.current_dir(folder.path()).stdout(Stdio::null()).spawn();
        let _redis = Process(redis.context("cannot start redis-server")?);
        wait_for(redis_port)?;
        Ok(Self { bin, targets, folder, server_cpu, load_cpu, _redis, redis_port, next_port: Cell::new(FIRST_PORT) })
    }

    pub(crate) fn target(&self, name: &str) -> anyhow::Result<Target> {
        Target::read(&self.targets.join(name).with_extension("toml"))
    }

    /// What the server says of its version.
    pub(crate) fn version(&self, target: &Target) -> Option<String> {
        let (name, arguments) = target.server.as_ref()?.version.as_ref()?.split_first()?;
        let mut command = Command::new(self.beside(target, Path::new(name)));
        let output = command.args(arguments).env("BIN", &self.bin).env("DIR", self.folder.path()).output().ok()?;
        let text = String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
        let version = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
        (output.status.success() && !version.is_empty()).then_some(version)
    }

    fn beside(&self, target: &Target, program: &Path) -> PathBuf {
        let folder = target.file.parent().unwrap_or(&self.targets);
        if program.components().count() > 1 { folder.join(program) } else { program.to_owned() }
    }

    /// Starts a contestant's nodes, and waits until they listen.
    pub(crate) fn start(&self, target: &Target, contestant: &Contestant) -> anyhow::Result<Started> {
        let server = target.server.as_ref().with_context(|| format!("{} has no [server]", target.name))?;
        ensure!(contestant.nodes == 1 || server.cluster, "several nodes of {} are no cluster", target.name);
        let mut nodes = Vec::new();
        for number in 0..contestant.nodes {
            let port = self.next_port.replace(self.next_port.get() + 1);
            let folder = self.folder.path().join(port.to_string());
            fs::create_dir_all(&folder)?;
            let log = folder.join("log");
            let mut command = pinned(self.server_cpu, &self.beside(target, &server.start));
            command.envs(&server.env).envs(contestant.environment.iter().copied());
            command.env("PORT", port.to_string()).env("REDIS", self.redis()).env("DIR", &folder).env("BIN", &self.bin);
            command.env("NODES", contestant.nodes.to_string()).env("NODE", number.to_string());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
            let mut process = Process(command.spawn().with_context(|| format!("cannot start {}", target.name))?);
            let begun = clock::now();
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                if let Some(status) = process.0.try_wait()? {
                    let said = fs::read_to_string(&log).unwrap_or_default();
                    let said = said.trim().lines().last().unwrap_or_default().to_owned();
                    match status.code() {
                        Some(MISSING) => return Ok(Started::Missing(said)),
                        _ => bail!("{} ended at once: {said}", target.name),
                    }
                }
                ensure!(clock::elapsed(begun) < PATIENCE, "{} does not listen on port {port}", target.name);
                sleep(Duration::from_millis(20));
            }
            nodes.push(Node { process, port });
        }
        // What a server does when it has just begun is not to be measured: it joins Redis, a runtime compiles.
        sleep(Duration::from_millis(700));
        Ok(Started::Nodes(nodes))
    }

    fn redis(&self) -> String {
        format!("127.0.0.1:{}", self.redis_port)
    }

    /// Runs a scenario against running nodes.
    pub(crate) fn drive(
        &self,
        target: &Target,
        nodes: &[Node],
        scenario: &str,
        arguments: &[String],
    ) -> anyhow::Result<Report> {
        let mut command = pinned(self.load_cpu, &self.bin.join("ullim-loadtest"));
        command.arg(scenario).arg("--target").arg(&target.file).args(["--json", "--quiet"]).args(arguments);
        for node in nodes {
            command.arg("--url").arg(target.url.replace("$port", &node.port.to_string()));
            command.arg("--pid").arg(node.process.pid().to_string());
        }
        let first = nodes.first().context("an experiment without a node")?;
        command.arg("--set").arg(format!("port={}", first.port));
        command.arg("--set").arg(format!("redis={}", self.redis()));
        command.arg("--set").arg(format!("dir={}", self.folder.path().display()));
        let (out, error) = (self.folder.path().join("out"), self.folder.path().join("error"));
        command.stdin(Stdio::null()).stdout(fs::File::create(&out)?).stderr(fs::File::create(&error)?);
        let mut process = Process(command.spawn().context("cannot start ullim-loadtest")?);
        let begun = clock::now();
        let status = loop {
            if let Some(status) = process.0.try_wait()? {
                break status;
            }
            ensure!(clock::elapsed(begun) < LONGEST_RUN, "not done within {} s", LONGEST_RUN.as_secs());
            sleep(Duration::from_millis(20));
        };
        if !status.success() {
            let said = fs::read_to_string(&error)?;
            // What the generator says itself, rather than what a program that it has started says.
            let own = said.lines().rev().find(|line| line.starts_with("error: "));
            bail!("{}", own.or(said.lines().last()).unwrap_or("no reason given"));
        }
        Ok(serde_json::from_slice(&fs::read(&out)?)?)
    }
}

fn pinned(cpu: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cpu.to_string()).arg(program);
    command
}

fn wait_for(port: u16) -> anyhow::Result<()> {
    let begun = clock::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(clock::elapsed(begun) < PATIENCE, "nothing listens on port {port}");
        sleep(Duration::from_millis(10));
    }
    Ok(())
}
