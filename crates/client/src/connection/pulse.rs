//! Owns when the peer was last heard: for the heartbeat, and for the beginning of the gap when it falls silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;
use tokio::task::coop;
use tokio::time::Instant;

/// Shared by the tasks of a connection. Times are in milliseconds.
#[derive(Debug)]
pub(crate) struct Pulse {
    started: Instant,
    /// When bytes last came, since `started`.
    heard: AtomicU64,
    /// Until when nothing that the peer sent is unread, in Unix time.
    complete_until: AtomicU64,
    silence: AtomicU64,
    /// That `silence` is another, for the one task that waits for as long.
    changed: Notify,
}

impl Pulse {
    pub(crate) fn new(silence: Duration) -> Self {
        Self {
            started: Instant::now(),
            heard: AtomicU64::new(0),
            complete_until: AtomicU64::new(unix_milliseconds()),
            silence: AtomicU64::new(milliseconds(silence)),
            changed: Notify::new(),
        }
    }

    pub(crate) fn allow_silence(&self, silence: Duration) {
        self.silence.store(milliseconds(silence), Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Returns once the allowed silence is another. For one task only.
    pub(crate) async fn silence_changed(&self) {
        self.changed.notified().await;
    }

    /// How long the peer may be silent, and a write may take.
    pub(crate) fn silence(&self) -> Duration {
        Duration::from_millis(self.silence.load(Ordering::Relaxed))
    }

    /// When bytes last came.
    pub(crate) fn heard(&self) -> Instant {
        self.started + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// When everything that had arrived was last known to be read, in Unix milliseconds: what the peer sent later may
    /// be lost. It is not simply when bytes last came: those may have waited long in the socket of a slow reader.
    pub(crate) fn complete_until(&self) -> u64 {
        self.complete_until.load(Ordering::Relaxed)
    }
}

/// This machine's clock.
pub(crate) fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    milliseconds(since.unwrap_or_default())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A stream that takes the pulse of what it reads.
pub(crate) struct Heard<R> {
    inner: R,
    pulse: Arc<Pulse>,
    /// Whether bytes came since the stream was last found empty.
    fresh: bool,
}

impl<R> Heard<R> {
    pub(crate) fn new(inner: R, pulse: Arc<Pulse>) -> Self {
        Self { inner, pulse, fresh: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Heard<R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Without budget a read is pending whether the stream is empty or not.
        let tells = coop::has_budget_remaining();
        let before = buffer.filled().len();
        let poll = Pin::new(&mut this.inner).poll_read(context, buffer);
        if poll.is_pending() && tells && this.fresh {
            this.fresh = false;
            let now = unix_milliseconds();
            this.pulse.complete_until.store(now, Ordering::Relaxed);
        }
        ready!(poll)?;
        if buffer.filled().len() > before {
            this.fresh = true;
            let since = milliseconds(this.pulse.started.elapsed());
            this.pulse.heard.store(since, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}
