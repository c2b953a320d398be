//! Publishing over WebSocket, as a client does.

use anyhow::{Context as _, anyhow};
use serde_json::value::RawValue;
use ullim_client::{Client, Event, Events, Position, PublishOptions, connect};
use ullim_protocol::publication::Data;

use crate::cli::Server;
use crate::failure::Failure;

/// A session with a node.
pub(crate) struct Session {
    client: Client,
    /// It ends when they are gone too.
    _events: Events,
}

impl Session {
    /// Fails where the first attempt does.
    pub(crate) async fn connect(server: Server) -> Result<Self, Failure> {
        let (client, mut events) = connect(server.config()).map_err(Failure::usage)?;
        loop {
            match events.next().await {
                Some(Event::Connected { .. }) => return Ok(Self { client, _events: events }),
                Some(Event::Disconnected { reason, .. } | Event::Closed { reason }) => {
                    return Err(Failure::Runtime(anyhow!("{reason}")));
                }
                Some(_) => {}
                None => return Err(Failure::Runtime(anyhow!("the client has stopped"))),
            }
        }
    }

    pub(super) async fn publish(
        &self,
        channel: &str,
        data: Data,
        id: Option<String>,
    ) -> anyhow::Result<Option<Position>> {
        let options = PublishOptions { id, ..PublishOptions::default() };
        Ok(self.client.publish_with(channel, for_client(data)?, options).await?)
    }

    /// What else a client can ask for.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

fn for_client(data: Data) -> anyhow::Result<ullim_client::Data> {
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.into()).context("this is not UTF-8");
    Ok(match data {
        Data::Json(bytes) => ullim_client::Data::Json(RawValue::from_string(text(bytes)?)?),
        Data::Text(bytes) => ullim_client::Data::Text(text(bytes)?),
        Data::Binary(bytes) => ullim_client::Data::Binary(bytes),
    })
}
