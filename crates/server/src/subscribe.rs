//! `ullim sub`: prints what is published on channels, over reconnects, until Ctrl-C.

mod line;

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::anyhow;
use tokio::task::JoinSet;
use ullim_client::{Client, CommandError, Event, Events, SubscribeOptions, connect};

use crate::cli::SubArgs;
use crate::drain::Signals;
use crate::failure::Failure;

/// The pause before a subscription is tried again.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn run(arguments: SubArgs) -> Result<(), Failure> {
    let (client, events) = connect(arguments.server.config()).map_err(Failure::usage)?;
    let mut signals = Signals::new().map_err(Failure::runtime)?;
    let presence = arguments.presence;
    let options = SubscribeOptions { presence, events: presence, token: None };
    let printer = Printer { json: arguments.json, remaining: arguments.count };
    let result = tokio::select! {
        result = listen(&client, events, arguments.channels, &options, printer) => result,
        () = signals.first() => Ok(()),
    };
    client.close().await;
    result
}

async fn listen(
    client: &Client,
    mut events: Events,
    channels: Vec<String>,
    options: &SubscribeOptions,
    mut printer: Printer,
) -> Result<(), Failure> {
    let mut subscribing = JoinSet::new();
    for channel in channels {
        subscribing.spawn(subscribe(client.clone(), channel, options.clone()));
    }
    loop {
        let goes_on = tokio::select! {
            biased;
            // First what happened, then what came of it: a subscription stands after its connection.
            event = events.next() => match event {
                Some(Event::Closed { reason }) => return Err(Failure::Runtime(anyhow!("{reason}"))),
                Some(event) => printer.event(&event),
                None => return Err(Failure::Runtime(anyhow!("the client has stopped"))),
            },
            Some(Ok((channel, outcome))) = subscribing.join_next() => match outcome {
                Ok(()) => printer.subscribed(&channel),
                // Why it is closed is told by the last event.
                Err(CommandError::Closed) => Ok(true),
                Err(error) => return Err(Failure::Runtime(anyhow!("{channel}: {error}"))),
            },
        };
        match goes_on {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // Whoever read this has enough of it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::runtime(error)),
        }
    }
}

/// Tries until the subscription stands, or cannot.
async fn subscribe(client: Client, channel: String, options: SubscribeOptions) -> (String, Result<(), CommandError>) {
    loop {
        match client.subscribe_with(&channel, options.clone()).await {
            Err(
                error
                @ (CommandError::Timeout | CommandError::Disconnected | CommandError::Refused { retry: true, .. }),
            ) => {
                eprintln!("{channel}: {error}; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return (channel, outcome),
        }
    }
}

/// Prints until it has printed enough.
struct Printer {
    json: bool,
    /// Publications to come.
    remaining: Option<u64>,
}

impl Printer {
    /// Whether more is to be printed.
    fn event(&mut self, event: &Event) -> io::Result<bool> {
        let mut stdout = io::stdout().lock();
        match (line::of(event, self.json), event) {
            (line, _) if self.json => writeln!(stdout, "{line}")?,
            (
                line,
                Event::Publication { .. }
                | Event::Gap { .. }
                | Event::Members { .. }
                | Event::Joined { .. }
                | Event::Left { .. },
            ) => writeln!(stdout, "{line}")?,
            (line, _) => eprintln!("{line}"),
        }
        if let (Event::Publication { .. }, Some(remaining)) = (event, &mut self.remaining) {
            *remaining = remaining.saturating_sub(1);
            return Ok(*remaining > 0);
        }
        Ok(true)
    }

    fn subscribed(&self, channel: &str) -> io::Result<bool> {
        if self.json {
            writeln!(io::stdout().lock(), "{}", line::subscribed(channel))?;
        } else {
            eprintln!("subscribed to {channel}");
        }
        Ok(self.remaining != Some(0))
    }
}
