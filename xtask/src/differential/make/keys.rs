//! Keys of any type, their expiry, and databases.

use super::{Line, Maker, line, word};
use crate::differential::episode::{Payload, Word};

impl Maker<'_> {
    /// One command.
    pub(crate) fn keys(&mut self) -> Line {
        let key = word(self.key());
        match self.random.below(46) {
            0..=4 => {
                let name = self.random.pick(&["DEL", "UNLINK", "EXISTS", "TOUCH", "EXISTS"]);
                let mut line = vec![word(name), key];
                for _ in 0..self.random.below(3) {
                    line.push(word(self.key()));
                }
                line
            }
            5 | 6 => vec![word("TYPE"), key],
            7..=9 => {
                let name = self.random.pick(&["RENAME", "RENAMENX"]);
                vec![word(name), key, word(self.key())]
            }
            10..=13 => self.copy(),
            14 => vec![word("MOVE"), key, self.database()],
            15..=20 => self.expire(),
            21..=24 => {
                let names = ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST"];
                vec![word(self.random.pick(&names)), key]
            }
            25..=27 => self.scan(),
            28 => {
                let pattern = self.random.pick(&["*", "?", "[st]", "s*", "[^s]", "\\s", "", "["]);
                vec![word("KEYS"), word(pattern)]
            }
            29 => line(&["DBSIZE"]),
            30 => line(&["RANDOMKEY"]),
            31..=33 => {
                let sub = self.random.pick(&["ENCODING", "IDLETIME", "REFCOUNT", "FREQ", "HELP"]);
                vec![word("OBJECT"), word(sub), key]
            }
            34 => vec![word("MEMORY"), word("USAGE"), key],
            35..=37 => vec![word("DUMP"), key],
            38..=40 if !self.dumped.is_empty() => self.restore(),
            _ => self.databases(),
        }
    }

    fn restore(&mut self) -> Line {
        let number = self.dumped[self.random.below(self.dumped.len())];
        let some = u32::try_from(self.random.below(4000)).expect("it is small");
        let payload = match self.random.below(8) {
            0 => Payload::Cut(some / 40),
            1 => Payload::Flipped(some),
            // An older server cannot read what is written for a newer one.
            // Where nodes end, which `~` trims by, is what the payload says: Levada's has one node.
            2..=4 if self.peer.is_newest() && [0, 100].contains(&self.episode.node_entries) => {
                Payload::Other
            }
            _ => Payload::Peer,
        };
        let ttl = if self.random.chance(70) { word("0") } else { self.ahead() };
        let mut line = vec![word("RESTORE"), word(self.key()), ttl, Word::Dump(number, payload)];
        let (idle, often) = (self.count(), self.count());
        let options = vec![
            (60, vec![word("REPLACE")]),
            (10, vec![word("ABSTTL")]),
            (8, vec![word("IDLETIME"), idle]),
            (8, vec![word("FREQ"), often]),
        ];
        line.extend(self.some_of(options));
        line
    }

    fn copy(&mut self) -> Line {
        let mut line = vec![word("COPY"), word(self.key()), word(self.key())];
        let database = self.database();
        let options = vec![(20, vec![word("DB"), database]), (50, vec![word("REPLACE")])];
        line.extend(self.some_of(options));
        line
    }

    fn expire(&mut self) -> Line {
        let key = word(self.key());
        let (name, when) = match self.random.below(4) {
            0 => ("EXPIRE", self.ahead()),
            1 => ("PEXPIRE", self.ahead()),
            2 => ("EXPIREAT", self.point()),
            _ => ("PEXPIREAT", self.point()),
        };
        let mut line = vec![word(name), key, when];
        let condition = self.random.pick(&["NX", "XX", "GT", "LT"]);
        line.extend(self.some_of(vec![(40, vec![word(condition)])]));
        line
    }

    fn scan(&mut self) -> Line {
        let cursor = if self.random.chance(90) { word("0") } else { self.number() };
        let pattern = self.random.pick(&["*", "s*", "[a-c]", "?"]);
        let kind = self.random.pick(&["stream", "string", "list", "STREAM", "x"]);
        let count = if self.random.chance(90) { word("1000") } else { self.count() };
        let options = vec![
            (30, vec![word("MATCH"), word(pattern)]),
            (90, vec![word("COUNT"), count]),
            (30, vec![word("TYPE"), word(kind)]),
        ];
        [vec![word("SCAN"), cursor], self.some_of(options)].concat()
    }

    /// Commands on whole databases; the stream with generated ids lives in the first.
    fn databases(&mut self) -> Line {
        if self.auto {
            return line(&["DBSIZE"]);
        }
        match self.random.below(20) {
            0..=9 => vec![word("SELECT"), self.database()],
            10 | 11 => vec![word("SWAPDB"), self.database(), self.database()],
            12 => line(self.random.pick(&[&["FLUSHALL"][..], &["FLUSHALL", "SYNC"]])),
            13 => line(self.random.pick(&[&["FLUSHDB"][..], &["FLUSHDB", "ASYNC"]])),
            _ => line(&["SELECT", "0"]),
        }
    }

    fn database(&mut self) -> Word {
        if self.random.chance(12) {
            return self.number();
        }
        word(self.random.pick(&["0", "0", "1", "1", "2", "15", "16", "99"]))
    }
}
