//! Commands in a Cluster: each goes to the master that has its slot, those for one master together and in order. What is
//! sent elsewhere by a node goes there; nothing is sent again that may have been done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::slot;
use super::topology::Topology;
use crate::redis::address::Address;
use crate::redis::connection;
use crate::redis::place::Access;

/// How long a server that could not be reached is not tried again, so that it does not hold up the others.
const AGAIN: Duration = Duration::from_millis(200);

/// The wait before a command is sent again to where it was sent before.
const PAUSE: Duration = Duration::from_millis(10);

/// Connections to the masters of a Cluster.
#[derive(Debug)]
pub(in crate::redis) struct Router {
    topology: Arc<Topology>,
    access: Access,
    /// Where commands without a key go.
    home: u16,
    nodes: Mutex<HashMap<Address, Arc<tokio::sync::Mutex<Node>>>>,
    /// A connection has ended.
    ended: Arc<Notify>,
    /// Connections that nobody waits for.
    opening: TaskTracker,
}

#[derive(Debug, Default)]
struct Node {
    connection: Option<MultiplexedConnection>,
    /// Until when it is not tried again, and why.
    failed: Option<(Instant, String)>,
}

/// A command that is to be sent.
#[derive(Debug, Clone)]
struct Task {
    index: usize,
    /// Where a node said that it be asked, this once.
    asked_at: Option<Address>,
}

/// Why commands have no answers.
enum Unsent {
    /// None was sent.
    Unreachable(String),
    /// They may have been done.
    Unanswered(String),
}

impl Router {
    pub(in crate::redis) fn new(topology: Arc<Topology>, access: Access, home: &str, ended: Arc<Notify>) -> Self {
        Self {
            topology,
            access,
            home: slot::of(home.as_bytes()),
            nodes: Mutex::default(),
            ended,
            opening: TaskTracker::new(),
        }
    }

    /// Sends commands to where their slots are. There is an answer to each.
    pub(in crate::redis) async fn all(&self, commands: &Pipeline) -> Vec<RedisResult<Value>> {
        let commands: Vec<&Cmd> = commands.cmd_iter().collect();
        let slots: Vec<u16> = commands.iter().map(|command| slot::of_command(command).unwrap_or(self.home)).collect();
        let mut answers: Vec<RedisResult<Value>> =
            commands.iter().map(|_| Err(unreachable("its slot has no master"))).collect();
        let mut tasks: Vec<Task> = (0..commands.len()).map(|index| Task { index, asked_at: None }).collect();
        let deadline = Instant::now() + self.access.response;
        while !tasks.is_empty() {
            let groups = self.group(tasks, &slots);
            let sending = groups.iter().map(|((address, is_asking), tasks)| {
                let commands: Vec<&Cmd> = tasks.iter().map(|task| commands[task.index]).collect();
                async move { self.send(address, *is_asking, commands).await }
            });
            let results = join_all(sending).await;
            tasks = Vec::new();
            let mut pause = Duration::ZERO;
            for ((_, group), result) in groups.into_iter().zip(results) {
                for (task, answer) in group.into_iter().zip(result) {
                    let index = task.index;
                    if let Err(error) = &answer
                        && Instant::now() < deadline
                        && let Some(again) = self.again(task, slots[index], error)
                    {
                        // Sent elsewhere for the first time, there is nothing to wait for.
                        let is_new = again.asked_at.is_some()
                            || matches!(&answers[index], Err(error) if error.code() == Some(UNREACHABLE));
                        pause = if is_new { pause } else { PAUSE };
                        tasks.push(again);
                    }
                    answers[index] = answer;
                }
            }
            tasks.sort_by_key(|task| task.index);
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        answers
    }

    /// Sends commands to one master, whatever their slots.
    pub(in crate::redis) async fn all_at(&self, master: &Address, commands: &Pipeline) -> Vec<RedisResult<Value>> {
        self.send(master, false, commands.cmd_iter().collect()).await
    }

    /// The masters that there are now.
    pub(in crate::redis) fn masters(&self) -> Vec<Address> {
        self.topology.map().masters().to_vec()
    }

    /// The map's word for [`SlotMap::tag_at`](super::map::SlotMap::tag_at).
    pub(in crate::redis) fn tag_at(&self, master: &Address) -> Option<String> {
        self.topology.map().tag_at(master, "")
    }

    /// Opens what connections can be opened. Fails if none can.
    pub(in crate::redis) async fn reach(&self) -> RedisResult<()> {
        let masters = self.topology.known().await;
        let opening = masters.masters().iter().map(|master| self.connection(master));
        let mut problem = None;
        for opened in join_all(opening).await {
            match opened {
                Ok(_) => return Ok(()),
                Err(error) => problem = Some(error),
            }
        }
        Err(unreachable(&problem.unwrap_or_default()))
    }

    /// By server; within each, in order.
    fn group(&self, tasks: Vec<Task>, slots: &[u16]) -> Vec<((Address, bool), Vec<Task>)> {
        let map = self.topology.map();
        let mut groups: Vec<((Address, bool), Vec<Task>)> = Vec::new();
        for task in tasks {
            let is_asking = task.asked_at.is_some();
            let Some(address) = task.asked_at.as_ref().or_else(|| map.owner(slots[task.index])) else {
                self.topology.refresh();
                continue;
            };
            match groups.iter_mut().find(|((known, asking), _)| known == address && *asking == is_asking) {
                Some((_, group)) => group.push(task),
                None => groups.push(((address.clone(), is_asking), vec![task])),
            }
        }
        groups
    }

    /// What is to be done again: only what was refused for certain, and not what was taken and not answered.
    fn again(&self, task: Task, slot: u16, error: &RedisError) -> Option<Task> {
        let elsewhere = || error.redirect_node().and_then(|(address, _)| Address::parse(address));
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                match elsewhere() {
                    Some(address) => drop(self.topology.learn(slot, &address)),
                    None => self.topology.refresh(),
                }
                Some(Task { asked_at: None, ..task })
            }
            ErrorKind::Server(ServerErrorKind::Ask) => Some(Task { asked_at: elsewhere(), ..task }),
            ErrorKind::Server(ServerErrorKind::TryAgain) => Some(task),
            _ => None,
        }
    }

    async fn send(&self, address: &Address, is_asking: bool, commands: Vec<&Cmd>) -> Vec<RedisResult<Value>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in &commands {
            if is_asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command((*command).clone());
        }
        pipeline.ignore_errors();
        match self.exchange(address, &pipeline).await {
            Ok(answers) if is_asking => answers.into_iter().skip(1).step_by(2).collect(),
            Ok(answers) => answers,
            Err(unsent) => {
                self.topology.refresh();
                let error = || match &unsent {
                    Unsent::Unreachable(problem) => unreachable(problem),
                    Unsent::Unanswered(problem) => {
                        redis::make_extension_error(UNANSWERED.to_owned(), Some(format!("{address}: {problem}")))
                    }
                };
                commands.iter().map(|_| Err(error())).collect()
            }
        }
    }

    async fn exchange(&self, address: &Address, pipeline: &Pipeline) -> Result<Vec<RedisResult<Value>>, Unsent> {
        let mut connection = self.connection(address).await.map_err(Unsent::Unreachable)?;
        let answers: RedisResult<Vec<RedisResult<Value>>> = pipeline.query_async(&mut connection).await;
        match answers {
            Ok(answers) => Ok(answers),
            Err(error) => {
                // Answers may yet come on it, to nobody.
                let node = self.node(address);
                let mut node = node.lock().await;
                *node = Node { connection: None, failed: Some((Instant::now(), error.to_string())) };
                self.ended.notify_one();
                Err(Unsent::Unanswered(error.to_string()))
            }
        }
    }

    fn node(&self, address: &Address) -> Arc<tokio::sync::Mutex<Node>> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() > 2 * self.topology.map().masters().len() + 8 {
            // Those of servers that have gone.
            let map = self.topology.map();
            nodes.retain(|known, _| known == address || map.masters().contains(known));
        }
        Arc::clone(nodes.entry(address.clone()).or_default())
    }

    async fn connection(&self, address: &Address) -> Result<MultiplexedConnection, String> {
        let node = self.node(address);
        let mut entry = node.lock().await;
        if let Some(connection) = &entry.connection {
            return Ok(connection.clone());
        }
        let Some((until, problem)) = entry.failed.clone() else {
            let opened = connection::open(&self.access, address, &self.ended).await;
            return entry.take(address, opened);
        };
        if Instant::now() >= until {
            // Nobody waits for it: commands for others go on.
            entry.failed = Some((Instant::now() + self.access.set_up, problem.clone()));
            let (access, address, ended) = (self.access.clone(), address.clone(), Arc::clone(&self.ended));
            let node = Arc::clone(&node);
            self.opening.spawn(async move {
                let opened = connection::open(&access, &address, &ended).await;
                let _ = node.lock().await.take(&address, opened);
            });
        }
        Err(problem)
    }
}

impl Node {
    fn take(
        &mut self,
        address: &Address,
        opened: RedisResult<MultiplexedConnection>,
    ) -> Result<MultiplexedConnection, String> {
        match opened {
            Ok(connection) => {
                self.failed = None;
                Ok(self.connection.insert(connection).clone())
            }
            Err(error) => {
                let problem = format!("{address}: {error}");
                self.failed = Some((Instant::now() + AGAIN, problem.clone()));
                Err(problem)
            }
        }
    }
}

/// Codes of our own, for what no server has said.
pub(in crate::redis) const UNREACHABLE: &str = "UNREACHABLE";
pub(in crate::redis) const UNANSWERED: &str = "UNANSWERED";

fn unreachable(problem: &str) -> RedisError {
    redis::make_extension_error(UNREACHABLE.to_owned(), Some(problem.to_owned()))
}
