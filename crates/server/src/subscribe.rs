//! `ullim sub`: prints what is published on channels, over reconnects, until Ctrl-C.

pub(crate) mod line;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::anyhow;
use tokio::task::JoinSet;
use ullim_client::{Client, CommandError, Event, Events, Position, SubscribeOptions, connect};

use crate::cli::SubArgs;
use crate::drain::Signals;
use crate::failure::Failure;

/// The pause before a subscription is tried again.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn run(arguments: SubArgs) -> Result<(), Failure> {
    let since = match (arguments.since, arguments.channels.as_slice()) {
        (Some(since), [channel]) => BTreeMap::from([(channel.clone(), since)]),
        (Some(_), _) => return Err(Failure::Usage(anyhow!("--since is a position of one channel: name one"))),
        (None, _) => BTreeMap::new(),
    };
    let (client, events) = connect(arguments.server.config()).map_err(Failure::usage)?;
    let mut signals = Signals::new().map_err(Failure::runtime)?;
    let presence = arguments.presence;
    let options = SubscribeOptions { presence, events: presence, token: None, since: arguments.since };
    let mut printer = Printer { json: arguments.json, remaining: arguments.count, heard: since };
    let result = tokio::select! {
        result = listen(&client, events, arguments.channels, &options, &mut printer) => result,
        () = signals.first() => Ok(()),
    };
    client.close().await;
    printer.say_where_to_go_on();
    result
}

async fn listen(
    client: &Client,
    mut events: Events,
    channels: Vec<String>,
    options: &SubscribeOptions,
    printer: &mut Printer,
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
                Ok(position) => printer.subscribed(&channel, position),
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
async fn subscribe(
    client: Client,
    channel: String,
    options: SubscribeOptions,
) -> (String, Result<Option<Position>, CommandError>) {
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
    /// Up to where each recoverable channel was printed.
    heard: BTreeMap<String, Position>,
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
                | Event::NotRecovered { .. }
                | Event::Members { .. }
                | Event::Joined { .. }
                | Event::Left { .. },
            ) => writeln!(stdout, "{line}")?,
            (line, _) => eprintln!("{line}"),
        }
        self.hear(event);
        if let (Event::Publication { .. }, Some(remaining)) = (event, &mut self.remaining) {
            *remaining = remaining.saturating_sub(1);
            return Ok(*remaining > 0);
        }
        Ok(true)
    }

    /// What is behind a position that was asked for is still to come: that one stays, until something else is said.
    fn subscribed(&mut self, channel: &str, position: Option<Position>) -> io::Result<bool> {
        if self.json {
            writeln!(io::stdout().lock(), "{}", line::subscribed(channel, position))?;
        } else {
            match position {
                Some(position) => eprintln!("subscribed to {channel}, which stands at {position}"),
                None => eprintln!("subscribed to {channel}"),
            }
        }
        if let Some(position) = position {
            self.heard.entry(channel.to_owned()).or_insert(position);
        }
        Ok(self.remaining != Some(0))
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::Publication { channel, publication } => {
                self.heard.extend(publication.position.map(|position| (channel.clone(), position)));
            }
            Event::Gap { channel, position: Some(position), .. } => {
                let heard = self.heard.entry(channel.clone()).or_insert(*position);
                *heard = (*heard).max(*position);
            }
            // It may be a lower one, where the history has gone back; none on a live channel.
            Event::NotRecovered { channel, position, .. } => {
                self.heard.remove(channel);
                self.heard.extend(position.map(|position| (channel.clone(), position)));
            }
            _ => {}
        }
    }

    fn say_where_to_go_on(&self) {
        for (channel, position) in &self.heard {
            eprintln!("{channel}: to go on here: --since {position}");
        }
    }
}
