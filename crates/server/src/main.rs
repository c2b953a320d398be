//! The binary `ullim`: a node, and the tools around it.
//!
//! * [`cli`]: what can be typed
//! * [`configuration`]: defaults ← file ← environment ← flags
//! * [`node`]: how a node is put together; [`drain`]: in which order it ends
//! * [`serve`], [`dev`]: running one; [`publish`], [`subscribe`], [`history`], [`token`], [`passcode`], [`inspect`]: the other
//!   commands

mod cli;
mod configuration;
mod dev;
mod drain;
mod failure;
mod file_limit;
mod history;
mod inspect;
mod logging;
mod node;
mod passcode;
mod publish;
mod serve;
mod subscribe;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command, ConfigCommand};
use failure::Failure;

/// Threads of the runtime that serves the broker and the internal listener. Clients have threads of their own.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    end_on_panic();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ullim: {failure}");
            failure.exit_code()
        }
    }
}

/// A panic in any thread or task ends the process: a node that is half dead looks well and serves nobody.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(overrides) => block_on(serve::run(&overrides)),
        Command::Dev(arguments) => block_on(dev::run(&arguments)),
        Command::Pub(arguments) => block_on(publish::run(arguments)),
        Command::Sub(arguments) => block_on(subscribe::run(arguments)),
        Command::History(arguments) => block_on(history::run(arguments)),
        Command::Token(arguments) => token::run(&arguments),
        Command::Passcode => passcode::run(),
        Command::Config { command: ConfigCommand::Check(overrides) } => inspect::check(&overrides),
        Command::Config { command: ConfigCommand::Show(overrides) } => inspect::show(&overrides),
    }
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = runtime.map_err(Failure::runtime)?;
    let result = runtime.block_on(command);
    // What still blocks, such as a read of stdin, is not waited for.
    runtime.shutdown_background();
    result
}
