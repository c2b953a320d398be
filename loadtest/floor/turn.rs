//! The loop: waits, accepts, reads, and fans out.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;

use anyhow::Context as _;
use rustix::event::epoll;
use socket2::Socket;

use crate::connections::Connections;
use crate::frame;
use crate::redis::Subscription;

/// What the events of the listener and of Redis carry, where a connection's carry its slot.
const LISTENER: u64 = u64::MAX;
const REDIS: u64 = u64::MAX - 1;

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    listener: Socket,
    subscription: Subscription,
    connections: Connections,
    batched: bool,
    per_connection: Option<NonZeroU32>,
    /// The frames of a message, or of a turn.
    frames: Vec<u8>,
    /// Which of `frames` goes to which slot, if not all go to all.
    routes: Vec<(usize, Range<usize>)>,
    /// What one connection gets in a turn.
    joined: Vec<u8>,
}

impl Server {
    /// Puts everything into one epoll set.
    pub(crate) fn new(
        listener: Socket,
        subscription: Subscription,
        batched: bool,
        per_connection: Option<NonZeroU32>,
    ) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        epoll::add(&epoll, subscription.stream(), epoll::EventData::new_u64(REDIS), epoll::EventFlags::IN)?;
        Ok(Self {
            listener,
            subscription,
            connections: Connections::new(epoll, per_connection.is_some()),
            batched,
            per_connection,
            frames: Vec::new(),
            routes: Vec::new(),
            joined: Vec::new(),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr()?.as_socket().context("not an address of IP")
    }

    /// Serves until Redis goes or a connection cannot be accepted.
    pub(crate) fn run(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(1024);
        // What came together with Redis' confirmation is in the buffer already, and makes no event.
        self.relay()?;
        loop {
            events.clear();
            match epoll::wait(self.connections.epoll(), rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("cannot wait"),
            }
            for event in &events {
                // The fields are packed: they are copied out.
                let (data, flags) = (event.data, event.flags);
                match data.u64() {
                    LISTENER => self.connections.accept(&self.listener)?,
                    REDIS => {
                        self.subscription.receive(self.batched)?;
                        self.relay()?;
                    }
                    slot => self.connections.ready(slot as usize, flags),
                }
            }
        }
    }

    /// Fans out the messages that have been received.
    fn relay(&mut self) -> anyhow::Result<()> {
        match (self.batched, self.per_connection) {
            (false, None) => self.each_to_all(),
            (true, None) => self.batch_to_all(),
            (false, Some(channels)) => self.each_to_one(channels),
            (true, Some(channels)) => self.batch_to_one(channels),
        }
    }

    fn each_to_all(&mut self) -> anyhow::Result<()> {
        while let Some(message) = self.subscription.next()? {
            self.frames.clear();
            frame::append_text(&mut self.frames, message.payload);
            self.connections.write_all(&self.frames);
        }
        Ok(())
    }

    fn batch_to_all(&mut self) -> anyhow::Result<()> {
        self.frames.clear();
        while let Some(message) = self.subscription.next()? {
            frame::append_text(&mut self.frames, message.payload);
        }
        if !self.frames.is_empty() {
            self.connections.write_all(&self.frames);
        }
        Ok(())
    }

    fn each_to_one(&mut self, channels: NonZeroU32) -> anyhow::Result<()> {
        while let Some(message) = self.subscription.next()? {
            let Some(slot) = number(message.channel, channels).and_then(|n| self.connections.by_number(n)) else {
                continue;
            };
            self.frames.clear();
            frame::append_text(&mut self.frames, message.payload);
            self.connections.write(slot, &self.frames);
        }
        Ok(())
    }

    fn batch_to_one(&mut self, channels: NonZeroU32) -> anyhow::Result<()> {
        self.frames.clear();
        self.routes.clear();
        while let Some(message) = self.subscription.next()? {
            let Some(slot) = number(message.channel, channels).and_then(|n| self.connections.by_number(n)) else {
                continue;
            };
            let start = self.frames.len();
            frame::append_text(&mut self.frames, message.payload);
            self.routes.push((slot, start..self.frames.len()));
        }
        // By slot, and within a slot in the order in which they came: `start` grows.
        self.routes.sort_unstable_by_key(|(slot, range)| (*slot, range.start));
        for group in self.routes.chunk_by(|(one, _), (other, _)| one == other) {
            match group {
                [(slot, range)] => self.connections.write(*slot, &self.frames[range.clone()]),
                several => {
                    self.joined.clear();
                    for (_, range) in several {
                        self.joined.extend_from_slice(&self.frames[range.clone()]);
                    }
                    self.connections.write(several[0].0, &self.joined);
                }
            }
        }
        Ok(())
    }
}

/// The number of the connection that a channel is for: that at the end of its name, by `channels`.
fn number(channel: &[u8], channels: NonZeroU32) -> Option<usize> {
    let digits = channel.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let number: u64 = std::str::from_utf8(&channel[channel.len() - digits..]).ok()?.parse().ok()?;
    usize::try_from(number / u64::from(channels.get())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_for_the_connection_of_the_number_at_its_end() {
        let of = |channel: &str, n| number(channel.as_bytes(), NonZeroU32::new(n).unwrap());
        assert_eq!(of("floor:c17", 1), Some(17));
        assert_eq!(of("floor:c17", 5), Some(3));
        assert_eq!(of("floor:2x004", 1), Some(4));
        assert_eq!(of("floor:", 1), None);
        assert_eq!(of("floor:99999999999999999999999", 1), None);
    }
}
