//! `POST /api/publish`: a backend's publication.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;
use ullim_auth::Secret;
use ullim_broker::{Answer, PublishRequest};
use ullim_protocol::channel::ChannelName;
use ullim_protocol::json::{Object, present};
use ullim_protocol::publication::{Data, Headers, Kind};
use ullim_protocol::session::SessionId;

use crate::ApiState;
use crate::refusal::Refusal;

/// The body of a request. An unknown field is an error: one that is misspelt would change what is published.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish<'a> {
    channel: String,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    text: Option<String>,
    b64: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    exclude: Option<String>,
}

pub(crate) async fn publish(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<serde_json::Value>, Refusal> {
    authorise(state.api_key.as_ref(), &headers)?;
    let body = read(body, state.body_bytes).await?;
    let request = parse(&body)?;
    let namespace = request.channel.namespace();
    if !state.namespaces.0.contains_key(namespace) {
        return Err(Refusal::Namespace(namespace.to_owned()));
    }
    match state.broker.publish(request) {
        Answer::Ready(result) => result?,
        Answer::Pending(later) => later.await?,
    }
    Ok(Json(serde_json::json!({})))
}

fn authorise(key: Option<&Secret>, headers: &HeaderMap) -> Result<(), Refusal> {
    let key = key.ok_or(Refusal::Off)?;
    let given = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    let (scheme, given) = given.and_then(|given| given.split_at_checked("Bearer ".len())).ok_or(Refusal::Key)?;
    let authorised = scheme.eq_ignore_ascii_case(b"Bearer ") && key.matches(given);
    authorised.then_some(()).ok_or(Refusal::Key)
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let mut causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        match causes.any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
            true => Refusal::TooLarge(limit),
            false => Refusal::Unreadable,
        }
    })
}

fn parse(body: &Bytes) -> Result<PublishRequest, Refusal> {
    let Object(fields): Object<Publish> = serde_json::from_slice(body)
        .map_err(|error| Refusal::Malformed(format!("the body is not a publication: {error}")))?;
    let data = match (fields.data, fields.text, fields.b64) {
        (Some(json), None, None) => Kind::Json.accept(body.slice_ref(json.get().as_bytes())).ok_or(Refusal::Data(
            "\"data\" is nested too deep, or holds a number or an escape that cannot be carried",
        ))?,
        (None, Some(text), None) => Data::Text(text.into()),
        (None, None, Some(b64)) => {
            let bytes = STANDARD.decode(b64).map_err(|_| Refusal::Data("\"b64\" is not base64 with padding"))?;
            Data::Binary(bytes.into())
        }
        _ => return Err(Refusal::Malformed("exactly one of \"data\", \"text\" and \"b64\" is needed".to_owned())),
    };
    let headers = fields.headers.map(|entries| {
        Headers::new(entries).ok_or(Refusal::Data("\"headers\" has more than 16 entries or 4096 bytes"))
    });
    Ok(PublishRequest {
        channel: ChannelName::parse(&fields.channel)?,
        data,
        headers: headers.transpose()?,
        exclude: fields.exclude.as_deref().map(session).transpose()?,
    })
}

fn session(text: &str) -> Result<SessionId, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(SessionId).ok_or_else(|| Refusal::Malformed("\"exclude\" is not a session id".to_owned()))
}

#[cfg(test)]
mod tests;
