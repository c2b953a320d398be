//! `ullim-floor`: what the kernel makes anybody pay. The least that a server can do to fan messages out of Redis to
//! WebSocket connections: one thread, one epoll set, one `send` for each delivery. It is the yardstick of the comparison,
//! and nothing to put on a network: it answers no pings, refuses no origin and knows no limits but memory's.
//!
//! * [`turn`]: the loop, and what one turn of it does with the messages that wait
//! * [`connections`]: who is connected, and writing to them
//! * [`redis`]: the subscription
//! * [`handshake`], [`frame`]: the bytes of WebSocket

mod connections;
mod frame;
mod handshake;
mod redis;
mod turn;

use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use anyhow::Context as _;
use clap::Parser;
use socket2::{Domain, Socket, Type};

/// The least that a server can do: relays what is published on `floor:…` in Redis to WebSocket connections.
#[derive(Debug, Parser)]
struct Options {
    /// Where clients connect.
    #[arg(long)]
    listen: SocketAddr,
    /// The Redis server, as host:port.
    #[arg(long)]
    redis: String,
    /// Take all messages that wait, join them, and write once to each connection.
    #[arg(long)]
    batched: bool,
    /// What is published on `floor:…K` goes only to the connection number K / N, in the order in which they were let in.
    #[arg(long, value_name = "N")]
    per_connection: Option<NonZeroU32>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let listener = listen(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
    let room = if options.batched { redis::BATCH } else { redis::SINGLE };
    let subscription = redis::Subscription::open(&options.redis, room)
        .with_context(|| format!("cannot subscribe in Redis at {}", options.redis))?;
    let mut server = turn::Server::new(listener, subscription, options.batched, options.per_connection)?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", server.address()?)?;
    out.flush()?;
    server.run()
}

/// A listener whose connections have TCP_NODELAY from the start: they inherit it.
fn listen(address: SocketAddr) -> anyhow::Result<Socket> {
    let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.set_tcp_nodelay(true)?;
    listener.set_nonblocking(true)?;
    listener.bind(&address.into())?;
    listener.listen(4096)?;
    Ok(listener)
}
