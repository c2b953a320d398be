//! Publications on recoverable channels: `FCALL ullim_publish`, over the command link, in the lane's order. Each has an
//! id, so that it may be repeated.

use redis::{Pipeline, RedisError, Value};
use ullim_protocol::position::{Epoch, Position};
use ullim_protocol::publication::{Data, PayloadRule};

use crate::PublishRequest;
use crate::redis::cluster::{UNANSWERED, UNREACHABLE};
use crate::redis::lane::Request;

/// What goes with the payload.
#[derive(Debug)]
pub(in crate::redis) struct Call {
    options: Vec<(&'static str, String)>,
}

impl Call {
    pub(in crate::redis) fn new(request: &PublishRequest, rule: PayloadRule) -> Self {
        let mut options = Vec::with_capacity(4);
        options.push(match &request.id {
            Some(id) => ("id", id.clone()),
            None => ("attempt", format!("{:032x}", rand::random::<u128>())),
        });
        if !rule.restores(&request.data) {
            let kind = match request.data {
                Data::Json(_) => "json",
                Data::Text(_) => "text",
                Data::Binary(_) => "binary",
            };
            options.push(("type", kind.to_owned()));
        }
        if let Some(headers) = &request.headers {
            options.push(("headers", headers.to_json()));
        }
        if let Some(exclude) = &request.exclude {
            options.push(("exclude", exclude.to_string()));
        }
        Self { options }
    }
}

/// Appends the command of a request.
pub(in crate::redis) fn add(commands: &mut Pipeline, request: &Request, sharded: bool) {
    let Some(Call { options }) = &request.call else {
        commands.cmd(if sharded { "SPUBLISH" } else { "PUBLISH" }).arg(&request.wire_name).arg(&request.payload[..]);
        return;
    };
    commands.cmd("FCALL").arg("ullim_publish").arg(2).arg(&request.wire_name);
    commands.arg(format!("{}:ids", request.wire_name)).arg(&request.payload[..]);
    for (name, value) in options {
        commands.arg(*name).arg(value);
    }
}

/// The position in an answer; `None` if there is none.
pub(in crate::redis) fn position(answer: &Value) -> Option<Position> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(epoch), Value::Int(offset)] = &parts[..] else { return None };
    let epoch = Epoch::parse(std::str::from_utf8(epoch).ok()?)?;
    Some(Position { epoch, offset: u64::try_from(*offset).ok()? })
}

/// What is to be done about an error.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) enum Remedy {
    /// The functions are gone, or do not know our namespaces: they are loaded, and then it is repeated.
    Load,
    /// This server is not the one to talk to, or none answered: it is repeated, on another link if need be.
    Repeat,
    /// It is told to the caller.
    Tell,
}

pub(in crate::redis) fn remedy(error: &RedisError) -> Remedy {
    if error.detail().is_some_and(|detail| detail.contains("Function not found")) {
        return Remedy::Load;
    }
    match error.code() {
        Some("ULLIMPREFIX") => Remedy::Load,
        Some("READONLY" | "LOADING" | "MASTERDOWN" | "MOVED" | "ASK" | "CLUSTERDOWN" | UNANSWERED | UNREACHABLE) => {
            Remedy::Repeat
        }
        _ => Remedy::Tell,
    }
}
