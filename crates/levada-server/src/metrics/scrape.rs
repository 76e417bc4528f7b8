//! A walk over all streams for `/metrics`, in steps: everybody else has their turn between two.

use levada_core::keyspace::{KeyNumber, Value};
use levada_core::limits::DATABASES;
use levada_core::machine::Machine;
use levada_engine::shard::Counts;

use super::rows::{Counted, Rows};
use super::{Text, metric};

/// Keys and groups that are looked at in one step, or as many blocks.
const STEP: usize = 2_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Scrape {
    database: u8,
    from: KeyNumber,
    rows: Rows,
}

impl Scrape {
    /// Begins one that tells so many streams one by one: those that were created first.
    pub(crate) fn new(streams_max: usize) -> Self {
        Self { database: 0, from: KeyNumber(0), rows: Rows::new(streams_max) }
    }

    /// Goes on; whether that was the end.
    pub(crate) fn step(&mut self, machine: &Machine, counts: &Counts, now_ms: u64) -> bool {
        let mut looked_at = 0;
        while self.database < DATABASES {
            for (number, name) in machine.keys.iter_from(self.database, self.from) {
                if looked_at >= STEP {
                    self.from = number;
                    return false;
                }
                looked_at += 1;
                let Some(object) = machine.keys.get(number) else {
                    continue;
                };
                let over = object.is_expired(now_ms);
                if let (Value::Stream(stream), false) = (&object.value, over) {
                    let stream = Counted { number, stream, counts };
                    looked_at += self.rows.add(self.database, name, stream, now_ms);
                }
            }
            self.database += 1;
            self.from = KeyNumber(0);
        }
        true
    }

    /// Writes what was found.
    pub(crate) fn write(&self, text: &mut Text) {
        text.one(metric("levada_streams"), self.rows.count);
        text.one(metric("levada_streams_told"), self.rows.told());
        self.rows.write(text);
    }
}
