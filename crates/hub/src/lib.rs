//! Who on this node hears what. One [`Hub`] per shard: a state machine that owns the shard's connections, sessions and
//! subscriptions, and turns what the broker relays into writes. It knows no socket, no task and no clock: it is told of
//! events and of the time, speaks to clients through [`Outlet`] and [`Encode`], asks [`Tokens`] who they are, and hands out what must be waited for
//! as [`Work`].
//!
//! * [`Hub`] (`hub`): connections come, speak, go; time passes
//! * `commands`: what a client's command does; `connecting`, `subscribing` and `settling`, `presence`, `closing`:
//!   the longer stories
//! * `permission`: who may do what; `time`, `expiry`: until when; `control`: what other nodes order
//! * `draining`: how a shard ends without a storm
//! * `pipeline`: answers keep the order of the commands; `work`: what is waited for
//! * `catching_up`: what happens between a subscription's beginning and its reply; `recovering`: what was published before
//! * `repair`: what the shard's own queue has lost is read from the history; `resetting`: what if the history goes back
//! * `past`: the command `history`
//! * `fanout`: publications, joins and gaps from the broker → connections; `batch`: which of them goes to whom, encoded
//! * `labels`: dialects that address what comes to one of several subscriptions; `window`: and have it acknowledged
//! * `registry`: channel → subscribers; `slots`: a set of them
//! * `connection`, `outbox`, `session`: what is kept of one client; `shedding`: what gives way if it reads too slowly

mod batch;
mod catching_up;
mod closing;
mod commands;
pub mod config;
mod connecting;
mod connection;
mod control;
mod cork;
mod counters;
mod deadlines;
mod draining;
mod expiry;
mod fanout;
mod heartbeat;
mod hub;
mod labels;
mod outbox;
mod outlet;
mod past;
mod permission;
mod pipeline;
mod presence;
mod rate;
mod recovering;
mod registry;
mod repair;
mod resetting;
mod session;
mod settling;
mod shedding;
mod slots;
mod subscribing;
mod time;
mod tokens;
mod window;
mod work;

pub use config::{Config, NamespaceConfig, Namespaces, SlowConsumer};
pub use connection::ConnectionId;
pub use counters::Counters;
pub use hub::{Hub, Reading, Setup, Transport};
pub use outlet::{Encode, Outlet, Patience, Then, Wire};
pub use tokens::Tokens;
pub use ullim_broker::Histogram;
pub use work::{Finished, Work};
