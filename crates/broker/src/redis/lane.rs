//! What this node publishes on its way to Redis, in the order of the calls. Whoever waits for an answer waits here: the
//! lane is open while the command link stands, and holds a request no longer than its deadline.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::history::publish::Call;
use crate::PublishError;
use ullim_protocol::position::Position;

/// The most requests that wait.
const MAX_REQUESTS: usize = 64 << 10;

/// The most bytes that wait; a single request may exceed it.
const MAX_BYTES: usize = 64 << 20;

/// The most requests in one batch, and the bytes beyond which none is added to it.
const BATCH_REQUESTS: usize = 128;
const BATCH_BYTES: usize = 1 << 20;

/// A queue that is filled without waiting, and emptied in batches by the command link.
#[derive(Debug, Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    requests: VecDeque<Request>,
    bytes: usize,
}

/// A publication that waits.
#[derive(Debug)]
pub(super) struct Request {
    /// Where it goes, as Redis calls it.
    pub(super) wire_name: String,
    pub(super) payload: Bytes,
    /// What goes with it on a recoverable channel. Such a request may be repeated, and waits for a link.
    pub(super) call: Option<Call>,
    /// When it is of no use any more.
    deadline: Instant,
    answer: oneshot::Sender<Published>,
}

impl Request {
    /// Tells the caller, if it still waits.
    pub(super) fn answer(self, result: Published) {
        let _ = self.answer.send(result);
    }
}

/// What becomes of a request. With the position, if it is on a recoverable channel.
pub(super) type Published = Result<Option<Position>, PublishError>;

/// Where the answer to a request will be.
pub(super) type Waiting = oneshot::Receiver<Published>;

impl Lane {
    /// Puts a request at the end; it is of no use after `patience`. Refused while the link is down, unless it is a
    /// `call`, and when the lane is full: then it is certain that it was not published.
    pub(super) fn push(
        &self,
        wire_name: String,
        payload: Bytes,
        call: Option<Call>,
        patience: Duration,
    ) -> Result<Waiting, PublishError> {
        let (answer, waiting) = oneshot::channel();
        let mut state = self.lock();
        if !state.open {
            state.forget_late();
        }
        let full = state.requests.len() >= MAX_REQUESTS
            || (state.bytes + payload.len() > MAX_BYTES && !state.requests.is_empty());
        if (!state.open && call.is_none()) || full {
            return Err(PublishError::Unreachable);
        }
        state.bytes += payload.len();
        let deadline = Instant::now() + patience;
        state.requests.push_back(Request { wire_name, payload, call, deadline, answer });
        drop(state);
        self.filled.notify_one();
        Ok(waiting)
    }

    /// Waits until there may be something to take.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// The requests that come next, and those before them whose time has passed. If others wait behind them,
    /// [`filled`](Self::filled) ends at once.
    pub(super) fn take(&self) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let now = Instant::now();
        let mut state = self.lock();
        while batch.due.len() < BATCH_REQUESTS && bytes < BATCH_BYTES {
            let Some(request) = state.requests.pop_front() else {
                break;
            };
            state.bytes -= request.payload.len();
            if request.deadline <= now {
                batch.late.push(request);
                continue;
            }
            bytes += request.payload.len();
            batch.due.push(request);
        }
        if !state.requests.is_empty() {
            self.filled.notify_one();
        }
        batch
    }

    /// Requests that were taken, and are to be repeated: they come first again.
    pub(super) fn put_back(&self, requests: Vec<Request>) {
        let mut state = self.lock();
        for request in requests.into_iter().rev() {
            state.bytes += request.payload.len();
            state.requests.push_front(request);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// From now on requests are taken.
    pub(super) fn open(&self) {
        self.lock().open = true;
        // Calls may have waited.
        self.filled.notify_one();
    }

    /// From now on requests are refused, but for calls; those that waited are returned, but for calls.
    pub(super) fn close(&self) -> Vec<Request> {
        let mut state = self.lock();
        state.open = false;
        let waited = std::mem::take(&mut state.requests).into_iter();
        let (calls, others): (Vec<_>, Vec<_>) = waited.partition(|request| request.call.is_some());
        state.requests = calls.into();
        state.bytes = state.requests.iter().map(|request| request.payload.len()).sum();
        others
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Calls whose time has passed while there was no link: nobody waits for them any more.
    fn forget_late(&mut self) {
        let now = Instant::now();
        while let Some(request) = self.requests.pop_front_if(|request| request.deadline <= now) {
            self.bytes -= request.payload.len();
        }
    }
}

/// What was taken from a lane.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) due: Vec<Request>,
    pub(super) late: Vec<Request>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn push(lane: &Lane, payload: Bytes) -> Result<Waiting, PublishError> {
        lane.push("ullim:{a}".to_owned(), payload, None, PATIENCE)
    }

    #[tokio::test]
    async fn a_closed_lane_refuses_and_gives_back_what_waited() {
        let lane = Lane::default();
        assert_eq!(push(&lane, Bytes::new()).unwrap_err(), PublishError::Unreachable);
        lane.open();
        let waiting = push(&lane, Bytes::new()).unwrap();
        for request in lane.close() {
            request.answer(Err(PublishError::Unreachable));
        }
        assert_eq!(waiting.await.unwrap(), Err(PublishError::Unreachable));
        assert!(push(&lane, Bytes::new()).is_err());
    }

    #[tokio::test]
    async fn batches_are_bounded_and_keep_the_order() {
        let lane = Lane::default();
        lane.open();
        let waiting: Vec<Waiting> =
            (0..300u32).map(|n| push(&lane, n.to_be_bytes().to_vec().into()).unwrap()).collect();
        let mut taken = Vec::new();
        for expected in [128, 128, 44, 0] {
            let batch = lane.take();
            assert_eq!(batch.due.len(), expected);
            taken.extend(batch.due.into_iter().map(|request| request.payload));
        }
        assert!(taken.iter().map(|payload| payload[..].to_vec()).is_sorted());
        drop(waiting);
    }

    #[tokio::test]
    async fn bytes_are_bounded_but_one_request_always_fits() {
        let lane = Lane::default();
        lane.open();
        let huge = Bytes::from(vec![0; MAX_BYTES + 1]);
        let _first = push(&lane, huge.clone()).unwrap();
        assert!(push(&lane, Bytes::from_static(b"x")).is_err());
        assert_eq!(lane.take().due.len(), 1);
        assert!(push(&lane, huge).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_too_long_is_not_published() {
        let lane = Lane::default();
        lane.open();
        let _late = push(&lane, Bytes::new()).unwrap();
        tokio::time::advance(PATIENCE).await;
        let _due = push(&lane, Bytes::new()).unwrap();
        let batch = lane.take();
        assert_eq!((batch.due.len(), batch.late.len()), (1, 1));
    }
}
