//! `ullim passcode`: the hash of a passcode, as the configuration takes it.

use std::io::{self, BufRead, IsTerminal as _};

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// A longer passcode is none that somebody typed, and no client could send it.
const MAX_BYTES: u64 = 1024;

pub(crate) fn run() -> Result<(), Failure> {
    let passcode = ask().map_err(Failure::Usage)?;
    let hash = ullim_auth::hash_passcode(&passcode).context("the system gives no random numbers");
    println!("{}", hash.map_err(Failure::Runtime)?);
    Ok(())
}

fn ask() -> anyhow::Result<String> {
    let stdin = io::stdin().lock();
    if !stdin.is_terminal() {
        return read(stdin);
    }
    eprint!("passcode: ");
    let silence = Silence::begin();
    let passcode = read(stdin);
    drop(silence);
    eprintln!();
    passcode
}

/// One line, without its end.
fn read(input: impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input.take(MAX_BYTES + 2).read_line(&mut line).context("the passcode cannot be read from stdin")?;
    let passcode = line.strip_suffix('\n').unwrap_or(&line);
    let passcode = passcode.strip_suffix('\r').unwrap_or(passcode);
    if passcode.is_empty() {
        bail!("there is no passcode on stdin");
    }
    if passcode.len() as u64 > MAX_BYTES {
        bail!("the passcode is longer than {MAX_BYTES} bytes");
    }
    Ok(passcode.to_owned())
}

/// While it lives the terminal does not show what is typed.
struct Silence(Termios);

impl Silence {
    /// `None` for a terminal that cannot be silenced: the passcode is read in any case.
    fn begin() -> Option<Self> {
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passcode_is_the_first_line_as_it_stands() {
        for (input, passcode) in
            [("guest\n", "guest"), ("guest", "guest"), (" a b \r\nmore\n", " a b "), ("\u{fc}\n", "\u{fc}")]
        {
            assert_eq!(read(input.as_bytes()).unwrap(), passcode, "{input:?}");
        }
        for (input, problem) in [("", "there is no passcode"), ("\r\nguest\n", "there is no passcode")] {
            assert!(read(input.as_bytes()).unwrap_err().to_string().contains(problem), "{input:?}");
        }
        assert!(read(b"\xff\n".as_slice()).is_err(), "no UTF-8");
        let longest = "x".repeat(1024);
        assert_eq!(read(format!("{longest}\r\n").as_bytes()).unwrap(), longest);
        assert!(read(format!("{longest}x\n").as_bytes()).unwrap_err().to_string().contains("1024 bytes"));
    }
}
