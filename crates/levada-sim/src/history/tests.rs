//! Each way of losing or changing acknowledged work, shown to the checker: it must see every one
//! of them, and nothing in a state that is as it should be.

use super::{
    Add, How, Id, Journal, Key, Kind, Ledger, Pending, Removal, Rules, Span, State, Take, Unseen,
    Violation, check, check_drained,
};

fn ledger() -> Ledger {
    Ledger::new(&[("a", Rules::default()), ("b", Rules::default()), ("c", Rules::default())])
}

/// A span that comes after all those of lower `at`.
fn span(at: u64) -> Span {
    Span { invoked: at * 10, completed: at * 10 + 5 }
}

fn key(number: u32) -> Key {
    Key { producer: 1, number }
}

fn id(number: u32) -> Id {
    (u64::from(number), 0)
}

fn add(number: u32, known: bool) -> Add {
    Add {
        stream: 0,
        key: key(number),
        paired: false,
        span: span(u64::from(number)),
        id: known.then_some(id(number)),
    }
}

fn take(number: u32, consumer: usize, how: How, at: u64) -> Take {
    Take {
        stream: 0,
        id: id(number),
        consumer,
        how,
        span: span(at),
        key: (how != How::JustId).then_some(key(number)),
    }
}

fn removal(number: u32, at: u64, known: bool) -> Removal {
    Removal { stream: 0, id: id(number), span: span(at), known }
}

/// Six acknowledged entries and the unknown seventh. 1 is deleted; 2 is acknowledged by its
/// consumer 0; 3 went to consumer 0 and was claimed by 1; 4 went to consumer 0.
fn journal() -> Journal {
    Journal {
        adds: (1..=7).map(|number| add(number, number < 7)).collect(),
        deletes: vec![removal(1, 20, true)],
        acks: vec![removal(2, 25, true)],
        takes: vec![
            take(2, 0, How::Read, 21),
            take(3, 0, How::Read, 22),
            take(3, 1, How::Claim, 23),
            take(4, 0, How::Read, 24),
        ],
        ..Journal::default()
    }
}

/// The state that belongs to it, without the unknown entry.
fn states() -> Vec<State> {
    let state = State {
        entries: (2..=6).map(|number| (id(number), key(number))).collect(),
        pending: vec![pending(3, 1, 2), pending(4, 0, 1)],
        last_id: id(6),
        added: 6,
        last_delivered: id(4),
        ..State::default()
    };
    vec![state, State::default(), State::default()]
}

fn pending(number: u32, consumer: usize, count: u64) -> Pending {
    Pending { id: id(number), consumer, count }
}

/// What the checker says when journal and state are changed like this.
fn verdict(change: impl FnOnce(&mut Journal, &mut State)) -> Vec<Violation> {
    let (mut journal, mut states) = (journal(), states());
    change(&mut journal, &mut states[0]);
    let mut ledger = ledger();
    let mut problems = ledger.absorb(journal);
    problems.extend(check(&ledger, &states));
    problems
}

/// Asserts that a change is seen, and for the right reason.
#[track_caller]
fn sees(reason: &str, change: impl FnOnce(&mut Journal, &mut State)) {
    let problems = verdict(change);
    assert!(
        problems.iter().any(|problem| problem.text.contains(reason)),
        "expected {reason:?}, got {problems:?}"
    );
}

/// Asserts that a change is allowed.
#[track_caller]
fn allows(change: impl FnOnce(&mut Journal, &mut State)) {
    assert_eq!(verdict(change), Vec::<Violation>::new());
}

#[test]
fn a_state_as_it_should_be_passes_with_either_outcome_of_what_is_unknown() {
    allows(|_, _| {});
    allows(|_, state| {
        state.entries.push((id(7), key(7)));
        state.last_id = id(7);
        state.added = 7;
    });
    allows(|journal, state| {
        journal.deletes.push(removal(5, 30, false));
        state.entries.retain(|(of, _)| *of != id(5));
    });
    allows(|journal, state| {
        journal.acks.push(removal(4, 30, false));
        state.pending.pop();
    });
}

#[test]
fn lost_doubled_and_changed_entries_are_seen() {
    sees("is lost", |_, state| state.entries.truncate(4));
    sees("is lost", |_, state| {
        state.entries.remove(0);
    });
    sees("is back, though it was deleted", |_, state| {
        state.entries.insert(0, (id(1), key(1)));
    });
    sees("has another value", |_, state| state.entries[4].1 = key(7));
    sees("second time", |_, state| {
        state.entries.push((id(8), key(6)));
    });
    sees("a value of another entry", |_, state| {
        state.entries.push((id(8), key(9)));
    });
    sees("does not follow", |_, state| state.entries.swap(0, 1));
    sees("entries-added", |_, state| state.added = 5);
    sees("last generated id", |_, state| state.last_id = id(5));
    sees("was issued twice", |journal, _| {
        let mut again = add(6, true);
        again.key = key(9);
        journal.adds.push(again);
    });
    sees("was appended after", |journal, _| {
        journal.adds[5].span = span(0);
    });
}

#[test]
fn half_a_transaction_is_seen() {
    sees("half of a MULTI", |journal, state| {
        for stream in [0, 1] {
            let mut half = add(7, false);
            (half.stream, half.paired) = (stream, true);
            journal.adds.push(half);
        }
        state.entries.push((id(7), key(7)));
    });
}

#[test]
fn a_trim_covers_only_the_oldest_and_only_as_many_as_it_may() {
    let trimmed = |keep: u64, lost: &[u32]| {
        let mut journal = journal();
        journal.adds.iter_mut().for_each(|add| add.stream = 2);
        (journal.deletes, journal.acks, journal.takes) = (vec![], vec![], vec![]);
        journal.trims = vec![(2, keep)];
        let mut state = states().remove(0);
        let left = (1..=6).filter(|number| !lost.contains(number));
        state.entries = left.map(|number| (id(number), key(number))).collect();
        (state.pending, state.last_delivered) = (vec![], (0, 0));
        let mut ledger = ledger();
        let mut problems = ledger.absorb(journal);
        let states = [State::default(), State::default(), state];
        problems.extend(check(&ledger, &states));
        problems.len()
    };
    assert_eq!(trimmed(4, &[1, 2]), 0);
    assert_eq!(trimmed(4, &[1, 2, 3]), 1);
    assert_eq!(trimmed(4, &[2]), 1);
}

#[test]
fn a_trimmed_entry_that_comes_back_is_seen() {
    let mut ledger = ledger();
    ledger.absorb(journal());
    let before = states();
    ledger.settle(&before);
    ledger.streams[0].retire(id(4));
    let mut after = before;
    assert_ne!(check(&ledger, &after), Vec::<Violation>::new());
    after[0].entries.retain(|(of, _)| *of >= id(4));
    after[0].pending.retain(|row| row.id >= id(4));
    assert_eq!(check(&ledger, &after), Vec::<Violation>::new());
}

#[test]
fn changed_pending_lists_are_seen() {
    let lost = "neither pending nor acknowledged";
    sees(lost, |_, state| state.pending.truncate(1));
    sees("though it was acknowledged", |_, state| {
        state.pending.insert(0, pending(2, 0, 1));
    });
    let other = "who has not got it";
    sees(other, |_, state| state.pending[0].consumer = 0);
    sees(other, |_, state| state.pending[1].consumer = 2);
    sees(other, |_, state| state.pending.push(pending(5, 0, 1)));
    sees("above the last delivered", |_, state| {
        state.pending.push(pending(5, 0, 1));
    });
    sees("delivered 1 times, not 2", |_, state| {
        state.pending[0].count = 1;
    });
    sees("delivered 3 times, not 2", |_, state| {
        state.pending[0].count = 3;
    });
    sees("never there", |_, state| {
        state.pending.push(pending(9, 0, 1));
    });
    sees("was skipped", |_, state| state.last_delivered = id(5));
    sees("below one that was read", |_, state| {
        state.last_delivered = id(3);
    });
}

#[test]
fn a_request_without_reply_may_have_delivered_or_claimed() {
    let unseen = |reads, ids: &[u32]| Unseen {
        stream: 0,
        consumer: 2,
        reads,
        ids: ids.iter().map(|number| id(*number)).collect(),
    };
    allows(|journal, state| {
        journal.unseen.push(unseen(true, &[]));
        state.pending.push(pending(5, 2, 1));
        state.last_delivered = id(5);
    });
    allows(|journal, state| {
        journal.unseen.push(unseen(false, &[4]));
        state.pending[1] = pending(4, 2, 2);
    });
    allows(|journal, state| {
        journal.unseen.push(unseen(false, &[4, 4]));
        state.pending[1] = pending(4, 2, 3);
    });
    sees("was delivered 4 times", |journal, state| {
        journal.unseen.push(unseen(false, &[4, 4]));
        state.pending[1] = pending(4, 2, 4);
    });
    sees("who has not got it", |journal, state| {
        journal.unseen.push(unseen(false, &[3]));
        state.pending[1] = pending(4, 2, 2);
    });
    sees("who has not got it", |journal, state| {
        journal.unseen.push(unseen(true, &[]));
        state.pending[1] = pending(4, 2, 2);
    });
}

#[test]
fn deliveries_that_must_not_happen_are_seen() {
    sees("delivered twice", |journal, _| {
        journal.takes.push(take(4, 1, How::Read, 24));
    });
    sees("after its acknowledged XACK", |journal, _| {
        journal.takes.push(take(2, 1, How::JustId, 30));
    });
    sees("after its acknowledged delete", |journal, _| {
        journal.takes.push(take(1, 1, How::Claim, 30));
    });
    sees("with another value", |journal, _| {
        journal.takes[3].key = Some(key(5));
    });
    sees("was delivered after", |journal, _| {
        journal.takes[3].span = span(1);
    });
}

#[test]
fn the_outcome_of_what_was_unknown_is_final() {
    let mut ledger = ledger();
    ledger.absorb(journal());
    let mut states = states();
    ledger.settle(&states);
    assert_eq!(check(&ledger, &states), Vec::<Violation>::new());
    states[0].entries.push((id(7), key(7)));
    assert_ne!(check(&ledger, &states), Vec::<Violation>::new());
}

/// A stream whose group leases, of which 3 and 5 were delivered and 5 is a dead letter.
fn leased(change: impl FnOnce(&mut Journal, &mut State)) -> Vec<Kind> {
    let rules = Rules { leases: true, retained: true, ..Rules::default() };
    let mut ledger = Ledger::new(&[("a", rules)]);
    let mut journal = Journal {
        adds: (1..=6).map(|number| add(number, true)).collect(),
        acks: vec![removal(1, 40, true), removal(2, 41, true)],
        takes: (1..=5).map(|number| take(number, 0, How::Read, u64::from(number) + 20)).collect(),
        ..Journal::default()
    };
    journal.takes.push(take(3, 1, How::Read, 30));
    let mut state = State {
        entries: [3, 4, 5, 6].map(|number| (id(number), key(number))).into(),
        pending: vec![pending(3, 1, 2), pending(4, 0, 1)],
        dead: vec![(id(5), key(5))],
        last_id: id(6),
        added: 6,
        last_delivered: id(5),
        ..State::default()
    };
    change(&mut journal, &mut state);
    let mut found = ledger.absorb(journal);
    found.extend(check(&ledger, std::slice::from_ref(&state)));
    if found.is_empty() {
        // What was found is the truth from here on.
        ledger.settle(std::slice::from_ref(&state));
        found.extend(check(&ledger, &[state]));
    }
    found.into_iter().map(|violation| violation.kind).collect()
}

#[test]
fn with_leases_an_entry_is_pending_or_dead_or_acknowledged_and_nothing_else() {
    assert_eq!(leased(|_, _| {}), []);
    assert_eq!(leased(|_, state| state.pending.truncate(1)), [Kind::WronglyAcked]);
    assert_eq!(leased(|_, state| state.dead.clear()), [Kind::WronglyAcked]);
    assert_eq!(leased(|_, state| state.dead.push((id(4), key(4)))), [Kind::Duplicated]);
    assert_eq!(leased(|_, state| state.dead.push((id(5), key(5)))), [Kind::Duplicated]);
    assert_eq!(leased(|_, state| state.dead[0].1 = key(6)), [Kind::Changed]);
    assert_eq!(leased(|_, state| state.dead.push((id(1), key(1)))), [Kind::Resurrected]);
    assert_eq!(
        leased(|journal, _| journal.takes.push(take(2, 1, How::Read, 50))),
        [Kind::Resurrected]
    );
    // Retention removes what is acknowledged or dead, and nothing that is pending or new.
    assert_eq!(leased(|_, state| _ = state.entries.remove(2)), []);
    assert_eq!(leased(|_, state| _ = state.entries.remove(1)), [Kind::Lost]);
    assert_eq!(leased(|_, state| _ = state.entries.pop()), [Kind::Lost]);
}

#[test]
fn what_is_parked_was_passed_and_is_nowhere_else() {
    let park = |ids: &'static [u32], last: u32| {
        leased(|_, state| {
            state.last_delivered = id(last);
            state.parked = ids.iter().map(|number| id(*number)).collect();
        })
    };
    assert_eq!(park(&[6], 6), []);
    assert_eq!(park(&[], 6), [Kind::NeverDelivered]);
    assert_eq!(park(&[6], 5), [Kind::Miscounted]);
    assert_eq!(park(&[4, 6], 6), [Kind::Duplicated]);
    assert_eq!(park(&[5, 6], 6), [Kind::Duplicated]);
    assert_eq!(park(&[2, 6], 6), [Kind::Resurrected]);
    let removed = leased(|_, state| {
        (state.last_delivered, state.parked) = (id(6), vec![id(6)]);
        state.entries.pop();
    });
    assert_eq!(removed, [Kind::Lost]);
}

/// The same, and the dead letter 5 came back as 7.
fn redriven(change: impl FnOnce(&mut Journal, &mut State)) -> Vec<Kind> {
    leased(|journal, state| {
        journal.acks.push(removal(5, 60, true));
        journal.adds.push(Add { span: span(60), ..add(7, true) });
        state.dead.clear();
        state.redriven = vec![id(7)];
        state.entries.push((id(7), key(7)));
        state.pending.push(pending(7, usize::MAX, 0));
        (state.last_id, state.added) = (id(7), 7);
        change(journal, state);
    })
}

#[test]
fn what_came_back_is_pending_at_once_and_no_dead_letter() {
    assert_eq!(redriven(|_, _| {}), []);
    assert_eq!(redriven(|_, state| _ = state.pending.pop()), [Kind::NeverDelivered]);
    assert_eq!(redriven(|_, state| state.redriven.clear()), [Kind::Miscounted]);
    assert_eq!(redriven(|_, state| state.dead.push((id(5), key(5)))), [Kind::Resurrected]);
    // Whether it came back is unknown, and it did not.
    let lost = redriven(|journal, state| {
        journal.acks.last_mut().expect("of 5").known = false;
        journal.adds.last_mut().expect("of 7").id = None;
        state.dead.push((id(5), key(5)));
        state.pending.pop();
        state.entries.pop();
        (state.last_id, state.added) = (id(6), 6);
    });
    assert_eq!(lost, []);
}

#[test]
fn a_dead_letter_stays_and_is_delivered_no_more() {
    let rules = Rules { leases: true, ..Rules::default() };
    let mut ledger = Ledger::new(&[("a", rules)]);
    let journal = Journal {
        adds: vec![add(1, true)],
        takes: vec![take(1, 0, How::Read, 20)],
        ..Journal::default()
    };
    assert_eq!(ledger.absorb(journal), []);
    let mut state = State {
        entries: vec![(id(1), key(1))],
        dead: vec![(id(1), key(1))],
        last_id: id(1),
        added: 1,
        last_delivered: id(1),
        ..State::default()
    };
    ledger.settle(std::slice::from_ref(&state));
    let again = Journal { takes: vec![take(1, 0, How::Read, 40)], ..Journal::default() };
    assert_eq!(ledger.clone().absorb(again)[0].kind, Kind::Resurrected);
    state.dead.clear();
    let found = check(&ledger, &[state]);
    assert!(found.iter().any(|violation| violation.kind == Kind::Lost), "{found:?}");
}

#[test]
fn what_nobody_was_given_is_seen_once_all_was_read() {
    let mut ledger = ledger();
    ledger.absorb(journal());
    let states = states();
    let never: Vec<Kind> =
        check_drained(&ledger, &states).into_iter().map(|violation| violation.kind).collect();
    // 5 and 6 were not read.
    assert_eq!(never, [Kind::NeverDelivered, Kind::NeverDelivered]);
    let journal = Journal {
        takes: (5..=6).map(|number| take(number, 0, How::Read, 60 + u64::from(number))).collect(),
        ..Journal::default()
    };
    assert_eq!(ledger.absorb(journal), []);
    assert_eq!(check_drained(&ledger, &states), []);
}

#[test]
fn an_append_that_must_have_happened_counts_though_nobody_saw_it() {
    let rules = Rules { max_len: Some(1), ..Rules::default() };
    let told = |journal: Journal, added: u64| {
        let mut ledger = Ledger::new(&[("a", rules)]);
        assert_eq!(ledger.absorb(journal), []);
        let state = State { last_id: id(1), added, ..State::default() };
        check(&ledger, &[state]).into_iter().map(|violation| violation.kind).collect::<Vec<_>>()
    };
    let gone = || Journal { gone: vec![0], ..Journal::default() };
    assert_eq!((told(gone(), 1), told(gone(), 0)), (vec![], vec![Kind::Miscounted]));
    let unknown = || Journal { adds: vec![add(1, false)], ..Journal::default() };
    assert_eq!((told(unknown(), 1), told(unknown(), 0)), (vec![], vec![]));
    assert_eq!(told(unknown(), 2), [Kind::Miscounted]);
}

#[test]
fn a_delivery_that_a_power_cut_undid_counts_no_more() {
    let mut ledger = ledger();
    ledger.relaxed = true;
    ledger.absorb(journal());
    let mut states = states();
    states[0].pending = vec![pending(3, 1, 2)];
    states[0].last_delivered = id(3);
    assert_eq!(check(&ledger, &states), Vec::<Violation>::new());
    ledger.settle(&states);
    ledger.absorb(Journal { takes: vec![take(4, 1, How::Read, 30)], ..Journal::default() });
    states[0].pending.push(pending(4, 1, 1));
    states[0].last_delivered = id(4);
    assert_eq!(check(&ledger, &states), Vec::<Violation>::new());
}
