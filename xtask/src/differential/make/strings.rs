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
        match self.random.below(38) {
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
            27..=29 => {
                let other = word(self.key());
                vec![word("MGET"), key, other]
            }
            30..=33 => self.msetex(),
            34..=36 => {
                let compare = self.compare();
                [vec![word("DELEX"), key], self.some_of(vec![(85, compare)])].concat()
            }
            _ => vec![word("DIGEST"), key],
        }
    }

    fn set(&mut self) -> Line {
        let mut line = vec![word("SET"), word(self.string()), self.value()];
        let expiry = self.expiry();
        let condition = self.random.pick(&["NX", "XX", "NX", "XX", "nx"]);
        let compare = if self.peer.has_compare() { 10 } else { 0 };
        let compared = self.compare();
        let options = vec![
            (20, vec![word(condition)]),
            (20, vec![word("GET")]),
            (25, expiry),
            (compare, compared),
        ];
        line.extend(self.some_of(options));
        line
    }

    fn msetex(&mut self) -> Line {
        let pairs = 1 + self.random.below(3);
        let count = if self.random.chance(90) { word(pairs.to_string()) } else { self.count() };
        let mut line = vec![word("MSETEX"), count];
        for _ in 0..pairs {
            line.extend([word(self.string()), self.value()]);
        }
        let (expiry, condition) = (self.expiry(), self.random.pick(&["NX", "XX"]));
        line.extend(self.some_of(vec![(40, expiry), (40, vec![word(condition)])]));
        line
    }

    /// A comparison with a value or with its digest.
    fn compare(&mut self) -> Line {
        // Of "v", of "hello", and of nothing much.
        let digests = ["4ef4a7b1b7e1b4d5", "555c6f602f9383e3", "555C6F602F9383E3", "0", "xyz"];
        match self.random.below(4) {
            0 => vec![word("IFEQ"), self.value()],
            1 => vec![word("IFNE"), self.value()],
            2 => vec![word("IFDEQ"), word(self.random.pick(&digests))],
            _ => vec![word("IFDNE"), word(self.random.pick(&digests))],
        }
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
