//! A TCP connection that publishes. Its answers are read away; errors among them are counted.

use std::io::{self, Read as _, Write as _};
use std::net::ToSocketAddrs as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use memchr::memmem;
use mio::net::TcpStream;

use crate::plan::Plan;
use crate::stream::not_now;

/// How long connecting may take, and each answer to what a client says first.
const PATIENCE: Duration = Duration::from_secs(5);

/// How answers are told from errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    Redis,
    Http,
    /// They are not looked at.
    None,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) tcp: TcpStream,
    answers: Answers,
    pub(super) errors: u64,
}

impl Link {
    pub(super) fn connect(address: &str, answers: Answers) -> anyhow::Result<Self> {
        let resolved = address.to_socket_addrs().with_context(|| format!("{address} is not found"))?.next();
        let resolved = resolved.with_context(|| format!("{address} has no address"))?;
        let tcp = std::net::TcpStream::connect_timeout(&resolved, PATIENCE)
            .with_context(|| format!("cannot connect to {address}, where messages are published"))?;
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self { tcp: TcpStream::from_std(tcp), answers, errors: 0 })
    }

    /// What a client says before it publishes; waits for the answers.
    pub(super) fn open(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let steps = plan.steps.iter().map(|step| (step.bytes.as_slice(), step.answers));
        let mut heard = Vec::new();
        if !plan.request.is_empty() {
            self.say(&plan.request, &["\r\n\r\n"], &mut heard)?;
        }
        if !plan.request.is_empty() && !heard.starts_with(b"HTTP/1.1 101") {
            bail!("the upgrade of the client that publishes was answered {:?}", String::from_utf8_lossy(&heard));
        }
        let mut answered = 0;
        for (bytes, answers) in steps {
            let expected: Vec<_> = plan.expected[answered..answers].iter().map(String::as_str).collect();
            self.say(bytes, &expected, &mut heard)?;
            answered = answers;
        }
        Ok(())
    }

    /// Sends, and reads until everything that is expected has come.
    fn say(&mut self, bytes: &[u8], expected: &[&str], heard: &mut Vec<u8>) -> anyhow::Result<()> {
        let begun = crate::clock::now();
        let mut rest = bytes;
        let mut buffer = [0; 4096];
        while !rest.is_empty() || !is_there(heard, expected) {
            if let Some(written) = not_now(self.tcp.write(rest))? {
                rest = &rest[written..];
            }
            match not_now(self.tcp.read(&mut buffer))? {
                Some(0) => bail!(
                    "the server closed the connection that publishes, and had said {:?}",
                    String::from_utf8_lossy(heard)
                ),
                Some(count) => heard.extend_from_slice(&buffer[..count]),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
            if crate::clock::elapsed(begun) > PATIENCE {
                let told = String::from_utf8_lossy(heard);
                bail!("the client that publishes waits for {expected:?}, and was told {told:?}");
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        not_now(self.tcp.write(bytes))
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while let Some(count) = not_now(self.tcp.read(buffer))? {
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.errors += match self.answers {
                Answers::Redis => count_errors(&buffer[..count]),
                Answers::Http => count_refusals(&buffer[..count]),
                Answers::None => 0,
            };
        }
        Ok(())
    }
}

fn is_there(heard: &[u8], expected: &[&str]) -> bool {
    expected.iter().all(|expected| memmem::find(heard, expected.as_bytes()).is_some())
}

/// Answers that begin with a minus. One that is cut between its first bytes is overlooked.
fn count_errors(answers: &[u8]) -> u64 {
    u64::from(answers.first() == Some(&b'-')) + memmem::find_iter(answers, b"\r\n-").count() as u64
}

/// Answers whose status is none of success.
fn count_refusals(answers: &[u8]) -> u64 {
    memmem::find_iter(answers, b"HTTP/1.1 ")
        .filter(|at| answers.get(at + 9).is_some_and(|first| *first != b'2'))
        .count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_among_the_answers_are_counted() {
        assert_eq!(count_errors(b":1\r\n-ERR no\r\n:2\r\n"), 1);
        assert_eq!(count_errors(b"-NOAUTH\r\n-NOAUTH\r\n"), 2);
        assert_eq!(count_refusals(b"HTTP/1.1 202 Accepted\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n"), 1);
    }
}
