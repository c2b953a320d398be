//! A broker that writes down what it is asked, and answers what a test wants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ullim_broker::{
    Answer, Broker, ChannelsPage, ChannelsRequest, Claim, Control, Counters, Entry, History, HistoryError, HistoryPart,
    HistoryRequest, PageRequest, Presence, PresenceError, PublishError, PublishRequest, RecoverRequest, Recovery,
    Routed, ShardId, ShardQueue, Status, Window,
};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::position::{Epoch, Position};
use ullim_protocol::presence::{Info, Member, MembersPage, Occupancy};
use ullim_protocol::publication::{Data, Headers, Publication};
use ullim_protocol::session::SessionId;

#[derive(Default)]
pub(crate) struct FakeBroker {
    pub(crate) published: Mutex<Vec<PublishRequest>>,
    pub(crate) controls: Mutex<Vec<Control>>,
    pub(crate) asked_for_channels: Mutex<Vec<ChannelsRequest>>,
    pub(crate) asked_for_history: Mutex<Vec<HistoryRequest>>,
    pub(crate) asked_for_members: Mutex<Vec<(ChannelName, PageRequest)>>,
    /// Whether it is away.
    pub(crate) is_away: Mutex<bool>,
    /// While a test holds it, publications are not answered.
    pub(crate) answers: Arc<tokio::sync::Mutex<()>>,
}

impl FakeBroker {
    fn answer<T>(&self, value: T) -> Answer<Result<T, PublishError>> {
        Answer::Ready(if *self.is_away.lock().unwrap() { Err(PublishError::Unreachable) } else { Ok(value) })
    }

    fn presence<T>(&self, value: T) -> Answer<Result<T, PresenceError>> {
        Answer::Ready(if *self.is_away.lock().unwrap() { Err(PresenceError::Unavailable) } else { Ok(value) })
    }

    /// The channels of all publications.
    pub(crate) fn channels_heard(&self) -> Vec<String> {
        let published = self.published.lock().unwrap();
        published.iter().map(|request| request.channel.as_str().to_owned()).collect()
    }
}

impl Broker for FakeBroker {
    fn attach(&self, _queue: ShardQueue) -> ShardId {
        ShardId(0)
    }

    fn subscribe(&self, _shard: ShardId, _channel: &ChannelName) {}

    fn unsubscribe(&self, _shard: ShardId, _channel: &ChannelName) {}

    fn publish(&self, request: PublishRequest) -> Answer<Result<Option<Position>, PublishError>> {
        let position = (request.channel.namespace() == "orders").then(|| Position::parse("5-44").unwrap());
        self.published.lock().unwrap().push(request);
        if *self.is_away.lock().unwrap() {
            return Answer::Ready(Err(PublishError::Unreachable));
        }
        let answers = Arc::clone(&self.answers);
        Answer::Pending(Box::pin(async move {
            drop(answers.lock().await);
            Ok(position)
        }))
    }

    fn control(&self, control: Control) -> Answer<Result<(), PublishError>> {
        self.controls.lock().unwrap().push(control);
        self.answer(())
    }

    fn channels(&self, request: ChannelsRequest) -> Answer<Result<ChannelsPage, PublishError>> {
        self.asked_for_channels.lock().unwrap().push(request);
        let channels = ["chat:1", "chat:2"].map(|name| ChannelName::parse(name).unwrap());
        self.answer(ChannelsPage { channels: channels.to_vec(), more: true })
    }

    fn now(&self) -> u64 {
        0
    }

    fn status(&self) -> Status {
        Status::Up
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

impl History for FakeBroker {
    fn recover(&self, _request: RecoverRequest) -> Answer<Result<Recovery, HistoryError>> {
        Answer::Ready(Err(HistoryError::Unavailable))
    }

    /// One publication of each kind, and more behind them.
    fn history(&self, request: HistoryRequest) -> Answer<Result<HistoryPart, HistoryError>> {
        let kinds = [Data::Json("{\"n\": 1.0}".into()), Data::Text("é".into()), Data::Binary(vec![255, 0].into())];
        let publications = kinds.into_iter().zip(1..).map(|(data, offset)| {
            let position = Some(Position { epoch: Epoch::new(5).unwrap(), offset });
            let headers = (offset == 2).then(|| Headers::new([("trace".to_owned(), "1f".to_owned())]).unwrap());
            let publication = Publication { data, time: 6 + offset, headers, position };
            Arc::new(Routed {
                channel: request.channel.clone(),
                publication,
                exclude: None,
                published: Window::at(6 + offset),
            })
        });
        let part = HistoryPart {
            position: Position::parse("5-44").unwrap(),
            publications: publications.collect(),
            more: true,
        };
        self.asked_for_history.lock().unwrap().push(request);
        Answer::Ready(if *self.is_away.lock().unwrap() { Err(HistoryError::Unavailable) } else { Ok(part) })
    }
}

impl Presence for FakeBroker {
    fn enter(&self, _entry: Entry) -> Answer<Result<(), PresenceError>> {
        Answer::Ready(Ok(()))
    }

    fn leave(&self, _channel: &ChannelName, _session: SessionId, _claim: Claim, _absence: Duration) {}

    /// One page of two members; there is a second page only for the cursor `next`.
    fn members(&self, channel: &ChannelName, page: PageRequest) -> Answer<Result<MembersPage, PresenceError>> {
        let wrong = page.cursor.as_deref().is_some_and(|cursor| cursor != "next");
        let cursor = page.cursor.is_none().then(|| "next".to_owned());
        self.asked_for_members.lock().unwrap().push((channel.clone(), page));
        if wrong {
            return Answer::Ready(Err(PresenceError::Cursor));
        }
        let info = Info::parse(r#"{"name": "Alice"}"#);
        let alice = Member { session: SessionId([0; 16]), user: Some("alice".into()), info, since: 5 };
        let anonymous = Member { session: SessionId([255; 16]), user: None, info: None, since: 6 };
        self.presence(MembersPage { members: vec![alice, anonymous], cursor })
    }

    fn occupancy(&self, _channel: &ChannelName) -> Answer<Result<Occupancy, PresenceError>> {
        self.presence(Occupancy { connections: 3, users: 2 })
    }
}
