//! A broker that does what the test says.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ullim_broker::{
    Answer, Broker, ChannelsPage, ChannelsRequest, Control, Counters, History, HistoryError, HistoryPart,
    HistoryRequest, PublishError, PublishRequest, RecoverRequest, Recovery, Relayed, ShardId, ShardQueue, Status,
};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::Position;
use ullim_protocol::session::SessionId;

/// Writes down what it is asked for.
#[derive(Default)]
pub(crate) struct FakeBroker {
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) time: AtomicU64,
    /// Whether publications are answered later, by the test.
    pub(crate) answers_later: AtomicBool,
    /// Where publications are put.
    pub(crate) position: Mutex<Option<Position>>,
    /// Whom the last publication is not for.
    pub(crate) excluded: Mutex<Option<SessionId>>,
    /// What other nodes were ordered.
    pub(crate) ordered: Mutex<Vec<Control>>,
}

impl FakeBroker {
    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Sets the clock, in Unix seconds.
    pub(crate) fn set_seconds(&self, seconds: u64) {
        self.time.store(seconds * 1000, Ordering::Relaxed);
    }

    pub(crate) fn take_ordered(&self) -> Vec<Relayed> {
        let ordered = std::mem::take(&mut *self.ordered.lock().unwrap());
        ordered.into_iter().map(|control| Relayed::Control(Arc::new(control))).collect()
    }
}

impl Broker for FakeBroker {
    fn attach(&self, _: ShardQueue) -> ShardId {
        ShardId(0)
    }

    fn subscribe(&self, _: ShardId, channel: &ChannelName) {
        self.asked.lock().unwrap().push(format!("subscribe {channel}"));
    }

    fn unsubscribe(&self, _: ShardId, channel: &ChannelName) {
        self.asked.lock().unwrap().push(format!("unsubscribe {channel}"));
    }

    fn publish(&self, request: PublishRequest) -> Answer<Result<Option<Position>, PublishError>> {
        let data = String::from_utf8_lossy(request.data.bytes()).into_owned();
        let id = request.id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        self.asked.lock().unwrap().push(format!("publish {} {data}{id}", request.channel));
        *self.excluded.lock().unwrap() = request.exclude;
        if !self.answers_later.load(Ordering::Relaxed) {
            return Answer::Ready(Ok(*self.position.lock().unwrap()));
        }
        Answer::Pending(Box::pin(std::future::ready(match data.as_str() {
            "late" => Err(PublishError::Timeout),
            _ => Ok(None),
        })))
    }

    fn control(&self, control: Control) -> Answer<Result<(), PublishError>> {
        self.ordered.lock().unwrap().push(control);
        Answer::Ready(Ok(()))
    }

    fn channels(&self, _: ChannelsRequest) -> Answer<Result<ChannelsPage, PublishError>> {
        Answer::Ready(Ok(ChannelsPage::default()))
    }

    fn now(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    fn status(&self) -> Status {
        Status::Up
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

impl History for FakeBroker {
    fn recover(&self, _: RecoverRequest) -> Answer<Result<Recovery, HistoryError>> {
        Answer::Ready(Err(HistoryError::NotKept))
    }

    fn history(&self, _: HistoryRequest) -> Answer<Result<HistoryPart, HistoryError>> {
        Answer::Ready(Err(HistoryError::NotKept))
    }
}
