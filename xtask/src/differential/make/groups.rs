//! Commands of groups and their pending lists.

use super::{Line, Maker, line, word};

impl Maker<'_> {
    /// One of them.
    pub(crate) fn groups(&mut self) -> Line {
        match self.random.below(54) {
            0..=9 => self.xgroup(),
            10..=25 => self.xreadgroup(),
            26..=29 => self.xack(),
            30..=33 => self.xackdel(),
            34..=40 => self.xclaim(),
            41..=45 => self.xautoclaim(),
            _ => self.xpending(),
        }
    }

    fn xgroup(&mut self) -> Line {
        let key = self.stream();
        let group = self.group();
        match self.random.below(22) {
            0..=8 => {
                let read = self.count();
                let mut line = vec![word("XGROUP"), word("CREATE"), word(&key), group];
                line.push(self.group_id(&key));
                let entries_read = vec![word("ENTRIESREAD"), read];
                line.extend(self.some_of(vec![(60, vec![word("MKSTREAM")]), (20, entries_read)]));
                line
            }
            9..=12 => {
                let read = self.count();
                let mut line = vec![word("XGROUP"), word("SETID"), word(&key), group];
                line.push(self.group_id(&key));
                line.extend(self.some_of(vec![(30, vec![word("ENTRIESREAD"), read])]));
                line
            }
            13 => vec![word("XGROUP"), word("DESTROY"), word(key), group],
            14..=17 => {
                let consumer = self.consumer();
                vec![word("XGROUP"), word("CREATECONSUMER"), word(key), group, consumer]
            }
            18..=20 => {
                let consumer = self.consumer();
                vec![word("XGROUP"), word("DELCONSUMER"), word(key), group, consumer]
            }
            _ => line(self.random.pick(&[
                &["XGROUP", "HELP"][..],
                &["XGROUP", "NOTHING", "s", "g"],
                &["XGROUP"],
            ])),
        }
    }

    fn group_id(&mut self, key: &str) -> super::Word {
        match self.random.below(4) {
            0 => word("$"),
            1 | 2 => word("0"),
            _ => self.id(key),
        }
    }

    fn xreadgroup(&mut self) -> Line {
        let owner = vec![word("GROUP"), self.group(), self.consumer()];
        let (count, wait, idle) = (self.count(), self.wait(), self.idle());
        let claim = if self.peer.has_claim() { 15 } else { 0 };
        let options = vec![
            (100, owner),
            (60, vec![word("COUNT"), count]),
            (8, vec![word("BLOCK"), wait]),
            (claim, vec![word("CLAIM"), idle]),
            (10, vec![word("NOACK")]),
        ];
        let mut line = vec![word("XREADGROUP")];
        line.extend(self.some_of(options));
        line.push(word("STREAMS"));
        let streams = if self.random.chance(15) { 1 + self.random.below(3) } else { 1 };
        let keys: Vec<_> = (0..streams).map(|_| self.stream()).collect();
        line.extend(keys.iter().map(word));
        for key in &keys {
            line.push(match self.random.below(10) {
                0..=6 => word(">"),
                7 | 8 => word("0"),
                _ => self.id(key),
            });
        }
        line
    }

    fn xack(&mut self) -> Line {
        let key = self.stream();
        [vec![word("XACK"), word(&key), self.group()], self.ids(&key)].concat()
    }

    fn xackdel(&mut self) -> Line {
        let key = self.stream();
        let (references, ids) = (self.references(), self.numbered_ids(&key));
        let options = self.some_of(vec![(100, references), (100, ids)]);
        [vec![word("XACKDEL"), word(&key), self.group()], options].concat()
    }

    fn xclaim(&mut self) -> Line {
        let key = self.stream();
        let mut line = vec![word("XCLAIM"), word(&key), self.group(), self.consumer()];
        line.push(self.idle());
        line.extend(self.ids(&key));
        let (idle, time, last) = (self.idle(), self.number(), self.id(&key));
        let retries = self.count();
        let options = vec![
            (20, vec![word("IDLE"), idle]),
            (8, vec![word("TIME"), time]),
            (15, vec![word("RETRYCOUNT"), retries]),
            (30, vec![word("FORCE")]),
            (25, vec![word("JUSTID")]),
            (8, vec![word("LASTID"), last]),
        ];
        line.extend(self.some_of(options));
        line
    }

    fn xautoclaim(&mut self) -> Line {
        let key = self.stream();
        let mut line = vec![word("XAUTOCLAIM"), word(&key), self.group(), self.consumer()];
        line.push(self.idle());
        line.push(if self.random.chance(60) { word("0-0") } else { self.bound(&key) });
        let count = self.count();
        let options = vec![(50, vec![word("COUNT"), count]), (25, vec![word("JUSTID")])];
        line.extend(self.some_of(options));
        line
    }

    fn xpending(&mut self) -> Line {
        let key = self.stream();
        let mut line = vec![word("XPENDING"), word(&key), self.group()];
        if self.random.chance(30) {
            return line;
        }
        if self.random.chance(30) {
            line.extend([word("IDLE"), self.idle()]);
        }
        line.extend([self.bound(&key), self.bound(&key), self.count()]);
        if self.random.chance(30) {
            line.push(self.consumer());
        }
        line
    }
}
