//! Owns the way of the events to the user: bounded, with room kept for the last one.

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Events};
use crate::reason::Reason;

pub(super) struct Outbox {
    events: mpsc::Sender<Event>,
    /// Room for [`Event::Closed`], which must get through to a user that does not read.
    last: Option<OwnedPermit<Event>>,
    closing: CancellationToken,
}

impl Outbox {
    pub(super) fn new(capacity: usize, closing: CancellationToken) -> (Self, Events) {
        let (events, receiver) = mpsc::channel(capacity.max(1).saturating_add(1));
        let last = events.clone().try_reserve_owned().ok();
        let outbox = Self { events, last, closing };
        (outbox, Events { receiver })
    }

    /// Waits for room: that is the back-pressure. A user that closes, or has let go of the events, does not want more.
    pub(super) async fn put(&self, event: Event) {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            _ = self.events.send(event) => {}
        }
    }

    /// Returns once the user has let go of the events.
    pub(super) async fn abandoned(&self) {
        self.events.closed().await;
    }

    pub(super) fn finish(self, reason: Reason) {
        if let Some(last) = self.last {
            last.send(Event::Closed { reason });
        }
    }
}
