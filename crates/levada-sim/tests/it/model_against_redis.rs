//! The reference model side by side with a real server: random commands go to both, every reply
//! is compared, and every few commands the whole state as far as XINFO, XRANGE and XPENDING show
//! it.
//!
//! The two run on different clocks, so nothing here depends on the time: ids are explicit (`*`
//! only where the last id lies in the future), an idle time is either seconds or half a century
//! (TIME 1), and what is asked for is 0, or 20 years.
//!
//! Old servers count entries-read and lag differently once something was deleted or trimmed. So
//! one half of the runs deletes nothing, and there the counters are compared with any server; in
//! the other half only with one that counts as Redis 8.2 does (`LEVADA_PEER` names another one).

use crate::expected::{count, entries, expect, show, text};
use crate::peer::{Peer, Resp};
use levada_sim::model::{
    Answer, ClaimOptions, Delivered, Group, GroupFrom, GroupStart, Id, Model, NewId, NodeLimits,
    ReadFrom, ReadMore, References, Reply, Stream, Threshold, Trim, Value,
};
use levada_sim::random::Random;
use std::collections::BTreeMap;
use std::env;
use std::ops::Bound;

const NOW_MS: u64 = 1_800_000_000_000;
const TWENTY_YEARS_MS: u64 = 631_152_000_000;
const KEYS: [&str; 3] = ["a", "b", "text"];
const GROUPS: [&str; 2] = ["g", "h"];
const CONSUMERS: [&str; 3] = ["x", "y", "z"];

#[test]
fn the_model_answers_as_the_server_does() {
    let Some(mut peer) = Peer::start("seeds") else {
        return;
    };
    eprintln!("the model is judged by {}", peer.name);
    let seeds = if env::var("SLOW_TESTS").as_deref() == Ok("1") { 600 } else { 24 };
    let mut served = BTreeMap::new();
    for seed in 0..seeds {
        run(&mut peer, seed, 400, &mut served);
    }
    // A command that is only ever refused is judged by nobody.
    let minding: &[&str] = if peer.minds_references { &["XDELEX", "XACKDEL"] } else { &[] };
    let base = [
        "DEL",
        "EXISTS",
        "SET",
        "GET",
        "INCR",
        "PEXPIRE",
        "XADD",
        "XLEN",
        "XRANGE",
        "XREVRANGE",
        "XDEL",
        "XTRIM",
        "XSETID",
        "XREAD",
        "XREADGROUP",
        "XACK",
        "XPENDING",
        "XCLAIM",
        "XAUTOCLAIM",
        "XGROUP CREATE",
        "XGROUP SETID",
        "XGROUP DESTROY",
        "XGROUP CREATECONSUMER",
        "XGROUP DELCONSUMER",
    ];
    for &command in base.iter().chain(minding) {
        let times = served.get(command).copied().unwrap_or(0);
        assert!(times >= 10, "{command} was served {times} times only: {served:?}");
    }
}

fn run(peer: &mut Peer, seed: u64, steps: usize, served: &mut BTreeMap<String, u32>) {
    let mut random = Random::new(seed);
    let deletes = seed.is_multiple_of(2);
    let max_entries = *random.pick(&[1, 3, 5, 0]);
    assert_eq!(peer.say("FLUSHALL"), text("OK"));
    for line in [
        format!("CONFIG SET stream-node-max-entries {max_entries}"),
        "CONFIG SET stream-node-max-bytes 0".into(),
    ] {
        assert_eq!(peer.say(&line), text("OK"));
    }
    let model = Model { limits: NodeLimits { max_entries, max_bytes: 0 }, ..Model::default() };
    let mut run =
        Run { peer, model, random, deletes, line: Vec::new(), history: Vec::new(), seed, served };
    for step in 0..steps {
        run.step();
        if step % 10 == 9 {
            run.compare_state();
        }
    }
}

struct Run<'a> {
    peer: &'a mut Peer,
    model: Model,
    random: Random,
    deletes: bool,
    /// The command under construction.
    line: Vec<String>,
    history: Vec<String>,
    seed: u64,
    /// How often each command was not refused.
    served: &'a mut BTreeMap<String, u32>,
}

impl Run<'_> {
    fn step(&mut self) {
        let key = if self.random.chance(3) { KEYS[2] } else { KEYS[self.random.index(2)] };
        self.line.clear();
        match self.random.below(100) {
            0..24 => self.xadd(key),
            24..44 => self.xreadgroup(),
            44..50 => self.xack(key),
            50..57 => self.xclaim(key),
            57..64 => self.xautoclaim(key),
            64..70 => self.xpending(key),
            70..80 => self.xgroup(key),
            80..84 => self.xrange(key),
            84..88 => self.xread(),
            88..97 if self.deletes => self.remove(key),
            _ => self.plain(key),
        }
    }

    fn xadd(&mut self, key: &str) {
        self.words(&["XADD", key]);
        let create = !self.option(20, "NOMKSTREAM");
        let trim = (self.deletes && self.random.chance(15)).then(|| self.trim(key));
        let last = self.last_id(key);
        let id = match self.random.below(20) {
            0 => NewId::Exact(self.id(key)),
            1..6 => {
                NewId::AutoSequence(last.0.saturating_sub(1).saturating_add(self.random.below(3)))
            }
            6 if self.random.chance(20) => NewId::Exact(Id(NOW_MS * 3, self.random.below(3))),
            7 if self.random.chance(20) => NewId::Exact(Id(last.0, u64::MAX)),
            7 if self.random.chance(5) => NewId::Exact(Id::MAX),
            _ if last.0 > NOW_MS * 2 => NewId::Auto,
            8..14 if last.1 == u64::MAX => NewId::AutoSequence(last.0),
            _ if last.1 == u64::MAX => NewId::Exact(Id(last.0.saturating_add(1), 0)),
            _ => NewId::Exact(Id(
                last.0.saturating_add(self.random.below(3)),
                last.1.saturating_add(self.random.below(3)),
            )),
        };
        let word = match id {
            NewId::Auto => "*".into(),
            NewId::AutoSequence(ms) => format!("{ms}-*"),
            NewId::Exact(id) => show(id),
        };
        self.line.push(word);
        let fields: Vec<_> = (0..=self.random.below(2))
            .map(|n| (format!("f{n}").into_bytes(), self.random.below(1000).to_string().into()))
            .collect();
        for (field, value) in &fields {
            self.line.extend(
                [field, value].map(|b| String::from_utf8(b.clone()).expect("made of text")),
            );
        }
        self.both(|model| model.xadd(NOW_MS, key.as_bytes(), create, trim, id, fields.into()));
    }

    fn remove(&mut self, key: &str) {
        match self.random.below(10) {
            0..3 if self.peer.minds_references => self.delete_minding(key),
            0..5 => {
                self.words(&["XDEL", key]);
                let ids = self.some_ids(key);
                self.both(|model| model.xdel(NOW_MS, key.as_bytes(), &ids));
            }
            5..8 => {
                self.words(&["XTRIM", key]);
                let trim = self.trim(key);
                self.both(|model| model.xtrim(NOW_MS, key.as_bytes(), trim));
            }
            8 => self.xsetid(key),
            _ if self.random.chance(40) => {
                self.words(&["DEL", key, key]);
                let keys = [key.as_bytes(); 2];
                self.both(|model| model.del(NOW_MS, &keys));
            }
            _ => {}
        }
    }

    /// XDELEX, XACKDEL.
    fn delete_minding(&mut self, key: &str) {
        let acknowledge = self.random.chance(60).then(|| self.group());
        match acknowledge {
            None => self.words(&["XDELEX", key]),
            Some(group) => self.words(&["XACKDEL", key, group]),
        }
        let what = self.references();
        let ids: Vec<_> = (0..=self.random.below(3)).map(|_| self.id(key)).collect();
        self.words(&["IDS", &ids.len().to_string()]);
        self.line.extend(ids.iter().copied().map(show));
        let key = key.as_bytes();
        self.both(|model| match acknowledge {
            None => model.xdelex(NOW_MS, key, what, &ids),
            Some(group) => model.xackdel(NOW_MS, key, group.as_bytes(), what, &ids),
        });
    }

    fn references(&mut self) -> References {
        let (word, what) = *self.random.pick(&[
            ("KEEPREF", References::Keep),
            ("DELREF", References::Remove),
            ("ACKED", References::Acked),
        ]);
        self.words(&[word]);
        what
    }

    fn xsetid(&mut self, key: &str) {
        let last = self.last_id(key);
        let id =
            Id(last.0.saturating_sub(1).saturating_add(self.random.below(3)), self.random.below(4));
        if !self.peer.is_7_2 && self.stream(key).is_some_and(|s| id < s.max_deleted_id) {
            return; // Those servers allow it.
        }
        self.words(&["XSETID", key, &show(id)]);
        let added = self.random.chance(30).then(|| self.random.below(60));
        if let Some(added) = added {
            self.words(&["ENTRIESADDED", &added.to_string()]);
        }
        let mut deleted = Id::MIN;
        if self.random.chance(30) {
            deleted = self.id(key);
            self.words(&["MAXDELETEDID", &show(deleted)]);
        }
        self.both(|model| model.xsetid(NOW_MS, key.as_bytes(), id, added, deleted));
    }

    fn xreadgroup(&mut self) {
        let (group, consumer) = (self.group(), self.consumer());
        for key in KEYS {
            self.create_consumer_for_old_peer(key, group, consumer);
        }
        self.words(&["XREADGROUP", "GROUP", group, consumer]);
        let count = self.count();
        let noack = self.option(15, "NOACK");
        let keys = self.keys();
        let from: Vec<_> = keys
            .iter()
            .map(|key| {
                if self.random.chance(70) {
                    (key.as_bytes(), GroupFrom::New)
                } else {
                    (key.as_bytes(), GroupFrom::After(self.id(key)))
                }
            })
            .collect();
        self.line.extend(from.iter().map(|(_, from)| match from {
            GroupFrom::New => ">".into(),
            GroupFrom::After(id) => show(*id),
        }));
        let (group, consumer) = (group.as_bytes(), consumer.as_bytes());
        let more = ReadMore::default();
        self.both(|model| model.xreadgroup(NOW_MS, group, consumer, &from, count, noack, more));
    }

    fn xread(&mut self) {
        self.words(&["XREAD"]);
        let count = self.count();
        let keys = self.keys();
        let from: Vec<_> = keys
            .iter()
            .map(|key| match self.random.below(10) {
                0 => (key.as_bytes(), ReadFrom::New),
                1..4 if self.peer.reads_last => (key.as_bytes(), ReadFrom::Last),
                _ => (key.as_bytes(), ReadFrom::After(self.id(key))),
            })
            .collect();
        self.line.extend(from.iter().map(|(_, from)| match from {
            ReadFrom::New => "$".into(),
            ReadFrom::Last => "+".into(),
            ReadFrom::After(id) => show(*id),
        }));
        self.both(|model| model.xread(NOW_MS, &from, count, None));
    }

    fn xrange(&mut self, key: &str) {
        let backward = self.random.chance(50);
        let (start, end) = (self.bound(key), self.bound(key));
        let (from, to) = (show_bound(start, "-"), show_bound(end, "+"));
        if backward {
            self.words(&["XREVRANGE", key, &to, &from]);
        } else {
            self.words(&["XRANGE", key, &from, &to]);
        }
        let count = self.random.chance(40).then(|| self.random.index(4));
        if let Some(count) = count {
            self.words(&["COUNT", &count.to_string()]);
        }
        let key = key.as_bytes();
        self.both(|model| {
            if backward {
                model.xrevrange(NOW_MS, key, end, start, count)
            } else {
                model.xrange(NOW_MS, key, start, end, count)
            }
        });
    }

    fn xack(&mut self, key: &str) {
        let group = self.group();
        self.words(&["XACK", key, group]);
        let ids = self.some_ids(key);
        self.both(|model| model.xack(NOW_MS, key.as_bytes(), group.as_bytes(), &ids));
    }

    fn xclaim(&mut self, key: &str) {
        let (group, consumer) = (self.group(), self.consumer());
        self.create_consumer_for_old_peer(key, group, consumer);
        let idle = self.min_idle();
        self.words(&["XCLAIM", key, group, consumer, &idle.to_string()]);
        let ids = self.some_ids(key);
        let force = self.option(30, "FORCE");
        let just_id = self.option(30, "JUSTID");
        let mut options = ClaimOptions { force, just_id, ..ClaimOptions::default() };
        if self.random.chance(60) {
            let far = 2 * TWENTY_YEARS_MS.cast_signed();
            let (delivered, words) = match self.random.below(5) {
                0 => (Delivered::Ago(far), ["IDLE".into(), far.to_string()]),
                1 => (Delivered::Ago(-far), ["IDLE".into(), (-far).to_string()]),
                2 => (Delivered::At(far * 9), ["TIME".into(), (far * 9).to_string()]),
                _ => (Delivered::At(1), ["TIME".into(), "1".to_string()]),
            };
            options.delivered = Some(delivered);
            self.line.extend::<[String; 2]>(words);
        }
        if self.random.chance(20) {
            let count = self.random.below(9);
            options.count = Some(count);
            self.words(&["RETRYCOUNT", &count.to_string()]);
        }
        if self.random.chance(10) {
            let id = self.id(key);
            options.last_id = Some(id);
            self.words(&["LASTID", &show(id)]);
        }
        let (key, group, consumer) = (key.as_bytes(), group.as_bytes(), consumer.as_bytes());
        self.both(|model| model.xclaim(NOW_MS, key, group, consumer, idle, &ids, options));
    }

    fn xautoclaim(&mut self, key: &str) {
        let (group, consumer) = (self.group(), self.consumer());
        self.create_consumer_for_old_peer(key, group, consumer);
        let idle = self.min_idle();
        let start = if self.random.chance(50) { Bound::Unbounded } else { self.bound(key) };
        let (from, minimum) = (show_bound(start, "-"), idle.to_string());
        self.words(&["XAUTOCLAIM", key, group, consumer, &minimum, &from]);
        let count = if self.random.chance(60) { 1 + self.random.index(4) } else { 100 };
        if count != 100 {
            self.words(&["COUNT", &count.to_string()]);
        }
        let just_id = self.option(30, "JUSTID");
        let (key, group, consumer) = (key.as_bytes(), group.as_bytes(), consumer.as_bytes());
        self.both(|model| {
            model.xautoclaim(NOW_MS, key, group, consumer, idle, start, count, just_id)
        });
    }

    /// Servers before 7.2 create a consumer only when it gets something.
    fn create_consumer_for_old_peer(&mut self, key: &str, group: &str, consumer: &str) {
        if !self.peer.is_7_2 {
            self.words(&["XGROUP", "CREATECONSUMER", key, group, consumer]);
            let (key, group, consumer) = (key.as_bytes(), group.as_bytes(), consumer.as_bytes());
            self.both(|model| model.xgroup_createconsumer(NOW_MS, key, group, consumer));
            self.line.clear();
        }
    }

    fn xpending(&mut self, key: &str) {
        let group = self.group();
        self.words(&["XPENDING", key, group]);
        if self.random.chance(40) {
            self.both(|model| model.xpending(NOW_MS, key.as_bytes(), group.as_bytes()));
            return;
        }
        let idle = if self.random.chance(40) { TWENTY_YEARS_MS } else { 0 };
        if idle != 0 {
            self.words(&["IDLE", &idle.to_string()]);
        }
        let (start, end, count) = (self.bound(key), self.bound(key), self.random.index(5));
        self.words(&[&show_bound(start, "-"), &show_bound(end, "+"), &count.to_string()]);
        let consumer = self.random.chance(40).then(|| self.consumer());
        self.line.extend(consumer.map(str::to_string));
        let consumer = consumer.map(str::as_bytes);
        let (key, group) = (key.as_bytes(), group.as_bytes());
        self.both(|model| {
            model.xpending_range(NOW_MS, key, group, idle, start, end, count, consumer)
        });
    }

    fn xgroup(&mut self, key: &str) {
        let (name, consumer) = (self.group(), self.consumer());
        let (group, k, c) = (name.as_bytes(), key.as_bytes(), consumer.as_bytes());
        match self.random.below(20) {
            0..11 => {
                self.words(&["XGROUP", "CREATE", key, name]);
                let start = self.group_start(key);
                let create = self.option(70, "MKSTREAM");
                let read = self.entries_read();
                self.both(|m| m.xgroup_create(NOW_MS, k, group, start, create, read));
            }
            11..14 => {
                self.words(&["XGROUP", "SETID", key, name]);
                let start = self.group_start(key);
                let read = self.entries_read();
                self.both(|m| m.xgroup_setid(NOW_MS, k, group, start, read));
            }
            14 => {
                self.words(&["XGROUP", "DESTROY", key, name]);
                self.both(|m| m.xgroup_destroy(NOW_MS, k, group));
            }
            15..18 => {
                self.words(&["XGROUP", "CREATECONSUMER", key, name, consumer]);
                self.both(|m| m.xgroup_createconsumer(NOW_MS, k, group, c));
            }
            _ => {
                self.words(&["XGROUP", "DELCONSUMER", key, name, consumer]);
                self.both(|m| m.xgroup_delconsumer(NOW_MS, k, group, c));
            }
        }
    }

    fn plain(&mut self, key: &str) {
        let k = key.as_bytes();
        match self.random.below(9) {
            0 => {
                let value = *self.random.pick(&["7", "-3", "9223372036854775807", "x", "07"]);
                let ttl = self.random.chance(30).then_some(TWENTY_YEARS_MS);
                self.words(&["SET", KEYS[2], value]);
                if let Some(ttl) = ttl {
                    self.words(&["PX", &ttl.to_string()]);
                }
                self.both(|m| m.set(NOW_MS, KEYS[2].as_bytes(), value.as_bytes(), ttl));
            }
            1 | 2 => {
                let key = if self.random.chance(80) { KEYS[2] } else { key };
                self.words(&["GET", key]);
                self.both(|m| m.get(NOW_MS, key.as_bytes()));
            }
            3 | 4 => {
                let key = if self.random.chance(80) { KEYS[2] } else { key };
                self.words(&["INCR", key]);
                self.both(|m| m.incr(NOW_MS, key.as_bytes()));
            }
            5 => {
                let key = if self.random.chance(90) { KEYS[2] } else { key };
                let far = TWENTY_YEARS_MS.cast_signed();
                let ttl = if self.random.chance(30) { -far } else { far };
                self.words(&["PEXPIRE", key, &ttl.to_string()]);
                self.both(|m| m.pexpire(NOW_MS, key.as_bytes(), ttl));
            }
            6 => {
                self.words(&["EXISTS", key, KEYS[2], key]);
                self.both(|m| m.exists(NOW_MS, &[k, KEYS[2].as_bytes(), k]));
            }
            _ => {
                self.words(&["XLEN", key]);
                self.both(|m| m.xlen(NOW_MS, k));
            }
        }
    }

    /// Sends the line to the server, does the same in the model, and compares.
    fn both(&mut self, of_model: impl FnOnce(&mut Model) -> Answer) {
        let line = self.line.join(" ");
        let mut seen = self.peer.say(&line);
        self.history.push(line.clone());
        let answer = of_model(&mut self.model);
        if matches!(answer, Ok(Reply::PendingRows(_))) {
            forget_idle(&mut seen);
        }
        let expected = expect(&answer);
        if let (Resp::Error(seen), Resp::Error(expected)) = (&seen, &expected) {
            // Servers before 7.2 name another fault: of two the other, or one that is not.
            let same_for_old =
                !self.peer.is_7_2 && (line.starts_with("XSETID") || seen.contains("too large"));
            if seen.starts_with(expected) || same_for_old {
                return;
            }
        }
        let name =
            if self.line[0] == "XGROUP" { self.line[..2].join(" ") } else { self.line[0].clone() };
        *self.served.entry(name).or_default() += 1;
        assert_eq!(seen, expected, "left is the server. {}", self.story());
    }

    fn compare_state(&mut self) {
        for key in KEYS {
            // Times are not comparable: -2 is no key, -1 no expiry, 0 here is some expiry.
            let found = self.model.keys.get(key.as_bytes());
            let expected = found.map_or(-2, |key| key.expires_ms.map_or(-1, |_| 0));
            let Resp::Integer(seen) = self.peer.say(&format!("PTTL {key}")) else {
                panic!("PTTL answers a number")
            };
            assert_eq!(seen.min(0), expected, "life of {key}. {}", self.story());
        }
        for key in &KEYS[..2] {
            let value = self.model.keys.get(key.as_bytes()).map(|key| key.value.clone());
            let kind = match &value {
                None => "none",
                Some(Value::Text(_)) => "string",
                Some(Value::Stream(_)) => "stream",
            };
            assert_eq!(self.peer.say(&format!("TYPE {key}")), text(kind), "{}", self.story());
            let Some(Value::Stream(stream)) = value else {
                continue;
            };
            self.compare_stream(key, &stream);
            let info = self.peer.say(&format!("XINFO GROUPS {key}")).items();
            assert_eq!(info.len(), stream.groups.len(), "{}", self.story());
            for (info, (name, group)) in info.iter().zip(&stream.groups) {
                let name = String::from_utf8(name.clone()).expect("made of text");
                self.compare_group(key, &name, info, &stream, group);
            }
        }
    }

    fn compare_stream(&mut self, key: &str, stream: &Stream) {
        let info = self.peer.say(&format!("XINFO STREAM {key}"));
        let expected = [
            ("length", count(stream.entries.len())),
            ("radix-tree-keys", count(stream.nodes.len())),
            ("last-generated-id", text(&show(stream.last_id))),
            ("max-deleted-entry-id", text(&show(stream.max_deleted_id))),
            ("entries-added", Resp::Integer(stream.entries_added.cast_signed())),
            ("recorded-first-entry-id", text(&show(stream.first_id()))),
            ("groups", count(stream.groups.len())),
        ];
        for (field, expected) in expected {
            assert_eq!(info.field(field), &expected, "{field} of {key}. {}", self.story());
        }
        let all = stream.entries.iter().map(|(id, fields)| (*id, Some(fields.clone()))).collect();
        assert_eq!(self.peer.say(&format!("XRANGE {key} - +")), entries(&all), "{}", self.story());
    }

    fn compare_group(&mut self, key: &str, name: &str, info: &Resp, of: &Stream, group: &Group) {
        let number = |n: Option<i64>| n.map_or(Resp::Null, Resp::Integer);
        let read = group.entries_read.map(u64::cast_signed);
        let mut expected = vec![
            ("name", text(name)),
            ("consumers", count(group.consumers.len())),
            ("pending", count(group.pending.len())),
            ("last-delivered-id", text(&show(group.last_id))),
        ];
        if !self.deletes || self.peer.counts_as_redis_8 {
            expected.extend([("entries-read", number(read)), ("lag", number(of.lag(group)))]);
        }
        for (field, expected) in expected {
            assert_eq!(info.field(field), &expected, "{field} of {key} {name}. {}", self.story());
        }
        let mut seen = self.peer.say(&format!("XPENDING {key} {name} - + 10000"));
        forget_idle(&mut seen);
        let rows = group.pending.iter().map(|(id, pending)| {
            let n = pending.count.cast_signed();
            let owner = Resp::Text(pending.consumer.clone());
            Resp::Array(vec![text(&show(*id)), owner, Resp::Integer(0), Resp::Integer(n)])
        });
        assert_eq!(seen, Resp::Array(rows.collect()), "{key} {name}. {}", self.story());
        let seen = self.peer.say(&format!("XINFO CONSUMERS {key} {name}")).items();
        assert_eq!(seen.len(), group.consumers.len(), "{key} {name}. {}", self.story());
        for (seen, (consumer, state)) in seen.iter().zip(&group.consumers) {
            let own = group.pending.values().filter(|p| p.consumer == *consumer).count();
            assert_eq!(seen.field("name"), &Resp::Text(consumer.clone()), "{}", self.story());
            assert_eq!(seen.field("pending"), &count(own), "{}", self.story());
            if self.peer.is_7_2 {
                let never = seen.field("inactive") == &Resp::Integer(-1);
                assert_eq!(never, state.active_ms.is_none(), "{consumer:?} {}", self.story());
            }
        }
    }

    /// What led here: enough to type it in again.
    fn story(&self) -> String {
        format!("Peer: {}, seed {}:\n{}", self.peer.name, self.seed, self.history.join("\n"))
    }

    fn words(&mut self, words: &[&str]) {
        self.line.extend(words.iter().map(ToString::to_string));
    }

    fn option(&mut self, percent: u64, word: &str) -> bool {
        let given = self.random.chance(percent);
        if given {
            self.words(&[word]);
        }
        given
    }

    fn group(&mut self) -> &'static str {
        GROUPS[self.random.index(GROUPS.len())]
    }

    fn consumer(&mut self) -> &'static str {
        CONSUMERS[self.random.index(CONSUMERS.len())]
    }

    /// The end of XREAD and XREADGROUP, but for the ids: COUNT is already out.
    fn keys(&mut self) -> Vec<&'static str> {
        let keys = match self.random.below(20) {
            0..9 => vec![KEYS[0]],
            9..14 => vec![KEYS[1]],
            14..19 => vec![KEYS[0], KEYS[1]],
            _ => vec![KEYS[1], KEYS[2]],
        };
        self.words(&["STREAMS"]);
        self.words(&keys);
        keys
    }

    fn count(&mut self) -> usize {
        let count = if self.random.chance(60) { 1 + self.random.index(3) } else { 0 };
        if count > 0 {
            self.words(&["COUNT", &count.to_string()]);
        }
        count
    }

    fn min_idle(&mut self) -> u64 {
        if self.random.chance(50) { 0 } else { TWENTY_YEARS_MS }
    }

    fn stream(&self, key: &str) -> Option<&Stream> {
        match &self.model.keys.get(key.as_bytes())?.value {
            Value::Stream(stream) => Some(stream),
            Value::Text(_) => None,
        }
    }

    fn last_id(&self, key: &str) -> Id {
        self.stream(key).map_or(Id::MIN, |stream| stream.last_id)
    }

    /// An id that means something in the stream, or nearly so.
    fn id(&mut self, key: &str) -> Id {
        let mut known = vec![Id::MIN];
        if let Some(s) = self.stream(key) {
            known.extend(s.entries.keys().chain([&s.last_id, &s.max_deleted_id]));
            known.extend(s.nodes.iter().flat_map(|node| [node.first, node.last]));
            known.extend(s.groups.values().flat_map(|group| group.pending.keys()));
        }
        let id = *self.random.pick(&known);
        match self.random.below(6) {
            0 => id.next().unwrap_or(id),
            1 => id.previous().unwrap_or(id),
            _ => id,
        }
    }

    fn some_ids(&mut self, key: &str) -> Vec<Id> {
        let ids: Vec<_> = (0..=self.random.below(3)).map(|_| self.id(key)).collect();
        self.line.extend(ids.iter().copied().map(show));
        ids
    }

    fn bound(&mut self, key: &str) -> Bound<Id> {
        match self.random.below(6) {
            0..3 => Bound::Unbounded,
            3 => Bound::Excluded(self.id(key)),
            4 if self.random.chance(20) => Bound::Excluded(Id::MAX),
            _ => Bound::Included(self.id(key)),
        }
    }

    fn group_start(&mut self, key: &str) -> GroupStart {
        let start = match self.random.below(4) {
            0 | 1 => GroupStart::After(Id::MIN),
            2 => GroupStart::After(self.id(key)),
            _ => GroupStart::Last,
        };
        self.line.push(match start {
            GroupStart::After(id) => show(id),
            GroupStart::Last => "$".into(),
        });
        start
    }

    fn entries_read(&mut self) -> Option<u64> {
        // A count that is a lie is judged only where all count alike.
        let read = (self.deletes && self.random.chance(20)).then(|| self.random.below(20));
        if let Some(read) = read {
            self.words(&["ENTRIESREAD", &read.to_string()]);
        }
        read
    }

    fn trim(&mut self, key: &str) -> Trim {
        let approx = self.random.chance(60);
        let length = self.stream(key).map_or(0, |stream| stream.entries.len());
        let to = if self.random.chance(50) {
            Threshold::MaxLen(self.random.index(length + 2))
        } else {
            Threshold::MinId(self.id(key))
        };
        let (word, threshold) = match to {
            Threshold::MaxLen(keep) => ("MAXLEN", keep.to_string()),
            Threshold::MinId(id) => ("MINID", show(id)),
        };
        self.words(&[word, if approx { "~" } else { "=" }, &threshold]);
        let limit = (approx && self.random.chance(30) || self.random.chance(3))
            .then(|| self.random.below(12));
        if let Some(limit) = limit {
            self.words(&["LIMIT", &limit.to_string()]);
        }
        let minding = self.peer.minds_references && self.random.chance(50);
        let references = if minding { self.references() } else { References::Keep };
        Trim { to, approx, limit, references }
    }
}

/// Idle times are not comparable: both sides show 0.
fn forget_idle(rows: &mut Resp) {
    let Resp::Array(rows) = rows else { return };
    for row in rows {
        if let Resp::Array(columns) = row {
            columns[2] = Resp::Integer(0);
        }
    }
}

fn show_bound(bound: Bound<Id>, open: &str) -> String {
    match bound {
        Bound::Unbounded => open.into(),
        Bound::Included(id) => show(id),
        Bound::Excluded(id) => format!("({}", show(id)),
    }
}
