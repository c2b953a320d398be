//! A subscriber over our own Rust client, which reconnects and recovers by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use ullim_client::{Config, Data, Event, GapReason, Token, connect};

use super::subscriber::long_token;
use super::{Counts, Orders, read};
use crate::chaos::log::{Channel, Entry, Position, Subscriber, What};
use crate::now_ms;

/// Runs until it is told to end: what it saw.
pub(crate) async fn run(
    name: String,
    home: usize,
    seats: Vec<SocketAddr>,
    channels: Arc<Vec<Channel>>,
    wants: Vec<usize>,
    mut orders: Orders,
) -> Subscriber {
    let mut subscriber = Subscriber { name: name.clone(), wants: wants.clone(), ..Subscriber::default() };
    let urls: Vec<String> = (0..seats.len()).map(|next| url(seats[(home + next) % seats.len()])).collect();
    let mut config = Config::new(urls.clone());
    config.token = Some(Token::fixed(long_token(&name)));
    let Ok((client, mut events)) = connect(config) else { return subscriber };
    let index = |channel: &str| channels.iter().position(|other| other.name == channel);
    let mut subscribing = JoinSet::new();
    for channel in wants {
        let (client, name) = (client.clone(), channels[channel].name.clone());
        subscribing.spawn(async move {
            loop {
                if let Ok(position) = client.subscribe(&name).await {
                    return (channel, position);
                }
                sleep(Duration::from_millis(200)).await;
            }
        });
    }
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            // Publications begin when all are subscribed.
            Some(Ok((channel, position))) = subscribing.join_next() => {
                Counts::add(&orders.counts.subscribed);
                subscriber.entries.push(Entry { at: now_ms(), what: subscription(channel, position) });
                continue;
            }
            _ = orders.subscribers_end.changed() => None,
        };
        let Some(event) = event else { break };
        let at = now_ms();
        let what = match event {
            Event::Connected { url, .. } => {
                let port =
                    |url: &str| url.rsplit(':').next().and_then(|rest| rest.split('/').next()).map(str::to_owned);
                let seat = seats.iter().position(|seat| port(&url) == Some(seat.port().to_string()));
                What::Connected { node: seat.unwrap_or(home) }
            }
            Event::Publication { channel, publication } => {
                let Some(channel) = index(&channel) else { continue };
                let Data::Json(json) = &publication.data else { continue };
                let Some((mark, is_end)) = serde_json::from_str(json.get()).ok().and_then(|json| read(&json)) else {
                    continue;
                };
                if is_end {
                    Counts::add(&orders.counts.ends);
                }
                Counts::add(&orders.counts.heard);
                What::Heard { channel, mark, position: publication.position.map(place) }
            }
            Event::Gap { channel, from, reason: GapReason::Disconnected, .. } => {
                // It was away from there until now, and has subscribed again.
                let Some(channel) = index(&channel) else { continue };
                subscriber.entries.push(Entry { at: now_ms(), what: What::Left { channel, since: from } });
                subscription(channel, None)
            }
            Event::Gap { channel, from, to, reason, position } => {
                let Some(channel) = index(&channel) else { continue };
                Counts::add(&orders.counts.signals);
                What::Gap { channel, from, to, reason: name_of(&reason), position: position.map(place) }
            }
            Event::Recovered { channel, since, position } => {
                let Some(channel) = index(&channel) else { continue };
                let (asked, position) = (place(since), place(position));
                // The publications follow as events of their own; how many they are is known where the epoch is one.
                let count = (asked.epoch == position.epoch).then(|| position.offset - asked.offset);
                let replayed = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
                What::Subscribed {
                    channel,
                    asked: Some(asked),
                    recovered: Some(true),
                    position: Some(position),
                    replayed,
                }
            }
            Event::NotRecovered { channel, since, position } => {
                let Some(channel) = index(&channel) else { continue };
                Counts::add(&orders.counts.signals);
                let (asked, position) = (Some(place(since)), position.map(place));
                What::Subscribed { channel, asked, recovered: Some(false), position, replayed: 0 }
            }
            _ => continue,
        };
        subscriber.entries.push(Entry { at, what });
    }
    subscriber
}

fn subscription(channel: usize, position: Option<ullim_client::Position>) -> What {
    What::Subscribed { channel, asked: None, recovered: None, position: position.map(place), replayed: 0 }
}

fn place(position: ullim_client::Position) -> Position {
    Position { epoch: position.epoch.micros(), offset: position.offset }
}

/// As the protocol names it.
fn name_of(reason: &GapReason) -> String {
    match reason {
        GapReason::BrokerLink => "broker_link".to_owned(),
        GapReason::Overload => "overload".to_owned(),
        GapReason::Undecodable => "undecodable".to_owned(),
        GapReason::Presence => "presence".to_owned(),
        GapReason::History => "history".to_owned(),
        GapReason::SlowConsumer => "slow_consumer".to_owned(),
        GapReason::Disconnected => "disconnected".to_owned(),
        GapReason::Other(name) => name.clone(),
    }
}

fn url(seat: SocketAddr) -> String {
    format!("ws://{seat}/ws")
}
