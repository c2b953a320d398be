//! What every broker does, whatever joins the nodes: each case runs against each broker.

// Clippy exempts only functions that are marked as tests, and this is all test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "contract/cases.rs"]
mod cases;
#[path = "contract/history.rs"]
mod history;
#[path = "fixture/member.rs"]
mod member;
#[path = "contract/model.rs"]
mod model;
#[path = "contract/presence.rs"]
mod presence;
#[path = "fixture/shard.rs"]
mod shard;
#[path = "fixture/wait.rs"]
mod wait;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ullim_broker::memory::MemoryBroker;
use ullim_broker::redis::RedisBroker;
use ullim_broker::{Broker, ChannelRule, ChannelRules, Config, History, HistoryRule, Presence, Status};
use ullim_protocol::publication::PayloadRule;
use ullim_tests::redis::server::Server;

/// A broker that is up, and what it needs.
pub(crate) struct Fixture {
    broker: Arc<dyn Broker>,
    presence: Arc<dyn Presence>,
    history: Arc<dyn History>,
    _server: Option<Server>,
}

fn config() -> Config {
    let mut config = Config { payload_bytes: 100_000, ..Config::default() };
    config.redis.cooldown = Duration::from_millis(50);
    config
}

/// A namespace for each rule, named like it, and some that are recoverable: `kept`, `short` with ten publications, `brief`
/// for a second.
fn rules() -> ChannelRules {
    use PayloadRule::{Auto, Binary, Json, Text};
    let live = [("auto", Auto), ("json", Json), ("text", Text), ("binary", Binary)];
    let live = live.map(|(name, payload)| (name.to_owned(), ChannelRule { payload, history: None }));
    let seconds = Duration::from_secs;
    let kept = [("kept", 1000, seconds(600)), ("short", 10, seconds(600)), ("brief", 1000, seconds(1))];
    let kept = kept.map(|(name, size, ttl)| {
        (name.to_owned(), ChannelRule { payload: Auto, history: Some(HistoryRule { size, ttl }) })
    });
    ChannelRules::new(live.into_iter().chain(kept).collect::<HashMap<_, _>>())
}

async fn memory() -> Fixture {
    let broker = Arc::new(MemoryBroker::new(&config(), rules()));
    Fixture { presence: broker.clone(), history: broker.clone(), broker, _server: None }
}

async fn redis() -> Fixture {
    let server = Server::running(&[]).await;
    let mut config = config();
    config.redis.url = server.url();
    let broker = RedisBroker::start(&config, rules()).unwrap();
    wait::until("up", || broker.status() == Status::Up).await;
    Fixture { presence: broker.clone(), history: broker.clone(), broker, _server: Some(server) }
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
    history:
    positions_are_dense_and_all_agree_on_them
    live_channels_have_neither_positions_nor_history
    what_was_missed_is_recovered
    what_cannot_be_vouched_for_is_lost
    only_the_last_ones_are_kept
    history_comes_in_parts_in_both_directions
    a_part_of_a_history_is_bounded_in_bytes
    an_id_is_published_once
    an_id_that_many_send_at_once_is_published_once
    what_is_recovered_is_what_was_heard
    a_history_that_is_over_begins_a_later_epoch
    nothing_is_missed_between_a_recovery_and_the_queue
    what_is_too_large_takes_no_position;
    model:
    whatever_is_done_the_model_is_right;
    presence:
    who_enters_is_told_once_and_can_be_read_at_once
    a_user_comes_with_the_first_session_and_goes_with_the_last
    a_return_within_the_grace_is_not_told
    who_returns_after_the_grace_comes_again
    nobody_has_no_grace
    whoever_is_sent_elsewhere_has_not_left_if_they_come_back
    the_end_of_an_older_claim_takes_nobody_out
    a_session_that_becomes_another_users_is_counted_for_that_one
    pages_hold_every_member
    comings_and_goings_keep_their_place_among_publications
    orders_reach_every_shard
    channels_are_listed_by_prefix_and_page;
}
