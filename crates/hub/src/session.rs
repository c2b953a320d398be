//! What a client is known by, and what it hears.

use smallvec::SmallVec;
use ullim_auth::Identity;
use ullim_protocol::presence::Info;
use ullim_protocol::session::SessionId;

use crate::labels::{Labelled, Labels};
use crate::pipeline::{Pipeline, Ticket};
use crate::registry::ChannelKey;

/// An open session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) identity: Identity,
    /// Most sessions have one.
    pub(crate) subscriptions: SmallVec<[Subscription; 1]>,
    /// Commands that are not answered yet; `None` where there are none.
    pub(crate) pipeline: Option<Box<Pipeline>>,
    /// What tells this connection from all others that the session has had, or will have.
    pub(crate) keep: u64,
    /// Its own order to replace the older connections has not come back yet.
    pub(crate) replacing: bool,
    /// The bytes that wait for acknowledgements of all its labels.
    pub(crate) unacknowledged_bytes: usize,
    /// It was refreshed: presence may show it with what an older token said.
    pub(crate) refreshed: bool,
}

/// A session's interest in a channel.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) channel: ChannelKey,
    pub(crate) progress: Progress,
    /// Whether it hears joins and leaves.
    pub(crate) events: bool,
    /// Whether presence was told of it, and has to be told of its end.
    pub(crate) entered: bool,
    /// When the broker had confirmed it, by the broker's clock in Unix milliseconds; 0 before.
    pub(crate) since: u64,
    rare: Option<Box<Rare>>,
}

const _: () = assert!(size_of::<Subscription>() <= 24, "a connection may have many");

/// How far a subscription has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The broker has to confirm the channel.
    Awaited,
    /// What happens is held back until it is answered.
    CatchingUp,
    /// It hears everything at once.
    Live,
}

/// What most subscriptions do not have.
#[derive(Debug, Default)]
struct Rare {
    entering: Option<Entering>,
    permit: Option<Permit>,
    /// Under what the dialect addresses what comes, if it does.
    labels: Labels,
}

/// An entry into presence that is under way, and the commands that wait for it.
#[derive(Debug)]
pub(crate) struct Entering {
    /// What tells it from earlier ones.
    pub(crate) sequence: u64,
    pub(crate) tickets: Vec<Ticket>,
}

/// What a subscription token has allowed.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    /// Until when, in Unix seconds.
    pub(crate) expires: u64,
    /// What presence says of the member instead of what the session's token says.
    pub(crate) info: Option<Info>,
    /// Whether the subscription stands on it alone.
    pub(crate) needed: bool,
}

impl Session {
    pub(crate) fn subscription(&mut self, channel: ChannelKey) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.channel == channel)
    }

    /// The labels of a subscription, and how many bytes wait for acknowledgements of all labels of the session. Only for
    /// wires that have labels.
    #[inline]
    pub(crate) fn labels_mut(&mut self, channel: ChannelKey) -> Option<(&mut Labels, &mut usize)> {
        let subscription = self.subscriptions.iter_mut().find(|subscription| subscription.channel == channel)?;
        Some((subscription.labels_mut(), &mut self.unacknowledged_bytes))
    }

    /// Takes a subscription out.
    pub(crate) fn remove(&mut self, channel: ChannelKey) -> Option<Subscription> {
        let place = self.subscriptions.iter().position(|subscription| subscription.channel == channel)?;
        let subscription = self.subscriptions.remove(place);
        self.unacknowledged_bytes -= subscription.waiting_bytes();
        Some(subscription)
    }
}

impl Subscription {
    pub(crate) fn new(channel: ChannelKey, events: bool) -> Self {
        Self { channel, progress: Progress::Awaited, events, entered: false, since: 0, rare: None }
    }

    /// Its labels: only for wires that have labels.
    #[inline]
    pub(crate) fn labels_mut(&mut self) -> &mut Labels {
        &mut self.rare.get_or_insert_default().labels
    }

    /// How many bytes wait for acknowledgements of its labels.
    fn waiting_bytes(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.labels.iter().map(Labelled::waiting_bytes).sum())
    }

    pub(crate) fn permit(&self) -> Option<&Permit> {
        self.rare.as_ref()?.permit.as_ref()
    }

    /// Sets or takes away what a token has allowed; what there was before.
    pub(crate) fn set_permit(&mut self, permit: Option<Permit>) -> Option<Permit> {
        if permit.is_none() && self.rare.is_none() {
            return None;
        }
        let before = std::mem::replace(&mut self.rare.get_or_insert_default().permit, permit);
        self.forget_rare();
        before
    }

    /// An entry begins for which `ticket` waits; those that waited for an earlier one wait for this one now.
    pub(crate) fn begin_entering(&mut self, sequence: u64, ticket: Ticket) {
        self.entered = true;
        let entering = &mut self.rare.get_or_insert_default().entering;
        let mut tickets = entering.take().map(|earlier| earlier.tickets).unwrap_or_default();
        tickets.push(ticket);
        *entering = Some(Entering { sequence, tickets });
    }

    pub(crate) fn entering(&mut self) -> Option<&mut Entering> {
        self.rare.as_mut()?.entering.as_mut()
    }

    /// Those that waited for this entry, if it is still the one that is waited for.
    pub(crate) fn end_entering(&mut self, sequence: u64) -> Option<Vec<Ticket>> {
        let rare = self.rare.as_mut()?;
        let entering = rare.entering.take_if(|entering| entering.sequence == sequence)?;
        self.forget_rare();
        Some(entering.tickets)
    }

    fn forget_rare(&mut self) {
        self.rare.take_if(|rare| rare.entering.is_none() && rare.permit.is_none() && rare.labels.is_empty());
    }
}
