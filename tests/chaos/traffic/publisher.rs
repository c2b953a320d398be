//! Publishers: backends that speak to Redis or to the HTTP API, and clients, native ones and over STOMP.

use std::net::SocketAddr;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisResult, Value};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::subscriber::long_token;
use super::wire::stomp::connect as connect_stomp;
use super::wire::{Coming, Wire};
use super::{Counts, Orders, payload};
use crate::chaos::log::{Mark, Ms, Outcome, Position, Promise, Publication};
use crate::chaos::topology::{API_KEY, Directory};
use crate::redis::server::connect;
use crate::stomp::{Client, Frame, Version};
use crate::{http, now_ms};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How long a recoverable publication is tried.
const PATIENCE: Ms = 30_000;

/// How a publication gets into the cluster.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// `FCALL ullim_publish` or `PUBLISH`, as the channel asks for.
    Redis(Directory),
    /// The HTTP API of these nodes in turn.
    Http(Vec<SocketAddr>),
    /// A client's `publish`, on these nodes in turn.
    Client(Vec<SocketAddr>),
    /// A SEND with a receipt over STOMP, on these nodes in turn. For live channels: a SEND has no id, and its receipt no
    /// position.
    Stomp(Vec<SocketAddr>),
}

/// Who publishes what.
pub(crate) struct Plan {
    /// Its number.
    pub(crate) publisher: u32,
    /// How.
    pub(crate) door: Door,
    /// Where: the channel, its name, its promise.
    pub(crate) channel: usize,
    /// The channel's name.
    pub(crate) name: String,
    /// The channel's promise.
    pub(crate) promise: Promise,
    /// How often.
    pub(crate) pace: Duration,
}

/// Publishes until it is told to end.
pub(crate) async fn run(plan: Plan, orders: Orders) -> Vec<Publication> {
    let mut publisher = Publisher::new(plan, orders.counts.clone());
    let mut pace = interval(publisher.plan.pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = orders.publishers_end.clone();
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = ended.changed() => {}
        }
        if *ended.borrow() {
            return publisher.publications();
        }
        publisher.publish(false, 0).await;
    }
}

/// One publisher on one channel.
pub(crate) struct Publisher {
    plan: Plan,
    number: u64,
    redis: Option<MultiplexedConnection>,
    /// Where that leads.
    server: Option<SocketAddr>,
    /// Which server took each publication, where that is known.
    servers: Vec<Option<SocketAddr>>,
    /// Where the next attempt goes: the server to ask instead of the one that the directory names.
    asking: Option<SocketAddr>,
    wire: Option<Wire>,
    stomp: Option<Client>,
    node: usize,
    counts: std::sync::Arc<Counts>,
    publications: Vec<Publication>,
}

/// What an attempt came to.
enum Attempt {
    Taken(Option<Position>),
    /// It may have been published or not.
    Unknown,
    /// It was not published.
    Refused,
}

impl Publisher {
    /// One that is not connected yet.
    pub(crate) fn new(plan: Plan, counts: std::sync::Arc<Counts>) -> Self {
        let node = plan.publisher as usize;
        Self {
            plan,
            number: 0,
            redis: None,
            server: None,
            servers: Vec::new(),
            asking: None,
            wire: None,
            stomp: None,
            node,
            counts,
            publications: Vec::new(),
        }
    }

    /// Publishes one with so many bytes of filling, and takes note. Recoverable ones are tried until they are answered.
    pub(crate) async fn publish(&mut self, is_end: bool, filling: usize) {
        self.number += 1;
        let mark = Mark { publisher: self.plan.publisher, number: self.number };
        let data = payload(mark, is_end, filling);
        let id = format!("{}-{}-{}", self.plan.channel, mark.publisher, mark.number);
        let sent = now_ms();
        let mut outcome = Outcome::Unknown;
        loop {
            let attempt = match &self.plan.door {
                Door::Redis(directory) => {
                    let directory = directory.clone();
                    self.ask_redis(&directory, &data, &id).await
                }
                Door::Http(nodes) => ask_http(nodes[self.node % nodes.len()], &self.plan, &data, &id).await,
                Door::Client(nodes) => {
                    let node = nodes[self.node % nodes.len()];
                    self.ask_client(node, &data, &id).await
                }
                Door::Stomp(nodes) => {
                    let node = nodes[self.node % nodes.len()];
                    self.ask_stomp(node, &data).await
                }
            };
            match attempt {
                Attempt::Taken(position) => {
                    Counts::add(&self.counts.published);
                    outcome = Outcome::Answered { at: now_ms(), position };
                    break;
                }
                Attempt::Refused | Attempt::Unknown => self.node += 1,
            }
            // What is repeated without an id may come twice.
            let may_repeat =
                self.plan.promise == Promise::Recoverable || (is_end && matches!(attempt, Attempt::Refused));
            if !may_repeat || now_ms() > sent + PATIENCE {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.servers.push(self.server);
        self.publications.push(Publication { channel: self.plan.channel, mark, sent, outcome });
    }

    /// What it has published so far. What a master took that was none any more, on a live channel, nobody can hear who
    /// is where he should be: it counts as not answered.
    pub(crate) fn publications(mut self) -> Vec<Publication> {
        if let (Door::Redis(directory), Promise::Live) = (&self.plan.door, self.plan.promise) {
            for (one, server) in self.publications.iter_mut().zip(&self.servers) {
                if let (Outcome::Answered { at, .. }, Some(server)) = (one.outcome, server)
                    && directory.was_stale(*server, at)
                {
                    one.outcome = Outcome::Unknown;
                }
            }
        }
        self.publications
    }

    async fn ask_redis(&mut self, directory: &Directory, data: &serde_json::Value, id: &str) -> Attempt {
        let key = format!("ullim:{{{}}}", self.plan.name);
        let mut asks = false;
        if self.server.is_some_and(|server| directory.is_left(server)) {
            self.redis = None;
        }
        if let Some(server) = self.asking.take() {
            self.redis = connect(server).await.ok();
            asks = true;
        } else if self.redis.is_none() {
            let Some(server) = directory.server(&key).await else { return Attempt::Refused };
            self.redis = connect(server).await.ok();
            self.server = Some(server);
        }
        let Some(link) = &mut self.redis else { return Attempt::Refused };
        if asks && redis::cmd("ASKING").query_async::<()>(link).await.is_err() {
            self.redis = None;
            return Attempt::Refused;
        }
        let mut command = Cmd::new();
        match self.plan.promise {
            Promise::Recoverable => {
                let ids = format!("{key}:ids");
                command.arg("FCALL").arg("ullim_publish").arg(2).arg(&key).arg(ids).arg(data.to_string());
                command.arg("id").arg(id);
            }
            Promise::Live => {
                command
                    .arg(if directory.is_sharded() { "SPUBLISH" } else { "PUBLISH" })
                    .arg(&key)
                    .arg(data.to_string());
            }
        }
        let answer: RedisResult<Value> = match timeout(ATTEMPT, command.query_async(link)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.redis = None;
                return Attempt::Unknown;
            }
        };
        match answer {
            Ok(_) if asks => {
                self.redis = None;
                taken(self.plan.promise, answer)
            }
            Ok(_) => taken(self.plan.promise, answer),
            Err(error) => {
                let said = error.to_string();
                if error.code() == Some("ASK") {
                    self.asking = error.redirect_node().and_then(|(address, _)| address.parse().ok());
                } else {
                    self.redis = None;
                }
                // What the server itself refuses was not done; a connection that breaks leaves it open.
                let is_refused = error.code().is_some() || said.contains("unction not found");
                if is_refused { Attempt::Refused } else { Attempt::Unknown }
            }
        }
    }

    async fn ask_client(&mut self, node: SocketAddr, data: &serde_json::Value, id: &str) -> Attempt {
        if self.wire.is_none() {
            self.wire = Wire::open(node, &long_token(&format!("publisher-{}", self.plan.publisher)), None).await;
        }
        let Some(wire) = &mut self.wire else { return Attempt::Refused };
        let mut body = json!({"channel": self.plan.name, "data": data});
        if self.plan.promise == Promise::Recoverable {
            body["id"] = id.into();
        }
        let exchange = async {
            let wanted = wire.send("publish", body).await?;
            loop {
                match wire.next().await {
                    Coming::Message(message, _) if message["id"] == wanted => return Some(message),
                    Coming::Message(..) => {}
                    Coming::End(_) | Coming::Broken(_) => return None,
                }
            }
        };
        // The node waits for Redis at most its `command_timeout`.
        match timeout(ATTEMPT * 2, exchange).await {
            Ok(Some(reply)) if reply.get("publish").is_some() => Attempt::Taken(position(&reply["publish"])),
            // `unavailable` may have been published.
            Ok(Some(reply)) if reply["error"]["retry"] == true => Attempt::Unknown,
            Ok(Some(_)) => Attempt::Refused,
            Ok(None) | Err(_) => {
                self.wire = None;
                Attempt::Unknown
            }
        }
    }

    async fn ask_stomp(&mut self, node: SocketAddr, data: &serde_json::Value) -> Attempt {
        if self.stomp.is_none() {
            let token = long_token(&format!("publisher-{}", self.plan.publisher));
            self.stomp = connect_stomp(node, &token, Version::V1_2).await;
        }
        let Some(client) = &mut self.stomp else { return Attempt::Refused };
        let receipt = self.number.to_string();
        let send = Frame::new("SEND").with("destination", &format!("/topic/{}", self.plan.name));
        let send = send.with("content-type", "application/json").with("receipt", &receipt).body(data.to_string());
        let exchange = async {
            client.send(&send).await.ok()?;
            client.next().await.ok()
        };
        match timeout(ATTEMPT * 2, exchange).await {
            Ok(Some(frame)) if frame.header("receipt-id") == Some(&receipt) && frame.command == "RECEIPT" => {
                Attempt::Taken(None)
            }
            // An ERROR ends the connection, and may have come after Redis had taken it.
            _ => {
                self.stomp = None;
                Attempt::Unknown
            }
        }
    }
}

async fn ask_http(node: SocketAddr, plan: &Plan, data: &serde_json::Value, id: &str) -> Attempt {
    let mut body = json!({"channel": plan.name, "data": data});
    if plan.promise == Promise::Recoverable {
        body["id"] = id.into();
    }
    let url = format!("http://{node}/api/publish");
    let key = format!("Bearer {API_KEY}");
    let headers = [("Authorization", key.as_str())];
    let request = http::try_post(&url, &headers, body.to_string().into_bytes());
    match timeout(ATTEMPT * 2, request).await {
        Ok(Some(answer)) if answer.status < 300 => {
            Attempt::Taken(serde_json::from_str(&answer.body).ok().and_then(|answer| position(&answer)))
        }
        Ok(Some(answer)) if answer.status < 500 => Attempt::Refused,
        _ => Attempt::Unknown,
    }
}

fn position(answer: &serde_json::Value) -> Option<Position> {
    let epoch = answer["epoch"].as_str()?.parse().ok()?;
    Some(Position { epoch, offset: answer["offset"].as_u64()? })
}

/// What Redis answered.
fn taken(promise: Promise, answer: RedisResult<Value>) -> Attempt {
    if promise == Promise::Live {
        return Attempt::Taken(None);
    }
    let pair = answer.ok().and_then(|answer| redis::from_redis_value::<(String, u64)>(answer).ok());
    let position = pair.and_then(|(epoch, offset)| Some(Position { epoch: epoch.parse().ok()?, offset }));
    Attempt::Taken(position)
}
