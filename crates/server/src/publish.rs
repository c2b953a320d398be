//! `ullim pub`: publishes as a client does, or as a backend through Redis.

mod backend;
mod data;
mod session;

use ullim_protocol::channel::ChannelName;
use ullim_protocol::publication::Data;

use crate::cli::PubArgs;
use crate::failure::Failure;
use backend::Backend;
use data::{Input, Reading};
use session::Session;

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
        Some(url) => Publisher::Backend(Backend::connect(url, arguments.prefix).await?),
        None => Publisher::Session(Session::connect(arguments.server).await?),
    };
    while let Some(line) = input.next().await.map_err(Failure::Runtime)? {
        let data = reading.read(line).map_err(Failure::Usage)?;
        publisher.publish(&channel, data).await.map_err(Failure::Runtime)?;
    }
    Ok(())
}

impl Publisher {
    async fn publish(&self, channel: &ChannelName, data: Data) -> anyhow::Result<()> {
        match self {
            Self::Backend(backend) => backend.publish(channel.clone(), data).await,
            Self::Session(session) => session.publish(channel.as_str(), data).await,
        }
    }
}
