//! Subscriptions under labels: dialects in which everything that comes is addressed to one of a connection's
//! subscriptions, of which several may be to one channel. The session has one subscription to the channel all the same,
//! and each of its labels gets a copy with a head of its own.

use ullim_broker::Window as Period;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::command::{Acknowledge, Label};
use ullim_protocol::outgoing::{Gap, GapReason, Outgoing, Push};

use crate::config::SlowConsumer;
use crate::connection::ConnectionId;
use crate::hub::Hub;
use crate::outlet::{Encode, Outlet, Wire};
use crate::pipeline::Wanted;
use crate::registry::ChannelKey;
use crate::window::{Waits, Window};

/// A label, and how far it was told.
#[derive(Debug)]
pub(crate) struct Labelled {
    label: Label,
    /// How many messages it was given, the waiting ones included.
    told: u64,
    window: Option<Box<Window>>,
}

/// What has become of a message for a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is to be sent: its head was written.
    Sent,
    /// It is not for this label.
    NotForIt,
    /// It waits for an acknowledgement, or gave way; so many others did.
    Waits { gave_way: u64 },
    /// More waits for acknowledgements than may: the connection is too slow.
    TooMuch,
}

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

impl Labelled {
    pub(crate) fn new(label: Label) -> Self {
        let window = label.window.map(|size| Box::new(Window::new(size)));
        Self { label, told: 0, window }
    }

    /// Tells it from all others of the connection.
    pub(crate) fn number(&self) -> u32 {
        self.label.number
    }

    /// Gives it a message: the head is appended to `heads` if it is to be sent now.
    #[inline]
    pub(crate) fn give<O>(&mut self, encode: &impl Encode<O>, told: &Told<'_>, heads: &mut Vec<u8>) -> Given {
        let (begin, number) = (heads.len(), self.told + 1);
        if !encode.head(told.wire, &self.label, number, &told.push, told.tail.len(), heads) {
            return Given::NotForIt;
        }
        self.told = number;
        let Some(window) = &mut self.window else { return Given::Sent };
        let given = through(window, number, told, &heads[begin..]);
        if given != Given::Sent {
            heads.truncate(begin);
        }
        given
    }
}

impl Labelled {
    /// Tells it a gap, if it wants to know.
    pub(crate) fn give_gap<O>(
        &mut self,
        encode: &impl Encode<O>,
        wire: Wire,
        gap: Push<'_>,
        tail: &[u8],
        out: &mut Vec<u8>,
    ) {
        if encode.head(wire, &self.label, self.told + 1, &gap, tail.len(), out) {
            self.told += 1;
            out.extend_from_slice(tail);
        }
    }
}

/// A message comes to a window. One that is no publication is not acknowledged, but keeps its place among those.
#[cold]
fn through(window: &mut Window, number: u64, told: &Told<'_>, head: &[u8]) -> Given {
    let number = matches!(told.push, Push::Publication(_)).then_some(number);
    match number {
        Some(number) if window.has_room() => {
            window.send(number);
            return Given::Sent;
        }
        None if !window.holds_back() => return Given::Sent,
        _ => {}
    }
    let frame = [head, told.tail].concat();
    match window.wait(number, &frame, told.published, told.policy, told.limit) {
        Waits::Kept { gave_way } => Given::Waits { gave_way },
        Waits::TooMuch => Given::TooMuch,
    }
}

impl<O: Outlet, E: Encode<O>> Hub<O, E> {
    /// What comes for the session's subscription to a channel is addressed to the label that is wanted too from now on.
    pub(crate) fn add_label(&mut self, id: ConnectionId, channel: &ChannelName, wanted: &Wanted) {
        if let Some(label) = &wanted.label
            && let Some(subscription) = self.subscription_to(id, channel.as_str())
        {
            subscription.labels().push(Labelled::new((**label).clone()));
        }
    }

    /// A label hears its channel no longer. The last one ends the subscription.
    pub(crate) fn withdraw(&mut self, id: ConnectionId, channel: &str, label: u32) {
        let Some(subscription) = self.subscription_to(id, channel) else { return };
        let labels = subscription.labels();
        labels.retain(|labelled| labelled.label.number != label);
        if labels.is_empty() {
            self.unsubscribe(id, channel);
        }
    }

    /// Tells a subscription something under each of its labels, or as it is where there are none.
    pub(crate) fn tell_push(&mut self, slot: u32, key: ChannelKey, name: &ChannelName, push: Push<'_>) {
        let message = Outgoing::Push(name.as_str(), push);
        let Some(id) = self.connection_in(slot as usize) else { return };
        let Some(wire) = self.wire(id).filter(|wire| self.encode.labels(*wire)) else {
            return self.tell(slot, &message);
        };
        let mut tail = Vec::new();
        self.encode.shared(wire, &message, &mut tail);
        let policy = self.registry.get(key).map(|channel| channel.slow_consumer).unwrap_or_default();
        let published = match push {
            Push::Publication(publication) => Period::at(publication.time),
            Push::Gap(gap) => Period { from: gap.from, to: gap.to },
            _ => Period::at(self.broker.now()),
        };
        let queue_bytes = self.config.queue_bytes;
        let labels = self.session(id).and_then(|session| session.labels(key, queue_bytes));
        let Some((labels, limit)) = labels.filter(|_| !tail.is_empty()) else { return };
        let labels = std::mem::take(labels);
        let told = Told { wire, push, tail: &tail, published, policy, limit };
        let mut labels = LabelsOf { id, key, labels };
        let mut too_much = false;
        for labelled in &mut labels.labels {
            let given = self.corked(slot, |encode, _, _, out| {
                let given = labelled.give(encode, &told, out);
                if given == Given::Sent {
                    out.extend_from_slice(&tail);
                }
                given
            });
            match given {
                Some(Given::Waits { gave_way }) => self.counters.gave_way(policy, gave_way),
                Some(Given::TooMuch) => too_much = true,
                _ => {}
            }
        }
        self.put_labels_back(labels);
        if too_much {
            self.close_unacknowledged(id);
        }
    }

    /// There is room in a label's window again; whether the message was one to be acknowledged.
    pub(crate) fn acknowledge(&mut self, id: ConnectionId, acknowledge: &Acknowledge) -> bool {
        let Acknowledge { channel, label, number, cumulative } = acknowledge;
        let (Some(key), Some(wire)) = (self.registry.find(channel), self.wire(id)) else { return false };
        let Some(labels) = self.take_labels(id, key) else { return false };
        let mut labels = LabelsOf { id, key, labels };
        let labelled = labels.labels.iter_mut().find(|labelled| labelled.label.number == *label);
        let acknowledged = labelled.is_some_and(|labelled| {
            let Some(mut window) = labelled.window.take() else { return false };
            let acknowledged = window.acknowledge(*number, *cumulative);
            if let Some(Period { from, to }) = window.take_lost() {
                let gap = Push::Gap(Gap { from, to, reason: GapReason::SlowConsumer, position: None });
                let mut tail = Vec::new();
                self.encode.shared(wire, &Outgoing::Push(channel, gap), &mut tail);
                self.corked(id.slot, |encode, wire, _, out| labelled.give_gap(encode, wire, gap, &tail, out));
            }
            while let Some(frame) = window.next() {
                self.corked(id.slot, |_, _, _, out| out.extend_from_slice(&frame));
            }
            labelled.window = Some(window);
            acknowledged
        });
        self.put_labels_back(labels);
        acknowledged
    }

    /// More waits for a client's acknowledgements than may.
    pub(crate) fn close_unacknowledged(&mut self, id: ConnectionId) {
        self.counters.slow_closes += 1;
        self.close_slow(id, self.config.queue_bytes);
    }

    /// Takes the labels of a subscription out, to be put back: what is told meanwhile does not reach them.
    fn take_labels(&mut self, id: ConnectionId, key: ChannelKey) -> Option<Vec<Labelled>> {
        let subscription = self.session(id)?.subscription(key)?;
        Some(std::mem::take(subscription.labels()))
    }

    fn put_labels_back(&mut self, LabelsOf { id, key, labels }: LabelsOf) {
        if let Some(subscription) = self.session(id).and_then(|session| session.subscription(key)) {
            *subscription.labels() = labels;
        }
    }
}

/// The labels of a subscription, taken out of it.
struct LabelsOf {
    id: ConnectionId,
    key: ChannelKey,
    labels: Vec<Labelled>,
}
