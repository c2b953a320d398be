//! On what it was measured.

use std::fs;
use std::process::Command;

use anyhow::Context as _;

/// The processor, the system and the time, a line each.
pub(crate) fn describe() -> anyhow::Result<Vec<String>> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kibibytes: u64 = memory.split_whitespace().nth(1).and_then(|number| number.parse().ok()).context("meminfo")?;
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy().into_owned();
    let now = std::time::SystemTime::now();
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output().ok();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    Ok(vec![
        format!("{count} CPUs: {model}, {} GiB of memory", (kibibytes as f64 / 1048576.0).round()),
        format!("Linux {release}, loopback"),
        format!("Ullim at commit {}", if commit.is_empty() { "unknown" } else { &commit }),
        format!(
            "measured on {}",
            humantime::format_rfc3339_seconds(now).to_string().replace('T', " at ").replace('Z', " UTC")
        ),
    ])
}
