//! Commands on a stream without groups.

use super::{Line, Maker, Word, line, word};

impl Maker<'_> {
    /// One of them.
    pub(crate) fn streams(&mut self) -> Line {
        match self.random.below(66) {
            0..=23 => self.xadd(),
            24..=27 => self.xdel(),
            28..=30 => self.xdelex(),
            31..=35 => self.xtrim(),
            36..=37 => vec![word("XLEN"), word(self.stream())],
            38..=42 => self.xrange("XRANGE"),
            43..=46 => self.xrange("XREVRANGE"),
            47..=51 => self.xread(),
            52..=54 => self.xsetid(),
            55..=61 => self.xinfo(),
            62 | 63 => self.xcfgset(),
            _ => self.xidmprecord(),
        }
    }

    fn xcfgset(&mut self) -> Line {
        let key = word(self.stream());
        let (seconds, most) = (self.count(), self.count());
        let options = vec![
            // Nothing is forgotten for its age while an episode runs.
            (50, vec![word("IDMP-DURATION"), word(self.random.pick(&["100", "86400", "5000"]))]),
            (3, vec![word("IDMP-DURATION"), seconds]),
            (60, vec![word("IDMP-MAXSIZE"), most]),
        ];
        [vec![word("XCFGSET"), key], self.some_of(options)].concat()
    }

    fn xidmprecord(&mut self) -> Line {
        let key = self.stream();
        // What is as old as a small id is forgotten when a server happens to look.
        let id = match self.random.below(10) {
            0 => word("0-0"),
            far => word(format!("40000000000{far:02}-1")),
        };
        vec![word("XIDMPRECORD"), word(&key), self.producer(), self.value(), id]
    }

    fn producer(&mut self) -> Word {
        word(self.random.pick(&["p", "p", "q", "", "p\0"]))
    }

    fn xadd(&mut self) -> Line {
        let key = self.stream();
        let mut line = vec![word("XADD"), word(&key)];
        let trim = self.trim(&key);
        let references = self.references();
        let mut options = vec![(8, vec![word("NOMKSTREAM")]), (18, trim), (10, references)];
        let (producer, number) = (self.producer(), word(self.random.pick(&["1", "2", "3", ""])));
        let idempotent = match self.random.below(3) {
            0 => vec![word("IDMPAUTO"), producer],
            _ => vec![word("IDMP"), producer, number],
        };
        // Only with an id that is generated, so mostly in the one stream that has them.
        let is_idempotent = self.random.chance(if key == super::AUTO { 30 } else { 3 });
        options.push((if is_idempotent { 100 } else { 0 }, idempotent));
        line.extend(self.some_of(options));
        let generates = is_idempotent && !self.auto && self.random.chance(70);
        line.push(if generates { word("*") } else { self.next_id(&key) });
        for _ in 0..=self.random.below(3) * self.random.below(2) {
            line.extend([self.value(), self.value()]);
        }
        line
    }

    /// `MAXLEN|MINID [=|~] threshold [LIMIT n]`
    fn trim(&mut self, key: &str) -> Line {
        let mut line = Vec::new();
        let by_length = self.random.chance(50);
        line.push(word(if by_length { "MAXLEN" } else { "MINID" }));
        let mark = self.random.below(4);
        match mark {
            0 => line.push(word("=")),
            1 | 2 => line.push(word("~")),
            _ => {}
        }
        line.push(if by_length { self.count() } else { self.id(key) });
        if self.random.chance(if mark == 1 { 40 } else { 3 }) {
            line.extend([word("LIMIT"), self.count()]);
        }
        line
    }

    fn xtrim(&mut self) -> Line {
        let key = self.stream();
        let mut line = vec![word("XTRIM"), word(&key)];
        let trim = self.trim(&key);
        let references = self.references();
        line.extend(self.some_of(vec![(100, trim), (50, references)]));
        line
    }

    fn xdel(&mut self) -> Line {
        let key = self.stream();
        [vec![word("XDEL"), word(&key)], self.ids(&key)].concat()
    }

    fn xdelex(&mut self) -> Line {
        let key = self.stream();
        let (references, ids) = (self.references(), self.numbered_ids(&key));
        [vec![word("XDELEX"), word(&key)], self.some_of(vec![(100, references), (100, ids)])]
            .concat()
    }

    fn xrange(&mut self, name: &str) -> Line {
        let key = self.stream();
        let mut line = vec![word(name), word(&key), self.bound(&key), self.bound(&key)];
        if self.random.chance(40) {
            line.extend([word("COUNT"), self.count()]);
        }
        line
    }

    fn xread(&mut self) -> Line {
        let (count, wait) = (self.count(), self.wait());
        let options = vec![(40, vec![word("COUNT"), count]), (10, vec![word("BLOCK"), wait])];
        let mut line = vec![word("XREAD")];
        line.extend(self.some_of(options));
        line.push(word("STREAMS"));
        let keys: Vec<_> = (0..=self.random.below(3)).map(|_| self.stream()).collect();
        line.extend(keys.iter().map(word));
        for key in &keys {
            line.push(match self.random.below(8) {
                0 => word("$"),
                1 => word("+"),
                2 | 3 => word("0"),
                _ => self.id(key),
            });
        }
        line
    }

    /// A time to wait; 0, for ever, ends at once in a transaction and is changed outside of one.
    pub(crate) fn wait(&mut self) -> Word {
        if self.random.chance(80) { word(self.random.pick(&["1", "0"])) } else { self.number() }
    }

    fn xsetid(&mut self) -> Line {
        let key = self.stream();
        let id = if self.random.chance(60) { self.next_id(&key) } else { self.id(&key) };
        let (added, deleted) = (self.count(), self.id(&key));
        let options = vec![
            (30, vec![word("ENTRIESADDED"), added]),
            (20, vec![word("MAXDELETEDID"), deleted]),
        ];
        [vec![word("XSETID"), word(&key), id], self.some_of(options)].concat()
    }

    fn xinfo(&mut self) -> Line {
        let key = self.stream();
        match self.random.below(20) {
            0..=6 => vec![word("XINFO"), word("STREAM"), word(key)],
            7..=10 => {
                let mut line = vec![word("XINFO"), word("STREAM"), word(key), word("FULL")];
                if self.random.chance(40) {
                    line.extend([word("COUNT"), self.count()]);
                }
                line
            }
            11..=14 => vec![word("XINFO"), word("GROUPS"), word(key)],
            15..=18 => vec![word("XINFO"), word("CONSUMERS"), word(key), self.group()],
            _ => line(self.random.pick(&[&["XINFO", "HELP"][..], &["XINFO", "NOTHING", "s"]])),
        }
    }
}
