//! Logs that are damaged by hand: each kind of damage is found, and nothing else.

use super::{Kind, check};
use crate::chaos::log::{
    Channel, Entry, Fault, Log, Mark, Member, Ms, Outcome, Position, Promise, Publication, Reach, Subscriber, Touches,
    What,
};

const E1: u64 = 1_763_700_000_000_000;
const E2: u64 = 1_763_700_000_900_000;

/// Ten publications, 100 ms apart from 1000 on, each answered and heard 10 ms later.
const COUNT: u64 = 10;

fn position(epoch: u64, offset: u64) -> Position {
    Position { epoch, offset }
}

fn mark(number: u64) -> Mark {
    Mark { publisher: 1, number }
}

fn publication(number: u64, place: Option<Position>) -> Publication {
    let sent = 900 + 100 * number;
    Publication { channel: 0, mark: mark(number), sent, outcome: Outcome::Answered { at: sent + 5, position: place } }
}

fn heard(number: u64, place: Option<Position>) -> Entry {
    Entry { at: 910 + 100 * number, what: What::Heard { channel: 0, mark: mark(number), position: place } }
}

fn subscribed(
    at: Ms,
    asked: Option<Position>,
    recovered: Option<bool>,
    place: Option<Position>,
    replayed: usize,
) -> Entry {
    Entry { at, what: What::Subscribed { channel: 0, asked, recovered, position: place, replayed } }
}

fn gap(at: Ms, from: Ms, to: Ms, place: Option<Position>) -> Entry {
    let reason = if place.is_some() { "history" } else { "broker_link" }.to_owned();
    Entry { at, what: What::Gap { channel: 0, from, to, reason, position: place } }
}

fn lost(at: Ms, since: Ms) -> Entry {
    Entry { at, what: What::Lost { since, code: 0 } }
}

fn fault(begin: Ms, end: Ms) -> Fault {
    let touches =
        Touches { links: Reach::Everybody, live: Reach::Everybody, history: Reach::Everybody, ..Touches::default() };
    Fault { name: "a fault", detail: String::new(), begin, end, touches }
}

fn log(promise: Promise) -> Log {
    let place = |number| (promise == Promise::Recoverable).then(|| position(E1, number));
    let mut entries = vec![
        Entry { at: 500, what: What::Connected { node: 0 } },
        subscribed(510, None, None, (promise == Promise::Recoverable).then(|| position(E1, 0)), 0),
    ];
    entries.extend((1..=COUNT).map(|number| heard(number, place(number))));
    Log {
        channels: vec![Channel { name: "orders:1".to_owned(), promise, busy: true }],
        publications: (1..=COUNT).map(|number| publication(number, place(number))).collect(),
        subscribers: vec![Subscriber { name: "one".to_owned(), entries, wants: vec![], member: None }],
        faults: Vec::new(),
        end: 3000,
    }
}

fn recoverable() -> Log {
    log(Promise::Recoverable)
}

fn live() -> Log {
    log(Promise::Live)
}

/// The kinds of what is found.
fn kinds(log: &Log) -> Vec<Kind> {
    check(log).findings.iter().map(|finding| finding.kind).collect()
}

/// Where the publication with this number stands among the entries.
fn place_of(log: &Log, number: u64) -> usize {
    let is_it = |entry: &Entry| matches!(entry.what, What::Heard { mark, .. } if mark.number == number);
    log.subscribers[0].entries.iter().position(is_it).unwrap()
}

fn entries(log: &mut Log) -> &mut Vec<Entry> {
    &mut log.subscribers[0].entries
}

fn forget(log: &mut Log, numbers: &[u64]) {
    for number in numbers {
        let place = place_of(log, *number);
        entries(log).remove(place);
    }
}

#[test]
fn whole_logs_have_no_findings() {
    for log in [recoverable(), live()] {
        let verdict = check(&log);
        assert_eq!(verdict.findings, vec![]);
        assert_eq!((verdict.answered, verdict.heard, verdict.signals), (10, 10, 0));
    }
}

#[test]
fn a_hole_is_found_unless_a_gap_stands_in_it() {
    for promise in [Promise::Recoverable, Promise::Live] {
        let mut damaged = log(promise);
        forget(&mut damaged, &[4, 5]);
        assert_eq!(kinds(&damaged), [Kind::LostSilently]);
        let place = place_of(&damaged, 6);
        let goes_on = (promise == Promise::Recoverable).then(|| position(E1, 5));
        entries(&mut damaged).insert(place, gap(1405, 1250, 1405, goes_on));
        assert_eq!(kinds(&damaged), [Kind::SignalWithoutFault]);
        damaged.faults.push(fault(1250, 1400));
        assert_eq!(kinds(&damaged), []);
    }
}

#[test]
fn a_gap_elsewhere_covers_nothing() {
    let mut damaged = recoverable();
    forget(&mut damaged, &[4]);
    let place = place_of(&damaged, 8);
    entries(&mut damaged).insert(place, gap(1605, 1250, 1605, Some(position(E1, 7))));
    damaged.faults.push(fault(1250, 1400));
    assert_eq!(kinds(&damaged), [Kind::LostSilently]);
    let mut damaged = live();
    forget(&mut damaged, &[4]);
    let place = place_of(&damaged, 5);
    entries(&mut damaged).insert(place, gap(1405, 1350, 1405, None));
    damaged.faults.push(fault(1250, 1400));
    assert_eq!(kinds(&damaged), [Kind::LostSilently]);
}

#[test]
fn the_tail_counts() {
    for promise in [Promise::Recoverable, Promise::Live] {
        let mut damaged = log(promise);
        forget(&mut damaged, &[9, 10]);
        assert_eq!(kinds(&damaged), [Kind::LostSilently]);
        // Whoever had gone before need not have heard it.
        entries(&mut damaged).push(lost(1750, 1740));
        assert_eq!(kinds(&damaged), []);
    }
}

#[test]
fn what_nobody_answered_for_may_be_missing_on_live_channels() {
    let mut damaged = live();
    forget(&mut damaged, &[5]);
    damaged.publications[4].outcome = Outcome::Unknown;
    assert_eq!(kinds(&damaged), []);
}

#[test]
fn a_publication_that_comes_twice_is_found() {
    for promise in [Promise::Recoverable, Promise::Live] {
        let mut damaged = log(promise);
        let place = place_of(&damaged, 5);
        let again = entries(&mut damaged)[place].clone();
        entries(&mut damaged).insert(place + 1, again);
        assert_eq!(kinds(&damaged), [Kind::Duplicated]);
    }
}

#[test]
fn another_order_is_found() {
    let mut damaged = live();
    let place = place_of(&damaged, 5);
    entries(&mut damaged).swap(place, place + 1);
    assert_eq!(kinds(&damaged), [Kind::Reordered]);
    let mut damaged = recoverable();
    entries(&mut damaged).swap(place, place + 1);
    assert!(kinds(&damaged).contains(&Kind::Duplicated), "{:?}", kinds(&damaged));
    // An epoch that comes back is another order, too.
    let mut damaged = recoverable();
    let place = place_of(&damaged, 10);
    entries(&mut damaged).insert(place, gap(1800, 1700, 1800, Some(position(E2, 0))));
    damaged.faults.push(fault(1700, 1800));
    assert_eq!(kinds(&damaged), [Kind::Reordered]);
}

#[test]
fn one_position_for_two_publications_is_found() {
    let mut damaged = recoverable();
    damaged.publications[9].outcome = Outcome::Answered { at: 1905, position: Some(position(E1, 9)) };
    assert!(kinds(&damaged).contains(&Kind::Reissued));
    let mut damaged = recoverable();
    let mut other = damaged.subscribers[0].clone();
    other.name = "two".to_owned();
    if let What::Heard { mark, .. } = &mut other.entries[5].what {
        mark.publisher = 7;
    }
    damaged.subscribers.push(other);
    assert_eq!(kinds(&damaged), [Kind::Reissued]);
}

#[test]
fn one_id_at_two_positions_is_found_in_one_epoch_only() {
    let twice = |epoch, offset| {
        let mut damaged = recoverable();
        entries(&mut damaged).push(gap(2000, 1950, 2000, Some(position(epoch, offset - 1))));
        let mut again = heard(10, Some(position(epoch, offset)));
        again.at = 2010;
        entries(&mut damaged).push(again);
        damaged.faults.push(fault(1950, 2000));
        damaged
    };
    assert_eq!(kinds(&twice(E1, 11)), [Kind::PublishedTwice]);
    assert_eq!(kinds(&twice(E2, 1)), []);
    assert_eq!(check(&twice(E2, 1)).repeated_across_epochs, 1);
}

#[test]
fn a_new_epoch_without_a_signal_is_found() {
    let mut damaged = recoverable();
    for number in 6..=COUNT {
        let place = place_of(&damaged, number);
        entries(&mut damaged)[place] = heard(number, Some(position(E2, number - 5)));
        damaged.publications[number as usize - 1] = publication(number, Some(position(E2, number - 5)));
    }
    assert_eq!(kinds(&damaged), [Kind::UnsignalledEpoch]);
    // Where the history was forgotten while all links stood, all of it had been heard.
    let touches = Touches { history: Reach::Everybody, unnoticed: true, ..Touches::default() };
    damaged.faults.push(Fault { touches, ..fault(600, 700) });
    assert_eq!(kinds(&damaged), []);
    let mut signalled = damaged.clone();
    let place = place_of(&damaged, 6);
    entries(&mut signalled).insert(place, gap(1500, 1400, 1500, Some(position(E2, 0))));
    signalled.faults.push(fault(1400, 1450));
    assert_eq!(kinds(&signalled), []);
    // What was answered before it, and not heard, is lost.
    forget(&mut damaged, &[5]);
    assert_eq!(kinds(&damaged), [Kind::LostSilently]);
}

#[test]
fn a_gap_that_hides_what_the_new_epoch_holds_is_found() {
    let mut damaged = recoverable();
    for number in 6..=COUNT {
        let place = place_of(&damaged, number);
        entries(&mut damaged)[place] = heard(number, Some(position(E2, number - 5)));
        damaged.publications[number as usize - 1] = publication(number, Some(position(E2, number - 5)));
    }
    forget(&mut damaged, &[6]);
    let place = place_of(&damaged, 7);
    entries(&mut damaged).insert(place, gap(1510, 1400, 1510, Some(position(E2, 1))));
    damaged.faults.push(fault(1400, 1450));
    assert_eq!(kinds(&damaged), [Kind::Hidden]);
}

#[test]
fn who_was_away_recovers_everything_or_is_told() {
    let away = |asked: u64, recovered: bool, replay: &[u64]| {
        let mut log = recoverable();
        forget(&mut log, &[4, 5, 6]);
        let place = place_of(&log, 7);
        let mut between = vec![lost(1305, 1290), Entry { at: 1500, what: What::Connected { node: 0 } }];
        between.push(subscribed(1550, Some(position(E1, asked)), Some(recovered), Some(position(E1, 6)), replay.len()));
        between.extend(replay.iter().map(|number| heard(*number, Some(position(E1, *number)))));
        for (next, entry) in between.into_iter().enumerate() {
            entries(&mut log).insert(place + next, entry);
        }
        log
    };
    assert_eq!(kinds(&away(3, true, &[4, 5, 6])), []);
    assert_eq!(kinds(&away(3, true, &[4, 6])), [Kind::LostSilently]);
    assert_eq!(kinds(&away(3, true, &[4, 5])), [Kind::LostSilently]);
    assert_eq!(kinds(&away(3, true, &[])), [Kind::LostSilently]);
    assert_eq!(kinds(&away(3, false, &[])), [Kind::SignalWithoutFault]);
    let mut explained = away(3, false, &[]);
    explained.faults.push(fault(1310, 1320));
    assert_eq!(kinds(&explained), []);
    assert_eq!(check(&explained).signals, 1);
}

#[test]
fn a_recovery_across_epochs_needs_the_gap_behind_it() {
    let mut log = recoverable();
    let place = place_of(&log, 9);
    entries(&mut log).truncate(place);
    for number in 9..=COUNT {
        log.publications[number as usize - 1] = publication(number, Some(position(E2, number - 8)));
    }
    entries(&mut log).push(lost(1720, 1715));
    entries(&mut log).push(subscribed(2000, Some(position(E1, 8)), Some(true), Some(position(E2, 2)), 2));
    entries(&mut log).push(heard(9, Some(position(E2, 1))));
    entries(&mut log).push(heard(10, Some(position(E2, 2))));
    log.faults.push(fault(1730, 1760));
    assert_eq!(kinds(&log), [Kind::UnsignalledEpoch]);
    entries(&mut log).push(gap(2001, 1700, 2001, Some(position(E2, 2))));
    assert_eq!(kinds(&log), []);
}

#[test]
fn a_signal_needs_a_fault_that_touches_it() {
    let told = |touches: Touches, begin| {
        let mut log = live();
        let place = place_of(&log, 6);
        entries(&mut log).insert(place, gap(1505, 1420, 1505, None));
        log.faults.push(Fault { touches, ..fault(begin, begin + 10) });
        log
    };
    let links = |links| Touches { links, live: Reach::Everybody, ..Touches::default() };
    assert_eq!(kinds(&told(links(Reach::Only(vec![0])), 1420)), []);
    assert_eq!(kinds(&told(links(Reach::Only(vec![1])), 1420)), [Kind::SignalWithoutFault]);
    assert_eq!(kinds(&told(Touches::default(), 1420)), [Kind::SignalWithoutFault]);
    assert_eq!(kinds(&told(links(Reach::Everybody), 1700)), [Kind::SignalWithoutFault], "it came later");
}

#[test]
fn what_is_published_while_one_is_away_is_not_missing_on_live_channels() {
    let mut log = live();
    forget(&mut log, &[5, 6]);
    let place = place_of(&log, 7);
    entries(&mut log).insert(place, subscribed(1550, None, None, None, 0));
    entries(&mut log).insert(place, lost(1450, 1310));
    assert_eq!(kinds(&log), []);
    // What was sent after the new subscription is.
    forget(&mut log, &[7]);
    assert_eq!(kinds(&log), [Kind::LostSilently]);
}

#[test]
fn what_is_published_in_the_millisecond_of_the_reply_may_be_missing_but_nothing_after_it() {
    for (subscribed_at, kinds_found) in [(1000, vec![]), (999, vec![Kind::LostSilently])] {
        let mut log = live();
        forget(&mut log, &[1]);
        entries(&mut log)[1].at = subscribed_at;
        assert_eq!(kinds(&log), kinds_found, "{subscribed_at}");
    }
}

#[test]
fn what_is_on_its_way_to_somebody_who_goes_is_not_missing_but_what_was_long_before_is() {
    let gone = |read, faults: Vec<Fault>| {
        let mut log = live();
        forget(&mut log, &[5]);
        let last = entries(&mut log).pop().unwrap();
        entries(&mut log).push(lost(last.at, read));
        log.end = 9000;
        log.faults = faults;
        kinds(&log)
    };
    assert_eq!(gone(2000, vec![]), []);
    assert_eq!(gone(3000, vec![]), [Kind::LostSilently]);
    assert_eq!(gone(3000, vec![fault(1300, 2500)]), [], "a gap was owed, and not told yet");
}

#[test]
fn who_cannot_subscribe_again_is_found() {
    let mut log = live();
    log.subscribers[0].wants = vec![0];
    log.end = 20_000;
    assert_eq!(kinds(&log), []);
    entries(&mut log).push(lost(1950, 1940));
    assert_eq!(kinds(&log), [Kind::Stuck]);
    log.end = 5000;
    assert_eq!(kinds(&log), [], "it had no time");
}

#[test]
fn answers_without_a_position_and_lost_replies_are_found() {
    let mut log = recoverable();
    log.publications[3].outcome = Outcome::Answered { at: 1305, position: None };
    assert_eq!(kinds(&log), [Kind::Malformed]);
    let mut log = recoverable();
    entries(&mut log)[1] = subscribed(510, None, None, None, 0);
    assert_eq!(kinds(&log), [Kind::Malformed]);
}

#[test]
fn what_the_protocol_does_not_allow_is_found() {
    let mut log = live();
    let detail = "a MESSAGE without subscription".to_owned();
    entries(&mut log).push(Entry { at: 1950, what: What::Malformed { detail } });
    assert_eq!(kinds(&log), [Kind::Malformed]);
}

#[test]
fn ghosts_and_leaves_without_a_reason_are_found() {
    let member = |name: &str, member, lost_at: Option<Ms>| {
        let mut entries = vec![Entry { at: 500, what: What::Connected { node: 1 } }];
        entries.extend(lost_at.map(|at| lost(at, at)));
        Subscriber { name: name.to_owned(), entries, wants: vec![], member: Some(member) }
    };
    let leaves = |at, user: &str| Entry { at, what: What::Presence { channel: 0, user: user.to_owned(), came: false } };
    let run = |leaves: Vec<Entry>, touches: Touches| {
        let mut log = live();
        entries(&mut log)
            .splice(2..2, [Entry { at: 520, what: What::Presence { channel: 0, user: "r".to_owned(), came: true } }]);
        entries(&mut log).extend(leaves);
        log.subscribers.push(member("r", Member::Returns, Some(5000)));
        log.subscribers.push(member("v", Member::Vanishes, Some(5000)));
        log.faults.push(Fault { touches, ..fault(5000, 7000) });
        kinds(&log)
    };
    let killed = || Touches { killed: vec![1], ..Touches::default() };
    assert_eq!(run(vec![leaves(9000, "v")], killed()), []);
    assert_eq!(run(vec![], killed()), [Kind::Presence], "a ghost");
    assert_eq!(run(vec![leaves(15_500, "v")], killed()), [Kind::Presence], "too late");
    assert_eq!(run(vec![leaves(9000, "v"), leaves(9100, "v")], killed()), [Kind::Presence], "twice");
    assert_eq!(run(vec![leaves(9000, "v"), leaves(9100, "r")], killed()), [Kind::Presence], "it came back at once");
    let drained = || Touches { drained: vec![0, 1], ..Touches::default() };
    assert_eq!(run(vec![], drained()), []);
    assert_eq!(run(vec![leaves(9000, "v")], drained()), [Kind::Presence], "it was only sent elsewhere");
}
