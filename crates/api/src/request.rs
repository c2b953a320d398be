//! A backend's request: who sends it, whether there is room for it, and its body.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use ullim_auth::Secret;
use ullim_broker::Answer;
use ullim_hub::config::NamespaceConfig;
use ullim_protocol::channel::ChannelName;
use ullim_protocol::json::Object;

use crate::Shared;
use crate::refusal::Refusal;

/// The most bytes of a user, a cursor, and of a part of a channel's name.
pub(crate) const MAX_TEXT_BYTES: usize = 255;

/// How much of a body that is too large is read and passed over, at least: who is still sending would not see the
/// answer, but a connection that was reset.
const PASSED_OVER: usize = 1 << 20;

/// A request with the right key, read to its end. It holds its place among the requests until it is dropped.
pub(crate) struct Order {
    pub(crate) body: Bytes,
    /// When its work has to be done.
    pub(crate) deadline: Instant,
    _place: OwnedSemaphorePermit,
}

impl FromRequest<Arc<Shared>> for Order {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Refusal> {
        let config = &shared.state.config;
        let (head, body) = request.into_parts();
        authorise(config.api_key.as_ref(), &head.headers)?;
        let place = Arc::clone(&shared.places).try_acquire_owned();
        let place = place.map_err(|_| Refusal::Busy(config.max_requests))?;
        let waits = head.headers.contains_key(header::EXPECT);
        let body = read(body, waits, shared.state.body_bytes, config.request_timeout).await?;
        Ok(Self { body, deadline: Instant::now() + config.request_timeout, _place: place })
    }
}

impl Order {
    /// The body as what the request takes: one object without unknown or repeated fields.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Refusal> {
        parse(&self.body)
    }
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let Object(fields) = serde_json::from_slice(body)
        .map_err(|error| Refusal::Malformed(format!("the body is not what this request takes: {error}")))?;
    Ok(fields)
}

/// `Ok` for exactly one header with the key.
pub(crate) fn authorise(key: Option<&Secret>, headers: &HeaderMap) -> Result<(), Refusal> {
    let key = key.ok_or(Refusal::Off)?;
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(given), None) = (given.next(), given.next()) else {
        return Err(Refusal::Key);
    };
    let (scheme, given) = given.as_bytes().split_at_checked("Bearer ".len()).ok_or(Refusal::Key)?;
    let authorised = scheme.eq_ignore_ascii_case(b"Bearer ") && key.matches(given);
    authorised.then_some(()).ok_or(Refusal::Key)
}

/// The channel, whose namespace has to exist.
pub(crate) fn channel<'a>(shared: &'a Shared, name: &str) -> Result<(ChannelName, &'a NamespaceConfig), Refusal> {
    let channel = ChannelName::parse(name)?;
    match shared.state.namespaces.0.get(channel.namespace()) {
        Some(namespace) => Ok((channel, namespace)),
        None => Err(Refusal::Namespace(channel.namespace().to_owned())),
    }
}

/// Checks the length of the field `name`.
pub(crate) fn bounded(name: &str, text: &str, bytes: RangeInclusive<usize>) -> Result<(), Refusal> {
    match bytes.contains(&text.len()) {
        true => Ok(()),
        false => Err(Refusal::Malformed(format!(
            "{name:?} has {} to {} bytes, this one {}",
            bytes.start(),
            bytes.end(),
            text.len()
        ))),
    }
}

/// `{}`: what was asked for was done.
#[derive(Serialize)]
pub(crate) struct Done {}

/// The answer, within the broker's own deadline.
pub(crate) async fn settled<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Ready(result) => result,
        Answer::Pending(later) => later.await,
    }
}

/// The body, unless it is too large or too slow. `waits` says that the client sends it only when it is asked to.
async fn read(body: Body, waits: bool, limit: usize, patience: Duration) -> Result<Bytes, Refusal> {
    let deadline = Instant::now() + patience;
    if waits && body.size_hint().lower() > limit as u64 {
        return Err(Refusal::TooLarge(limit));
    }
    let mut body = body;
    let mut read = Vec::new();
    let mut passed_over = 0;
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| match passed_over {
            0 => Refusal::Slow(patience),
            _ => Refusal::TooLarge(limit),
        })?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| Refusal::Unreadable)?.into_data() else { continue };
        if passed_over == 0 && read.len() + data.len() <= limit {
            read.extend_from_slice(&data);
            continue;
        }
        read = Vec::new();
        passed_over += data.len();
        if passed_over > limit.max(PASSED_OVER) {
            break;
        }
    }
    match passed_over {
        0 => Ok(read.into()),
        _ => Err(Refusal::TooLarge(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_the_configured_key_opens() {
        let key = Secret::new("k1");
        let with = |values: &[&'static str]| {
            let values = values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value)));
            values.fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            })
        };
        assert!(authorise(Some(&key), &with(&["Bearer k1"])).is_ok());
        assert!(authorise(Some(&key), &with(&["bearer k1"])).is_ok());
        let wrong: [&[&str]; 6] =
            [&[], &["Bearer k2"], &["Bearer "], &["k1"], &["Basic k1"], &["Bearer k1", "Bearer k1"]];
        for values in wrong {
            assert!(matches!(authorise(Some(&key), &with(values)), Err(Refusal::Key)), "{values:?}");
        }
        assert!(matches!(authorise(None, &with(&["Bearer k1"])), Err(Refusal::Off)));
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = |bytes: usize, waits| read(Body::from(vec![b'x'; bytes]), waits, 10, Duration::from_secs(1));
        assert_eq!(read(10, false).await.unwrap().len(), 10);
        assert!(matches!(read(11, false).await, Err(Refusal::TooLarge(10))));
        assert!(matches!(read(11, true).await, Err(Refusal::TooLarge(10))));
        assert!(matches!(read(PASSED_OVER * 3, false).await, Err(Refusal::TooLarge(10))));
    }
}
