//! How a command fails: the exit code says who has to act.

use std::fmt;
use std::process::ExitCode;

use crate::configuration::Problems;

/// Why a command ended.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed or configured cannot work.
    Usage(anyhow::Error),
    /// It could have worked, and did not.
    Runtime(anyhow::Error),
}

impl Failure {
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::Usage(error.into())
    }

    pub(crate) fn runtime(error: impl Into<anyhow::Error>) -> Self {
        Self::Runtime(error.into())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Runtime(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::usage(problems)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) | Self::Runtime(error) => write!(f, "{error:#}"),
        }
    }
}
