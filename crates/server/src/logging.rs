//! Logs, on stderr: for people or, as JSON, for machines.

use std::io::{self, IsTerminal as _};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// The `log` section of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,ullim_broker=debug`.
    pub(crate) level: String,
    /// Who reads it.
    pub(crate) format: Format,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Human,
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Human }
    }
}

/// Starts logging, once per process.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.level)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match config.format {
        Format::Human => logs.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => logs.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("logging could not be started: {error}"))
}
