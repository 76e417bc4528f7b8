//! The words that commands are made of: mostly from a few that meet, sometimes odd ones.

use super::{AUTO, Line, Maker, word};
use crate::differential::episode::Word;

/// Integers at every edge, and what looks like one.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "2",
    "10",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1.5",
    "1e3",
    "",
    " 1",
    "1 ",
    "+1",
    "-0",
    "01",
    "0x10",
    "abc",
    "nan",
    "inf",
    "1\0",
    "123456789012345678901234567890123456789012345678901234567890",
];
/// Ids in every form, most of them bad somewhere.
const IDS: &[&str] = &[
    "0-0",
    "0-1",
    "0",
    "18446744073709551615-18446744073709551615",
    "18446744073709551615",
    "18446744073709551615-0",
    "18446744073709551616-0",
    "1-18446744073709551615",
    "1-18446744073709551616",
    "-",
    "+",
    "$",
    ">",
    "*",
    "1-",
    "-1",
    "-1-1",
    "1--1",
    "1-1-1",
    "abc",
    "1-x",
    "x-1",
    "01-01",
    "1.5",
    "",
    "0-*",
    "*-1",
    "5-*",
    "18446744073709551615-*",
    "(1-1",
    "(0",
    "(+",
    "(-",
    "((1",
    "(",
    "[1",
    " 1-1",
    "1-1 ",
    "1- 1",
    "+1-1",
    "1-1\0",
    "3-3",
    "7",
    "9999999999999-5",
    "1e3-0",
    "0x1-0",
];
/// Options of all commands.
const OPTIONS: &[&str] = &[
    "COUNT",
    "BLOCK",
    "NOACK",
    "STREAMS",
    "GROUP",
    "CLAIM",
    "MAXLEN",
    "MINID",
    "~",
    "=",
    "LIMIT",
    "KEEPREF",
    "DELREF",
    "ACKED",
    "IDS",
    "NOMKSTREAM",
    "MKSTREAM",
    "ENTRIESREAD",
    "JUSTID",
    "FORCE",
    "IDLE",
    "TIME",
    "RETRYCOUNT",
    "LASTID",
    "ENTRIESADDED",
    "MAXDELETEDID",
    "FULL",
    "NX",
    "XX",
    "GT",
    "LT",
    "GET",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "REPLACE",
    "DB",
    "MATCH",
    "TYPE",
    "IFEQ",
    "IFNE",
    "IFDEQ",
    "IFDNE",
    "IDMP",
    "IDMPAUTO",
    "IDMP-DURATION",
    "IDMP-MAXSIZE",
    "xyz",
];

impl Maker<'_> {
    /// A key, of any kind of value or none.
    pub(crate) fn key(&mut self) -> String {
        let keys = ["s", "t", "u", "s", "t", "a", "b", "a", "none", "", "k\0\r\n"];
        keys[self.random.below(keys.len())].to_owned()
    }

    /// A key that is probably a stream.
    pub(crate) fn stream(&mut self) -> String {
        if self.auto && self.random.chance(30) {
            return AUTO.to_owned();
        }
        if self.random.chance(8) {
            return self.key();
        }
        ["s", "t", "u"][[0, 0, 0, 1, 1, 2][self.random.below(6)]].to_owned()
    }

    /// A key that is probably a string.
    pub(crate) fn string(&mut self) -> String {
        if self.random.chance(15) {
            return self.key();
        }
        ["a", "b", "c"][self.random.below(3)].to_owned()
    }

    /// A group, which may not exist.
    pub(crate) fn group(&mut self) -> Word {
        word(self.random.pick(&["g", "g", "g", "g", "h", "h", "", "g\0", "nogroup"]))
    }

    /// A consumer, which may not exist.
    pub(crate) fn consumer(&mut self) -> Word {
        word(self.random.pick(&["c", "c", "c", "d", "d", "e", "", "C"]))
    }

    /// Any bytes, mostly short.
    pub(crate) fn value(&mut self) -> Word {
        match self.random.below(12) {
            0 => word(""),
            1 => word(b"\x00\xff\r\n"),
            2 => word(self.random.below(300).to_string()),
            3 if self.random.chance(20) => word("v".repeat(self.random.below(400))),
            _ => word(self.random.pick(&["f", "g", "v", "w", "12", "hello"])),
        }
    }

    /// A count: small, sometimes odd.
    pub(crate) fn count(&mut self) -> Word {
        if self.random.chance(7) { self.number() } else { word(self.random.below(6).to_string()) }
    }

    /// A number at an edge.
    pub(crate) fn number(&mut self) -> Word {
        word(self.random.pick(NUMBERS))
    }

    /// A duration in milliseconds that has passed for certain, or not for certain.
    pub(crate) fn idle(&mut self) -> Word {
        match self.random.below(10) {
            0..=5 => word("0"),
            6 => self.number(),
            7 => word("100000000"),
            _ => word(self.random.pick(&["200000000", "3600000000"])),
        }
    }

    /// An id that an entry of `key` may have.
    pub(crate) fn id(&mut self, key: &str) -> Word {
        self.id_behind("", key)
    }

    fn id_behind(&mut self, before: &'static str, key: &str) -> Word {
        if key == AUTO && !self.generated.is_empty() && self.random.chance(80) {
            let at = self.random.below(self.generated.len());
            return Word::Id(before, self.generated[at]);
        }
        if self.random.chance(5) {
            return self.odd_id();
        }
        let top = self.tops.get(key).map_or(8, |top| top.0).min(60);
        // Near the end, where what is alive is.
        let ms = (top + 2).saturating_sub(self.random.bits() % 14);
        match self.random.below(12) {
            0 => word(format!("{before}{ms}")),
            _ => word(format!("{before}{ms}-{}", self.random.below(3))),
        }
    }

    /// The end of a range.
    pub(crate) fn bound(&mut self, key: &str) -> Word {
        match self.random.below(10) {
            0..=2 => word("-"),
            3..=5 => word("+"),
            6 => self.id_behind("(", key),
            _ => self.id(key),
        }
    }

    /// The id of an append: mostly the next.
    pub(crate) fn next_id(&mut self, key: &str) -> Word {
        if key == AUTO && self.random.chance(85) {
            return word("*");
        }
        let chosen = self.random.below(100);
        if chosen < 6 {
            return self.id(key);
        }
        if chosen < 9 {
            return self.odd_id();
        }
        if chosen < 11 && !self.auto {
            return word("*");
        }
        let sames = self.random.chance(40);
        let step = 1 + self.random.bits() % 2;
        let (ms, seq) = self.tops.entry(key.to_owned()).or_insert((0, 0));
        (*ms, *seq) = if sames && *ms > 0 { (*ms, *seq + 1) } else { (*ms + step, 0) };
        match chosen {
            11..=20 => word(format!("{ms}-*")),
            21..=24 if *seq == 0 => word(ms.to_string()),
            _ => word(format!("{ms}-{seq}")),
        }
    }

    /// An id of any form. One that is generated is not among them where order must be known.
    pub(crate) fn odd_id(&mut self) -> Word {
        match self.random.pick(IDS) {
            "*" if self.auto => word("+"),
            id => word(id),
        }
    }

    /// What a damaged command may get.
    pub(crate) fn odd_word(&mut self) -> Word {
        match self.random.below(8) {
            0 | 1 => self.number(),
            2 | 3 => self.odd_id(),
            4 => word(self.key()),
            5 => self.value(),
            _ => word(self.random.pick(OPTIONS)),
        }
    }

    /// A list of ids of `key`.
    pub(crate) fn ids(&mut self, key: &str) -> Line {
        let count = 1 + self.random.below(4) * self.random.below(2);
        (0..count).map(|_| self.id(key)).collect()
    }

    /// `IDS n id ...`, with the right n.
    pub(crate) fn numbered_ids(&mut self, key: &str) -> Line {
        let ids = self.ids(key);
        let count = if self.random.chance(5) { self.count() } else { word(ids.len().to_string()) };
        [vec![word("IDS"), count], ids].concat()
    }

    /// `KEEPREF`, `DELREF`, `ACKED` or nothing.
    pub(crate) fn references(&mut self) -> Line {
        match self.random.below(5) {
            0 => vec![word("KEEPREF")],
            1 => vec![word("DELREF")],
            2 => vec![word("ACKED")],
            _ => Vec::new(),
        }
    }

    /// Joins some of the options, in any order.
    pub(crate) fn some_of(&mut self, options: Vec<(usize, Line)>) -> Line {
        let mut chosen: Vec<Line> = Vec::new();
        for (percent, option) in options {
            if self.random.chance(percent) {
                chosen.push(option);
            }
        }
        for at in (1..chosen.len()).rev() {
            if self.random.chance(30) {
                let other = self.random.below(at + 1);
                chosen.swap(at, other);
            }
        }
        chosen.concat()
    }
}
