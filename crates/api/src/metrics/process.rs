//! What the kernel says of this process, under the names that every Prometheus client uses. Linux only: elsewhere these
//! metrics are not there.

use std::fmt;
use std::fs;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use rustix::process::{Resource, getrlimit};

use super::family::known;

/// Each where it could be read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    open_files: Option<u64>,
    max_files: Option<u64>,
    /// Unix seconds.
    started: Option<f64>,
}

impl Process {
    /// Reads all of it.
    pub(super) fn read() -> Self {
        let statistics = fs::read_to_string("/proc/self/stat").ok();
        let statistics = statistics.as_deref().and_then(Statistics::parse);
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let booted = fs::read_to_string("/proc/stat").ok().and_then(|text| booted(&text));
        let started = |it: &Statistics| Some(booted? + it.started_ticks as f64 / ticks);
        Self {
            cpu_seconds: statistics.as_ref().map(|it| it.cpu_ticks as f64 / ticks),
            resident_bytes: statistics.as_ref().map(|it| it.resident_pages * rustix::param::page_size() as u64),
            open_files: open_files(),
            max_files: getrlimit(Resource::Nofile).current,
            started: statistics.as_ref().and_then(started),
        }
    }

    pub(super) fn encode(self, to: &mut DescriptorEncoder) -> fmt::Result {
        if let Some(seconds) = self.cpu_seconds {
            let help = "Processor time that this process has used";
            let encoder = to.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(encoder)?;
        }
        known(to, "process_resident_memory_bytes", "Memory that this process occupies", self.resident_bytes)?;
        known(to, "process_open_fds", "File descriptors that are open", self.open_files)?;
        known(to, "process_max_fds", "File descriptors that may be open", self.max_files)?;
        known(to, "process_start_time_seconds", "When this process was started", self.started)
    }
}

/// Some fields of `/proc/self/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Statistics {
    cpu_ticks: u64,
    started_ticks: u64,
    resident_pages: u64,
}

impl Statistics {
    fn parse(text: &str) -> Option<Self> {
        // The name before the parenthesis may hold anything. What follows begins with field 3.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, started_ticks: field(22)?, resident_pages: field(24)? })
    }
}

/// When the machine was booted, in Unix seconds.
fn booted(statistics: &str) -> Option<f64> {
    statistics.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn open_files() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Since Linux 6.2 the size of the folder is their number.
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as u64),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let text = "7 (a) b (c) S 1 1 1 0 -1 4194560 1 0 0 0 20 3 0 0 20 0 4 0 500 1000000 250 18446744073709551615";
        let expected = Statistics { cpu_ticks: 23, started_ticks: 500, resident_pages: 250 };
        assert_eq!(Statistics::parse(text), Some(expected));
        assert_eq!(Statistics::parse("7 (x) S 1"), None);
        assert_eq!(booted("cpu 1 2\nbtime 1763700000\n"), Some(1_763_700_000.0));
    }

    #[test]
    fn this_process_is_known() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_files.unwrap() >= 3 && process.max_files.unwrap() >= process.open_files.unwrap());
        assert!(process.cpu_seconds.is_some() && process.started.unwrap() > 1.7e9);
    }
}
