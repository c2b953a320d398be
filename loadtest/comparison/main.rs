//! `ullim-compare`: runs the scenarios for every target and writes the page.

fn main() {}
