//! What a connection will say, made ready before it is timed.

use std::net::{SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail, ensure};

use crate::frame::{self, OpCode};
use crate::target::{Exchange, Format, Target};
use crate::template::Values;
use crate::token::Signer;

/// Where connections go.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// For the `Host` field, and for TLS.
    pub host: String,
    /// Path and query, still a template.
    pub path: String,
    /// `wss`, `https`, `stomps`.
    pub secure: bool,
    /// `stomp`, `stomps`: without an upgrade.
    pub bare: bool,
}

impl Endpoint {
    /// Reads a URL.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let (port, secure, rest) = match url.split_once("://") {
            Some(("ws" | "http", rest)) => (80, false, rest),
            Some(("wss" | "https", rest)) => (443, true, rest),
            Some(("stomp", rest)) => (61613, false, rest),
            Some(("stomps", rest)) => (61614, true, rest),
            _ => bail!(
                "{url:?} is no URL that can be connected to: it begins with ws:// or wss://, or with stomp:// or stomps://"
            ),
        };
        let (host, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
        let host_and_port = match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            _ => format!("{host}:{port}"),
        };
        let address = host_and_port.to_socket_addrs().with_context(|| format!("{host_and_port} is not found"))?.next();
        let address = address.with_context(|| format!("{host_and_port} has no address"))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { address, host: host_and_port, path, secure, bare: url.starts_with("stomp") })
    }
}

/// What one connection will say.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which endpoint.
    pub endpoint: usize,
    /// How its messages travel.
    pub format: Format,
    /// The upgrade; empty where there is none.
    pub request: Vec<u8>,
    /// What follows it.
    pub steps: Vec<Step>,
    /// What the answers contain, in order.
    pub expected: Vec<String>,
    /// The number of its first subscription in the ledger, and of that one's channel. Subscription and channel rise
    /// together.
    pub first_subscription: u32,
    /// See there.
    pub first_channel: u32,
    /// How many channels it hears.
    pub channels: u32,
    /// Once it is subscribed it is not read from any more.
    pub stalled: bool,
}

/// Bytes that are sent at once.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Frames.
    pub bytes: Vec<u8>,
    /// How many answers must have come before the next step.
    pub answers: usize,
}

/// Makes plans.
#[derive(Debug)]
pub struct Planner<'a> {
    /// For whom.
    pub target: &'a Target,
    /// Where to; connections take turns.
    pub endpoints: &'a [Endpoint],
    /// None if there are no tokens.
    pub signer: Option<&'a Signer>,
}

impl Planner<'_> {
    /// The plan of connection number `client`, which hears `channels`.
    pub fn plan(&self, client: usize, channels: &[String]) -> anyhow::Result<Plan> {
        let index = client % self.endpoints.len();
        let endpoint = &self.endpoints[index];
        let mut values = Values::default().with("client", client);
        if let Some(signer) = self.signer {
            values.set("token", signer.sign(client)?);
        }
        if let Some(first) = channels.first() {
            values.set("channel", first);
        }
        let format = self.target.format;
        ensure!(
            endpoint.bare == (format == Format::Stomp),
            "{}: URLs that begin with stomp:// or stomps:// are for targets of the format `stomp`, and no others",
            self.target.name
        );
        let mut plan = Plan {
            endpoint: index,
            format,
            request: if endpoint.bare { Vec::new() } else { self.request(endpoint, &values) },
            steps: Vec::new(),
            expected: Vec::new(),
            first_subscription: 0,
            first_channel: 0,
            channels: u32::try_from(channels.len())?,
            stalled: false,
        };
        let mut id = 0;
        let mut step = Step::default();
        let subscriptions =
            channels.iter().filter_map(|channel| Some((Some(channel), self.target.subscribe.as_ref()?)));
        ensure!(
            self.target.subscribe.is_some() || channels.len() <= 1 || !endpoint.path.contains("$channel"),
            "{}: without `subscribe` a connection hears one channel, the one in its URL",
            self.target.name
        );
        for (channel, exchange) in self.target.open.iter().map(|exchange| (None, exchange)).chain(subscriptions) {
            id += 1;
            values.set("id", id);
            if let Some(channel) = channel {
                values.set("channel", channel);
            }
            self.add(&mut plan, &mut step, exchange, &values)?;
        }
        if !step.bytes.is_empty() || plan.steps.is_empty() {
            step.answers = plan.expected.len();
            plan.steps.push(step);
        }
        Ok(plan)
    }

    fn add(&self, plan: &mut Plan, step: &mut Step, exchange: &Exchange, values: &Values) -> anyhow::Result<()> {
        if let Some(message) = &exchange.send {
            write_message(self.target.format, &values.fill(message), &mut step.bytes)?;
        }
        plan.expected.extend(exchange.expect.as_ref().map(|expect| values.fill(expect)));
        if exchange.wait {
            step.answers = plan.expected.len();
            plan.steps.push(std::mem::take(step));
        }
        Ok(())
    }

    fn request(&self, endpoint: &Endpoint, values: &Values) -> Vec<u8> {
        let path = values.fill(&endpoint.path);
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            endpoint.host
        );
        let subprotocol = self.target.subprotocol.iter().map(|name| ("Sec-WebSocket-Protocol", name));
        let headers = self.target.headers.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in subprotocol.chain(headers) {
            request.push_str(&format!("{name}: {}\r\n", values.fill(value)));
        }
        request.push_str("\r\n");
        request.into_bytes()
    }
}

/// Appends a message as it travels in its format.
pub fn write_message(format: Format, text: &str, out: &mut Vec<u8>) -> anyhow::Result<()> {
    match format {
        Format::Text => frame::write(OpCode::Text, text.as_bytes(), out),
        Format::Msgpack => {
            let value: serde_json::Value = serde_json::from_str(text)
                .with_context(|| format!("{text} is to become MessagePack, and is no JSON"))?;
            frame::write(OpCode::Binary, &rmp_serde::to_vec_named(&value)?, out);
        }
        Format::Stomp => out.extend_from_slice(text.as_bytes()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(target: &Target, channels: &[&str]) -> anyhow::Result<Plan> {
        let endpoints = [Endpoint::new("ws://127.0.0.1:9/s/$channel?x=$client").unwrap()];
        let channels: Vec<_> = channels.iter().map(|&channel| channel.to_owned()).collect();
        Planner { target, endpoints: &endpoints, signer: None }.plan(3, &channels)
    }

    #[test]
    fn without_waiting_everything_goes_at_once() {
        let target: Target = toml::from_str(
            "name = \"t\"\nurl = \"ws://127.0.0.1:9\"\nopen = [{ send = \"o$id\", expect = \"O\" }]\n\
             subscribe = { send = \"s$id$channel\", expect = \"S\" }\n[publish.client]\nsend = \"x\"",
        )
        .unwrap();
        let plan = plan(&target, &["a", "b"]).unwrap();
        assert!(plan.request.starts_with(b"GET /s/a?x=3 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n"));
        assert_eq!(plan.expected, ["O", "S", "S"]);
        let [step] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
        assert_eq!(step.answers, 3);
        let text = String::from_utf8_lossy(&step.bytes);
        assert!(text.contains("o1") && text.contains("s2a") && text.contains("s3b"), "{text}");
    }

    #[test]
    fn what_waits_cuts_the_plan_into_steps() {
        let target: Target = toml::from_str(
            "name = \"t\"\nurl = \"ws://127.0.0.1:9\"\nopen = [{ expect = \"0\", wait = true }, { send = \"40\", expect = \"40\", wait = true }]\n\
             subscribe = { send = \"s\", expect = \"S\" }\n[publish.client]\nsend = \"x\"",
        )
        .unwrap();
        let plan = plan(&target, &["a", "b"]).unwrap();
        let answers: Vec<_> = plan.steps.iter().map(|step| (step.bytes.len(), step.answers)).collect();
        assert_eq!(answers, [(0, 1), (8, 2), (14, 4)]);
    }

    #[test]
    fn several_channels_need_a_way_to_subscribe() {
        let target: Target =
            toml::from_str("name = \"t\"\nurl = \"ws://127.0.0.1:9\"\n[publish.client]\nsend = \"x\"").unwrap();
        assert!(plan(&target, &["a", "b"]).is_err());
        let plan = plan(&target, &["a"]).unwrap();
        assert_eq!((plan.steps.len(), plan.steps[0].answers), (1, 0));
    }
}
