//! A gateway that runs, as clients meet it: TLS, certificates, limits of an address, pages.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not work is a failed test")]

mod certificates;
mod client;
mod draining;
mod halfway;
mod limits;
mod pages;
mod running;
mod stomp_doors;
mod stomp_frames;
mod tls;
