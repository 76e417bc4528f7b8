//! What a server says about its state after a recovery, and whether its own answers agree.

use anyhow::{Context as _, Result};

use super::client::{Client, Reply};
use super::consume::parse_entry;
use super::journal::{CONSUMERS, GROUP, How, Id, Pending, STREAMS, State, parse_id};

/// More pending entries than a run ever has: one XPENDING shows all.
const PENDING_MAX: &str = "100000000";
/// Entries at the end that XREVRANGE is compared on.
const TAIL: usize = 50;

/// Reads one stream and its group. Fails if the server does not answer or refuses.
pub(crate) fn read(client: &mut Client, stream: usize) -> Result<State> {
    let mut reading = Reading(State::default());
    let name = STREAMS[stream];
    reading.read_entries(client, name)?;
    reading.read_group(client, name)?;
    for text in &mut reading.0.contradictions {
        text.insert_str(0, &format!("{name}: "));
    }
    Ok(reading.0)
}

/// What was read so far.
struct Reading(State);

impl Reading {
    fn read_entries(&mut self, client: &mut Client, name: &str) -> Result<()> {
        for entry in client.ask(&["XRANGE", name, "-", "+"])?.items() {
            match parse_entry(entry, How::Read) {
                Ok((id, key)) => self.0.entries.extend(key.map(|key| (id, key))),
                Err(problem) => self.0.contradictions.push(problem),
            }
        }
        let tail = client.ask(&["XREVRANGE", name, "+", "-", "COUNT", &TAIL.to_string()])?;
        let backwards = tail.items().iter().map(|entry| &entry.items()[0]);
        let forwards = self.0.entries.iter().rev().take(TAIL).map(|(id, _)| Ok(*id));
        if !backwards.map(|id| parse_id(id.bytes())).eq(forwards) {
            self.problem("XREVRANGE is not XRANGE backwards");
        }
        let length = i64::try_from(self.0.entries.len())?;
        let info = client.ask(&["XINFO", "STREAM", name])?;
        self.agree("XLEN", &client.ask(&["XLEN", name])?, length);
        self.agree("XINFO length", number(&info, "length")?, length);
        self.0.added = u64::try_from(number(&info, "entries-added")?.integer().unwrap_or(-1))
            .context("entries-added")?;
        self.0.last_id = id(&info, "last-generated-id")?;
        Ok(())
    }

    fn read_group(&mut self, client: &mut Client, name: &str) -> Result<()> {
        let detail = client.ask(&["XPENDING", name, GROUP, "-", "+", PENDING_MAX])?;
        for row in detail.items() {
            match parse_pending(row) {
                Some(pending) => self.0.pending.push(pending),
                None => self.problem(&format!("XPENDING shows {row:?}")),
            }
        }
        if !self.0.pending.is_sorted_by(|one, next| one.id < next.id) {
            self.problem("the ids of XPENDING do not increase");
        }
        let groups = client.ask(&["XINFO", "GROUPS", name])?;
        let group = groups.items().first().context("the group is gone")?;
        self.0.last_delivered = id(group, "last-delivered-id")?;
        let total = i64::try_from(self.0.pending.len())?;
        self.agree("XINFO GROUPS pending", number(group, "pending")?, total);
        self.compare_summary(&client.ask(&["XPENDING", name, GROUP])?)?;
        let consumers = client.ask(&["XINFO", "CONSUMERS", name, GROUP])?;
        if consumers.items().len() != CONSUMERS.len() {
            self.problem("XINFO CONSUMERS does not show every consumer");
        }
        for row in consumers.items() {
            let of = row.field("name").map(Reply::bytes).unwrap_or_default();
            let pending = self.pending_of(of);
            self.agree("XINFO CONSUMERS pending", number(row, "pending")?, pending);
        }
        Ok(())
    }

    /// Compares the short form of XPENDING with the long one.
    fn compare_summary(&mut self, summary: &Reply) -> Result<()> {
        let [total, first, last, consumers] = summary.items() else {
            self.problem(&format!("XPENDING answers {summary:?}"));
            return Ok(());
        };
        let count = i64::try_from(self.0.pending.len())?;
        self.agree("XPENDING total", total, count);
        let shown = |reply: &Reply| parse_id(reply.bytes()).ok();
        let ends = (self.0.pending.first(), self.0.pending.last());
        if (shown(first), shown(last)) != (ends.0.map(|row| row.id), ends.1.map(|row| row.id)) {
            self.problem("the ends in the short XPENDING are not those of the long one");
        }
        let mut sum = 0;
        for row in consumers.items() {
            let [name, pending] = row.items() else {
                continue;
            };
            let expected = self.pending_of(name.bytes());
            self.agree("XPENDING of a consumer", pending, expected);
            sum += expected;
        }
        if sum != count {
            self.problem("the short XPENDING lacks a consumer");
        }
        Ok(())
    }

    fn pending_of(&self, consumer: &[u8]) -> i64 {
        let of = |row: &&Pending| CONSUMERS[row.consumer].as_bytes() == consumer;
        let count = self.0.pending.iter().filter(of).count();
        i64::try_from(count).expect("a count of what is in memory")
    }

    fn agree(&mut self, what: &str, shown: &Reply, expected: i64) {
        if shown.integer() != Some(expected) {
            self.problem(&format!("{what} is {shown:?}, but {expected} are there"));
        }
    }

    fn problem(&mut self, text: &str) {
        self.0.contradictions.push(text.to_owned());
    }
}

fn parse_pending(row: &Reply) -> Option<Pending> {
    let [id, consumer, _, count] = row.items() else {
        return None;
    };
    let known = |name: &str| name.as_bytes() == consumer.bytes();
    Some(Pending {
        id: parse_id(id.bytes()).ok()?,
        consumer: CONSUMERS.iter().position(|name| known(name))?,
        count: u64::try_from(count.integer()?).ok()?,
    })
}

fn number<'a>(info: &'a Reply, name: &str) -> Result<&'a Reply> {
    info.field(name).with_context(|| format!("XINFO shows no {name}"))
}

fn id(info: &Reply, name: &str) -> Result<Id> {
    parse_id(number(info, name)?.bytes()).map_err(anyhow::Error::msg)
}
