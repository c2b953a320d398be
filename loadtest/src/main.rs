//! `ullim-loadtest`: drives a server and says what came of it.

fn main() {}
