//! Transactions: commands that wait for their COMMIT. Those of a connection that ends are gone with it.

use std::collections::HashMap;

use ullim_protocol::command::Command;

use super::session::{Fault, Rules};

/// What a command costs beside its data.
const COMMAND_BYTES: usize = 256;

/// The open transactions of a connection.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: HashMap<String, Vec<Command>>,
    bytes: usize,
}

impl Transactions {
    pub(super) fn begin(&mut self, name: &str, rules: &Rules) -> Result<Command, Fault> {
        if self.open.contains_key(name) {
            return Err(Fault::new(format!("the transaction {name:?} is open already")));
        }
        if self.open.len() >= rules.transactions {
            return Err(Fault::new(format!("a connection has at most {} open transactions", rules.transactions)));
        }
        self.open.insert(name.to_owned(), Vec::new());
        Ok(Command::Ping)
    }

    /// Keeps a command for the COMMIT.
    pub(super) fn add(&mut self, name: &str, command: Command, rules: &Rules) -> Result<Command, Fault> {
        let commands = self.open.get_mut(name).ok_or_else(|| unknown(name))?;
        if commands.len() >= rules.transaction_frames {
            return Err(Fault::new(format!("a transaction has at most {} frames", rules.transaction_frames)));
        }
        self.bytes += bytes(&command);
        if self.bytes > rules.transaction_bytes {
            return Err(Fault::new(format!("all transactions have at most {} bytes", rules.transaction_bytes)));
        }
        commands.push(command);
        Ok(Command::Ping)
    }

    pub(super) fn commit(&mut self, name: &str) -> Result<Vec<Command>, Fault> {
        let commands = self.open.remove(name).ok_or_else(|| unknown(name))?;
        self.bytes -= commands.iter().map(bytes).sum::<usize>();
        Ok(commands)
    }

    pub(super) fn abort(&mut self, name: &str) -> Result<Command, Fault> {
        self.commit(name).map(|_| Command::Ping)
    }
}

fn unknown(name: &str) -> Fault {
    Fault::new(format!("the transaction {name:?} is not open"))
}

fn bytes(command: &Command) -> usize {
    let data = match command {
        Command::Publish(publish) => {
            let headers = publish.headers.as_ref().map_or(0, |headers| headers.bytes());
            publish.channel.len() + publish.data.bytes().len() + headers
        }
        _ => 0,
    };
    COMMAND_BYTES + data
}
