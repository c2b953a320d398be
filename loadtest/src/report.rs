//! What a scenario has measured, as people and the comparison read it.

use serde::{Deserialize, Serialize};

/// The outcome of one run. What a scenario does not measure is left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: String,
    /// The target's name.
    pub target: String,
    /// Connections that were asked for, and that were there when the measurement began.
    pub connections: u64,
    /// Connections that were open when it began.
    pub connected: u64,
    /// Connections that were lost while it went on.
    pub lost_connections: u64,
    /// Of those who were not to read, how many the server closed for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled_closed: Option<u64>,
    /// What came of the messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<Deliveries>,
    /// What the server needed. `None` without its process ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Usage>,
    /// What the generator itself needed while it measured.
    pub generator_cpu_seconds: f64,
    /// What came of connecting, if that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connecting: Option<Connecting>,
    /// What publications cost Redis, if that was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publishing: Vec<Publishing>,
    /// Whatever makes the figures doubtful, in words.
    pub warnings: Vec<String>,
}

/// What came of the messages.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Deliveries {
    /// Messages that were published.
    pub published: u64,
    /// Deliveries that there should have been.
    pub expected: u64,
    /// Deliveries, without repetitions.
    pub received: u64,
    /// What never came.
    pub lost: u64,
    /// What came again.
    pub duplicates: u64,
    /// What came after a later message of its channel.
    pub reordered: u64,
    /// Bytes read from the sockets.
    pub bytes: u64,
    /// From the first publication that was due to the last delivery.
    pub seconds: f64,
    /// From when a message was due to be published until it was read, so that a generator that is late, or a server that
    /// holds it up, hides nothing.
    pub latency: Latency,
    /// How late the publications themselves went out, at the 99th percentile, in milliseconds.
    pub publish_late_ms: f64,
}

/// What one way to publish costs Redis.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Publishing {
    /// Which.
    pub way: String,
    /// Publications that were pipelined.
    pub published: u64,
    /// Microseconds of Redis' main thread for each of them.
    pub redis_micros: f64,
    /// Of them in a second.
    pub per_second: f64,
    /// From sending until the answer, of those that were published one at a time.
    pub latency: Latency,
}

/// Percentiles, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    /// The shortest.
    pub min: f64,
    /// Half are below.
    pub p50: f64,
    /// 90 % are below.
    pub p90: f64,
    /// 99 % are below.
    pub p99: f64,
    /// 99.9 % are below.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// What processes needed while it was measured.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user space, seconds.
    pub user_seconds: f64,
    /// CPU time in the kernel, seconds.
    pub system_seconds: f64,
    /// Wall-clock time of the measurement, seconds.
    pub seconds: f64,
    /// Microseconds of CPU for each unit of the scenario's: a delivery, a connection, a connection's second.
    pub micros_per_unit: f64,
    /// Of those, in user space.
    pub user_micros_per_unit: f64,
    /// Resident bytes before the first connection.
    pub resident_before: u64,
    /// Resident bytes when the measurement began.
    pub resident: u64,
    /// Resident bytes when it ended.
    pub resident_after: u64,
    /// (`resident` − `resident_before`) / connections.
    pub resident_per_connection: f64,
}

/// What came of connecting.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Connecting {
    /// Connections a second, until the last was subscribed.
    pub per_second: f64,
    /// Until the last was subscribed.
    pub seconds: f64,
    /// From the first byte sent until it was subscribed, for each connection.
    pub latency: Latency,
    /// After all were cut at once: until the last was subscribed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_seconds: Option<f64>,
    /// Deliveries to those who stayed, before and meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stayed: Option<(Latency, Latency)>,
}
