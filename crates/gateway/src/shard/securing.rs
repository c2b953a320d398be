//! TLS handshakes: the shard moves their bytes, workers do their mathematics.

use std::time::Duration;

use mio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shard;
use super::arrivals::{After, Arriving, Key, Stage};
use super::queue::{Queue, Turn};
use crate::door::Speech;
use crate::stream::Stream;
use crate::tls::{Job, Progress, Secured, Session, Workers};

/// What a shard needs for TLS handshakes.
pub(crate) struct Securing {
    secured: Secured,
    workers: Workers<Key>,
    back: mpsc::Sender<Job<Key>>,
    worked: mpsc::Receiver<Job<Key>>,
    at_work: usize,
    /// Who waits for room with the workers; they are as bounded as connections are.
    queue: Queue<Key>,
}

impl Securing {
    /// The most handshakes of a shard that are with the workers at a time.
    pub(crate) const AT_WORK: usize = 64;

    /// `workers` must have room for [`AT_WORK`](Self::AT_WORK) handshakes of each shard. A handshake may take
    /// `timeout` with the request that follows; at most half of that it waits for the workers.
    pub(crate) fn new(secured: Secured, workers: Workers<Key>, timeout: Duration) -> Self {
        let (back, worked) = mpsc::channel(Self::AT_WORK);
        Self { secured, workers, back, worked, at_work: 0, queue: Queue::new(timeout / 2) }
    }

    /// A session for a socket on which nothing has been said.
    pub(super) fn begin(&self, stream: TcpStream, speech: Speech) -> Result<Box<Session>, rustls::Error> {
        Session::new(stream, self.secured.config(speech)).map(Box::new)
    }

    /// The next handshake that a worker has done with. Never, if there is no TLS.
    pub(super) async fn next(securing: &mut Option<Self>) -> Job<Key> {
        if let Some(securing) = securing
            && let Some(job) = securing.worked.recv().await
        {
            return job;
        }
        std::future::pending().await
    }

    /// The same, if there is one already.
    pub(super) fn next_now(&mut self) -> Option<Job<Key>> {
        self.worked.try_recv().ok()
    }

    /// Gives a handshake to the workers, or back if they have enough.
    fn send(&mut self, key: Key, session: Box<Session>) -> Result<(), Box<Session>> {
        if self.at_work == Self::AT_WORK {
            return Err(session);
        }
        let job = Job { key, session, result: Ok(()), back: self.back.clone() };
        self.workers.send(job).map_err(|job| job.session)?;
        self.at_work += 1;
        Ok(())
    }
}

impl Shard {
    /// Moves a handshake's bytes.
    pub(super) fn shake_hands(&mut self, index: usize) -> After {
        let Some(arriving) = self.arriving.slab.get_mut(index) else { return After::Gone };
        let Stage::Securing(session) = &mut arriving.stage else { return After::Watch };
        match session.shake_hands() {
            Ok(Progress::Waits) => After::Watch,
            Ok(Progress::HasWork) => self.give_to_workers(index),
            Ok(Progress::Established) => {
                self.tls.handshakes += 1;
                self.tls.resumed += u64::from(session.is_resumed());
                self.established(index)
            }
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake was broken off");
                self.break_off(index);
                After::Gone
            }
        }
    }

    fn established(&mut self, index: usize) -> After {
        let speech = self.arriving.slab.get(index).map(|arriving| arriving.visitor.door.speaks());
        if speech == Some(Speech::Stomp) {
            if let Some(Arriving { stage: Stage::Securing(session), visitor, watched, .. }) =
                self.arriving.remove(index)
            {
                self.welcome_stomp(Stream::Tls(session), visitor, watched);
            }
            return After::Gone;
        }
        self.set_stage(index, |stage| match stage {
            Stage::Securing(session) => Stage::Asking { stream: Stream::Tls(session), request: Vec::new() },
            other => other,
        });
        // The request may have come with the last of the handshake, and makes no event of its own then.
        self.read_request(index)
    }

    /// A worker has done with a handshake.
    pub(super) fn take_worked(&mut self, job: Job<Key>) {
        let Some(securing) = &mut self.securing else { return };
        securing.at_work -= 1;
        self.take_next();
        let Job { key, mut session, result, .. } = job;
        let Some(arriving) = self.arriving.get(key) else { return };
        if let Err(error) = result {
            tracing::debug!(%error, "a TLS handshake has failed");
            // The alert says why, if the peer takes it.
            let _ = session.flush();
            return self.break_off(key.index);
        }
        arriving.stage = Stage::Securing(session);
        self.shake_hands(key.index);
    }

    /// Gives the next handshake of the queue to the workers.
    fn take_next(&mut self) {
        while let Some(turn) = self.securing.as_mut().and_then(|securing| securing.queue.pop(Instant::now())) {
            let (Turn::Of(key) | Turn::TooLate(key)) = turn;
            // Those whose time is over are gone.
            if self.arriving.get(key).is_none() {
                continue;
            }
            if let Turn::Of(_) = turn {
                self.give_to_workers(key.index);
                return;
            }
            tracing::debug!("a TLS handshake has waited for too long");
            self.break_off(key.index);
        }
    }

    /// Ends a socket whose handshake has failed.
    pub(super) fn break_off(&mut self, index: usize) {
        self.tls.failures += 1;
        self.arriving.remove(index);
    }

    /// Gives a handshake to the workers, or has it wait for them. Without hope it is closed.
    fn give_to_workers(&mut self, index: usize) -> After {
        let (Some(key), Some(securing)) = (self.arriving.key(index), &mut self.securing) else { return After::Gone };
        let Some(arriving) = self.arriving.slab.get_mut(index) else { return After::Gone };
        let session = match std::mem::replace(&mut arriving.stage, Stage::AtWork) {
            Stage::Securing(session) | Stage::Queued(session) => session,
            other => {
                arriving.stage = other;
                return After::Watch;
            }
        };
        let Err(session) = securing.send(key, session) else { return After::Watch };
        let is_queued = match session.is_begun() {
            true => {
                securing.queue.push_begun(key);
                true
            }
            false => securing.queue.push_new(key, Instant::now()),
        };
        if !is_queued {
            tracing::debug!("a TLS handshake was turned away: too many wait");
            self.break_off(index);
            return After::Gone;
        }
        arriving.stage = Stage::Queued(session);
        After::Watch
    }

    /// Moves a socket on to what `change` makes of its stage.
    pub(super) fn set_stage(&mut self, index: usize, change: impl FnOnce(Stage) -> Stage) {
        if let Some(arriving) = self.arriving.slab.get_mut(index) {
            arriving.stage = change(std::mem::replace(&mut arriving.stage, Stage::AtWork));
        }
    }
}
