//! Connecting many, so many at a time; cutting them all at once.

use std::ops::Range;
use std::time::Duration;

use anyhow::bail;

use super::Swarm;
use super::connection::Connection;
use crate::clock;

/// How long what waits for those who did not read may take.
const CLOSING: Duration = Duration::from_secs(2);

/// How long nothing may come of connecting.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many connections are cut before those who stay are read from.
const CUT_AT_ONCE: usize = 64;

impl Swarm {
    /// Connects these and waits until all are subscribed. `progress` is told how many are. Returns how long it took, in
    /// seconds. With `retry` who fails tries again; without, one failure is an error.
    pub fn connect(
        &mut self,
        connections: Range<usize>,
        retry: bool,
        mut progress: impl FnMut(usize),
    ) -> anyhow::Result<f64> {
        self.begin(connections, retry);
        let goal = self.ready + self.waiting.len() + self.in_flight;
        let begun = clock::now();
        let mut last_ready = (self.ready, begun);
        loop {
            let all = self.run(Duration::from_millis(100), |swarm| swarm.ready >= goal || !swarm.is_hopeful())?;
            progress(self.ready);
            if all && self.ready >= goal {
                return Ok(clock::elapsed(begun).as_secs_f64());
            }
            if self.ready > last_ready.0 {
                last_ready = (self.ready, clock::now());
            }
            if all || clock::elapsed(last_ready.1) > PATIENCE {
                bail!("{} of {goal} connections are subscribed, the others are not: {}", self.ready, self.complaint());
            }
        }
    }

    /// Begins to connect these, without waiting.
    pub fn begin(&mut self, connections: Range<usize>, retry: bool) {
        self.retry = retry;
        self.waiting.extend(connections);
    }

    /// Cuts these connections at once: the server finds them reset. Those who stay are read from meanwhile.
    pub fn cut(&mut self, connections: Range<usize>) -> anyhow::Result<()> {
        for first in connections.clone().step_by(CUT_AT_ONCE) {
            for connection in &mut self.connections[first..(first + CUT_AT_ONCE).min(connections.end)] {
                if let Some(mut connection) = connection.take() {
                    connection.stream.cut();
                    self.ready -= usize::from(connection.is_ready());
                }
            }
            self.turn(Duration::ZERO)?;
        }
        Ok(())
    }

    /// How many of those who do not read were not closed for it. What waits for them is read now.
    pub fn stalled_and_open(&mut self) -> usize {
        let begun = clock::now();
        let mut open: Vec<_> = (0..self.plans.len()).filter(|index| self.plans[*index].stalled).collect();
        while !open.is_empty() && clock::elapsed(begun) < CLOSING {
            open.retain(|index| {
                let connection = self.connections[*index].as_mut();
                connection
                    .is_some_and(|connection| !matches!(connection.stream.read(&mut self.buffer), Ok(Some(0)) | Err(_)))
            });
            std::thread::sleep(Duration::from_millis(1));
        }
        open.len()
    }

    fn is_hopeful(&self) -> bool {
        self.retry || self.failures.is_empty()
    }

    pub(super) fn connect_more(&mut self) {
        while self.in_flight < self.most_in_flight {
            let Some(index) = self.waiting.pop_front() else { return };
            let plan = &self.plans[index];
            self.in_flight += 1;
            let connected = self.connectors[plan.endpoint].connect(index, plan.stalled).and_then(|stream| {
                let mut connection = Connection::new(stream);
                self.watch(&mut connection, index)?;
                Ok(connection)
            });
            match connected {
                Ok(connection) => self.connections[index] = Some(connection),
                Err(error) => {
                    self.fail(index, false, format!("cannot connect: {error}"));
                    // Not again in this turn: the reason may be that there is no room.
                    return;
                }
            }
        }
    }

    pub(super) fn fail(&mut self, index: usize, was_ready: bool, reason: String) {
        *self.failures.entry(reason).or_default() += 1;
        match was_ready {
            true => {
                self.ready -= 1;
                self.lost += 1;
            }
            false => self.in_flight -= 1,
        }
        if self.retry {
            self.waiting.push_back(index);
        }
    }

    /// What is known about those that are not subscribed.
    fn complaint(&self) -> String {
        let mut reasons: Vec<_> = self.failures.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
        let waiting = self.connections.iter().enumerate().find_map(|(index, connection)| {
            let connection = connection.as_ref().filter(|connection| !connection.is_ready())?;
            Some(connection.state(&self.plans[index]))
        });
        reasons.extend(waiting);
        reasons.join("; ")
    }
}
