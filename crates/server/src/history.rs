//! `ullim history`: prints what was published on a recoverable channel.

use std::io::{self, Write as _};

use ullim_client::{Event, Part};

use crate::cli::HistoryArgs;
use crate::failure::Failure;
use crate::publish::Session;
use crate::subscribe::line;

pub(crate) async fn run(arguments: HistoryArgs) -> Result<(), Failure> {
    let HistoryArgs { channel, server, json, since, limit, reverse } = arguments;
    let session = Session::connect(server).await?;
    let part = Part { since, limit: Some(limit), reverse };
    let history = session.client().history(&channel, part).await.map_err(Failure::runtime)?;
    let mut stdout = io::stdout().lock();
    let mut last = None;
    for publication in history.publications {
        last = publication.position;
        let line = line::of(&Event::Publication { channel: channel.clone(), publication }, json);
        match writeln!(stdout, "{line}") {
            // Whoever read this has enough of it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(Failure::runtime)?,
        }
    }
    eprintln!("{channel} stands at {}", history.position);
    if let Some(last) = last.filter(|_| history.more) {
        eprintln!("there is more: add --since {last}");
    }
    Ok(())
}
