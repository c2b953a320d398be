//! How a connection ends: by the node with a reason, by its peer, or lost.

use std::time::Duration;

use ullim_protocol::codes::{self, CloseCode};
use ullim_protocol::session::SessionId;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet, Wire};
use crate::registry::ChannelKey;
use crate::session::Subscription;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Ends a connection with a reason. What waits for it is still written first.
    pub fn close(&mut self, id: ConnectionId, code: &'static CloseCode, detail: &str) {
        self.say_goodbye(id, code.number, |encode, wire, outlet, out| encode.close(wire, outlet, code, detail, out));
        self.finish_if_flushed(id);
        self.close_deadlines.add(self.now, id);
    }

    /// The peer closed, with `code`; `write` is the transport's answer. The connection ends once that is out.
    pub fn closed_by_peer(&mut self, id: ConnectionId, code: u16, write: impl FnOnce(&mut Vec<u8>)) {
        self.say_goodbye(id, code, |_, _, _, out| write(out));
        match self.connection(id) {
            Some(connection) if connection.outbox.is_empty() && connection.outlet.is_flushed() => self.remove(id),
            Some(_) => self.close_deadlines.add(self.now, id),
            None => {}
        }
    }

    /// Ends every connection with a reason, at once. [`drain`](Self::drain) has more patience.
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
    fn say_goodbye(&mut self, id: ConnectionId, code: u16, write: impl FnOnce(&E, Wire, &mut O, &mut Vec<u8>)) {
        if self.cork.holds(id.slot) {
            self.uncork();
        }
        let connection = self.connections.get_mut(id.slot as usize);
        let connection = connection.filter(|connection| connection.generation == id.generation && !connection.closing);
        let Some(connection) = connection else { return };
        connection.closing = true;
        let mut bytes = Vec::new();
        write(&self.encode, connection.wire, &mut connection.outlet, &mut bytes);
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
        self.connecting.remove(&id);
        let Some(session) = self.connection(id).and_then(|connection| connection.session.take()) else { return };
        self.expiries.move_session(id.slot, session.identity.expires, None);
        // A session that was resumed on this shard is another connection's already.
        if self.sessions.get(&session.id) == Some(&id.slot) {
            self.sessions.remove(&session.id);
        }
        let absence = self.absence();
        for subscription in session.subscriptions {
            self.leave(id, session.id, &subscription, absence);
        }
    }

    /// Takes a connection out of a channel's subscribers and members, and the channel out of the broker's if it was the
    /// last. It may be away for `absence` before others are told.
    pub(crate) fn leave(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        subscription: &Subscription,
        absence: Duration,
    ) {
        let key = subscription.channel;
        if subscription.entered
            && let Some(channel) = self.registry.get(key)
        {
            let channel = channel.name.clone();
            self.presence.leave(&channel, session, self.claim(id), absence);
        }
        if let Some(permit) = subscription.permit() {
            self.expiries.move_permit(id.slot, key, Some(permit.expires), None);
        }
        self.counters.subscriptions -= 1;
        self.registry.remove(key, id);
        self.release(key);
    }

    /// Takes a channel that nobody wants any longer out of the broker's.
    pub(crate) fn release(&mut self, key: ChannelKey) {
        if let Some(name) = self.registry.release(key) {
            self.broker.unsubscribe(self.shard, &name);
        }
    }

    /// What the client has not begun to read gives way to the reason.
    pub(crate) fn close_slow(&mut self, id: ConnectionId, why: &str) {
        if let Some(connection) = self.connection(id) {
            connection.outbox.drop_unbegun();
        }
        self.close(id, &codes::SLOW_CONSUMER, &format!("{why}: resume from the last position"));
    }
}

/// The code under which an end is counted. Clients choose theirs freely: what has no meaning of its own is 4999.
fn counted(code: u16) -> u16 {
    let is_known = (1000..=1015).contains(&code) || codes::CLOSES.iter().any(|known| known.number == code);
    if is_known { code } else { 4999 }
}
