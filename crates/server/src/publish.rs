//! `ullim pub`: publishes as a client does, or as a backend through Redis.

mod backend;
mod data;
mod session;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;
use ullim_protocol::publication::Data;

use crate::cli::PubArgs;
use crate::failure::Failure;
use backend::Backend;
use data::{Input, Reading};
pub(crate) use session::Session;

/// How publications leave.
enum Publisher {
    Backend(Backend),
    Session(Session),
}

pub(crate) async fn run(arguments: PubArgs) -> Result<(), Failure> {
    let channel = ChannelName::parse(&arguments.channel).map_err(Failure::usage)?;
    let reading = Reading::new(arguments.text, arguments.binary_b64);
    let mut input = Input::new(arguments.data);
    let publisher = match arguments.redis {
        Some(url) => Publisher::Backend(Backend::connect(url, arguments.prefix, arguments.config).await?),
        None => Publisher::Session(Session::connect(arguments.server).await?),
    };
    while let Some(line) = input.next().await.map_err(Failure::Runtime)? {
        let data = reading.read(line).map_err(Failure::Usage)?;
        let position = publisher.publish(&channel, data, arguments.id.clone()).await.map_err(Failure::Runtime)?;
        if let Some(position) = position {
            println!("{position}");
        }
    }
    Ok(())
}

impl Publisher {
    /// Says where it stands, on a recoverable channel.
    async fn publish(&self, channel: &ChannelName, data: Data, id: Option<String>) -> anyhow::Result<Option<Position>> {
        match self {
            Self::Backend(backend) => backend.publish(channel.clone(), data, id).await,
            Self::Session(session) => session.publish(channel.as_str(), data, id).await,
        }
    }
}
