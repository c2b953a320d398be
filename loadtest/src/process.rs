//! What processes need: CPU time and resident memory, from `/proc`.

use std::fs;

use anyhow::Context as _;

/// CPU time and memory of some processes, all together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Seconds on a CPU in user space since they were started.
    pub user: f64,
    /// Seconds in the kernel.
    pub system: f64,
    /// Resident bytes.
    pub resident: u64,
}

impl Sample {
    /// Of these processes and their descendants.
    pub fn of(roots: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        let mut rest = roots.to_vec();
        while let Some(pid) = rest.pop() {
            let one = read(pid).with_context(|| format!("process {pid} cannot be read"));
            // A descendant may end between being listed and being read.
            let one = match one {
                Err(error) if roots.contains(&pid) => return Err(error),
                one => one.unwrap_or_default(),
            };
            sum.user += one.user;
            sum.system += one.system;
            sum.resident += one.resident;
            rest.extend(children(pid));
        }
        Ok(sum)
    }

    /// Of this process alone.
    pub fn own() -> anyhow::Result<Self> {
        read(std::process::id())
    }
}

fn read(pid: u32) -> anyhow::Result<Sample> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(") ").context("a stat file without a name")?;
    let field = |number: usize| fields.split(' ').nth(number - 3).and_then(|field| field.parse::<u64>().ok());
    let (Some(user), Some(system)) = (field(14), field(15)) else { anyhow::bail!("a stat file without times") };
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).context("statm without pages")?;
    let (user, system) = split(user, system, scheduled(pid));
    Ok(Sample { user, system, resident: pages * rustix::param::page_size() as u64 })
}

/// The clock ticks tell user and system apart, but only to 10 ms; the scheduler knows the sum to the nanosecond.
fn split(user: u64, system: u64, sum: Option<f64>) -> (f64, f64) {
    let tick = rustix::param::clock_ticks_per_second() as f64;
    let (user, system) = (user as f64 / tick, system as f64 / tick);
    // Threads that have ended take their schedule with them, but not their ticks.
    match sum.filter(|sum| sum + SLACK >= user + system) {
        Some(sum) if user + system > 0.0 => (sum * user / (user + system), sum * system / (user + system)),
        Some(sum) => (0.0, sum),
        None => (user, system),
    }
}

/// How many seconds the ticks may be ahead of the scheduler, being rounded.
const SLACK: f64 = 0.05;

/// Seconds that the living threads of a process have been on a CPU. None where the kernel does not say.
fn scheduled(pid: u32) -> Option<f64> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanos += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(nanos as f64 / 1e9)
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_needed_something() {
        let before = Sample::own().unwrap();
        let mut sum = 0_u64;
        while Sample::own().unwrap().user <= before.user {
            sum = std::hint::black_box((0..1_000_000_u64).fold(sum, |sum, number| sum ^ number.wrapping_mul(sum | 1)));
        }
        assert!(before.resident > 100_000, "{before:?}");
        assert!(Sample::of(&[u32::MAX >> 1]).is_err(), "there is no such process");
    }
}
