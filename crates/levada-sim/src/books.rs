//! The books that a machine keeps of itself against a count of what is in it.
//!
//! Budgets and timers go by sums and sets that `apply` keeps up to date with every effect. A slip
//! in one of them changes no answer at once, so the comparison with the model does not see it: here
//! all of them are counted anew.

use levada_core::keyspace::{KeyNumber, Object, Value};
use levada_core::limits::DATABASES;
use levada_core::machine::Machine;
use levada_core::stream::Stream;
use std::collections::BTreeSet;
use std::fmt::Debug;

/// What is counted anew.
#[derive(Default)]
struct Counted {
    text_bytes: u64,
    tail_bytes: u64,
    dedup_ids: u64,
    over: BTreeSet<(u64, KeyNumber)>,
    expiring: BTreeSet<(u64, KeyNumber)>,
}

/// Whether every sum and every timer of a machine is what its keys add up to; what differs, if not.
pub fn check(machine: &Machine) -> Result<(), String> {
    let mut counted = Counted::default();
    for database in 0..DATABASES {
        let before = counted.expiring.len();
        for (number, _) in machine.keys.iter_from(database, KeyNumber(0)) {
            let object = machine.keys.get(number).ok_or("a name without a key")?;
            counted.take(number, object)?;
        }
        let expiring = counted.expiring.len() - before;
        same("keys that expire", &machine.keys.expiring(database), &expiring)?;
    }
    same("bytes of strings", &machine.keys.text_bytes(), &counted.text_bytes)?;
    same("bytes in tails", &machine.tail_bytes(), &counted.tail_bytes)?;
    same("idempotent ids", &machine.dedup_ids(), &counted.dedup_ids)?;
    same("iids that end", &machine.iter_over().collect(), &counted.over)?;
    same("keys by expiry", &machine.keys.iter_expiring().collect(), &counted.expiring)
}

impl Counted {
    fn take(&mut self, number: KeyNumber, object: &Object) -> Result<(), String> {
        self.expiring.extend(object.expires_at_ms.map(|at_ms| (at_ms, number)));
        match &object.value {
            Value::Text(text) => self.text_bytes += (text.len() + object.name.len()) as u64,
            Value::Stream(stream) => {
                self.tail_bytes += stream.tail().bytes().len() as u64;
                self.dedup_ids += stream.dedup_ids_max();
                self.over.extend(stream.idempotence.next_over_ms().map(|at_ms| (at_ms, number)));
                check_stream(stream)?;
            }
        }
        Ok(())
    }
}

/// Entries by block, and memory by its parts.
fn check_stream(stream: &Stream) -> Result<(), String> {
    let mut entries = 0;
    for number in stream.first_block()..=stream.tail_number() {
        let meta = stream.meta(number).ok_or("a block without facts")?;
        let live = (meta.first_row..meta.count).filter(|row| meta.is_live(*row)).count() as u64;
        same("entries of a block", &u64::from(meta.live), &live)?;
        entries += live;
    }
    same("entries", &stream.len(), &entries)?;
    let groups = stream.groups.iter().map(|(_, _, group)| group.memory_bytes()).sum::<usize>();
    let parts = stream.tail().memory_bytes() + groups + stream.idempotence.memory_bytes();
    let whole = stream.memory_bytes();
    match whole >= parts + size_of::<Stream>() {
        true => Ok(()),
        false => Err(format!("{whole} bytes of memory, of which {parts} in parts")),
    }
}

fn same<T: PartialEq + Debug>(what: &str, kept: &T, counted: &T) -> Result<(), String> {
    match kept == counted {
        true => Ok(()),
        false => Err(format!("the books say {kept:?} {what}, there are {counted:?}")),
    }
}
