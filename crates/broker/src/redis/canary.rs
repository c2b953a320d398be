//! A canary through the real publish path: the command link publishes something that the subscription link must hear. A
//! link that stands, and answers, and hears nothing, is on the wrong server.
//!
//! Whether it is missed is no matter of time. Redis sends what was published before it answers a PING that came later:
//! when such a PING is answered and the canary has not been heard, it was never on its way here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Shared;

/// One subscription link's canary.
#[derive(Debug)]
pub(super) struct Canary {
    wire_name: String,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The link is not subscribed to it.
    Deaf,
    /// Nothing is awaited.
    Idle,
    /// It is being published, with this token.
    Sent(u64),
    /// Redis had published it by then.
    Published(u64, Instant),
}

impl Canary {
    pub(super) fn new(wire_name: String) -> Self {
        Self { wire_name, state: Mutex::new(State::Deaf) }
    }

    /// What is published, and listened to.
    pub(super) fn wire_name(&self) -> &str {
        &self.wire_name
    }

    /// Whether `wire_name` is its own.
    pub(super) fn is_named(&self, wire_name: &[u8]) -> bool {
        self.wire_name.as_bytes() == wire_name
    }

    /// The link is subscribed to it.
    pub(super) fn arm(&self) {
        *self.state() = State::Idle;
    }

    /// The link broke.
    pub(super) fn disarm(&self) {
        *self.state() = State::Deaf;
    }

    /// A token to publish, if the link listens and nothing else is awaited.
    fn send(&self) -> Option<u64> {
        let mut state = self.state();
        (*state == State::Idle).then(|| {
            let token = rand::random();
            *state = State::Sent(token);
            token
        })
    }

    /// Whether `token` was published for certain.
    fn sent(&self, token: u64, published: bool) {
        let mut state = self.state();
        if *state == State::Sent(token) {
            *state = if published { State::Published(token, Instant::now()) } else { State::Idle };
        }
    }

    /// The link hears a canary, be it its own or not.
    pub(super) fn heard(&self, payload: &[u8]) {
        let token = std::str::from_utf8(payload).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        let mut state = self.state();
        if matches!(*state, State::Sent(awaited) | State::Published(awaited, _) if token == Some(awaited)) {
            *state = State::Idle;
        }
    }

    /// A PING that was sent at `pinged` has been answered. Says whether the canary should have come before.
    pub(super) fn is_missed(&self, pinged: Instant) -> bool {
        matches!(*self.state(), State::Published(_, at) if at <= pinged)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes canaries for ever.
pub(super) async fn run(shared: &Shared) {
    let mut tick = interval(shared.config.canary_interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let canaries = shared.canaries().clone();
        join_all(canaries.iter().map(|canary| publish(shared, canary))).await;
    }
}

async fn publish(shared: &Shared, canary: &Canary) {
    let Some(token) = canary.send() else {
        return;
    };
    let patience = shared.config.command_timeout;
    let queued = shared.lane.push(canary.wire_name().to_owned(), format!("{token:016x}").into(), None, patience);
    let published = match queued {
        Ok(waiting) => matches!(timeout(patience, waiting).await, Ok(Ok(Ok(_)))),
        Err(_) => false,
    };
    canary.sent(token, published);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_was_published_before_an_answered_ping_can_be_missed() {
        let canary = Canary::new("ullim:canary:{1}".to_owned());
        assert_eq!(canary.send(), None);
        canary.arm();
        let before = Instant::now();
        let token = canary.send().unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        assert!(!canary.is_missed(later));
        canary.sent(token, true);
        assert!(!canary.is_missed(before - Duration::from_secs(1)));
        assert!(canary.is_missed(later));
        assert_eq!(canary.send(), None);
        canary.heard(b"no token");
        assert!(canary.is_missed(later));
        canary.heard(format!("{token:016x}").as_bytes());
        assert!(!canary.is_missed(later));
    }

    #[test]
    fn a_canary_that_was_not_published_or_is_of_another_link_is_not_missed() {
        let canary = Canary::new("ullim:canary:{1}".to_owned());
        canary.arm();
        let token = canary.send().unwrap();
        canary.sent(token, false);
        let later = Instant::now() + Duration::from_secs(60);
        assert!(!canary.is_missed(later));
        let token = canary.send().unwrap();
        canary.disarm();
        canary.arm();
        canary.sent(token, true);
        assert!(!canary.is_missed(later));
    }
}
