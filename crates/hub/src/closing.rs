//! How a connection ends: by the node with a reason, by its peer, or lost.

use ullim_protocol::codes::{self, CloseCode};

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet, Wire};

impl<O: Outlet, E: Encode> Hub<O, E> {
    /// Ends a connection with a reason. What waits for it is still written first.
    pub fn close(&mut self, id: ConnectionId, code: &'static CloseCode, detail: &str) {
        self.say_goodbye(id, code.number, |encode, wire, out| encode.close(wire, code, detail, out));
        self.finish_if_flushed(id);
        self.close_deadlines.add(self.now, id);
    }

    /// The peer closed, with `code`; `write` is the transport's answer. The connection ends once that is out.
    pub fn closed_by_peer(&mut self, id: ConnectionId, code: u16, write: impl FnOnce(&mut Vec<u8>)) {
        self.say_goodbye(id, code, |_, _, out| write(out));
        match self.connection(id) {
            Some(connection) if connection.outbox.is_empty() => self.remove(id),
            Some(_) => self.close_deadlines.add(self.now, id),
            None => {}
        }
    }

    /// Ends every connection with a reason.
    pub fn close_all(&mut self, code: &'static CloseCode, detail: &str) {
        let all: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in all {
            if let Some(id) = self.connection_in(slot) {
                self.close(id, code, detail);
            }
        }
    }

    /// The transport has lost the connection.
    pub fn lost(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id) {
            if !connection.closing {
                *self.counters.ended.entry(1006).or_default() += 1;
            }
            self.remove(id);
        }
    }

    /// The last bytes for a connection; from here on it hears nothing, and nothing that it says matters.
    fn say_goodbye(&mut self, id: ConnectionId, code: u16, write: impl FnOnce(&E, Wire, &mut Vec<u8>)) {
        if self.cork.holds(id.slot) {
            self.uncork();
        }
        let Some(connection) = self.connection(id).filter(|connection| !connection.closing) else {
            return;
        };
        connection.closing = true;
        let wire = connection.wire;
        let mut bytes = Vec::new();
        write(&self.encode, wire, &mut bytes);
        *self.counters.ended.entry(counted(code)).or_default() += 1;
        self.leave_everything(id);
        let sent = self.connection(id).map(|connection| connection.send_own(&bytes));
        if let Some(Err(_)) = sent {
            self.remove(id);
        }
    }

    pub(crate) fn finish_if_flushed(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        if connection.closing && !connection.finished && connection.outbox.is_empty() {
            connection.finished = true;
            connection.outlet.finish();
        }
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.cork.forget(id.slot);
        self.leave_everything(id);
        self.connections.remove(id.slot as usize);
    }

    fn leave_everything(&mut self, id: ConnectionId) {
        let session = self.connection(id).and_then(|connection| connection.session.take());
        for subscription in session.into_iter().flat_map(|session| session.subscriptions) {
            self.leave(id, subscription.channel);
        }
    }

    /// What the client has not begun to read gives way to the reason.
    pub(crate) fn close_slow(&mut self, id: ConnectionId, limit: usize) {
        if let Some(connection) = self.connection(id) {
            connection.outbox.drop_unbegun();
        }
        self.close(id, &codes::SLOW_CONSUMER, &format!("more than {limit} bytes were waiting"));
    }
}

/// The code under which an end is counted. Clients choose theirs freely: what has no meaning of its own is 4999.
fn counted(code: u16) -> u16 {
    let is_known = (1000..=1015).contains(&code) || codes::CLOSES.iter().any(|known| known.number == code);
    if is_known { code } else { 4999 }
}
