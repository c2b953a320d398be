//! A load generator for servers that fan messages out, and what is needed to compare them.
//!
//! What is driven: [`target`], as a file says it; [`template`] and [`token`] for what is in it; [`plan`], what a
//! connection will say. How: [`swarm`], on [`stream`]s in [`frame`]s or those of [`stomp`]; [`publisher`] and [`schedule`] beside it. What
//! comes of it: [`mark`], by which messages are known; [`ledger`], [`process`], and at last a [`report`].
//! [`scenario`] puts them together.

pub mod clock;
pub mod frame;
pub mod ledger;
pub mod mark;
pub mod plan;
pub mod process;
pub mod publisher;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod stomp;
pub mod stream;
pub mod swarm;
pub mod target;
pub mod template;
pub mod token;
pub mod trust;
