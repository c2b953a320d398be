//! Owns for which channels the members have to be asked again, because who came or went may have been missed. Pure.

use super::{State, Subscriptions};

/// What the user knows of a channel's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// All that is to be known, or nothing was ever wanted.
    Known,
    /// To be asked for.
    Due,
    /// Asked for in the command with this id.
    Asked(u64),
    /// As `Asked`, but something was missed since: the reply may be older than that.
    Overtaken(u64),
}

/// What is to be done with a list that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::owner) enum Listed {
    Tell,
    AskAgain,
    Nothing,
}

impl Subscriptions {
    /// Something was missed. Whether the members are to be asked for now.
    pub(in crate::owner) fn missed(&mut self, channel: &str) -> bool {
        let Some(subscription) = self.channels.get_mut(channel) else {
            return false;
        };
        // A subscription that does not stand yet gets the list with its reply.
        if !subscription.options.events || subscription.state != State::Standing {
            return false;
        }
        let before = subscription.list;
        subscription.list = match before {
            List::Known | List::Due => List::Due,
            List::Asked(id) | List::Overtaken(id) => List::Overtaken(id),
        };
        before == List::Known
    }

    /// The channels whose members are to be asked for.
    pub(in crate::owner) fn lists_due(&self) -> Vec<String> {
        let due = self
            .channels
            .iter()
            .filter(|(_, subscription)| subscription.list == List::Due && subscription.state == State::Standing);
        due.map(|(channel, _)| channel.clone()).collect()
    }

    pub(in crate::owner) fn list_asked(&mut self, channel: &str, id: u64) {
        if let Some(subscription) = self.channels.get_mut(channel) {
            subscription.list = List::Asked(id);
        }
    }

    /// The members came, in the reply to command `id`.
    pub(in crate::owner) fn listed(&mut self, channel: &str, id: u64) -> Listed {
        let Some(subscription) = self.channels.get_mut(channel) else {
            return Listed::Nothing;
        };
        let (list, listed) = match subscription.list {
            List::Asked(asked) if asked == id => (List::Known, Listed::Tell),
            List::Overtaken(asked) if asked == id => (List::Due, Listed::AskAgain),
            list => (list, Listed::Nothing),
        };
        subscription.list = list;
        listed
    }

    /// The members were refused, in the reply to command `id`. Whether to ask again later.
    pub(in crate::owner) fn list_refused(&mut self, channel: &str, id: u64, retry: bool) -> bool {
        let asked = [List::Asked(id), List::Overtaken(id)];
        let Some(subscription) = self.channels.get_mut(channel).filter(|listed| asked.contains(&listed.list)) else {
            return false;
        };
        subscription.list = if retry { List::Due } else { List::Known };
        retry
    }
}
