//! Who is connected. A connection is a file descriptor; only one that has not sent its whole request yet, or that does
//! not take what is written to it, has more.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use slab::Slab;

use crate::handshake::{self, Handshake};

/// The most bytes that wait for one connection. Beyond, it is closed.
const UNSENT_BYTES: usize = 4 * 1024 * 1024;
/// How many connections are accepted in one turn, so that messages never wait for a crowd at the door.
const ACCEPTED_AT_ONCE: usize = 64;

/// The connections, in slots.
#[derive(Debug)]
pub(crate) struct Connections {
    epoll: OwnedFd,
    slots: Slab<Connection>,
    /// The slots in the order in which they were let in, if they are told apart.
    in_order: Option<Vec<Option<u32>>>,
    scratch: Vec<u8>,
}

/// Of one that has not been let in.
const NO_NUMBER: u32 = u32::MAX;

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    /// Where it stands in `in_order`.
    number: u32,
    /// `None` for one that is simply written to.
    busy: Option<Box<Busy>>,
}

#[derive(Debug)]
enum Busy {
    /// Its request, as far as it has come.
    Request(Vec<u8>),
    /// What it has not taken yet, from an offset.
    Unsent(Vec<u8>, usize),
}

impl Connections {
    /// Nobody yet. `numbered`: whether connections are to be found by their number.
    pub(crate) fn new(epoll: OwnedFd, numbered: bool) -> Self {
        let in_order = numbered.then(Vec::new);
        Self { epoll, slots: Slab::new(), in_order, scratch: vec![0; 16 * 1024] }
    }

    /// The epoll set.
    pub(crate) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    /// Accepts those who wait. An error if it cannot go on, for want of file descriptors say.
    pub(crate) fn accept(&mut self, listener: impl AsFd) -> anyhow::Result<()> {
        for _ in 0..ACCEPTED_AT_ONCE {
            match rustix::net::accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => self.add(socket)?,
                Err(Errno::AGAIN) => break,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => anyhow::bail!("cannot accept a connection: {error}"),
            }
        }
        Ok(())
    }

    fn add(&mut self, socket: OwnedFd) -> anyhow::Result<()> {
        let slot = self.slots.vacant_entry();
        let key = slot.key();
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(key as u64), epoll::EventFlags::IN)?;
        slot.insert(Connection { socket, number: NO_NUMBER, busy: Some(Box::new(Busy::Request(Vec::new()))) });
        Ok(())
    }

    fn remove(&mut self, key: usize) {
        let connection = self.slots.remove(key);
        if let Some(in_order) = &mut self.in_order {
            in_order.get_mut(connection.number as usize).map(Option::take);
        }
    }

    /// The slot of the connection with this number.
    pub(crate) fn by_number(&self, number: usize) -> Option<usize> {
        self.in_order.as_ref()?.get(number).copied().flatten().map(|key| key as usize)
    }

    /// What an event says may be of a connection that had this slot before: everything here holds for any connection.
    pub(crate) fn ready(&mut self, key: usize, events: epoll::EventFlags) {
        if events.contains(epoll::EventFlags::OUT) {
            self.flush(key);
        }
        if events.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            self.read(key);
        }
    }

    /// Reads once; what is left makes another event.
    fn read(&mut self, key: usize) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        let received = match rustix::net::recv(&connection.socket, &mut self.scratch, RecvFlags::empty()) {
            Ok((0, _)) => return self.remove(key),
            Ok((count, _)) => &self.scratch[..count],
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => return self.remove(key),
        };
        let Some(Busy::Request(request)) = connection.busy.as_deref_mut() else { return };
        request.extend_from_slice(received);
        match handshake::answer(request) {
            Handshake::Partial => {}
            Handshake::Refused => self.remove(key),
            Handshake::Accepted(answer) => {
                connection.busy = None;
                if let Some(in_order) = &mut self.in_order {
                    connection.number = in_order.len() as u32;
                    in_order.push(Some(key as u32));
                }
                self.write(key, &answer);
            }
        }
    }

    /// Writes the same to everybody, in the order of the slots.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) {
        let mut short = Vec::new();
        for (key, connection) in &self.slots {
            let sent = match &connection.busy {
                None => rustix::net::send(&connection.socket, bytes, SendFlags::NOSIGNAL),
                Some(_) => Ok(0),
            };
            if sent != Ok(bytes.len()) {
                short.push((key, sent));
            }
        }
        for (key, sent) in short {
            self.keep(key, bytes, sent);
        }
    }

    /// Writes to one.
    pub(crate) fn write(&mut self, key: usize, bytes: &[u8]) {
        let Some(connection) = self.slots.get(key) else { return };
        let sent = match &connection.busy {
            None => rustix::net::send(&connection.socket, bytes, SendFlags::NOSIGNAL),
            Some(_) => Ok(0),
        };
        if sent != Ok(bytes.len()) {
            self.keep(key, bytes, sent);
        }
    }

    /// Keeps what the socket has not taken, behind what it has not taken before.
    #[cold]
    fn keep(&mut self, key: usize, bytes: &[u8], sent: Result<usize, Errno>) {
        let sent = match sent {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => return self.remove(key),
        };
        let connection = &mut self.slots[key];
        match connection.busy.as_deref_mut() {
            // It has not been let in yet, so nothing is for it.
            Some(Busy::Request(_)) => {}
            Some(Busy::Unsent(unsent, from)) => {
                if unsent.len() - *from + bytes.len() > UNSENT_BYTES {
                    eprintln!("a connection is closed: it leaves {} bytes unread", unsent.len() - *from);
                    return self.remove(key);
                }
                if *from > UNSENT_BYTES / 4 {
                    unsent.drain(..*from);
                    *from = 0;
                }
                unsent.extend_from_slice(bytes);
            }
            None => {
                connection.busy = Some(Box::new(Busy::Unsent(bytes[sent..].to_vec(), 0)));
                self.watch(key, epoll::EventFlags::IN | epoll::EventFlags::OUT);
            }
        }
    }

    #[cold]
    fn flush(&mut self, key: usize) {
        let Some(connection) = self.slots.get_mut(key) else { return };
        let Some(Busy::Unsent(unsent, from)) = connection.busy.as_deref_mut() else { return };
        match rustix::net::send(&connection.socket, &unsent[*from..], SendFlags::NOSIGNAL) {
            Ok(count) => *from += count,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return self.remove(key),
        }
        if *from == unsent.len() {
            connection.busy = None;
            self.watch(key, epoll::EventFlags::IN);
        }
    }

    fn watch(&mut self, key: usize, events: epoll::EventFlags) {
        let socket = &self.slots[key].socket;
        if let Err(error) = epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(key as u64), events) {
            eprintln!("a connection is closed: it cannot be waited for: {error}");
            self.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_connection_that_keeps_up_takes_sixteen_bytes() {
        assert_eq!(size_of::<super::Connection>(), 16);
    }
}
