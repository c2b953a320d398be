//! `ullim-floor`: what the kernel makes anybody pay.

fn main() {}
