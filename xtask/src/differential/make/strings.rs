//! Strings and their expiry.

use super::{Line, Maker, word};

/// Past, and far ahead; what lies between would pass while an episode runs.
const AHEAD: &[&str] = &["100000", "250000000", "0", "-1", "1000000000"];
/// Points in time, in seconds, that are past or far ahead; as milliseconds they are all past.
const POINTS: &[&str] = &["1", "0", "-1", "99999999999", "4000000000", "1000000000"];

impl Maker<'_> {
    /// One command.
    pub(crate) fn strings(&mut self) -> Line {
        let key = word(self.string());
        match self.random.below(30) {
            0..=9 => self.set(),
            10 | 11 => vec![word("GET"), key],
            12 => vec![word("GETDEL"), key],
            13 | 14 => {
                let expiry = self.expiry();
                [vec![word("GETEX"), key], self.some_of(vec![(80, expiry)])].concat()
            }
            15 => vec![word("GETSET"), key, self.value()],
            16 => vec![word("SETNX"), key, self.value()],
            17 => vec![word("SETEX"), key, self.ahead(), self.value()],
            18 => vec![word("PSETEX"), key, self.ahead(), self.value()],
            19 => vec![word("STRLEN"), key],
            20 => vec![word("APPEND"), key, self.value()],
            21 => vec![word(self.random.pick(&["INCR", "DECR"])), key],
            22 | 23 => {
                let name = self.random.pick(&["INCRBY", "DECRBY"]);
                vec![word(name), key, self.count()]
            }
            24..=26 => {
                let name = self.random.pick(&["MSET", "MSETNX"]);
                let mut line = vec![word(name), key, self.value()];
                for _ in 0..self.random.below(3) {
                    line.extend([word(self.string()), self.value()]);
                }
                line
            }
            _ => {
                let other = word(self.key());
                vec![word("MGET"), key, other]
            }
        }
    }

    fn set(&mut self) -> Line {
        let mut line = vec![word("SET"), word(self.string()), self.value()];
        let expiry = self.expiry();
        let condition = self.random.pick(&["NX", "XX", "NX", "XX", "nx"]);
        let value = self.value();
        let compare = if self.peer.has_compare() { 8 } else { 0 };
        let compared = vec![word(self.random.pick(&["IFEQ", "IFNE"])), value];
        let options = vec![
            (20, vec![word(condition)]),
            (20, vec![word("GET")]),
            (25, expiry),
            (compare, compared),
        ];
        line.extend(self.some_of(options));
        line
    }

    /// An option of GETEX and SET that sets or keeps a time to live.
    pub(crate) fn expiry(&mut self) -> Line {
        match self.random.below(8) {
            0 | 1 => vec![word("EX"), self.ahead()],
            2 | 3 => vec![word("PX"), self.ahead()],
            4 => vec![word("EXAT"), self.point()],
            5 => vec![word("PXAT"), self.point()],
            6 => vec![word("KEEPTTL")],
            _ => vec![word("PERSIST")],
        }
    }

    /// A time from now on.
    pub(crate) fn ahead(&mut self) -> super::Word {
        if self.random.chance(10) { self.number() } else { word(self.random.pick(AHEAD)) }
    }

    /// A point in time.
    pub(crate) fn point(&mut self) -> super::Word {
        if self.random.chance(10) { self.number() } else { word(self.random.pick(POINTS)) }
    }
}
