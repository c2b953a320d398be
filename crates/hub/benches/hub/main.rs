//! What the hub does for a delivery and for a subscription, in instructions and cache misses. It needs valgrind and
//! `cargo install --version 0.20.0 gungraun-runner`; then `cargo bench -p ullim-hub --bench hub`.
#![allow(clippy::unwrap_used, missing_docs)]

mod fixture;

use fixture::Fixture;
use gungraun::{library_benchmark, library_benchmark_group, main};

/// One channel that everybody hears, and so many publications at once.
fn one_channel(connections: usize, publications: usize) -> Fixture {
    warm(Fixture::new(connections).all_hear("chat:all").publish(std::iter::repeat_n("chat:all", publications)))
}

/// Two channels that everybody hears, one publication on each.
fn two_channels(connections: usize) -> Fixture {
    warm(Fixture::new(connections).all_hear("chat:one").all_hear("chat:two").publish(["chat:one", "chat:two"]))
}

/// Everybody hears channels of their own; so many publications at once, spread over the channels.
fn own_channels(connections: usize, each: usize, publications: usize) -> Fixture {
    let all = connections * each;
    let names: Vec<String> = (0..publications).map(|n| format!("chat:{}", n * 7919 % all)).collect();
    warm(Fixture::new(connections).each_hears(each).publish(names.iter().map(String::as_str)))
}

/// One subscriber of one channel beside many other channels.
fn among_channels(others: usize) -> Fixture {
    let mut fixture = Fixture::new(1000).each_hears(others / 1000);
    fixture.subscribe(500, "chat:all");
    warm(fixture.publish(["chat:all"]))
}

fn warm(mut fixture: Fixture) -> Fixture {
    fixture.relay();
    fixture
}

#[library_benchmark]
#[bench::to_1000(args = (1_000, 1), setup = one_channel)]
#[bench::to_5000(args = (5_000, 1), setup = one_channel)]
#[bench::hundred_to_1000(args = (1_000, 100), setup = one_channel)]
#[bench::two_channels_to_1000(args = (1_000), setup = two_channels)]
#[bench::hundred_of_20000_channels(args = (200, 100, 100), setup = own_channels)]
#[bench::beside_no_channel(args = (0), setup = among_channels)]
#[bench::beside_100000_channels(args = (100_000), setup = among_channels)]
fn relay(mut fixture: Fixture) -> Fixture {
    fixture.relay();
    fixture
}

#[library_benchmark]
#[bench::of_15000(args = (15_000, 0), setup = one_channel)]
fn one_leaves_and_comes_back(mut fixture: Fixture) -> Fixture {
    fixture.unsubscribe(7_000, "chat:all");
    fixture.subscribe(7_000, "chat:all");
    fixture
}

library_benchmark_group!(name = hub, benchmarks = [relay, one_leaves_and_comes_back]);
main!(library_benchmark_groups = hub);
