//! What is published when.

use std::io;

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::Timespec;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use crate::clock;
use crate::ledger;
use crate::mark::Mark;
use crate::publisher::Publisher;

/// The shortest time between two looks at the schedule. Above two thousand a second, publications go out by twos, threes
/// and so on.
const SHORTEST: u64 = 500_000;

/// The most publications of one look, so that what was delayed does not go out all at once while nobody reads.
const MOST_AT_ONCE: u64 = 256;

/// A steady rate of messages on some channels. When one is late, the later ones are not moved: what counts is when it
/// was due.
#[derive(Debug)]
pub struct Schedule {
    channels: Vec<String>,
    first_channel: u32,
    period: f64,
    count: u64,
    size: usize,
    begun: u64,
    published: u64,
    /// The last sequence number of each channel.
    sequences: Vec<u32>,
    payload: Vec<u8>,
    late: Histogram<u64>,
}

impl Schedule {
    /// `rate` messages a second, `count` in all, each of `size` bytes, on channels that are numbered from `first_channel`
    /// on.
    /// The first is due in a millisecond.
    pub fn new(channels: Vec<String>, first_channel: u32, rate: f64, count: u64, size: usize) -> Self {
        Self {
            sequences: vec![0; channels.len()],
            channels,
            first_channel,
            period: 1e9 / rate,
            count,
            size,
            begun: clock::now() + 1_000_000,
            published: 0,
            payload: Vec::new(),
            late: ledger::histogram(),
        }
    }

    /// The same again from now on, in which sequence numbers go on.
    #[must_use]
    pub fn again(&self, count: u64) -> Self {
        let rate = 1e9 / self.period;
        let next = Self::new(self.channels.clone(), self.first_channel, rate, count, self.size);
        Self { sequences: self.sequences.clone(), ..next }
    }

    /// When it is to be looked at next.
    pub fn next_look(&self, now: u64) -> Option<u64> {
        let next = self.due(self.published).max(if self.period < SHORTEST as f64 { now + SHORTEST } else { 0 });
        (!self.is_done()).then_some(next)
    }

    fn due(&self, number: u64) -> u64 {
        self.begun + (number as f64 * self.period) as u64
    }

    /// How many were published.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// How many there will be.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// On how many channels.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Publishes nothing more.
    pub fn stop(&mut self) {
        self.count = self.published;
    }

    /// Whether all were.
    pub fn is_done(&self) -> bool {
        self.published == self.count
    }

    /// When the first was due.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// The last sequence number of a channel, by its number.
    pub fn last_sequence(&self, channel: u32) -> Option<u32> {
        self.sequences.get(channel.checked_sub(self.first_channel)? as usize).copied()
    }

    /// How late messages went out.
    pub fn late(&self) -> &Histogram<u64> {
        &self.late
    }

    /// One message that does not count on each channel.
    pub fn probe(&mut self, publisher: &mut Publisher) {
        for (number, channel) in (self.first_channel..).zip(&self.channels) {
            Mark { channel: number, sequence: 0, due: clock::now() }.payload(self.size, &mut self.payload);
            publisher.publish(channel, &self.payload);
        }
    }

    /// Publishes what is due.
    pub fn publish_due(&mut self, now: u64, publisher: &mut Publisher) {
        for _ in 0..MOST_AT_ONCE {
            let due = self.due(self.published);
            if self.published == self.count || due > now {
                return;
            }
            let place = self.place(self.published);
            self.sequences[place] += 1;
            let channel = self.first_channel + place as u32;
            Mark { channel, sequence: self.sequences[place], due }.payload(self.size, &mut self.payload);
            publisher.publish(&self.channels[place], &self.payload);
            self.late.saturating_record(now - due);
            self.published += 1;
        }
    }

    /// The channels' turns: neighbours are far apart, because they may be of one connection.
    fn place(&self, number: u64) -> usize {
        const STRIDE: u64 = 7919;
        let channels = self.channels.len() as u64;
        match channels % STRIDE {
            // The stride is prime: it visits every channel unless their number is a multiple of it.
            0 => (number % channels) as usize,
            _ => (number * STRIDE % channels) as usize,
        }
    }
}

/// Wakes the loop when something is due.
#[derive(Debug)]
pub struct Timer {
    descriptor: OwnedFd,
    /// When it will ring; 0: never.
    due: u64,
}

impl Timer {
    /// A timer that rests.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { descriptor: timer, due: 0 })
    }

    /// Wakes the loop at this time, or lets it rest.
    pub fn set(&mut self, due: Option<u64>) -> io::Result<()> {
        // A time that has passed makes it ring at once.
        let due = due.unwrap_or(0);
        if due == self.due {
            return Ok(());
        }
        self.due = due;
        let value = Timespec { tv_sec: (due / 1_000_000_000) as i64, tv_nsec: (due % 1_000_000_000) as i64 };
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: interval, it_value: value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::ABSTIME, &timer)?;
        Ok(())
    }

    /// The loop is awake.
    pub fn acknowledge(&self) {
        // It has rung, or it has not: both is fine.
        let _ = rustix::io::read(&self.descriptor, &mut [0; 8]);
    }
}
