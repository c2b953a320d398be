//! What every broker does, whatever joins the nodes: each case runs against each broker.

// Clippy exempts only functions that are marked as tests, and this is all test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "contract/cases.rs"]
mod cases;
#[path = "fixture/member.rs"]
mod member;
#[path = "contract/presence.rs"]
mod presence;
#[path = "fixture/redis_server.rs"]
mod redis_server;
#[path = "fixture/shard.rs"]
mod shard;
#[path = "fixture/wait.rs"]
mod wait;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis_server::RedisServer;
use ullim_broker::memory::MemoryBroker;
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelRule, ChannelRules, Config, Presence, Status};
use ullim_protocol::publication::PayloadRule;

/// A broker that is up, and what it needs.
pub(crate) struct Fixture {
    broker: Arc<dyn Broker>,
    presence: Arc<dyn Presence>,
    _server: Option<RedisServer>,
}

fn config() -> Config {
    let mut config = Config { payload_bytes: 100_000, ..Config::default() };
    config.redis.cooldown = Duration::from_millis(50);
    config
}

/// A namespace for each rule, named like it.
fn rules() -> ChannelRules {
    use PayloadRule::{Auto, Binary, Json, Text};
    let rules = [("auto", Auto), ("json", Json), ("text", Text), ("binary", Binary)];
    ChannelRules::new(HashMap::from(
        rules.map(|(name, payload)| (name.to_owned(), ChannelRule { payload, history: None })),
    ))
}

async fn memory() -> Fixture {
    let broker = Arc::new(MemoryBroker::new(&config(), rules()));
    Fixture { presence: broker.clone(), broker, _server: None }
}

async fn redis() -> Fixture {
    let server = RedisServer::start().await;
    let mut config = config();
    config.redis.url = server.url();
    let broker = RedisBroker::start(&config, rules()).unwrap();
    wait::until("up", || broker.status() == Status::Up).await;
    Fixture { presence: broker.clone(), broker, _server: Some(server) }
}

macro_rules! contract {
    ($($module:ident: $($case:ident)*;)*) => {
        mod memory_broker {
            $($(#[tokio::test] async fn $case() { super::$module::$case(super::memory().await).await; })*)*
        }
        mod redis_broker {
            $($(#[tokio::test] async fn $case() { super::$module::$case(super::redis().await).await; })*)*
        }
    };
}

contract! {
    cases:
    joining_comes_before_publications_and_they_keep_their_order
    data_of_every_kind_comes_back_in_every_namespace
    headers_and_exclusion_come_along
    each_shard_hears_its_own_channels_once
    who_has_left_hears_nothing
    subscribing_twice_joins_once
    who_returns_joins_again
    a_channel_that_nobody_wants_is_forgotten_and_can_return
    a_full_queue_is_a_gap_where_it_overflowed
    data_above_the_limit_is_refused
    many_channels_are_joined_and_heard
    the_order_is_that_of_the_calls_not_of_the_polls
    times_and_counters_tell_what_happened;
    presence:
    who_enters_is_told_once_and_can_be_read_at_once
    a_user_comes_with_the_first_session_and_goes_with_the_last
    a_return_within_the_grace_is_not_told
    who_returns_after_the_grace_comes_again
    nobody_has_no_grace
    the_end_of_an_older_claim_takes_nobody_out
    a_session_that_becomes_another_users_is_counted_for_that_one
    pages_hold_every_member
    comings_and_goings_keep_their_place_among_publications
    orders_reach_every_shard
    channels_are_listed_by_prefix_and_page;
}
