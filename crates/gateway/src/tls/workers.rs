//! Threads that do the handshakes' mathematics. A shard moves a handshake's bytes itself; what they mean costs up to a
//! millisecond of signing, in which deliveries would wait (`docs/decisions/0001-tls-handshakes.md`).

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use tokio::sync::mpsc;

use crate::tls::Session;

/// How much less urgent these threads are than the shards: who is here already goes before who comes.
#[cfg(target_os = "linux")]
const NICER: i32 = 10;

/// A session whose bytes have to be worked on.
pub(crate) struct Job<K> {
    /// What it is for the shard that sent it.
    pub(crate) key: K,
    pub(crate) session: Box<Session>,
    /// How it went.
    pub(crate) result: Result<(), rustls::Error>,
    /// Where it goes back to. Must have room for it.
    pub(crate) back: mpsc::Sender<Job<K>>,
}

/// The way to the threads. They end when nobody has it any more.
pub(crate) struct Workers<K>(SyncSender<Job<K>>);

impl<K> Clone for Workers<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Send + 'static> Workers<K> {
    /// Half as many threads as there are cores, for at most `jobs` at a time.
    pub(crate) fn start(jobs: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(jobs);
        let receiver = Arc::new(Mutex::new(receiver));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for index in 0..(cores / 2).max(1) {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name(format!("ullim-tls-{index}")).spawn(move || work(&receiver))?;
        }
        Ok(Self(sender))
    }

    /// Has a session worked on. It comes back if there is no room for it.
    pub(crate) fn send(&self, job: Job<K>) -> Result<(), Job<K>> {
        self.0.try_send(job).map_err(|(TrySendError::Full(job) | TrySendError::Disconnected(job))| job)
    }
}

fn work<K>(jobs: &Mutex<Receiver<Job<K>>>) {
    give_way();
    // The generator's first use in a thread takes milliseconds. Where it has no randomness, handshakes will say so.
    let _ = aws_lc_rs::default_provider().secure_random.fill(&mut [0; 32]);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut job) = job else { return };
        job.result = job.session.calculate();
        let back = job.back.clone();
        // A shard that has ended wants nothing back.
        let _ = back.try_send(job);
    }
}

/// Lets the shards go first where there are fewer cores than threads. A thread has a priority of its own on Linux only.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        let thread = Some(rustix::thread::gettid());
        let lowered = getpriority_process(thread).and_then(|nice| setpriority_process(thread, nice + NICER));
        if let Err(error) = lowered {
            tracing::debug!(%error, "TLS handshakes are as urgent as deliveries");
        }
    }
}
