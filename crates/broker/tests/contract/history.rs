//! Recoverable channels: positions, what is kept, and what can be recovered.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures_util::future::join_all;
use ullim_broker::{
    HistoryError, HistoryPart, HistoryRequest, MAX_PART_BYTES, Outcome, PublishError, PublishRequest, RecoverRequest,
    Recovery, Relayed, Routed,
};
use ullim_protocol::position::{Epoch, Position};
use ullim_protocol::publication::{Data, Headers};
use ullim_protocol::session::SessionId;

use super::Fixture;
use super::cases::{answer, request, text};
use super::shard::Shard;
use super::wait::{PATIENCE, name};

const ROOMY: usize = 64 << 20;

impl Fixture {
    pub(crate) async fn publish(&self, request: PublishRequest) -> Position {
        answer(self.broker.publish(request)).await.unwrap().expect("a recoverable channel has positions")
    }

    pub(crate) async fn say(&self, channel: &str, said: impl Into<String>) -> Position {
        self.publish(request(channel, text(said))).await
    }

    pub(crate) async fn say_once(&self, channel: &str, said: impl Into<String>, id: &str) -> Position {
        self.publish(PublishRequest { id: Some(id.to_owned()), ..request(channel, text(said)) }).await
    }

    /// What was published behind `since`, 1000 publications at most.
    pub(crate) async fn recover(&self, channel: &str, since: Position, reached: Position) -> Recovery {
        self.recover_some(channel, since, reached, 1000).await
    }

    pub(crate) async fn recover_some(
        &self,
        channel: &str,
        since: Position,
        reached: Position,
        limit: usize,
    ) -> Recovery {
        let request = RecoverRequest { channel: name(channel), since, reached, limit, bytes: usize::MAX };
        answer(self.history.recover(request)).await.unwrap()
    }

    pub(crate) async fn part(
        &self,
        channel: &str,
        since: Option<Position>,
        limit: usize,
        reverse: bool,
    ) -> HistoryPart {
        let request = HistoryRequest { channel: name(channel), since, limit, reverse };
        answer(self.history.history(request)).await.unwrap()
    }
}

/// What was said, and where.
pub(crate) fn said(publications: &[impl AsRef<Routed>]) -> Vec<(u64, String)> {
    let said = |routed: &Routed| {
        let position = routed.publication.position.expect("a recoverable channel has positions");
        (position.offset, String::from_utf8_lossy(routed.publication.data.bytes()).into_owned())
    };
    publications.iter().map(|routed| said(routed.as_ref())).collect()
}

fn numbered(offsets: impl IntoIterator<Item = u64>) -> Vec<(u64, String)> {
    offsets.into_iter().map(|offset| (offset, format!("no {offset}"))).collect()
}

impl Shard {
    /// Joins a recoverable channel, and says where it stood.
    pub(crate) async fn join_at(&mut self, fixture: &Fixture, channel: &str) -> Position {
        fixture.broker.subscribe(self.id, &name(channel));
        match self.next().await {
            Relayed::Joined(joined, Some(position)) if joined.as_str() == channel => position,
            other => panic!("not joined with a position: {other:?}"),
        }
    }

    /// The publication that comes next.
    pub(crate) async fn next_said(&mut self) -> (Position, String) {
        match self.next().await {
            Relayed::Publication(routed) => {
                let said = String::from_utf8_lossy(routed.publication.data.bytes()).into_owned();
                (routed.publication.position.expect("no position"), said)
            }
            other => panic!("not a publication: {other:?}"),
        }
    }
}

pub(crate) async fn positions_are_dense_and_all_agree_on_them(fixture: Fixture) {
    let mut early = Shard::attach(&*fixture.broker, ROOMY);
    let mut late = Shard::attach(&*fixture.broker, ROOMY);
    let start = early.join_at(&fixture, "kept:a").await;
    assert_eq!(start.offset, 0);
    for offset in 1..=50 {
        assert_eq!(fixture.say("kept:a", format!("no {offset}")).await, Position { offset, ..start });
    }
    // What is behind that, if the broker has not heard all yet, comes through the queue.
    let joined = late.join_at(&fixture, "kept:a").await;
    assert!(joined.epoch == start.epoch && joined.offset <= 50, "{joined}");
    for offset in 51..=100 {
        fixture.say("kept:a", format!("no {offset}")).await;
    }
    for offset in 1..=100 {
        assert_eq!(early.next_said().await, (Position { offset, ..start }, format!("no {offset}")));
    }
    for offset in joined.offset + 1..=100 {
        assert_eq!(late.next_said().await, (Position { offset, ..start }, format!("no {offset}")));
    }
    let elsewhere = fixture.say("kept:b", "x").await;
    assert!(elsewhere.offset == 1 && elsewhere.epoch != start.epoch, "each channel counts for itself");
}

pub(crate) async fn live_channels_have_neither_positions_nor_history(fixture: Fixture) {
    let mut shard = Shard::attach(&*fixture.broker, ROOMY);
    fixture.broker.subscribe(shard.id, &name("auto:a"));
    assert!(matches!(shard.next().await, Relayed::Joined(_, None)));
    let published = PublishRequest { id: Some("i".to_owned()), ..request("auto:a", text("x")) };
    for _ in 0..2 {
        assert_eq!(answer(fixture.broker.publish(published.clone())).await, Ok(None));
        let Relayed::Publication(routed) = shard.next().await else { panic!() };
        assert_eq!(routed.publication.position, None);
    }
    let since = Position::start(Epoch::new(1).unwrap());
    let recover = RecoverRequest { channel: name("auto:a"), since, reached: since, limit: 1, bytes: usize::MAX };
    assert!(matches!(answer(fixture.history.recover(recover)).await, Err(HistoryError::NotKept)));
    let read = HistoryRequest { channel: name("auto:a"), since: None, limit: 1, reverse: false };
    assert!(matches!(answer(fixture.history.history(read)).await, Err(HistoryError::NotKept)));
}

pub(crate) async fn what_was_missed_is_recovered(fixture: Fixture) {
    let first = fixture.say("kept:a", "no 1").await;
    let mut last = first;
    for offset in 2..=20 {
        last = fixture.say("kept:a", format!("no {offset}")).await;
    }
    for since in [0, 1, 13, 19, 20] {
        let since = Position { offset: since, ..first };
        let recovery = fixture.recover("kept:a", since, last).await;
        assert_eq!((recovery.position, recovery.outcome), (last, Outcome::Whole), "since {since}");
        assert_eq!(said(&recovery.publications), numbered(since.offset + 1..=20));
    }
}

pub(crate) async fn what_cannot_be_vouched_for_is_lost(fixture: Fixture) {
    let first = fixture.say("kept:a", "no 1").await;
    let mut last = first;
    for offset in 2..=10 {
        last = fixture.say("kept:a", format!("no {offset}")).await;
    }
    let earlier = Epoch::new(first.epoch.micros() - 1).unwrap();
    let later = Epoch::new(first.epoch.micros() + 1).unwrap();
    for since in [
        last.next(),
        Position { offset: 1 << 40, ..last },
        Position { epoch: earlier, offset: 5 },
        Position { epoch: later, offset: 5 },
        Position::start(later),
    ] {
        let recovery = fixture.recover("kept:a", since, last).await;
        assert_eq!((recovery.position, recovery.outcome), (last, Outcome::Lost), "since {since}");
        assert!(recovery.publications.is_empty(), "since {since}");
    }
    let recovery = fixture.recover_some("kept:a", first, last, 8).await;
    assert_eq!((recovery.outcome, recovery.publications.len()), (Outcome::Lost, 0), "nine are more than the limit");
    let recovery = fixture.recover_some("kept:a", first, last, 9).await;
    assert_eq!((recovery.outcome, recovery.publications.len()), (Outcome::Whole, 9));
}

pub(crate) async fn only_the_last_ones_are_kept(fixture: Fixture) {
    let first = fixture.say("short:a", "no 1").await;
    let mut last = first;
    for offset in 2..=25 {
        last = fixture.say("short:a", format!("no {offset}")).await;
    }
    let at = |offset| Position { offset, ..first };
    let reaches = fixture.recover("short:a", at(15), last).await;
    assert_eq!((reaches.outcome, said(&reaches.publications)), (Outcome::Whole, numbered(16..=25)));
    let too_far = fixture.recover("short:a", at(14), last).await;
    assert_eq!((too_far.outcome, too_far.publications.len()), (Outcome::Lost, 0));
    assert_eq!(said(&fixture.part("short:a", None, 100, false).await.publications), numbered(16..=25));
}

pub(crate) async fn history_comes_in_parts_in_both_directions(fixture: Fixture) {
    let first = fixture.say("kept:a", "no 1").await;
    let mut last = first;
    for offset in 2..=10 {
        last = fixture.say("kept:a", format!("no {offset}")).await;
    }
    let at = |offset| Some(Position { offset, ..first });
    let none = || Vec::<u64>::new();
    let cases = [
        (None, 4, false, vec![1, 2, 3, 4], true),
        (at(4), 4, false, vec![5, 6, 7, 8], true),
        (at(8), 4, false, vec![9, 10], false),
        (at(8), 2, false, vec![9, 10], false),
        (at(10), 4, false, none(), false),
        (None, 4, true, vec![10, 9, 8, 7], true),
        (at(7), 6, true, vec![6, 5, 4, 3, 2, 1], false),
        (at(1), 6, true, none(), false),
        (at(0), 100, false, (1..=10).collect(), false),
        (None, 100, true, (1..=10).rev().collect(), false),
    ];
    for (since, limit, reverse, offsets, more) in cases {
        let part = fixture.part("kept:a", since, limit, reverse).await;
        assert_eq!(said(&part.publications), numbered(offsets), "{since:?} {limit} {reverse}");
        assert_eq!((part.position, part.more), (last, more), "{since:?} {limit} {reverse}");
    }
    let stands = fixture.part("kept:a", None, 0, false).await;
    assert!(stands.position == last && stands.publications.is_empty());
    let channel = fixture.part("kept:new", None, 10, false).await;
    assert!(channel.position.offset == 0 && channel.publications.is_empty() && !channel.more);
}

pub(crate) async fn a_part_of_a_history_is_bounded_in_bytes(fixture: Fixture) {
    let long = |number: u64| format!("{number} {}", "x".repeat(90_000));
    for number in 1..=20 {
        fixture.say("kept:a", long(number)).await;
    }
    let mut heard = Vec::new();
    let mut since = None;
    loop {
        let part = fixture.part("kept:a", since, 100, false).await;
        let bytes: usize = part.publications.iter().map(|routed| routed.publication.data.bytes().len()).sum();
        assert!(bytes <= MAX_PART_BYTES && !part.publications.is_empty(), "{bytes}");
        since = part.publications.last().and_then(|routed| routed.publication.position);
        heard.extend(said(&part.publications));
        if !part.more {
            break;
        }
    }
    let expected: Vec<_> = (1..=20).map(|number| (number, long(number))).collect();
    assert!(heard == expected, "{} came", heard.len());
}

pub(crate) async fn an_id_is_published_once(fixture: Fixture) {
    let mut shard = Shard::attach(&*fixture.broker, ROOMY);
    shard.join_at(&fixture, "kept:a").await;
    let first = fixture.say_once("kept:a", "first", "i").await;
    let second = fixture.say("kept:a", "second").await;
    assert_eq!(fixture.say_once("kept:a", "repeated", "i").await, first);
    let third = fixture.say_once("kept:a", "third", "j").await;
    assert_eq!((second, third), (first.next(), first.next().next()));
    assert_ne!(fixture.say_once("kept:b", "elsewhere", "i").await.epoch, first.epoch, "an id is its channel's");
    let expected = [(first, "first"), (second, "second"), (third, "third")];
    for (position, said) in expected {
        assert_eq!(shard.next_said().await, (position, said.to_owned()));
    }
    assert_eq!(fixture.part("kept:a", None, 10, false).await.publications.len(), 3);
}

pub(crate) async fn an_id_that_many_send_at_once_is_published_once(fixture: Fixture) {
    let calls = (0..200).map(|number| {
        let id = Some(format!("i{}", number % 20));
        fixture.broker.publish(PublishRequest { id, ..request("kept:a", text(format!("{number}"))) })
    });
    let calls: Vec<_> = calls.collect();
    let positions: HashSet<_> = join_all(calls.into_iter().map(answer)).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(positions.len(), 20);
    assert_eq!(fixture.part("kept:a", None, 100, false).await.position.offset, 20);
}

pub(crate) async fn what_is_recovered_is_what_was_heard(fixture: Fixture) {
    let mut shard = Shard::attach(&*fixture.broker, ROOMY);
    let start = shard.join_at(&fixture, "kept:a").await;
    let headers = BTreeMap::from([("trace".to_owned(), "1f".to_owned()), ("q\"".to_owned(), "\u{1F980}\n".to_owned())]);
    let kinds = [
        Data::Json(Bytes::from_static(b" {\"a\": [1, null]} ")),
        text("hello"),
        text("42"),
        text(""),
        Data::Binary(Bytes::from_static(b"could be text")),
        Data::Binary(Bytes::from_static(b"\x00\xff\r\n")),
        Data::Binary(Bytes::from_static(b"\x89ULLIM\r\n\x01\x00 not an envelope")),
        Data::Binary(Bytes::new()),
    ];
    let mut last = start;
    for (number, data) in kinds.iter().enumerate() {
        let mut request = request("kept:a", data.clone());
        if number % 2 == 0 {
            request.headers = Headers::new(headers.clone());
            request.exclude = Some(SessionId([number as u8; 16]));
        }
        last = fixture.publish(request).await;
    }
    let mut heard = Vec::new();
    for _ in &kinds {
        let Relayed::Publication(routed) = shard.next().await else { panic!() };
        heard.push(routed);
    }
    let recovered = fixture.recover("kept:a", start, last).await.publications;
    let read = fixture.part("kept:a", None, 100, false).await.publications;
    for (heard, kept) in heard.iter().zip(&recovered).chain(heard.iter().zip(&read)) {
        assert_eq!(kept.publication, heard.publication);
        assert_eq!((&kept.channel, kept.exclude), (&heard.channel, heard.exclude));
    }
    assert_eq!((recovered.len(), read.len()), (kinds.len(), kinds.len()));
    let data: Vec<_> = heard.iter().map(|routed| routed.publication.data.clone()).collect();
    assert_eq!(data, kinds);
}

pub(crate) async fn a_history_that_is_over_begins_a_later_epoch(fixture: Fixture) {
    let old = fixture.say("brief:a", "old").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // It is kept for a second. To look does not prolong it.
    loop {
        let stands = fixture.part("brief:a", None, 10, false).await;
        if stands.position.epoch != old.epoch {
            assert!(stands.position.offset == 0 && stands.publications.is_empty());
            break;
        }
        assert_eq!(said(&stands.publications), [(1, "old".to_owned())]);
        assert!(tokio::time::Instant::now() < deadline, "it is kept for ever");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let new = fixture.say("brief:a", "new").await;
    assert!(new.epoch > old.epoch && new.offset == 1, "{old} {new}");
    let recovery = fixture.recover("brief:a", old, new).await;
    assert_eq!((recovery.outcome, recovery.publications.len()), (Outcome::Lost, 0));
}

pub(crate) async fn nothing_is_missed_between_a_recovery_and_the_queue(fixture: Fixture) {
    let broker = &*fixture.broker;
    let first = fixture.say("kept:a", "no 1").await;
    let mut answers = Vec::new();
    let mut shard = Shard::attach(broker, ROOMY);
    for offset in 2..=400 {
        answers.push(broker.publish(request("kept:a", text(format!("no {offset}")))));
        if offset == 200 {
            broker.subscribe(shard.id, &name("kept:a"));
        }
    }
    assert!(join_all(answers.into_iter().map(answer)).await.iter().all(Result::is_ok));
    let Relayed::Joined(_, Some(reached)) = shard.next().await else { panic!() };
    let recovery = fixture.recover("kept:a", first, reached).await;
    assert_eq!(recovery.outcome, Outcome::Whole);
    assert!(recovery.position >= reached);
    let mut heard = said(&recovery.publications);
    let mut at = recovery.position;
    let mut queued = reached;
    while at.offset < 400 {
        let (position, said) = shard.next_said().await;
        assert_eq!(position, queued.next(), "the queue goes on where the channel stood");
        queued = position;
        if position > at {
            assert_eq!(position, at.next());
            at = position;
            heard.push((position.offset, said));
        }
    }
    assert_eq!(heard, numbered(2..=400));
}

pub(crate) async fn what_is_too_large_takes_no_position(fixture: Fixture) {
    let first = fixture.say("kept:a", "no 1").await;
    let refused = answer(fixture.broker.publish(request("kept:a", text("x".repeat(100_001))))).await;
    assert!(matches!(refused, Err(PublishError::TooLarge { .. })), "{refused:?}");
    assert_eq!(fixture.say("kept:a", "no 2").await, first.next());
}
