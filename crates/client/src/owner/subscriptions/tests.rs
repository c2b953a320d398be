//! What becomes of subscriptions, reply by reply.

use tokio::sync::oneshot;

use super::*;

fn refusal(code: u16, retry: bool) -> CommandError {
    CommandError::Refused { code, name: "name".to_owned(), message: String::new(), retry }
}

fn want(subscriptions: &mut Subscriptions, answer: Answer<Option<Position>>) -> bool {
    subscriptions.want("a", SubscribeOptions::default(), answer).is_some()
}

fn due(subscriptions: &mut Subscriptions) -> Vec<String> {
    subscriptions.due().into_iter().map(|due| due.channel).collect()
}

fn expired() -> Unsubscribed {
    Unsubscribed { code: 114, name: "subscription_expired".to_owned() }
}

fn standing() -> Subscriptions {
    standing_with(SubscribeOptions::default())
}

fn standing_with(options: SubscribeOptions) -> Subscriptions {
    let mut subscriptions = Subscriptions::default();
    let (answer, _waiting) = oneshot::channel();
    assert!(subscriptions.want("a", options, answer).is_some());
    subscriptions.asked("a", 1);
    assert_eq!(subscriptions.granted("a", 1, 10, Standing::default()), Next::Stands(Vec::new()));
    subscriptions
}

fn gap(from: u64, to: u64) -> Event {
    Event::Gap { channel: "a".to_owned(), from, to, reason: GapReason::Disconnected, position: None }
}

#[test]
fn a_gap_reaches_from_the_break_to_the_reply_over_several_connections() {
    let mut subscriptions = standing();
    subscriptions.broke(20);
    subscriptions.asked("a", 2);
    subscriptions.broke(30);
    subscriptions.asked("a", 3);
    assert_eq!(subscriptions.refused("a", 3, &refusal(111, true)), Next::Retry);
    assert!(subscriptions.due().is_empty());
    subscriptions.wake();
    assert_eq!(due(&mut subscriptions), ["a"]);
    subscriptions.asked("a", 4);
    assert_eq!(subscriptions.granted("a", 4, 40, Standing::default()), Next::Stands(vec![gap(20, 40)]));
    assert_eq!(subscriptions.gap("a", 50), None);
}

#[test]
fn a_publication_before_the_reply_splits_the_gap() {
    let mut subscriptions = standing();
    subscriptions.broke(20);
    subscriptions.asked("a", 2);
    assert_eq!(subscriptions.gap("a", 30), Some(gap(20, 30)));
    assert_eq!(subscriptions.granted("a", 2, 40, Standing::default()), Next::Stands(vec![gap(30, 40)]));
}

#[test]
fn a_subscription_that_nobody_waits_for_is_abandoned() {
    let mut subscriptions = Subscriptions::default();
    let (answer, waiting) = oneshot::channel();
    want(&mut subscriptions, answer);
    subscriptions.asked("a", 1);
    drop(waiting);
    assert_eq!(subscriptions.granted("a", 1, 10, Standing::default()), Next::Abandon);
    assert!(!subscriptions.is_wanted("a"));
}

#[test]
fn a_reply_to_a_command_that_was_overtaken_changes_nothing() {
    let mut subscriptions = Subscriptions::default();
    let (answer, mut waiting) = oneshot::channel();
    want(&mut subscriptions, answer);
    subscriptions.asked("a", 1);
    subscriptions.forget("a");
    assert!(matches!(waiting.try_recv(), Ok(Err(CommandError::Refused { code: 113, .. }))));
    let (answer, mut waiting) = oneshot::channel();
    want(&mut subscriptions, answer);
    subscriptions.asked("a", 3);
    assert_eq!(subscriptions.granted("a", 1, 10, Standing::default()), Next::Nothing);
    assert!(waiting.try_recv().is_err());
    assert_eq!(subscriptions.granted("a", 3, 10, Standing::default()), Next::Stands(Vec::new()));
    assert_eq!(waiting.try_recv(), Ok(Ok(None)));
}

#[test]
fn what_never_stood_is_forgotten_when_the_connection_breaks_in_flight() {
    let mut subscriptions = Subscriptions::default();
    let (answer, mut waiting) = oneshot::channel();
    want(&mut subscriptions, answer);
    subscriptions.asked("a", 1);
    subscriptions.broke(10);
    assert_eq!(waiting.try_recv(), Ok(Err(CommandError::Disconnected)));
    assert!(!subscriptions.is_wanted("a"));
}

fn fetched() -> SubscribeOptions {
    let token = Token::callback(|| async { Ok("t".to_owned()) });
    SubscribeOptions { token: Some(token), ..SubscribeOptions::default() }
}

#[test]
fn an_expired_subscription_whose_token_is_fetched_is_renewed_and_tells_the_gap() {
    let mut subscriptions = standing_with(fetched());
    assert_eq!(subscriptions.ended("a", expired(), 5000, 4900), Next::Retry);
    subscriptions.wake();
    assert_eq!(due(&mut subscriptions), ["a"]);
    subscriptions.asked("a", 2);
    assert_eq!(subscriptions.refused("a", 2, &refusal(114, false)), Next::Retry);
    subscriptions.wake();
    subscriptions.asked("a", 3);
    assert_eq!(subscriptions.granted("a", 3, 5100, Standing::default()), Next::Stands(vec![gap(4900, 5100)]));
    assert_eq!(subscriptions.ended("a", expired(), 5200, 5200), Next::RetrySlowly);
}

#[test]
fn an_expired_subscription_with_a_fixed_token_ends() {
    let options = SubscribeOptions { token: Some("t".into()), ..SubscribeOptions::default() };
    let mut subscriptions = standing_with(options);
    let unsubscribed =
        Event::Unsubscribed { channel: "a".to_owned(), code: 114, name: "subscription_expired".to_owned() };
    assert_eq!(subscriptions.ended("a", expired(), 20, 20), Next::Tell(unsubscribed));
    assert!(!subscriptions.is_wanted("a"));
}

#[test]
fn a_subscription_that_nobody_waits_for_any_more_is_not_asked_for() {
    let mut subscriptions = Subscriptions::default();
    let (answer, waiting) = oneshot::channel();
    want(&mut subscriptions, answer);
    subscriptions.asked("a", 1);
    assert!(subscriptions.prepared("a", 1).is_some());
    drop(waiting);
    assert!(subscriptions.prepared("a", 1).is_none());
    assert!(!subscriptions.is_wanted("a"));
}

#[test]
fn members_are_asked_for_once_however_much_is_missed_and_again_if_the_reply_may_be_older() {
    let mut subscriptions = standing_with(SubscribeOptions { events: true, ..SubscribeOptions::default() });
    assert!(subscriptions.missed("a"));
    assert!(!subscriptions.missed("a"));
    assert_eq!(subscriptions.lists_due(), ["a"]);
    subscriptions.list_asked("a", 5);
    assert!(!subscriptions.missed("a"));
    assert_eq!(subscriptions.listed("a", 5), Listed::AskAgain);
    subscriptions.list_asked("a", 6);
    assert!(subscriptions.list_refused("a", 6, true));
    assert_eq!(subscriptions.lists_due(), ["a"]);
    subscriptions.list_asked("a", 7);
    assert_eq!(subscriptions.listed("a", 7), Listed::Tell);
    assert!(subscriptions.lists_due().is_empty());
}

#[test]
fn members_are_asked_for_only_where_their_coming_and_going_is_told() {
    let mut subscriptions = standing();
    assert!(!subscriptions.missed("a"));
    assert!(!subscriptions.missed("b"));
}

#[test]
fn a_subscription_that_tells_only_who_is_there_tells_it_once() {
    let mut subscriptions = standing_with(SubscribeOptions { presence: true, ..SubscribeOptions::default() });
    subscriptions.broke(20);
    let due = subscriptions.due();
    let wanted = due[0].wanted(None);
    assert_eq!((wanted.presence, wanted.events), (false, false));
}
