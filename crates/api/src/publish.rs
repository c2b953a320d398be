//! `POST /api/publish` and `POST /api/publish_many`: a backend's publications.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tokio::time::Instant;
use ullim_broker::Answer;
use ullim_protocol::position::Position;

use crate::Shared;
use crate::publication::{Content, for_many, for_one};
use crate::refusal::{Refusal, Told};
use crate::request::{Order, channel, settled};

/// The most channels of one request.
const MAX_CHANNELS: usize = 1000;

/// The most publications of one request that wait for the broker, and about how many bytes: each is a copy of the data
/// there.
const WAITING: usize = 128;
const WAITING_BYTES: usize = 4 << 20;

pub(crate) async fn publish(State(shared): State<Arc<Shared>>, order: Order) -> Result<Json<Taken>, Refusal> {
    let (name, content) = for_one(&order.body)?;
    let (channel, _) = channel(&shared, &name)?;
    let position = settled(shared.state.broker.publish(content.to(channel))).await?;
    Ok(Json(Taken::at(position)))
}

/// That the broker took a publication; where it stands, on a recoverable channel.
#[derive(Default, Serialize)]
pub(crate) struct Taken {
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

impl Taken {
    fn at(position: Option<Position>) -> Self {
        let epoch = position.map(|position| position.epoch.to_string());
        Self { epoch, offset: position.map(|position| position.offset) }
    }
}

/// What became of each channel, in the order of the request.
#[derive(Serialize)]
pub(crate) struct Results {
    results: Vec<Outcome>,
}

#[derive(Serialize)]
struct Outcome {
    #[serde(flatten)]
    taken: Taken,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told>,
}

pub(crate) async fn publish_many(State(shared): State<Arc<Shared>>, order: Order) -> Result<Json<Results>, Refusal> {
    let (names, content) = for_many(&order.body, MAX_CHANNELS)?;
    let at_once = (WAITING_BYTES / content.data.bytes().len().max(1)).clamp(1, WAITING);
    let mut results = Vec::with_capacity(names.len());
    // The broker answers in the order of the calls, or nearly.
    let mut waiting = VecDeque::with_capacity(at_once);
    for name in &names {
        if waiting.len() == at_once {
            results.extend(outcome(waiting.pop_front()).await);
        }
        waiting.push_back(publish_one(&shared, name, &content, order.deadline));
    }
    while !waiting.is_empty() {
        results.extend(outcome(waiting.pop_front()).await);
    }
    Ok(Json(Results { results }))
}

type Published = Result<Answer<Result<Option<Position>, ullim_broker::PublishError>>, Refusal>;

fn publish_one(shared: &Shared, name: &str, content: &Content, deadline: Instant) -> Published {
    let (channel, _) = channel(shared, name)?;
    if Instant::now() >= deadline {
        return Err(Refusal::Untried(shared.state.config.request_timeout));
    }
    Ok(shared.state.broker.publish(content.to(channel)))
}

async fn outcome(published: Option<Published>) -> Option<Outcome> {
    let result = match published? {
        Ok(answer) => settled(answer).await.map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    Some(match result {
        Ok(position) => Outcome { taken: Taken::at(position), error: None },
        Err(refusal) => Outcome { taken: Taken::default(), error: Some(refusal.told()) },
    })
}
