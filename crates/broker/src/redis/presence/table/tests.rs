//! The table without Redis: what it asks for, in which order, and what it makes of the answers.

use ullim_protocol::presence::Info;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn entry(session: u8, claim: u64) -> Entry {
    Entry {
        channel: ChannelName::parse("a").unwrap(),
        session: SessionId([session; 16]),
        claim: Claim(claim),
        user: Some("alice".into()),
        info: Info::parse("1"),
        grace: 100 * MS,
    }
}

fn channel() -> ChannelName {
    ChannelName::parse("a").unwrap()
}

/// A table whose channel is registered.
fn table() -> Table {
    Table::new("n1".into())
}

/// Registers what is to be registered, and takes all orders.
fn take(table: &mut Table) -> Vec<Order> {
    let channels = table.take_unregistered(100);
    let node = table.node();
    table.registered(&node, &channels, true);
    table.take(100)
}

/// What is told to Redis next, with Redis agreeing.
fn told(table: &mut Table) -> Vec<String> {
    let mut told = Vec::new();
    for order in take(table) {
        match &order.what {
            What::Enter { entry, since, names, .. } => {
                let names = names.trim_end();
                told.push(format!("{} in {} since {since}{names}", order.node, entry.claim.0));
                table.entered(&order, 7);
            }
            What::Leave { user, .. } => {
                told.push(format!("{} out {user}", order.node));
                table.left(&order);
            }
        }
    }
    told
}

#[test]
fn changes_of_one_place_are_told_as_one() {
    let mut table = table();
    let mut first = table.enter(entry(1, 1));
    let mut second = table.enter(entry(1, 2));
    assert_eq!(told(&mut table), ["n1 in 2 since 0"]);
    assert_eq!((first.try_recv(), second.try_recv()), (Ok(Ok(())), Ok(Ok(()))));
    table.leave(&channel(), SessionId([1; 16]), Claim(1), Duration::ZERO);
    assert_eq!((told(&mut table), table.members()), (vec![], 1));
    table.leave(&channel(), SessionId([1; 16]), Claim(2), Duration::ZERO);
    let _again = table.enter(entry(1, 3));
    assert_eq!(told(&mut table), ["n1 in 3 since 7"]);
    table.leave(&channel(), SessionId([1; 16]), Claim(3), Duration::ZERO);
    assert_eq!((told(&mut table), table.members()), (vec!["n1 out alice".to_owned()], 0));
    assert_eq!(table.take_idle(), [channel()]);
    table.unregistered(&[channel()]);
    assert!(table.is_settled() && table.rooms.len() == 0);
}

#[test]
fn who_leaves_before_anything_was_sent_was_never_there() {
    let mut table = table();
    let mut waiting = table.enter(entry(1, 1));
    table.leave(&channel(), SessionId([1; 16]), Claim(1), Duration::ZERO);
    assert!(matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert_eq!(told(&mut table), [""; 0]);
    table.take_idle();
    assert!(table.rooms.len() == 0);
}

#[test]
fn an_answer_that_is_overtaken_answers_nobody() {
    let mut table = table();
    let _first = table.enter(entry(1, 1));
    let order = take(&mut table).pop().unwrap();
    let mut second = table.enter(entry(1, 2));
    table.entered(&order, 7);
    assert!(second.try_recv().is_err());
    assert_eq!(told(&mut table), ["n1 in 2 since 7"]);
    assert_eq!(second.try_recv(), Ok(Ok(())));
    table.leave(&channel(), SessionId([1; 16]), Claim(2), Duration::ZERO);
    let order = take(&mut table).pop().unwrap();
    let _third = table.enter(entry(1, 3));
    table.left(&order);
    assert_eq!((told(&mut table), table.members()), (vec!["n1 in 3 since 7".to_owned()], 1));
}

#[test]
fn refusals_are_told_and_tried_again_while_it_is_wanted() {
    let mut table = table();
    let mut waiting = table.enter(entry(1, 1));
    let order = take(&mut table).pop().unwrap();
    table.refuse(order, "OOM");
    assert_eq!(waiting.try_recv(), Ok(Err(PresenceError::Refused("OOM".to_owned()))));
    assert_eq!(told(&mut table), [""; 0]);
    table.retry(Instant::now());
    assert_eq!(told(&mut table), ["n1 in 1 since 0"]);
}

#[test]
fn under_a_new_name_members_are_entered_again_and_leavers_are_not_the_nodes_business() {
    let mut table = table();
    let _one = table.enter(entry(1, 1));
    let _two = table.enter(entry(2, 2));
    told(&mut table);
    table.leave(&channel(), SessionId([2; 16]), Claim(2), Duration::ZERO);
    let late = take(&mut table).pop().unwrap();
    table.rename("n2".into());
    table.left(&late);
    assert_eq!(table.name().before, [Arc::<str>::from("n1")]);
    assert_eq!(told(&mut table), ["n2 in 1 since 7 n2 n1"]);
    assert_eq!((table.members(), table.leaving), (1, 0));
}

#[test]
fn what_is_not_known_is_taken_out_and_what_is_wanted_is_not() {
    let mut table = table();
    let _one = table.enter(entry(1, 1));
    told(&mut table);
    for session in [1, 2] {
        table.forget(&channel(), SessionId([session; 16]), "bob".into(), MS);
    }
    assert_eq!(told(&mut table), ["n1 out bob"]);
}

#[test]
fn deadlines_are_acted_on_until_the_last_of_ours_has_long_passed() {
    let mut table = table();
    let now = Instant::now();
    table.away(&channel(), 100 * MS, now);
    table.away(&channel(), 300 * MS, now);
    assert!(table.take_departures(now + 99 * MS, 9).is_empty());
    assert!(table.take_idle().is_empty());
    let later = now + 110 * MS;
    assert_eq!(table.take_departures(later, 9), [channel()]);
    assert_eq!(table.next_departure(), None);
    table.departed(&channel(), Some(190 * MS), later);
    // Redis' clock is behind ours, or somebody else is away.
    let last = now + 310 * MS;
    assert_eq!(table.take_departures(last, 9), [channel()]);
    table.departed(&channel(), Some(3000 * MS), last);
    assert_eq!(table.take_departures(last + 3010 * MS, 9), [channel()]);
    table.departed(&channel(), Some(60_000 * MS), last + 3010 * MS);
    let end = last + 10_000 * MS;
    assert_eq!(table.take_departures(end, 9), [channel()]);
    // Somebody else's.
    table.departed(&channel(), Some(50_000 * MS), end);
    assert_eq!(table.next_departure(), None);
    assert!(table.take_idle().is_empty(), "it was never registered");
    assert!(table.rooms.len() == 0);
}

#[test]
fn more_who_are_due_are_asked_for_however_late_it_is() {
    let mut table = table();
    let now = Instant::now();
    table.away(&channel(), 100 * MS, now);
    for minutes in 1..4 {
        let later = now + minutes * 60_000 * MS;
        assert_eq!(table.take_departures(later, 9), [channel()]);
        table.departed(&channel(), Some(Duration::ZERO), later);
    }
    let later = now + 300_000 * MS;
    assert_eq!(table.take_departures(later, 9), [channel()]);
    // Somebody leaves while Redis is being asked.
    table.away(&channel(), 100 * MS, later);
    table.departed(&channel(), None, later);
    assert_eq!(table.take_departures(later + 110 * MS, 9), [channel()]);
    table.departed(&channel(), None, later + 110 * MS);
    assert_eq!(table.next_departure(), None);
}

#[test]
fn a_room_that_is_taken_off_the_list_and_wanted_again_is_put_on_it_again() {
    let mut table = table();
    let _one = table.enter(entry(1, 1));
    told(&mut table);
    table.leave(&channel(), SessionId([1; 16]), Claim(1), Duration::ZERO);
    told(&mut table);
    let idle = table.take_idle();
    table.adopt(&channel());
    let adopted = table.take_unregistered(9);
    table.registered("n1", &adopted, true);
    table.unregistered(&idle);
    assert_eq!(table.take_unregistered(9), [channel()]);
    table.adopted(&channel(), None, Instant::now());
    table.take_idle();
    assert!(table.rooms.len() == 0);
}

#[test]
fn only_what_redis_has_confirmed_is_repeated_as_such() {
    let mut table = table();
    let _first = table.enter(entry(1, 1));
    // The link breaks before the answer.
    take(&mut table);
    table.broken();
    table.reassert();
    assert_eq!(told(&mut table), ["n1 in 1 since 0"]);
    table.reassert();
    assert_eq!(told(&mut table), ["n1 in 1 since 7 n1"]);
    table.reassert();
    let _resumed = table.enter(entry(1, 2));
    assert_eq!(told(&mut table), ["n1 in 2 since 7"]);
}

#[test]
fn what_another_node_has_is_asked_for_until_that_can_be_no_mistake() {
    let mut table = table();
    let mut now = Instant::now();
    let _first = table.enter(entry(1, 1));
    told(&mut table);
    table.reassert();
    for times in 1..=ASK_TIMES {
        let order = take(&mut table).pop().unwrap();
        assert!(matches!(&order.what, What::Enter { names, .. } if names == " n1 "), "{times}: {order:?}");
        table.taken(order, now);
        table.retry(now + ASK_AGAIN - MS);
        assert!(take(&mut table).is_empty());
        now += ASK_AGAIN;
        table.retry(now);
    }
    assert!(take(&mut table).is_empty());
    table.reassert();
    let order = take(&mut table).pop().unwrap();
    table.taken(order, now);
    table.retry(now + ASK_AGAIN);
    let order = take(&mut table).pop().unwrap();
    assert!(table.entered(&order, 7), "it is ours again");
    // Who comes anew takes it, whoever has it.
    table.reassert();
    let order = take(&mut table).pop().unwrap();
    table.taken(order, now);
    let _second = table.enter(entry(1, 2));
    assert_eq!(told(&mut table), ["n1 in 2 since 7"]);
    table.retry(now + ASK_AGAIN);
    assert!(take(&mut table).is_empty());
}

#[test]
fn nothing_piles_up_while_the_link_is_down() {
    let mut table = table();
    let _stays = table.enter(entry(1, 1));
    told(&mut table);
    table.broken();
    for claim in 2..1000 {
        let mut other = entry(2, claim);
        other.channel = ChannelName::parse(&format!("room:{claim}")).unwrap();
        let left = other.channel.clone();
        // A subscription that is refused, for it cannot enter; and one that comes back.
        let _refused = table.enter(other);
        table.leave(&left, SessionId([2; 16]), Claim(claim), Duration::ZERO);
        let _back = table.enter(entry(3, claim));
        table.leave(&channel(), SessionId([3; 16]), Claim(claim), Duration::ZERO);
    }
    assert_eq!((table.rooms.len(), table.due.len(), table.members()), (1, 0, 1));
    assert_eq!(table.take_unregistered(9), []);
    table.reassert();
    assert_eq!(told(&mut table), ["n1 in 1 since 7 n1"]);
}

#[test]
fn orders_are_found_behind_any_number_of_places_that_are_gone() {
    let mut table = table();
    for session in 1..200 {
        let _gone = table.enter(entry(session, 1));
    }
    for session in 1..199 {
        table.leave(&channel(), SessionId([session; 16]), Claim(1), Duration::ZERO);
    }
    let channels = table.take_unregistered(9);
    table.registered("n1", &channels, true);
    assert_eq!(table.take(10).len(), 1);
}

#[test]
fn a_room_that_is_left_while_redis_adds_it_is_taken_off_the_list_again() {
    let mut table = table();
    let _one = table.enter(entry(1, 1));
    let channels = table.take_unregistered(9);
    table.leave(&channel(), SessionId([1; 16]), Claim(1), Duration::ZERO);
    table.registered("n1", &channels, true);
    assert!(!table.is_settled());
    let idle = table.take_idle();
    assert_eq!((idle.len(), table.is_settled()), (1, false));
    table.unregistered(&idle);
    assert!(table.is_settled() && table.rooms.len() == 0);
}

#[test]
fn what_does_not_fit_among_the_leavers_is_looked_for_later() {
    let mut table = table();
    for number in 0..=MAX_LEAVING as u128 {
        table.forget(&channel(), SessionId(number.to_be_bytes()), "bob".into(), MS);
    }
    assert_eq!((table.leaving, table.take_overflow()), (MAX_LEAVING, false));
    while !told(&mut table).is_empty() {}
    assert_eq!((table.leaving, table.take_overflow(), table.take_overflow()), (0, true, false));
}

#[test]
fn what_came_too_late_waits_for_the_next_renewal() {
    let mut table = table();
    let now = Instant::now();
    table.renewed(now, 1_000_000);
    let mut waiting = table.enter(entry(1, 1));
    let order = take(&mut table).pop().unwrap();
    assert!(matches!(order.what, What::Enter { lease_end: 1_004_000, .. }), "{order:?}");
    assert!(table.is_leased(now));
    table.late(&order);
    assert!(!table.is_leased(now) && !table.is_settled() && waiting.try_recv().is_err());
    // It is found dead, and begins anew.
    table.rename("n2".into());
    table.renewed(now, 1_009_000);
    assert!(table.is_leased(now));
    assert_eq!(told(&mut table), ["n2 in 1 since 0"]);
}
