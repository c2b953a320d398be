//! CONNECT: the version, who the client is, and how often each side gives a sign of life.

use ullim_hub::Patience;
use ullim_protocol::command::Command;
use ullim_protocol::outgoing::Connected;
use ullim_protocol::stomp::{FrameHeaders, Version, connected, heart_beat};

use super::session::{Fault, Session};

/// What a CONNECTED frame says of this node.
const SERVER: &str = concat!("ullim/", env!("CARGO_PKG_VERSION"));

/// What was agreed of heart-beats.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeartBeats {
    /// What the client can send and wants to hear, in milliseconds.
    client: (u64, u64),
    /// Whether it is sent ends of lines.
    pub(super) are_sent: bool,
    /// How long the client may be silent.
    pub(super) patience: Patience,
}

impl Default for HeartBeats {
    fn default() -> Self {
        Self { client: (0, 0), are_sent: false, patience: Patience::USUAL }
    }
}

impl Session {
    /// Whether the client is to be sent ends of lines.
    pub(crate) fn sends_heart_beats(&self) -> bool {
        self.heart_beats.are_sent
    }

    /// How long it may be silent.
    pub(crate) fn patience(&self) -> Patience {
        self.heart_beats.patience
    }

    pub(super) fn connect(&mut self, headers: &FrameHeaders) -> Result<Command, Fault> {
        if self.has_connect {
            return Err(Fault::new("a connection has one CONNECT"));
        }
        let Some(version) = Version::negotiate(headers.get("accept-version")) else {
            let fault = Fault::new("the header \"accept-version\" names no version that this node speaks");
            return Err(Fault { tells_versions: true, ..fault });
        };
        if let Some(header) = headers.get("heart-beat") {
            self.heart_beats.client = heart_beat::parse(header).map_err(|error| Fault::new(error.to_string()))?;
        }
        let credentials = self.credentials(headers)?;
        self.has_connect = true;
        self.version = version;
        Ok(credentials)
    }

    /// The first that are there count. An empty header is none.
    fn credentials(&mut self, headers: &FrameHeaders) -> Result<Command, Fault> {
        let given = |name| headers.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let bearer = given("Authorization").or_else(|| given("authorization"));
        let bearer = bearer.map(|value| token_of(&value).map(str::to_owned)).transpose()?;
        let handshake = self.handshake_token.take();
        let token = given("token").or(bearer);
        let (login, passcode) = (given("login"), given("passcode"));
        if token.is_none() && (login.is_some() || passcode.is_some()) {
            return Ok(Command::Login { login, passcode });
        }
        Ok(Command::Connect { token: token.or(handshake), resume: None })
    }

    /// Appends CONNECTED: the session is open.
    pub(super) fn write_connected(&mut self, opened: &Connected<'_>, out: &mut Vec<u8>) {
        let own = (opened.ping_ms, opened.ping_ms);
        let (they_send, we_send) = heart_beat::negotiate(self.heart_beats.client, own);
        self.heart_beats.are_sent = we_send > 0;
        // Of two intervals of silence one may be the network's.
        let intervals = (2 * they_send).div_ceil(opened.ping_ms.max(1));
        self.heart_beats.patience = match they_send {
            0 => Patience::Endless,
            _ => Patience::Heartbeats(u8::try_from(intervals).unwrap_or(u8::MAX)),
        };
        connected(self.version, &opened.session.to_string(), SERVER, own, opened.user, out);
    }
}

/// The token in a header `Authorization`. Something else there is not passed over: who brings it counts on it.
fn token_of(header: &str) -> Result<&str, Fault> {
    let (scheme, token) = header.trim().split_once(' ').unwrap_or((header, ""));
    match scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() {
        true => Ok(token.trim()),
        false => Err(Fault::new("the header \"Authorization\" must be Bearer and a token")),
    }
}
