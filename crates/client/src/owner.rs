//! Owns the task behind the handle: it connects, hands each connection to a session, and decides whether to try again.

mod outbox;
mod session;
mod subscriptions;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::client::{Client, Command};
use crate::config::{Config, ConfigError};
use crate::connection::{Connection, Credentials, Ended};
use crate::endpoint::Endpoint;
use crate::event::{Event, Events};
use crate::reason::Reason;
use crate::tls;
use crate::token::Token;
use crate::wire::Connected;
use outbox::Outbox;
use session::Session;
use subscriptions::Subscriptions;

/// Commands that may wait in the channel, and as many again in the owner while there is no connection.
const COMMANDS: usize = 64;

/// Starts a client, which connects in the background. Must be called inside a tokio runtime with time and I/O enabled;
/// panics outside of one. With a `wss://` URL it reads the certificate authorities, from files, before it returns.
///
/// # Errors
/// If `config` cannot be used. That a node cannot be reached is told by events, not here.
pub fn connect(config: Config) -> Result<(Client, Events), ConfigError> {
    let mut known = None;
    let mut connector = || {
        if known.is_none() {
            known = Some(tls::connector(config.ca_file.as_deref())?);
        }
        known.clone().ok_or(ConfigError::NoAuthorities)
    };
    let endpoints =
        config.urls.iter().map(|url| Endpoint::parse(url, &mut connector)).collect::<Result<Vec<_>, _>>()?;
    if endpoints.is_empty() {
        return Err(ConfigError::NoUrls);
    }
    let (commands, asked) = mpsc::channel(COMMANDS);
    let closing = CancellationToken::new();
    let (outbox, events) = Outbox::new(config.events, closing.clone());
    let tasks = TaskTracker::new();
    let client =
        Client { commands, closing: closing.clone(), tasks: tasks.clone(), command_timeout: config.command_timeout };
    let owner = Owner {
        next_endpoint: rand::random_range(0..endpoints.len()),
        endpoints,
        backoff: Backoff::new(config.backoff_base, config.backoff_cap),
        config,
        asked,
        handles_gone: false,
        waiting: VecDeque::new(),
        resume: None,
        subscriptions: Subscriptions::default(),
        outbox,
        closing,
    };
    tasks.spawn(owner.run());
    tasks.close();
    Ok((client, events))
}

struct Owner {
    config: Config,
    endpoints: Vec<Endpoint>,
    next_endpoint: usize,
    backoff: Backoff,
    asked: mpsc::Receiver<Command>,
    /// Whether the last [`Client`] is gone.
    handles_gone: bool,
    /// Commands that wait for a connection.
    waiting: VecDeque<Command>,
    /// What opens the session of the last connection again.
    resume: Option<String>,
    subscriptions: Subscriptions,
    outbox: Outbox,
    closing: CancellationToken,
}

/// The user wants the client to stop.
struct Stop;

impl Owner {
    async fn run(mut self) {
        let reason = loop {
            match self.attempt().await.map(|ended| self.judged(ended)) {
                Err(Stop) => break Reason::User,
                Ok(ended) if !ended.retry => {
                    self.disconnected(ended.clone(), None).await;
                    break ended.reason;
                }
                Ok(ended) => {
                    let delay = self.backoff.next();
                    self.disconnected(ended, Some(delay)).await;
                    if self.meanwhile(sleep(delay)).await.is_err() {
                        break Reason::User;
                    }
                }
            }
        };
        tracing::debug!(%reason, "client stopped");
        self.outbox.finish(reason);
    }

    /// Whoever has nothing but a token that has expired need not try again.
    fn judged(&self, ended: Ended) -> Ended {
        let has_no_other = self.config.token.as_ref().is_some_and(Token::is_fixed);
        let retry = ended.retry && !(ended.reason == Reason::TokenExpired && has_no_other);
        Ended { retry, ..ended }
    }

    async fn disconnected(&self, ended: Ended, retry_in: Option<Duration>) {
        tracing::debug!(code = ended.code, reason = %ended.reason, ?retry_in, "disconnected");
        self.outbox.put(Event::Disconnected { code: ended.code, reason: ended.reason, retry_in }).await;
    }

    /// One connection to the next endpoint, from the first byte to the last.
    async fn attempt(&mut self) -> Result<Ended, Stop> {
        let endpoint = self.endpoints[self.next_endpoint].clone();
        self.next_endpoint = (self.next_endpoint + 1) % self.endpoints.len();
        let url = endpoint.url.clone();
        let attempt = self.backoff.failures().saturating_add(1);
        let connecting = Event::Connecting { url: url.clone(), attempt };
        self.outbox.put(connecting).await;
        tracing::debug!(url, attempt, "connecting");
        let credentials = Credentials { token: self.config.token.clone(), resume: self.resume.clone() };
        let limit = self.config.connect_timeout;
        let opening = Box::pin(async move { Connection::open(&endpoint, &credentials, limit).await });
        let (connection, connected) = match self.meanwhile(opening).await? {
            Ok(opened) => opened,
            Err(ended) => return Ok(ended),
        };
        let Connected { session, user, resume, resumed, expires, limits, .. } = connected;
        tracing::debug!(url, session, resumed, "connected");
        self.resume = resume;
        self.outbox.put(Event::Connected { session, user, url, resumed }).await;
        let began = Instant::now();
        let result = Session::new(self, connection, limits, expires).run().await;
        // A connection that lasted no longer than the wait for it could have been is no reason to hurry.
        if began.elapsed() >= self.backoff.ceiling() {
            self.backoff.reset();
        }
        result
    }

    /// Waits for `work` while there is no connection.
    async fn meanwhile<F: Future>(&mut self, work: F) -> Result<F::Output, Stop> {
        let mut work = pin!(work);
        loop {
            let has_room = self.waiting.len() < COMMANDS;
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return Err(Stop),
                () = self.outbox.abandoned(), if self.handles_gone => return Err(Stop),
                output = &mut work => return Ok(output),
                command = self.asked.recv(), if !self.handles_gone && has_room => self.hold(command),
            }
        }
    }

    fn hold(&mut self, command: Option<Command>) {
        match command {
            None => self.handles_gone = true,
            // The subscription ended with the connection: it is enough not to renew it.
            Some(Command::Unsubscribe { channel, answer }) => {
                self.subscriptions.forget(&channel);
                let _ = answer.send(Ok(()));
            }
            Some(command) => {
                self.waiting.push_back(command);
                if self.waiting.len() == COMMANDS {
                    self.waiting.retain(|command| !command.is_abandoned());
                }
            }
        }
    }
}
