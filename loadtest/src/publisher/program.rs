//! A program that publishes what it reads from its standard input.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use mio::unix::pipe;

use crate::stream::not_now;

#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    pub(super) input: pipe::Sender,
}

impl Program {
    pub(super) fn start(command: &[String], folder: &Path) -> anyhow::Result<Self> {
        let (name, arguments) = command.split_first().context("`publish.program.command` is empty")?;
        let mut child = Command::new(name)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}, which publishes"))?;
        let input = child.stdin.take().context("the program has no standard input")?;
        let input = pipe::Sender::from(input);
        input.set_nonblocking(true)?;
        Ok(Self { child, input })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        not_now(self.input.write(bytes))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
