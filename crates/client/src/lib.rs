//! A client of Ullim's native protocol (`docs/protocol.md`, JSON over WebSocket) that reconnects, resubscribes, and says
//! where publications may be missing.
//!
//! * [`Config`]: where to connect, as whom, how patiently (`config`)
//! * [`Client`]: the handle; [`CommandError`] (`client`)
//! * [`Events`]: what the user hears (`event`), with [`Data`] in it (`data`)
//! * `owner`: the task behind the handle; one `owner::session` per connection, `owner::subscriptions` outlive them
//! * `connection`: one WebSocket: handshake, a reading and a writing task, heartbeat
//! * `wire`: JSON ⇄ meaning; `backoff`: when to try again
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ullim_client::{Config, Data, Event, connect};
//!
//! let (client, mut events) = connect(Config::new(["ws://localhost:8000"]))?;
//! client.subscribe("chat:42").await?;
//! client.publish("chat:42", Data::Text("hello".to_owned())).await?;
//! while let Some(event) = events.next().await {
//!     if let Event::Publication { channel, publication } = event {
//!         println!("{channel}: {:?}", publication.data);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
mod client;
mod config;
mod connection;
mod data;
mod event;
mod owner;
mod wire;

pub use client::{Client, CommandError, PublishOptions};
pub use config::{Config, ConfigError};
pub use data::Data;
pub use event::{Event, Events, GapReason, Publication};
pub use owner::connect;
