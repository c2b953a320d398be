//! Keys from an identity provider: how often it is asked, what is believed of it, and what happens without it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod answers;
mod files;
#[path = "../fixture/http.rs"]
mod http;
mod scene;
#[path = "../fixture/signer.rs"]
mod signer;
mod timing;
mod tls;
