//! A connection in one dialect or another, which look alike to a subscriber.

use std::net::SocketAddr;

use serde_json::Value;

use super::stomp::Stomp;
use super::{Coming, Wire};
use crate::stomp::Version;

/// What a subscriber speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Our own protocol, on WebSocket.
    Native,
    /// STOMP on TCP, in this version.
    Stomp(Version),
}

/// A connection in one dialect or the other.
pub(crate) enum Line {
    /// Native.
    Native(Wire),
    /// STOMP.
    Stomp(Stomp),
}

impl Line {
    /// Connects, as whom the token says; `None` if that fails. See [`Wire::open_with`].
    pub(crate) async fn open(
        dialect: Dialect,
        seat: SocketAddr,
        token: &str,
        resume: Option<&str>,
        narrow: bool,
    ) -> Option<Self> {
        match dialect {
            Dialect::Native => Wire::open_with(seat, token, resume, narrow).await.map(Self::Native),
            Dialect::Stomp(version) => Stomp::open(seat, token, version).await.map(Self::Stomp),
        }
    }

    /// The secret to resume the session with, where there is such a thing.
    pub(crate) fn resume(&self) -> Option<&str> {
        match self {
            Self::Native(wire) => Some(&wire.resume),
            Self::Stomp(_) => None,
        }
    }

    /// Sends a command: its id, if it could be written in time.
    pub(crate) async fn send(&mut self, name: &'static str, body: Value) -> Option<u64> {
        match self {
            Self::Native(wire) => wire.send(name, body).await,
            Self::Stomp(stomp) => stomp.send(name, &body).await,
        }
    }

    /// Does what a dialect wants behind each message. `None`: it could not be written in time.
    pub(crate) async fn settle(&mut self) -> Option<()> {
        match self {
            Self::Native(_) => Some(()),
            Self::Stomp(stomp) => stomp.settle().await,
        }
    }

    /// The next message. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Coming {
        match self {
            Self::Native(wire) => wire.next().await,
            Self::Stomp(stomp) => stomp.next().await,
        }
    }
}
