//! Fills a server with keys, from a seed: streams with groups, consumers, pending entries claimed
//! with odd times and counts, deletes and trims in all orders; strings, some of them expiring.

use redis::{Cmd, Connection, Value};

/// Xorshift (Marsaglia, 2003): the same numbers for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn bytes(&mut self, length_max: u64) -> Vec<u8> {
        let length = self.below(length_max + 1);
        (0..length).map(|_| u8::try_from(self.below(256)).expect("below 256")).collect()
    }
}

/// Fills database 0 of an empty server.
pub(crate) fn fill(connection: &mut Connection, random: &mut Random) {
    for number in 0..3 + random.below(3) {
        let mut key = format!("stream:{number}:").into_bytes();
        key.extend(random.bytes(3));
        let mut stream = Stream { key, connection, random, last_ms: 1 };
        stream.fill();
    }
    for number in 0..random.below(5) {
        let key = format!("string:{number}");
        run(connection, redis::cmd("SET").arg(&key).arg(random.bytes(200)));
        if random.below(2) == 0 {
            let at = 4_000_000_000_000 + random.below(1_000_000);
            run(connection, redis::cmd("PEXPIREAT").arg(&key).arg(at));
        }
    }
}

fn run(connection: &mut Connection, command: &Cmd) -> Value {
    command.query(connection).unwrap_or_else(|error| panic!("{error}"))
}

/// One stream.
struct Stream<'a> {
    key: Vec<u8>,
    connection: &'a mut Connection,
    random: &'a mut Random,
    last_ms: u64,
}

impl Stream<'_> {
    fn fill(&mut self) {
        (0..self.random.below(60)).for_each(|_| self.add());
        let groups = self.random.below(4);
        for group in 0..groups {
            let from = self.random.below(self.last_ms + 1);
            let create = self.on("XGROUP CREATE", &format!("group-{group} {from} MKSTREAM"));
            run(self.connection, &create);
        }
        for _ in 0..self.random.below(80) {
            match self.random.below(10) {
                0..3 => self.add(),
                3..6 if groups > 0 => self.read(groups),
                6 if groups > 0 => self.claim(groups),
                7 if groups > 0 => self.acknowledge(groups),
                8 => self.remove(),
                9 if self.random.below(4) == 0 => self.trim(groups),
                _ => {}
            }
        }
        if self.random.below(4) == 0 {
            let command = self.on("PEXPIREAT", &4_100_000_000_123_u64.to_string());
            run(self.connection, &command);
        }
    }

    /// A command on the key, with words behind it.
    fn on(&self, name: &str, words: &str) -> Cmd {
        let mut command = Cmd::new();
        name.split(' ').for_each(|word| drop(command.arg(word).clone()));
        command.arg(&self.key);
        words.split(' ').filter(|word| !word.is_empty()).for_each(|word| {
            command.arg(word);
        });
        command
    }

    fn add(&mut self) {
        self.last_ms += self.random.below(5) + 1;
        let id = format!("{}-{}", self.last_ms, self.random.below(3));
        let mut command = self.on("XADD", &id);
        for number in 0..=self.random.below(4) {
            command.arg(format!("field-{number}")).arg(self.random.bytes(40));
        }
        run(self.connection, &command);
    }

    fn read(&mut self, groups: u64) {
        let (group, consumer) = (self.random.below(groups), self.random.below(4));
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(format!("group-{group}")).arg(format!("consumer-{consumer}"));
        command.arg("COUNT").arg(self.random.below(12) + 1).arg("STREAMS").arg(&self.key).arg(">");
        // It may have been trimmed away with its key still there: an empty reply is fine.
        run(self.connection, &command);
    }

    fn claim(&mut self, groups: u64) {
        let (group, consumer) = (self.random.below(groups), self.random.below(5));
        let mut words = vec![format!("group-{group} consumer-{consumer} 0")];
        for _ in 0..=self.random.below(4) {
            let ms = self.random.below(self.last_ms) + 1;
            words.push(format!("{ms}-{}", self.random.below(3)));
        }
        let time = 1_700_000_000_000 + self.random.below(1_000_000_000);
        let count = self.random.below(9);
        words.push(format!("TIME {time} RETRYCOUNT {count} FORCE JUSTID"));
        let words = words.join(" ");
        let command = self.on("XCLAIM", &words);
        run(self.connection, &command);
    }

    fn acknowledge(&mut self, groups: u64) {
        let (group, id) = (self.random.below(groups), self.random.below(self.last_ms) + 1);
        let command = self.on("XACK", &format!("group-{group} {id}-0 {id}-1 {id}-2"));
        run(self.connection, &command);
    }

    fn remove(&mut self) {
        let id = self.random.below(self.last_ms) + 1;
        let command = self.on("XDEL", &format!("{id}-0 {id}-1 {id}-2"));
        run(self.connection, &command);
    }

    fn trim(&mut self, groups: u64) {
        match self.random.below(4) {
            0 => {
                let keep = self.random.below(30);
                let command = self.on("XTRIM", &format!("MAXLEN {keep}"));
                run(self.connection, &command);
            }
            1 if groups > 0 => {
                let group = self.random.below(groups);
                let words = format!("group-{group} consumer-{}", self.random.below(4));
                let command = self.on("XGROUP DELCONSUMER", &words);
                run(self.connection, &command);
            }
            _ => {
                let id = self.random.below(self.last_ms + 1);
                let command = self.on("XTRIM", &format!("MINID {id}"));
                run(self.connection, &command);
            }
        }
    }
}
