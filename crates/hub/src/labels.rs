//! Subscriptions under labels: dialects in which everything that comes is addressed to one of a connection's
//! subscriptions, of which several may be to one channel. The session has one subscription to the channel all the same,
//! and each of its labels gets a copy with a head of its own.

use smallvec::SmallVec;
use ullim_broker::Window as Period;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::command::{Acknowledge, Label};
use ullim_protocol::outgoing::{Gap, GapReason, Outgoing, Push};

use crate::config::SlowConsumer;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet, Wire};
use crate::registry::ChannelKey;
use crate::window::{Allowance, Given, Window};

/// A label, and how far it was told.
#[derive(Debug)]
pub(crate) struct Labelled {
    label: Label,
    /// How many messages it was given, the waiting ones included.
    told: u64,
    window: Option<Box<Window>>,
}

/// The labels of a subscription: mostly one, which lies where fan-out looks anyway.
pub(crate) type Labels = SmallVec<[Labelled; 1]>;

/// A message that all labels of a channel get.
#[derive(Clone, Copy)]
pub(crate) struct Told<'t> {
    pub(crate) wire: Wire,
    pub(crate) push: Push<'t>,
    /// Written by [`Encode::shared`].
    pub(crate) tail: &'t [u8],
    pub(crate) published: Period,
    pub(crate) policy: SlowConsumer,
    /// How many bytes may wait for acknowledgements.
    pub(crate) limit: usize,
}

/// Who of a subscription is told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// All its labels; the subscription as such, where it has none.
    All,
    /// The label with this number.
    Label(u32),
}

impl Labelled {
    pub(crate) fn new(label: Label) -> Self {
        let window = label.window.map(|size| Box::new(Window::new(size)));
        Self { label, told: 0, window }
    }

    /// Tells it from all others of the connection.
    pub(crate) fn number(&self) -> u32 {
        self.label.number
    }

    /// Whether what it is sent has to be acknowledged.
    pub(crate) fn has_window(&self) -> bool {
        self.window.is_some()
    }

    /// How many bytes wait for its acknowledgements.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.window.as_ref().map_or(0, |window| window.waiting_bytes())
    }

    /// Gives it a message: the head is appended to `heads` if it is to be sent now. `waiting`: the bytes that wait for
    /// acknowledgements of the session's labels.
    #[inline]
    pub(crate) fn give<O>(
        &mut self,
        encode: &impl Encode<O>,
        told: &Told<'_>,
        waiting: &mut usize,
        heads: &mut Vec<u8>,
    ) -> Given {
        let (begin, number) = (heads.len(), self.told + 1);
        if !encode.head(told.wire, &self.label, number, &told.push, told.tail.len(), heads) {
            return Given::NotForIt;
        }
        self.told = number;
        let Some(window) = &mut self.window else { return Given::Sent };
        let number = matches!(told.push, Push::Publication(_)).then_some(number);
        let mut allowance = Allowance { policy: told.policy, limit: told.limit, waiting };
        let frame = || [&heads[begin..], told.tail].concat().into();
        let given = window.give(number, told.published, &mut allowance, frame);
        if given != Given::Sent {
            heads.truncate(begin);
        }
        given
    }

    /// Tells it a gap at once, if it wants to know; whether it does.
    pub(crate) fn give_gap<O>(
        &mut self,
        encode: &impl Encode<O>,
        wire: Wire,
        gap: Push<'_>,
        tail: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let is_for_it = encode.head(wire, &self.label, self.told + 1, &gap, tail.len(), out);
        if is_for_it {
            self.told += 1;
            out.extend_from_slice(tail);
        }
        is_for_it
    }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// What comes for the session's subscription to a channel is addressed to this label too from now on.
    pub(crate) fn add_label(&mut self, id: ConnectionId, key: ChannelKey, label: Label) {
        if let Some(subscription) = self.session(id).and_then(|session| session.subscription(key)) {
            subscription.labels_mut().push(Labelled::new(label));
        }
    }

    /// A label hears its channel no longer. The last one ends the subscription.
    pub(crate) fn withdraw(&mut self, id: ConnectionId, channel: &str, label: u32) {
        let Some(key) = self.registry.find(channel) else { return };
        let labels = self.session(id).and_then(|session| session.labels_mut(key));
        let Some((labels, waiting)) = labels else { return };
        labels.retain(|labelled| {
            let goes = labelled.label.number == label;
            *waiting -= if goes { labelled.waiting_bytes() } else { 0 };
            !goes
        });
        if labels.is_empty() {
            self.unsubscribe(id, channel);
        }
    }

    /// Tells a subscription something under its labels, or as it is where there are none. The connection may be closing
    /// afterwards, as after [`tell`](Self::tell).
    pub(crate) fn tell_push(&mut self, slot: u32, key: ChannelKey, name: &ChannelName, push: Push<'_>, to: To) {
        let message = Outgoing::Push(name.as_str(), push);
        let Some(id) = self.connection_in(slot as usize) else { return };
        let Some(wire) = self.wire(id).filter(|wire| self.encode.has_labels(*wire)) else {
            return self.tell(slot, &message);
        };
        let mut tail = Vec::new();
        self.encode.shared(wire, &message, &mut tail);
        if tail.is_empty() {
            return;
        }
        let policy = self.registry.get(key).map(|channel| channel.slow_consumer).unwrap_or_default();
        let published = match push {
            Push::Publication(publication) => Period::at(publication.time),
            Push::Gap(gap) => Period { from: gap.from, to: gap.to },
            _ => Period::at(self.broker.now()),
        };
        let told = Told { wire, push, tail: &tail, published, policy, limit: self.config.queue_bytes };
        let given = self.corked(slot, |encode, connection, out| {
            let (mut gave_way, mut too_much) = (0, false);
            let labels = connection.session.as_mut().and_then(|session| session.labels_mut(key));
            let Some((labels, waiting)) = labels else { return (gave_way, too_much) };
            for labelled in labels.iter_mut().filter(|it| to == To::All || to == To::Label(it.number())) {
                match labelled.give(encode, &told, waiting, out) {
                    Given::Sent => out.extend_from_slice(&tail),
                    Given::NotForIt => {}
                    Given::Waits { gave_way: more } => gave_way += more,
                    Given::TooMuch => too_much = true,
                }
            }
            (gave_way, too_much)
        });
        let (gave_way, too_much) = given.unwrap_or_default();
        self.counters.gave_way(policy, gave_way);
        if too_much {
            self.close_unacknowledged(id);
        }
    }

    /// There is room in a label's window again; whether the message was ever sent to it.
    pub(crate) fn acknowledge(&mut self, id: ConnectionId, acknowledge: &Acknowledge) -> bool {
        let Acknowledge { channel, label, number, cumulative } = acknowledge;
        // It may have been withdrawn from meanwhile.
        let (Some(key), Some(wire)) = (self.registry.find(channel), self.wire(id)) else { return true };
        let before = self.cork_len(id.slot);
        let mut gaps = 0;
        let acknowledged = self.corked(id.slot, |encode, connection, out| {
            let (labels, waiting) = connection.session.as_mut()?.labels_mut(key)?;
            let labelled = labels.iter_mut().find(|labelled| labelled.label.number == *label)?;
            let window = labelled.window.as_mut().filter(|_| *number <= labelled.told);
            let Some(window) = window.filter(|_| *number > 0) else { return Some(false) };
            let acknowledged = window.acknowledge(*number, *cumulative);
            if let Some(Period { from, to }) = window.take_lost() {
                let gap = Push::Gap(Gap { from, to, reason: GapReason::SlowConsumer, position: None });
                let mut tail = Vec::new();
                encode.shared(wire, &Outgoing::Push(channel, gap), &mut tail);
                gaps += u64::from(labelled.give_gap(encode, wire, gap, &tail, out));
            }
            let window = labelled.window.as_mut()?;
            while let Some(frame) = window.next(waiting) {
                out.extend_from_slice(&frame);
            }
            Some(acknowledged)
        });
        self.counters.gaps += gaps;
        self.counters.message_bytes_out += self.cork_len(id.slot).saturating_sub(before) as u64;
        acknowledged.flatten().unwrap_or(true)
    }

    /// More waits for a client's acknowledgements than may.
    pub(crate) fn close_unacknowledged(&mut self, id: ConnectionId) {
        if self.connection(id).is_some_and(|connection| !connection.closing) {
            self.counters.slow_closes += 1;
            let limit = self.config.queue_bytes;
            self.close_slow(id, &format!("more than {limit} bytes were waiting for acknowledgements"));
        }
    }
}
