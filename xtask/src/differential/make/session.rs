//! Transactions, connections, channels, settings, and commands that nobody knows.

use super::{Line, Maker, line, word};

impl Maker<'_> {
    /// One command.
    pub(crate) fn session(&mut self) -> Line {
        if self.in_multi[self.client] && self.random.chance(55) {
            let ends = [&["EXEC"][..], &["EXEC"], &["EXEC"], &["EXEC"], &["DISCARD"]];
            return line(self.random.pick(&ends));
        }
        match self.random.below(34) {
            0..=9 => line(&["MULTI"]),
            10 | 11 => vec![word("WATCH"), word(self.key())],
            12 => line(&["UNWATCH"]),
            13 => line(self.random.pick(&[&["EXEC"][..], &["DISCARD"]])),
            14 | 15 => vec![word("PING"), self.value()],
            16 => vec![word("ECHO"), self.value()],
            17 => line(&["PING"]),
            18..=20 => {
                let channel = self.random.pick(&["ch", "news", "__keyspace@0__:s", ""]);
                vec![word("PUBLISH"), word(channel), self.value()]
            }
            21 | 22 => self.pubsub(),
            23 => line(self.random.pick(&[
                &["HELLO", "4"][..],
                &["HELLO", "x"],
                &["HELLO", "2", "SETNAME", "a b"],
                &["HELLO", "3", "SETNAME"],
                &["SELECT", "x"],
            ])),
            24 | 25 => self.config(),
            26 => line(self.random.pick(&[
                &["SCRIPT", "FLUSH"][..],
                &["FUNCTION", "FLUSH"],
                &["SCRIPT", "FLUSH", "SYNC"],
                &["FUNCTION", "FLUSH", "ASYNC"],
                &["FUNCTION", "FLUSH", "SYNC"],
            ])),
            27 | 28 => line(self.random.pick(&[
                &["CLIENT", "SETNAME", "me"][..],
                &["CLIENT", "GETNAME"],
                &["CLIENT", "SETNAME", "a b"],
                &["CLIENT", "SETINFO", "LIB-NAME", "x"],
                &["CLIENT", "SETINFO", "nothing", "x"],
                &["CLIENT", "NO-EVICT", "ON"],
                &["CLIENT", "NO-TOUCH", "OFF"],
                &["CLIENT", "UNBLOCK", "999999999"],
                &["CLIENT", "MAINT_NOTIFICATIONS", "ON"],
                &["CLIENT", "KILL", "ID", "999999999"],
                &["CLIENT", "KILL", "1.2.3.4:5"],
            ])),
            29 => line(self.random.pick(&[
                &["TIME"][..],
                &["ROLE"],
                &["MODULE", "LIST"],
                &["ACL", "WHOAMI"],
                &["LATENCY", "LATEST"],
                &["WAIT", "0", "0"],
            ])),
            _ => self.unknown(),
        }
    }

    /// A command of the listening client.
    pub(crate) fn listen(&mut self) -> Line {
        let channel = self.random.pick(&["ch", "news", "n*", "", "__key*"]);
        let other = self.random.pick(&["ch", "news", "n?ws"]);
        match self.random.below(12) {
            0..=2 => vec![word("SUBSCRIBE"), word(channel), word(other)],
            3 => vec![word("UNSUBSCRIBE"), word(channel)],
            4 => vec![word("UNSUBSCRIBE"), word(channel), word(other)],
            5 | 6 => vec![word("PSUBSCRIBE"), word(channel)],
            7 => vec![word("PUNSUBSCRIBE"), word(channel)],
            8 => vec![word("SSUBSCRIBE"), word(other)],
            9 => vec![word("SUNSUBSCRIBE"), word(other)],
            10 => vec![word("PUNSUBSCRIBE"), word(channel), word(other)],
            _ => line(self.random.pick(&[&["PING"][..], &["GET", "a"], &["XLEN", "s"]])),
        }
    }

    fn pubsub(&mut self) -> Line {
        line(self.random.pick(&[
            &["PUBSUB", "NUMPAT"][..],
            &["PUBSUB", "NUMSUB", "ch", "news"],
            &["PUBSUB", "NUMSUB"],
            &["PUBSUB", "SHARDNUMSUB", "ch"],
            &["PUBSUB", "NOTHING"],
            &["SPUBLISH", "ch", "x"],
        ]))
    }

    fn config(&mut self) -> Line {
        // Redis forgets some events when it takes back what it refused, so they stay as they are.
        let name = self.random.pick(&[
            "stream-node-max-entries",
            "stream-idmp-maxsize",
            "timeout",
            "nothing",
            "slowlog-max-len",
        ]);
        if self.random.chance(33) {
            return vec![word("CONFIG"), word("GET"), word(name)];
        }
        let value = self.random.pick(&["0", "7", "x", "-1", "KEA", "", "Et", "q"]);
        // Whether clients are dropped for idling is none of our business.
        let value = if name == "timeout" { "x" } else { value };
        vec![word("CONFIG"), word("SET"), word(name), word(value)]
    }

    fn unknown(&mut self) -> Line {
        let long = "n".repeat(200);
        let name = self.random.pick(&["NOTHING", "XNOTHING", "", "get ", "X\0", &long, "XADDX"]);
        let mut line = vec![word(name)];
        for _ in 0..self.random.below(4) {
            line.push(self.value());
        }
        line
    }
}
