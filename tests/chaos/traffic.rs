//! Publishers and subscribers: tasks over real sockets, each with a log of its own.

pub(crate) mod library;
pub(crate) mod publisher;
pub(crate) mod subscriber;
pub(crate) mod tracker;
pub(crate) mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::log::{Mark, Ms};

/// What the driver tells all traffic.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// Publishers end when this is true.
    pub(crate) publishers_end: watch::Receiver<bool>,
    /// Subscribers end when this is true.
    pub(crate) subscribers_end: watch::Receiver<bool>,
    /// Those that can stall stop reading until then.
    pub(crate) stall: watch::Receiver<Ms>,
    /// What has happened so far.
    pub(crate) counts: Arc<Counts>,
}

/// The other end of [`Orders`].
pub(crate) struct Levers {
    /// Ends the publishers.
    pub(crate) publishers_end: watch::Sender<bool>,
    /// Ends the subscribers.
    pub(crate) subscribers_end: watch::Sender<bool>,
    /// Stalls the stallers.
    pub(crate) stall: watch::Sender<Ms>,
    /// What has happened so far.
    pub(crate) counts: Arc<Counts>,
}

/// For the progress line, and to know when all is said.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Publications that were answered.
    pub(crate) published: AtomicUsize,
    /// Publications that were heard.
    pub(crate) heard: AtomicUsize,
    /// Gaps, and recoveries that failed.
    pub(crate) signals: AtomicUsize,
    /// Last publications of a channel that were heard.
    pub(crate) ends: AtomicUsize,
    /// Subscriptions that stand.
    pub(crate) subscribed: AtomicUsize,
}

impl Counts {
    /// One more.
    pub(crate) fn add(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Both ends.
pub(crate) fn orders() -> (Levers, Orders) {
    let (publishers_end, publishers_ended) = watch::channel(false);
    let (subscribers_end, subscribers_ended) = watch::channel(false);
    let (stall, stalled) = watch::channel(0);
    let counts = Arc::new(Counts::default());
    let orders = Orders {
        publishers_end: publishers_ended,
        subscribers_end: subscribers_ended,
        stall: stalled,
        counts: Arc::clone(&counts),
    };
    (Levers { publishers_end, subscribers_end, stall, counts }, orders)
}

/// The payload of a publication.
pub(crate) fn payload(mark: Mark, is_end: bool, filling: usize) -> Value {
    let mut payload = json!({"p": mark.publisher, "n": mark.number});
    if is_end {
        payload["end"] = true.into();
    }
    if filling > 0 {
        payload["filling"] = "x".repeat(filling).into();
    }
    payload
}

/// What a payload says: the mark, and whether it is the last of its channel.
pub(crate) fn read(payload: &Value) -> Option<(Mark, bool)> {
    let publisher = u32::try_from(payload["p"].as_u64()?).ok()?;
    Some((Mark { publisher, number: payload["n"].as_u64()? }, payload["end"] == true))
}
