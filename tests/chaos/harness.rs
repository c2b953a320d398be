//! Faults under traffic, and the books afterwards: was anything lost silently?
//!
//! * [`Options`], [`run`]: a whole run
//! * `topology`: the servers; `traffic`: who publishes and who listens; `faults`: what is done to them; `schedule`: when
//! * [`log`]: what each of them saw; [`checker`]: whether it adds up (pure); [`Report`]: what is said about it

pub mod checker;
mod faults;
pub mod log;
mod report;
mod run;
mod schedule;
mod topology;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

pub use report::Report;
pub use run::run;
pub use topology::Form;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The form of Redis.
    pub form: Form,
    /// What chance begins with.
    pub seed: u64,
    /// How long faults go on; each is done once at least.
    pub length: Duration,
    /// Names of faults; none for a run without.
    pub faults: Vec<String>,
    /// How much time there is between two faults.
    pub quiet: Duration,
    /// How many nodes.
    pub nodes: usize,
    /// The binary; the one that the tests build if none.
    pub ullim: Option<PathBuf>,
    /// Further settings of the nodes, `key=value`.
    pub settings: Vec<String>,
    /// The folder for what subscribers receive, as they receive it.
    pub frames: Option<PathBuf>,
    /// Whether there is traffic on live channels, and on recoverable ones.
    pub promises: (bool, bool),
    /// Faults are short, and so is all waiting.
    pub brief: bool,
    /// Whether progress is printed.
    pub talks: bool,
}

impl Options {
    /// A run without faults.
    pub fn new(form: Form) -> Self {
        Self {
            form,
            seed: 1,
            length: Duration::ZERO,
            faults: Vec::new(),
            quiet: Duration::from_secs(12),
            nodes: 3,
            ullim: None,
            settings: Vec::new(),
            frames: None,
            promises: (true, true),
            brief: false,
            talks: false,
        }
    }
}

/// The names of the faults that there are in a form of Redis.
pub fn faults_of(form: Form) -> impl Iterator<Item = &'static str> {
    faults::ALL.iter().filter(move |(_, forms)| forms.contains(&form)).map(|(name, _)| *name)
}

/// The names of all faults.
pub fn faults() -> impl Iterator<Item = &'static str> {
    faults::ALL.iter().map(|(name, _)| *name)
}
