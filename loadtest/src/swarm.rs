//! Many connections on one thread. What they hear goes into the books; what is due to be published goes out in between.
//!
//! * `connection`: one connection, from the first packet to the last
//! * `connecting`: how many are begun at a time, and what becomes of those that fail

mod connecting;
mod connection;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::clock;
use crate::ledger::{self, Ledger};
use crate::mark::Marks;
use crate::plan::Plan;
use crate::publisher::Publisher;
use crate::schedule::{Schedule, Timer};
use crate::stream::Connector;
use connection::Connection;

/// The most bytes of one read. One buffer serves all connections.
const READ_BYTES: usize = 256 << 10;

/// The most events of one look at the sockets: whoever connects must not keep the others waiting for long.
const EVENTS: usize = 256;

/// After how many events it is looked whether a publication is due.
const EVENTS_BETWEEN: usize = 32;

const TIMER: Token = Token(usize::MAX - 1);
const PUBLISHER: Token = Token(usize::MAX - 2);

/// All connections of this process.
#[derive(Debug)]
pub struct Swarm {
    poll: Poll,
    connectors: Vec<Connector>,
    plans: Vec<Plan>,
    connections: Vec<Option<Connection>>,
    /// Messages that want an answer, and the frame that is the answer.
    answers: Vec<(Vec<u8>, Vec<u8>)>,
    buffer: Vec<u8>,
    marks: Marks,
    /// What was delivered.
    pub ledger: Ledger,
    timer: Timer,
    publisher: Option<Publisher>,
    schedules: Vec<Schedule>,
    /// Who is still to be connected, how many are at it, and how many may be.
    waiting: VecDeque<usize>,
    in_flight: usize,
    most_in_flight: usize,
    retry: bool,
    lazy: Duration,
    ready: usize,
    lost: u64,
    failures: BTreeMap<String, u64>,
    /// From the first packet until it was subscribed, in nanoseconds.
    pub connecting: Histogram<u64>,
    /// Bytes read.
    pub bytes: u64,
}

impl Swarm {
    /// Nobody is connected yet. `in_flight`: how many connections may be under way at a time.
    pub fn new(
        connectors: Vec<Connector>,
        plans: Vec<Plan>,
        answers: Vec<(Vec<u8>, Vec<u8>)>,
        ledger: Ledger,
        in_flight: usize,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        Ok(Self {
            poll,
            connectors,
            connections: plans.iter().map(|_| None).collect(),
            plans,
            answers,
            buffer: vec![0; READ_BYTES],
            marks: Marks::default(),
            ledger,
            timer,
            publisher: None,
            schedules: Vec::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
            most_in_flight: in_flight,
            retry: false,
            lazy: Duration::ZERO,
            ready: 0,
            lost: 0,
            failures: BTreeMap::new(),
            connecting: ledger::histogram(),
            bytes: 0,
        })
    }

    /// Leaves the sockets alone for so long after something was read from them. A read costs much less when more is
    /// there, and a server need not wake who is not waiting.
    pub fn set_lazy(&mut self, lazy: Duration) {
        self.lazy = lazy;
    }

    /// How many connections are subscribed.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// How many connections were lost after they had been subscribed.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Why connections failed or were lost, and how many.
    pub fn failures(&self) -> &BTreeMap<String, u64> {
        &self.failures
    }

    /// Publishes through this from now on.
    pub fn set_publisher(&mut self, mut publisher: Publisher) -> io::Result<()> {
        publisher.register(self.poll.registry(), PUBLISHER)?;
        self.publisher = Some(publisher);
        Ok(())
    }

    /// Begins to publish by these schedules, instead of those before.
    pub fn publish(&mut self, schedules: Vec<Schedule>) -> io::Result<()> {
        self.schedules = schedules;
        self.set_timer(clock::now())
    }

    /// What is published and was.
    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// Publishes nothing more.
    pub fn stop_publishing(&mut self) {
        self.schedules.iter_mut().for_each(Schedule::stop);
    }

    /// One message that does not count on each channel of this schedule.
    pub fn probe(&mut self, schedule: &mut Schedule) -> io::Result<()> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        schedule.probe(publisher);
        publisher.flush()
    }

    /// Errors that the publisher was answered.
    pub fn publish_errors(&self) -> u64 {
        self.publisher.as_ref().map_or(0, Publisher::errors)
    }

    /// Waits for at most `most`, and does what is to be done.
    pub fn turn(&mut self, most: Duration) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        self.turn_with(&mut events, most)
    }

    /// Turns until `done`, or until `most` has passed; whether it was done. `done` is asked at least ten times a second.
    pub fn run(&mut self, most: Duration, mut done: impl FnMut(&mut Self) -> bool) -> anyhow::Result<bool> {
        let mut events = Events::with_capacity(EVENTS);
        let begun = clock::now();
        loop {
            if done(self) {
                return Ok(true);
            }
            let left = most.saturating_sub(clock::elapsed(begun));
            if left.is_zero() {
                return Ok(false);
            }
            self.turn_with(&mut events, left.min(Duration::from_millis(100)))?;
        }
    }

    fn turn_with(&mut self, events: &mut Events, most: Duration) -> anyhow::Result<()> {
        self.connect_more();
        match self.poll.poll(events, Some(most)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        for (number, event) in events.iter().enumerate() {
            if number % EVENTS_BETWEEN == 0 {
                self.publish_due()?;
            }
            match event.token() {
                TIMER => self.timer.acknowledge(),
                PUBLISHER => self.publisher.as_mut().map_or(Ok(()), |publisher| publisher.ready(&mut buffer))?,
                Token(index) => self.look_at(index, event.is_writable(), event.is_readable(), &mut buffer),
            }
        }
        self.buffer = buffer;
        self.publish_due()?;
        self.rest(events.iter().count());
        Ok(())
    }

    /// Waits for more to come, but not beyond the next publication, and not while connecting: answers are awaited then.
    fn rest(&self, events: usize) {
        if events == 0 || events == EVENTS || self.lazy.is_zero() || self.in_flight > 0 {
            return;
        }
        let now = clock::now();
        let next = self.schedules.iter().filter_map(|schedule| schedule.next_look(now)).min();
        let until_next = next.map_or(self.lazy, |next| Duration::from_nanos(next.saturating_sub(now)));
        if until_next >= self.lazy {
            std::thread::sleep(self.lazy);
        }
    }

    fn publish_due(&mut self) -> anyhow::Result<()> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        let now = clock::now();
        for schedule in &mut self.schedules {
            schedule.publish_due(now, publisher);
        }
        publisher.flush()?;
        self.set_timer(now)?;
        Ok(())
    }

    fn set_timer(&mut self, now: u64) -> io::Result<()> {
        self.timer.set(self.schedules.iter().filter_map(|schedule| schedule.next_look(now)).min())
    }

    fn look_at(&mut self, index: usize, writable: bool, readable: bool, buffer: &mut [u8]) {
        let Some(mut connection) = self.connections.get_mut(index).and_then(Option::take) else { return };
        let was_ready = connection.is_ready();
        let outcome = self.advance(&mut connection, index, writable, readable, buffer);
        match outcome {
            Ok(()) => {
                if connection.is_ready() && !was_ready {
                    self.subscribed(&mut connection, index);
                }
                self.connections[index] = Some(connection);
            }
            Err(reason) => self.fail(index, was_ready, reason),
        }
    }

    fn advance(
        &mut self,
        connection: &mut Connection,
        index: usize,
        writable: bool,
        readable: bool,
        buffer: &mut [u8],
    ) -> Result<(), String> {
        let plan = &self.plans[index];
        if writable {
            connection.writable(plan)?;
        }
        if readable {
            let mut books = connection::Books {
                marks: &mut self.marks,
                ledger: &mut self.ledger,
                answers: &self.answers,
                bytes: &mut self.bytes,
            };
            connection.readable(plan, buffer, &mut books)?;
        }
        Ok(())
    }

    fn subscribed(&mut self, connection: &mut Connection, index: usize) {
        self.ready += 1;
        self.in_flight -= 1;
        self.connecting.saturating_record(clock::now().saturating_sub(connection.begun));
        if self.plans[index].stalled {
            // Where this fails it reads on; whether it was stalled is looked at in the end.
            let _ = self.poll.registry().deregister(connection.stream.tcp());
        }
    }

    fn watch(&self, connection: &mut Connection, index: usize) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(connection.stream.tcp(), Token(index), both)
    }
}
