//! What one connection is told in a row goes out in one write.

use ullim_protocol::outgoing::Outgoing;

use crate::connection::{Connection, ConnectionId};
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet, Then};

/// Messages for one connection that have not been written yet.
#[derive(Default)]
pub(crate) struct Cork {
    slot: Option<u32>,
    bytes: Vec<u8>,
}

impl Cork {
    /// Whether it is this connection's.
    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.slot == Some(slot)
    }

    /// How many bytes have not been written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Throws away what this connection was told.
    pub(crate) fn forget(&mut self, slot: u32) {
        if self.holds(slot) {
            self.slot = None;
            self.bytes.clear();
        }
    }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Tells one connection something. It goes out with what else is told it before [`uncork`](Self::uncork).
    ///
    /// The message may be the connection's last: then it is closing afterwards, and has no session any more. Whoever goes
    /// on with it must look.
    pub(crate) fn tell(&mut self, slot: u32, message: &Outgoing<'_>) {
        let then = self.corked(slot, |encode, connection, out| {
            encode.message(connection.wire, &mut connection.outlet, message, out)
        });
        if let Some(Then::Close(code)) = then
            && let Some(id) = self.connection_in(slot as usize)
        {
            self.close(id, code, code.meaning);
        }
    }

    /// Lets `write` append to what this connection is told next, unless it is closing. `write` has the connection to
    /// itself: nothing else can be told it meanwhile.
    pub(crate) fn corked<T>(
        &mut self,
        slot: u32,
        write: impl FnOnce(&E, &mut Connection<O>, &mut Vec<u8>) -> T,
    ) -> Option<T> {
        if self.cork.slot != Some(slot) {
            self.uncork();
            self.cork.slot = Some(slot);
        }
        let connection = self.connections.get_mut(slot as usize).filter(|connection| !connection.closing)?;
        Some(write(&self.encode, connection, &mut self.cork.bytes))
    }

    /// How many bytes this connection was told that have not been written.
    pub(crate) fn cork_len(&self, slot: u32) -> usize {
        if self.cork.holds(slot) { self.cork.len() } else { 0 }
    }

    /// Writes what was told last. Call it when a connection's input is used up.
    pub fn uncork(&mut self) {
        let Some(slot) = self.cork.slot.take() else {
            return;
        };
        let bytes = std::mem::take(&mut self.cork.bytes);
        if let Some(connection) = self.connections.get_mut(slot as usize)
            && !connection.closing
            && !bytes.is_empty()
        {
            let generation = connection.generation;
            let sent = connection.send_own(&bytes);
            self.after_sending(ConnectionId { slot, generation }, sent.is_ok());
        }
        self.cork.bytes = bytes;
        self.cork.bytes.clear();
    }

    /// Closes a connection whose outlet refused, or whose client does not read.
    pub(crate) fn after_sending(&mut self, id: ConnectionId, sent: bool) {
        if !sent {
            return self.lost(id);
        }
        let limit = self.config.queue_bytes;
        let Some(connection) = self.connection(id) else {
            return;
        };
        if connection.outbox.bytes_behind() > limit && !connection.closing && !self.make_room(id, limit) {
            self.counters.slow_closes += 1;
            self.close_slow(id, &format!("more than {limit} bytes were waiting"));
        }
    }
}
