//! The command line of Ullim.

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::Process;
use crate::node::binary;

/// Runs `ullim` in an empty folder of its own.
pub struct Cli {
    /// The folder.
    pub folder: TempDir,
}

impl Default for Cli {
    fn default() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }
}

impl Cli {
    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Runs it to its end, which is to be a success: what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "ullim {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts it.
    pub fn spawn(&self, name: &str, arguments: &[&str]) -> Process {
        Process::start(name, &mut self.command(arguments), self.folder.path())
    }

    /// Starts it with one variable in its environment.
    pub fn spawn_with(&self, name: &str, arguments: &[&str], variable: (&str, &str)) -> Process {
        let mut command = self.command(arguments);
        command.env(variable.0, variable.1);
        Process::start(name, &mut command, self.folder.path())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path());
        command
    }
}
