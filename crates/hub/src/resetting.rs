//! Channels whose history has gone back. Positions are issued a second time there, for other publications: whoever has
//! one may have missed what it does not know of. So every subscription ends with a code that says so, be it answered yet
//! or not; who subscribes anew begins where the channel stands.

use ullim_protocol::channel::ChannelName;
use ullim_protocol::codes;
use ullim_protocol::position::Position;

use crate::hub::Hub;
use crate::outlet::{Encode, Outlet};

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// A channel goes on from `position`, which is before what was heard of it; how many subscriptions ended.
    pub(crate) fn reset(&mut self, name: &ChannelName, position: Position) -> usize {
        let Some(key) = self.registry.find(name.as_str()) else { return 0 };
        // What is read of it, or for it, was asked for before.
        self.registry.repairs.forget(key);
        let Some(channel) = self.registry.get(key).filter(|channel| channel.joined) else { return 0 };
        channel.position = Some(position);
        channel.repairing = false;
        let slots = channel.begun();
        for slot in &slots {
            if let Some(id) = self.connection_in(*slot as usize) {
                self.end_subscription(id, key, &codes::HISTORY_RESET);
            }
        }
        slots.len()
    }
}
