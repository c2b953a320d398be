//! A load generator for servers that fan messages out, and what is needed to compare them.
//!
//! * [`target`]: what is driven: how to connect, subscribe and publish, as a file says it
//! * [`report`]: what a scenario has measured

pub mod report;
pub mod target;
