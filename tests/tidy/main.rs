//! Rules of the source tree that no compiler checks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

mod crates;
mod files;
mod guarantees;
