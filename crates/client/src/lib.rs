//! A client of Ullim's native protocol (`docs/protocol.md`, JSON over WebSocket) that reconnects, resubscribes, goes on
//! where it was, and says where publications may be missing.
//!
//! * [`Config`]: where to connect, as whom, how patiently (`config`); `endpoint` takes URLs apart, `tls` says whom to trust
//! * [`Token`]: a fixed one, or a callback that is asked for fresh ones (`token`)
//! * [`Client`]: the handle, with [`SubscribeOptions`] and [`PublishOptions`]; [`CommandError`] (`client`)
//! * [`Events`]: what the user hears (`event`), with [`Data`] (`data`), [`MembersPage`] (`presence`), [`Reason`] (`reason`);
//!   [`History`]: what was said before (`history`)
//! * `owner`: the task behind the handle; one `owner::session` per connection, `owner::subscriptions` outlive them
//! * `connection`: one WebSocket: TLS, handshake, a reading and a writing task, heartbeat
//! * `wire`: JSON ⇄ meaning; `backoff`: when to try again
//!
//! A session outlives its connections: after a break it is resumed where the node still knows it
//! ([`Event::Connected::resumed`]), and the subscriptions are renewed in either case: those of recoverable channels from
//! the last publication that was heard ([`Event::Recovered`], [`Event::NotRecovered`]), others with an [`Event::Gap`]. A token is refreshed before it
//! expires, without a break, if it comes from a callback.
//!
//! ```no_run
//! # async fn token_from_my_backend() -> std::io::Result<String> { unimplemented!() }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ullim_client::{Config, Data, Event, SubscribeOptions, Token, TokenError, connect};
//!
//! let mut config = Config::new(["wss://one.example.org/ws", "wss://two.example.org/ws"]);
//! config.token = Some(Token::callback(|| async {
//!     token_from_my_backend().await.map_err(|error| TokenError::Unavailable(error.to_string()))
//! }));
//! let (client, mut events) = connect(config)?;
//!
//! let options = SubscribeOptions { presence: true, events: true, ..SubscribeOptions::default() };
//! client.subscribe_with("chat:42", options).await?;
//! client.publish("chat:42", Data::Text("hello".to_owned())).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Publication { channel, publication } => println!("{channel}: {:?}", publication.data),
//!         Event::Members { channel, page } => println!("{channel}: {} are there", page.members.len()),
//!         Event::Joined { channel, user, .. } => println!("{channel}: {user} came"),
//!         Event::Gap { channel, from, to, .. } => println!("{channel}: fetch what was said from {from} to {to}"),
//!         Event::Closed { reason } => println!("this was the end: {reason}"),
//!         _ => {}
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
mod endpoint;
mod event;
mod history;
mod owner;
mod presence;
mod reason;
mod tls;
mod token;
mod wire;

pub use client::{Client, CommandError, PublishOptions, SubscribeOptions};
pub use config::{Config, ConfigError};
pub use data::{Data, Info};
pub use event::{Event, Events, GapReason, Publication};
pub use history::{History, Part};
/// What holds the headers of a publication.
pub use indexmap::IndexMap;
pub use owner::connect;
pub use presence::{Member, MembersPage, Occupancy, Page};
pub use reason::{Reason, TlsError};
pub use token::{Token, TokenError};
pub use ullim_protocol::position::{Epoch, Position};
