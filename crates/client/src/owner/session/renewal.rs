//! Owns fresh tokens: the session's before it expires, and those of subscriptions when they are asked for.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinError;
use tokio::time::Instant;
use ullim_protocol::codes;

use super::{Pending, Session};
use crate::backoff::Backoff;
use crate::client::CommandError;
use crate::connection::Ended;
use crate::owner::Stop;
use crate::owner::subscriptions::Due;
use crate::token::{Token, TokenError};
use crate::wire::{Body, Refreshed, Refusal};

/// Callbacks that are asked at the same time: after a reconnect all channels need their tokens.
const FETCHES: usize = 16;
/// The part of its life after which a token is renewed, and how far chance may shift that: clients that came together
/// shall not come together again.
const PART: f64 = 0.8;
const JITTER: f64 = 0.05;
/// The shortest wait before a renewal.
const SOONEST: Duration = Duration::from_secs(1);
/// The wait where this machine's clock says that a token which was just taken is as good as over: the clocks differ. If
/// they do not, the node closes, and connecting fetches another.
const ASTRAY: Duration = Duration::from_secs(60);
/// The longest: further than this nobody need plan.
const LATEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A callback's answer.
pub(super) enum Fetched {
    Session(Result<Arc<str>, TokenError>),
    Channel { channel: String, id: u64, token: Result<Arc<str>, TokenError> },
}

/// When the session's token is to be renewed.
pub(super) struct Renewal {
    /// `None`: never, because there is no other or it does not expire.
    pub(super) at: Option<Instant>,
    token: Option<Token>,
    backoff: Backoff,
}

impl Renewal {
    pub(super) fn new(token: Option<&Token>, expires: Option<u64>, backoff: Backoff) -> Self {
        let token = token.filter(|token| !token.is_fixed()).cloned();
        let mut renewal = Self { at: None, token, backoff };
        renewal.plan(expires);
        renewal
    }

    /// The token that is in use now does until `expires`, in Unix seconds.
    fn plan(&mut self, expires: Option<u64>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = expires.filter(|_| self.token.is_some()).map(Duration::from_secs);
        self.at = until.map(|until| Instant::now() + wait(until.saturating_sub(now), rand::random()));
    }

    fn again(&mut self) {
        self.at = Some(Instant::now() + self.backoff.next());
    }
}

/// How long a token that lives for `life` is used. `chance` is from 0 to 1.
fn wait(life: Duration, chance: f64) -> Duration {
    if life < SOONEST {
        return ASTRAY;
    }
    let shift = 1.0 + JITTER * (2.0 * chance - 1.0);
    life.min(LATEST).mul_f64(PART * shift).max(SOONEST)
}

impl Due {
    /// Whether a callback has to be asked for its token.
    pub(super) fn fetches(&self) -> bool {
        self.token.as_ref().is_some_and(|token| !token.is_fixed())
    }
}

impl Session<'_> {
    /// Asks for the session's next token.
    pub(super) fn renew(&mut self) {
        let Some(token) = self.renewal.token.clone() else {
            self.renewal.at = None;
            return;
        };
        let limit = self.owner.config.command_timeout;
        // Neither the callback nor the node may take longer; if they do, it begins anew.
        self.renewal.at = Instant::now().checked_add(limit.saturating_mul(2));
        self.fetching.spawn(async move { Fetched::Session(token.get(limit).await) });
    }

    /// Asks for the token of a channel that is due, unless enough others are asked for: then it stays due.
    pub(super) fn fetch(&mut self, due: Due) {
        let Some(token) = due.token else {
            return;
        };
        if self.fetching.len() >= FETCHES {
            return;
        }
        let id = self.next_id();
        let channel = due.channel;
        self.owner.subscriptions.asked(&channel, id);
        let limit = self.owner.config.command_timeout;
        self.fetching.spawn(async move { Fetched::Channel { channel, id, token: token.get(limit).await } });
    }

    /// A callback has answered. Gives the end of the client where there is no token any more.
    pub(super) async fn fetched(&mut self, fetched: Result<Fetched, JoinError>) -> Result<Option<Ended>, Stop> {
        match fetched {
            Ok(Fetched::Session(Ok(token))) => self.refresh(&token).await?,
            Ok(Fetched::Session(Err(error @ TokenError::Denied(_)))) => return Ok(Some(Ended::without_token(error))),
            Ok(Fetched::Session(Err(error))) => {
                tracing::warn!(%error, "the session's token is not renewed for now");
                self.renewal.again();
            }
            Ok(Fetched::Channel { channel, id, token }) => self.channel_token(&channel, id, token).await?,
            Err(error) => tracing::error!(%error, "a task that fetched a token broke"),
        }
        // There is room for another.
        self.subscribe_due().await?;
        Ok(None)
    }

    async fn channel_token(&mut self, channel: &str, id: u64, token: Result<Arc<str>, TokenError>) -> Result<(), Stop> {
        match token {
            Ok(token) => match self.owner.subscriptions.prepared(channel, id) {
                Some(due) => self.subscribe_as(&due, id, Some(&token)).await,
                None => Ok(()),
            },
            Err(error) => self.refused(channel, id, &CommandError::Token(error)).await,
        }
    }

    async fn refresh(&mut self, token: &str) -> Result<(), Stop> {
        let id = self.next_id();
        match self.encode(id, Body::Refresh { token }, &codes::BAD_TOKEN) {
            Ok(text) => self.send(id, text, Pending::Refresh).await,
            Err(refusal) => {
                self.refreshed(Err(refusal));
                Ok(())
            }
        }
    }

    pub(super) fn refreshed(&mut self, outcome: Result<Refreshed, Refusal>) {
        match outcome {
            Ok(Refreshed { expires, resume }) => {
                tracing::debug!(expires, "the session's token is renewed");
                if resume.is_some() {
                    self.owner.resume = resume;
                }
                self.renewal.backoff.reset();
                self.renewal.plan(expires);
            }
            Err(refusal) if refusal.code == codes::UNKNOWN_COMMAND.number => {
                tracing::warn!("the node renews no tokens: the session ends with the one that it has");
                self.renewal.at = None;
            }
            // If it stays like this, the node closes when the token has expired, and connecting tells more.
            Err(Refusal { code, name, .. }) => {
                tracing::warn!(code, name, "the node did not take the session's next token");
                self.renewal.again();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_after_about_four_fifths_of_its_life() {
        let hour = Duration::from_secs(3600);
        assert_eq!(wait(hour, 0.5), Duration::from_secs(2880));
        assert_eq!(wait(hour, 0.0), Duration::from_secs(2736));
        assert_eq!(wait(hour, 1.0), Duration::from_secs(3024));
    }

    #[test]
    fn no_clock_can_make_renewing_a_hurry_or_a_panic() {
        assert_eq!(wait(Duration::ZERO, 0.0), ASTRAY);
        assert_eq!(wait(Duration::from_secs(1), 0.0), SOONEST);
        assert!(wait(Duration::MAX, 1.0) < LATEST);
    }
}
