//! Orders that come from other nodes, or from a backend through any node.

use ullim_broker::Control;
use ullim_protocol::codes::{self, ErrorCode};
use ullim_protocol::outgoing::{Outgoing, Push};
use ullim_protocol::session::SessionId;

use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};
use crate::registry::ChannelKey;
use crate::session::Progress;

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// Whether somebody on this shard is concerned. Most orders to replace a session are for other shards.
    pub(crate) fn concerns(&self, control: &Control) -> bool {
        match control {
            Control::Disconnect { .. } => true,
            Control::Unsubscribe { channel, .. } => self.registry.find(channel.as_str()).is_some(),
            Control::Replace { session, .. } => self.sessions.contains_key(session),
        }
    }

    /// Does what is ordered; how many places for connections were looked at.
    pub(crate) fn obey(&mut self, control: &Control) -> usize {
        let all = self.connections.capacity();
        match control {
            Control::Disconnect { user } => {
                for id in self.connections_of(user) {
                    self.close(id, &codes::DISCONNECTED, "a backend ended this user's connections");
                }
                all
            }
            Control::Unsubscribe { user, channel } => {
                for id in self.connections_of(user) {
                    if let Some(key) = self.registry.find(channel.as_str()) {
                        self.end_subscription(id, key, &codes::SUBSCRIPTION_ENDED);
                    }
                }
                all
            }
            Control::Replace { session, keep } => {
                self.replace(*session, *keep);
                1
            }
        }
    }

    fn connections_of(&self, user: &str) -> Vec<ConnectionId> {
        let all = self.connections.iter().filter(|(_, connection)| {
            connection.session.as_ref().is_some_and(|session| session.identity.user.as_deref() == Some(user))
        });
        all.map(|(slot, connection)| ConnectionId { slot: slot as u32, generation: connection.generation }).collect()
    }

    /// A session was resumed on the connection `keep`. Of two that are resumed at once the one whose order comes last
    /// wins, on every node: so a connection obeys the orders of others only behind its own.
    fn replace(&mut self, session: SessionId, keep: u64) {
        let Some(id) = self.sessions.get(&session).and_then(|slot| self.connection_in(*slot as usize)) else { return };
        let Some(session) = self.session(id) else { return };
        if session.keep == keep {
            session.replacing = false;
        } else if !session.replacing {
            self.close_replaced(id);
        }
    }

    /// A connection whose own order does not come back obeys those of others all the same, from now on.
    pub(crate) fn replace_timed_out(&mut self, id: ConnectionId) {
        if let Some(session) = self.session(id) {
            session.replacing = false;
        }
    }

    /// Ends a subscription for a reason that the client is told: by a push, or by the answer that it still waits for.
    pub(crate) fn end_subscription(&mut self, id: ConnectionId, key: ChannelKey, code: &'static ErrorCode) {
        let Some(name) = self.registry.get(key).map(|channel| channel.name.clone()) else { return };
        let subscription = self.session(id).and_then(|session| session.subscription(key));
        let Some(progress) = subscription.map(|subscription| subscription.progress) else { return };
        if progress == Progress::Live {
            self.tell(id.slot, &Outgoing::Push(name.as_str(), Push::Unsubscribed(code)));
        }
        self.drop_subscription(id, key);
        self.refuse_ended(id, name.as_str(), code);
    }
}
