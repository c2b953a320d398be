//! A crew that is connected and has proven to hear, and the measurement of a time.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rustls::pki_types::ServerName;

use crate::clock;
use crate::ledger::{self, Ledger};
use crate::mark::MIN_PAYLOAD;
use crate::plan::{Endpoint, Plan, Planner, write_message};
use crate::process::Sample;
use crate::publisher::Publisher;
use crate::report::{Connecting, Deliveries, Report, Usage};
use crate::scenario::crew::Crew;
use crate::schedule::Schedule;
use crate::stream::Connector;
use crate::swarm::Swarm;
use crate::target::{SET, Target};
use crate::template::Values;
use crate::token::Signer;
use crate::trust;

/// How long everybody may take to hear a first message.
const PROBING: Duration = Duration::from_secs(60);

/// How often those who have heard nothing get another chance.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// The largest message.
const MOST_PAYLOAD: usize = 16 << 20;

/// How long repetitions of the last messages are listened for.
const REPETITIONS: Duration = Duration::from_millis(200);

/// With fewer connections nothing is gained by laziness.
const LAZY_FROM: usize = 100;

/// See [`Options::lazy`].
const LAZY_MICROS: u64 = 200;

/// A generator that needs more than this part of what the server needs is in its way.
const TOO_MUCH: f64 = 0.6;

/// What every scenario has to be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What is driven: a file that describes it, or the name of one that is built in.
    #[arg(long, short, default_value = "ullim-json", value_name = "FILE|NAME")]
    pub target: String,
    /// Where to connect, instead of the target's own URL. Several: connections take turns.
    #[arg(long)]
    pub url: Vec<String>,
    /// Gives a name in the target's templates a value, such as `port=8000` or `redis=127.0.0.1:6379`.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// The server's processes, whose CPU time and memory is read; their children count as well.
    #[arg(long)]
    pub pid: Vec<u32>,
    /// Bytes of a message, a JSON object.
    #[arg(long, default_value_t = 128)]
    pub size: usize,
    /// How many connections may be under way at a time.
    #[arg(long, default_value_t = 64)]
    pub in_flight: usize,
    /// The first address that connections come from, if the server is on loopback: the next few thousand come from the
    /// next address, because finding a free port gets slow where most are taken.
    #[arg(long, default_value = "127.0.0.1")]
    pub source: std::net::Ipv4Addr,
    /// For how long the sockets are left alone after something was read from them, in microseconds, so that more is
    /// there when they are looked at. By default 200 with 100 connections and more, else 0.
    #[arg(long)]
    pub lazy: Option<u64>,
    /// Writes the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Shows no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must look like NAME=VALUE")?;
    if !SET.contains(&name) {
        return Err(format!("there is no {name} to set: there are {}", SET.join(", ")));
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl Options {
    fn values(&self) -> Values {
        let defaults = Values::default().with("port", 8000).with("redis", "127.0.0.1:6379").with("dir", ".");
        self.set.iter().fold(defaults, |values, (name, value)| values.with(name, value))
    }
}

/// A target with its crew.
pub struct Stage {
    /// The connections.
    pub swarm: Swarm,
    crew: Crew,
    channels: Vec<u32>,
    pids: Vec<u32>,
    before: Option<Sample>,
    report: Report,
    /// Connections of other processes.
    elsewhere: u64,
    progress: ProgressBar,
}

impl Stage {
    /// Makes everything ready; nobody is connected yet.
    pub fn new(scenario: &str, options: &Options, crew: Crew) -> anyhow::Result<Self> {
        let sizes = MIN_PAYLOAD..=MOST_PAYLOAD;
        ensure!(
            sizes.contains(&options.size),
            "--size is {}: it is {MIN_PAYLOAD} to {MOST_PAYLOAD} bytes",
            options.size
        );
        ensure!(options.in_flight > 0, "--in-flight is 0: nobody would ever be connected");
        ensure!(crew.connections() > 0, "there is nobody to connect: say how many there are");
        let target = Target::find(&options.target)?;
        let values = options.values();
        let urls = if options.url.is_empty() { vec![target.url.clone()] } else { options.url.clone() };
        let endpoints = urls.iter().map(|url| Endpoint::new(&values.fill(url))).collect::<anyhow::Result<Vec<_>>>()?;
        let signer = target.token.as_ref().map(|token| Signer::new(token, &values.fill("$dir"))).transpose()?;
        let planner = Planner { target: &target, endpoints: &endpoints, signer: signer.as_ref() };
        let plans = plans(&planner, &crew)?;
        let publisher = Publisher::open(&target, &values, || Ok((endpoints[0].clone(), planner.plan(0, &[])?)))?;
        let mut swarm = Swarm::new(
            connectors(&endpoints, options)?,
            plans,
            answers(&target)?,
            Ledger::new(crew.subscriptions(), crew.observed()),
            options.in_flight,
        )?;
        let lazy = options.lazy.unwrap_or(if crew.connections() < LAZY_FROM { 0 } else { LAZY_MICROS });
        swarm.set_lazy(Duration::from_micros(lazy));
        swarm.set_publisher(publisher)?;
        let before = (!options.pid.is_empty()).then(|| Sample::of(&options.pid)).transpose()?;
        let report = Report {
            scenario: scenario.to_owned(),
            target: target.name.clone(),
            connections: crew.connections() as u64,
            ..Report::default()
        };
        let progress = if options.quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
        if let Ok(style) = ProgressStyle::with_template("{msg:>28} {wide_bar} {pos}/{len} {elapsed}") {
            progress.set_style(style);
        }
        Ok(Self {
            swarm,
            channels: crew.channels(),
            crew,
            pids: options.pid.clone(),
            before,
            report,
            elsewhere: 0,
            progress,
        })
    }

    /// Shows what is going on, out of how many.
    pub fn show(&self, what: &str, length: u64) {
        self.progress.reset();
        self.progress.set_message(what.to_owned());
        self.progress.set_length(length);
    }

    /// The progress that is shown.
    pub fn progress(&self) -> ProgressBar {
        self.progress.clone()
    }

    /// Connects these; how long it took, in seconds.
    pub fn connect(&mut self, connections: Range<usize>, retry: bool) -> anyhow::Result<f64> {
        self.show("connecting", (self.swarm.ready() + connections.len()) as u64);
        let progress = self.progress();
        let count = connections.len();
        let seconds = self.swarm.connect(connections, retry, |ready| progress.set_position(ready as u64))?;
        // Who comes back later does not count.
        self.report.connecting.get_or_insert_with(|| Connecting {
            per_second: count as f64 / seconds,
            seconds,
            latency: ledger::latency(&self.swarm.connecting),
            ..Connecting::default()
        });
        Ok(seconds)
    }

    /// Forgets what was booked of connecting: the next will be.
    pub fn forget_connecting(&mut self) {
        self.swarm.connecting.reset();
        self.report.connecting = None;
    }

    /// Connects everybody.
    pub fn connect_all(&mut self) -> anyhow::Result<f64> {
        self.connect(0..self.crew.connections(), false)
    }

    /// Publishes messages that do not count until all have heard one. A server whose answers say nothing of a
    /// subscription, or say it too early, is ready only then.
    pub fn prove(&mut self, schedules: &mut [Schedule]) -> anyhow::Result<()> {
        let published = schedules.iter().map(Schedule::channels).sum::<usize>();
        let (goal, begun) = (self.crew.hearing(published as u32), clock::now());
        self.show("waiting for a first message", goal as u64);
        while clock::elapsed(begun) < PROBING {
            for schedule in &mut *schedules {
                self.swarm.probe(schedule)?;
            }
            let progress = self.progress();
            let all = self.swarm.run(PROBE_EVERY, |swarm| {
                progress.set_position(swarm.ledger.heard() as u64);
                swarm.ledger.heard() >= goal
            })?;
            if all {
                return self.settle();
            }
        }
        bail!(
            "{} of {goal} subscriptions have heard something within {} s: is it the right channel that is published to?",
            self.swarm.ledger.heard(),
            PROBING.as_secs()
        )
    }

    /// Lets probes that are still on their way arrive.
    fn settle(&mut self) -> anyhow::Result<()> {
        let mut probes = 0;
        while probes != self.swarm.ledger.probes {
            probes = self.swarm.ledger.probes;
            self.swarm.run(Duration::from_millis(100), |_| false)?;
        }
        Ok(())
    }

    /// Publishes all of these, the first of which counts, and waits until everything has come, or nothing has for
    /// `patience`.
    pub fn publish(&mut self, schedules: Vec<Schedule>, patience: Duration) -> anyhow::Result<()> {
        self.swarm.publish(schedules)?;
        self.await_deliveries(patience)
    }

    /// Waits until all is published, and everything has come, or nothing has for `patience`. What comes twice may come
    /// late: a little longer is listened for that.
    pub fn await_deliveries(&mut self, patience: Duration) -> anyhow::Result<()> {
        let expected = |swarm: &Swarm, observed: u64| {
            swarm.schedules().first().map_or(0, |schedule| schedule.published() * observed)
        };
        let each = self.per_message();
        let progress = self.progress();
        let length = self.swarm.schedules().first().map_or(0, Schedule::count) * each;
        self.show("delivering", length);
        let mut last = (0, clock::now());
        let deadline = Duration::from_secs(3600);
        self.swarm.run(deadline, |swarm| {
            let received = swarm.ledger.received;
            progress.set_position(received);
            let published = swarm.schedules().first().is_some_and(Schedule::is_done);
            if received != last.0 || !published {
                last = (received, clock::now());
            }
            let is_over = received >= expected(swarm, each) || clock::elapsed(last.1) > patience;
            swarm.ready() == 0 || (published && is_over)
        })?;
        self.swarm.run(REPETITIONS, |_| false)?;
        Ok(())
    }

    /// How many deliveries that count come of one message of the first schedule.
    fn per_message(&self) -> u64 {
        let observed = self.crew.observed();
        let first = self.swarm.schedules().first();
        let channels = first.map_or(1, Schedule::channels).max(1);
        u64::from(observed.end - observed.start) / channels as u64
    }

    /// Measures what the processes need while `work` is done.
    pub fn measure(
        &mut self,
        work: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Option<(Sample, Sample)>, f64)> {
        let sample = |pids: &[u32]| (!pids.is_empty()).then(|| Sample::of(pids)).transpose();
        let (own, begun) = (Sample::own()?, clock::now());
        let first = sample(&self.pids)?;
        self.report.connected = self.swarm.ready() as u64 + self.elsewhere;
        work(self)?;
        let second = sample(&self.pids)
            .with_context(|| format!("a server is gone, and {} connections with it", self.swarm.lost()))?;
        let seconds = clock::elapsed(begun).as_secs_f64();
        let own_after = Sample::own()?;
        self.report.generator_cpu_seconds = own_after.user + own_after.system - own.user - own.system;
        Ok((first.zip(second), seconds))
    }

    /// Books what the server needed for so many units.
    pub fn book_usage(&mut self, (samples, seconds): (Option<(Sample, Sample)>, f64), units: f64) {
        let Some((first, second)) = samples else { return };
        let (user, system) = (second.user - first.user, second.system - first.system);
        let before = self.before.map_or(0, |sample| sample.resident);
        self.report.server = Some(Usage {
            user_seconds: user,
            system_seconds: system,
            seconds,
            micros_per_unit: (user + system) * 1e6 / units,
            user_micros_per_unit: user * 1e6 / units,
            resident_before: before,
            resident: first.resident,
            resident_after: second.resident,
            resident_per_connection: (first.resident as f64 - before as f64) / self.report.connected.max(1) as f64,
        });
    }

    /// Books what was delivered since the last reset of the ledger.
    pub fn book_deliveries(&mut self) {
        let ledger = &self.swarm.ledger;
        let Some(schedule) = self.swarm.schedules().first() else { return };
        let last = |subscription: u32| schedule.last_sequence(self.channels[subscription as usize]).unwrap_or(0);
        let published = schedule.published();
        let late = ledger::latency(schedule.late());
        let latency = ledger::latency(&ledger.latency);
        self.report.deliveries = Some(Deliveries {
            published,
            expected: published * self.per_message(),
            received: ledger.received,
            lost: ledger.lost(last),
            duplicates: ledger.duplicates,
            reordered: ledger.reordered,
            bytes: self.swarm.bytes,
            seconds: ledger.last_at.saturating_sub(schedule.begun()) as f64 / 1e9,
            latency,
            publish_late_ms: late.p99,
        });
        if late.p99 > 0.1 && late.p99 > latency.p50 / 4.0 {
            self.warn(format!("messages were published late: p99 {:.2} ms", late.p99));
        }
    }

    /// Connections that other processes have made.
    pub fn add_connections(&mut self, count: usize) {
        self.elsewhere += count as u64;
        self.report.connections += count as u64;
    }

    /// What was connected.
    pub fn book_connecting(&mut self, change: impl FnOnce(&mut Connecting)) {
        change(self.report.connecting.get_or_insert_default());
    }

    /// How many of those who did not read were closed for it.
    pub fn note_stalled(&mut self, closed: usize) {
        self.report.stalled_closed = Some(closed as u64);
    }

    /// Something that makes the figures doubtful.
    pub fn warn(&mut self, warning: String) {
        self.report.warnings.push(warning);
    }

    /// The end. Everybody is cut, so that no port is kept busy for the next run.
    pub fn finish(mut self) -> Report {
        self.progress.finish_and_clear();
        if let Err(error) = self.swarm.cut(0..self.crew.connections()) {
            self.warn(format!("{error:#}"));
        }
        self.report.lost_connections = self.swarm.lost();
        let failures: Vec<_> = self.swarm.failures().iter().map(|(why, count)| format!("{count} × {why}")).collect();
        self.report.warnings.extend(failures);
        if self.swarm.publish_errors() > 0 {
            self.warn(format!("{} publications were answered with an error", self.swarm.publish_errors()));
        }
        if let Some(server) = self.report.server {
            let needed = server.user_seconds + server.system_seconds;
            let own = self.report.generator_cpu_seconds;
            if own > TOO_MUCH * needed && own > 0.2 * server.seconds {
                self.warn(format!("the generator needed {own:.2} s of CPU, the server {needed:.2} s"));
            }
        }
        self.report
    }
}

/// A number of the command line that must be above zero, such as a rate or a time.
pub fn positive(name: &str, value: f64) -> anyhow::Result<f64> {
    ensure!(value.is_finite() && value > 0.0 && value <= 1e9, "{name} is {value}: it is a number above 0, at most 1e9");
    Ok(value)
}

fn plans(planner: &Planner<'_>, crew: &Crew) -> anyhow::Result<Vec<Plan>> {
    let mut plans = Vec::with_capacity(crew.connections());
    let mut subscription = 0;
    for group in crew.groups() {
        for _ in 0..group.connections {
            let mut plan = planner.plan(plans.len(), &group.channels)?;
            plan.first_subscription = subscription;
            plan.first_channel = group.first_channel;
            plan.stalled = group.stalled;
            subscription += plan.channels;
            plans.push(plan);
        }
    }
    Ok(plans)
}

fn connectors(endpoints: &[Endpoint], options: &Options) -> anyhow::Result<Vec<Connector>> {
    let connector = |endpoint: &Endpoint| {
        let tls = match endpoint.secure {
            false => None,
            true => {
                let host = endpoint.host.rsplit_once(':').map_or(endpoint.host.as_str(), |(host, _)| host);
                Some((trust::config()?, ServerName::try_from(host.to_owned())?))
            }
        };
        Ok(Connector { address: endpoint.address, source: options.source, tls })
    };
    endpoints.iter().map(connector).collect()
}

fn answers(target: &Target) -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let answer = |answer: &crate::target::Answer| {
        let mut frame = Vec::new();
        write_message(target.format, &answer.send, &mut frame)?;
        Ok((answer.to.clone().into_bytes(), frame))
    };
    target.answer.iter().map(answer).collect()
}
