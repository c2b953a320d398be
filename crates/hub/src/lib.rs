//! Who on this node hears what. One [`Hub`] per shard: a state machine that owns the shard's connections, sessions and
//! subscriptions, and turns what the broker relays into writes. It knows no socket, no task and no clock: it is told of
//! events and of the time, speaks to clients through [`Outlet`] and [`Encode`], and hands out what must be waited for
//! as [`Work`].
//!
//! * [`Hub`] (`hub`): connections come, speak, go; time passes
//! * `commands`: what a client's command does; `subscribing`, `closing`: the longer stories
//! * `pipeline`: answers keep the order of the commands
//! * `fanout`: publications, joins and gaps from the broker → connections
//! * `registry`: channel → subscribers
//! * `connection`, `outbox`, `session`: what is kept of one client

mod closing;
mod commands;
pub mod config;
mod connection;
mod cork;
mod counters;
mod deadlines;
mod fanout;
mod heartbeat;
mod hub;
mod outbox;
mod outlet;
mod pipeline;
mod rate;
mod registry;
mod session;
mod subscribing;

pub use config::{Config, NamespaceConfig, Namespaces};
pub use connection::ConnectionId;
pub use counters::Counters;
pub use hub::{Hub, Reading, Setup, Transport};
pub use outlet::{Encode, Outlet, Wire};
pub use pipeline::{Finished, Work};
pub use ullim_broker::Histogram;
