//! Reads streams from a server that runs.
//!
//! XPENDING tells how long ago something was delivered, in pages; XINFO STREAM FULL tells when, but
//! from the beginning only. Both together give the time to the millisecond: the *anchor* is one
//! pending entry whose time FULL told. It is asked for before and behind each page, in one
//! transaction; if its idle time is the same both times, then the page was made in that
//! millisecond, and which one that was follows from the anchor's time.

use anyhow::{Context as _, Result, bail};
use levada_core::schedule;
use redis::{Pipeline, Value};

use super::id::Id;
use super::peer::Peer;
use super::policy::Policies;
use super::reply::{self, Pairs};
use super::source::{Entry, Group, Owner, Pending, Source, Summary};

/// How often a page of pending entries is asked for until the clock stood still meanwhile.
const ATTEMPTS_MAX: u32 = 64;

/// A server that streams are read from.
pub(crate) struct Live {
    pub(crate) peer: Peer,
    /// The anchor of the group that was read last.
    anchor: Option<Anchor>,
}

/// A pending entry whose time of delivery is known.
#[derive(Clone)]
struct Anchor {
    key: Vec<u8>,
    group: Vec<u8>,
    id: Id,
    delivered_ms: i64,
}

impl Live {
    pub(crate) fn new(peer: Peer) -> Self {
        Self { peer, anchor: None }
    }

    /// The anchor of a group; `None` where nobody owns anything in it.
    fn anchor(&mut self, key: &[u8], group: &[u8]) -> Result<Option<Anchor>> {
        if let Some(anchor) = &self.anchor
            && anchor.key == key
            && anchor.group == group
        {
            return Ok(Some(anchor.clone()));
        }
        let full = self
            .peer
            .ask(redis::cmd("XINFO").arg("STREAM").arg(key).arg("FULL").arg("COUNT").arg(1))?;
        self.anchor = find_anchor(full, key, group)
            .with_context(|| format!("XINFO STREAM FULL at {}", self.peer.name))?;
        Ok(self.anchor.clone())
    }

    /// Entries that a group with ORDER-BY has passed over and owes: pending, but for the name.
    fn parked(&mut self, key: &[u8], group: &[u8], from: Id, count: usize) -> Result<Vec<Id>> {
        let mut command = redis::cmd("XGROUP");
        command.arg("PARKED").arg(key).arg(group).arg("COUNT").arg(count);
        if let Some(before) = from.previous() {
            command.arg("AFTER").arg(before.to_string());
        }
        reply::array(self.peer.ask(&command)?)?.into_iter().map(reply::id).collect()
    }

    /// A page of what XPENDING shows; empty at the end.
    fn delivered(
        &mut self,
        key: &[u8],
        group: &[u8],
        from: Id,
        count: usize,
    ) -> Result<Vec<Pending>> {
        let mut count = count;
        for _ in 0..ATTEMPTS_MAX {
            let Some(anchor) = self.anchor(key, group)? else {
                let mut commands = Pipeline::new();
                xpending(&mut commands, key, group, (from, Id::MAX), count);
                let page = self.peer.ask_all(&commands)?.pop().unwrap_or_default();
                // Somebody may have taken one since the anchor was looked for.
                let page = rows(page)?;
                if page.iter().any(|row| row.idle_ms >= 0) {
                    continue;
                }
                return page.into_iter().map(|row| row.at(0)).collect();
            };
            if let Some(page) = self.exact_page(&anchor, from, count)? {
                return Ok(page);
            }
            // Either the clock moved, which is rarer the shorter the page, or the anchor did.
            count = (count / 2).max(1);
            self.anchor = None;
        }
        bail!(
            "XPENDING {} at {}: no page in {ATTEMPTS_MAX} attempts while the clock stood still",
            super::peer::readable(key),
            self.peer.name
        )
    }

    /// A page, if the clock stood still while it was made and the anchor is pending still.
    fn exact_page(
        &mut self,
        anchor: &Anchor,
        from: Id,
        count: usize,
    ) -> Result<Option<Vec<Pending>>> {
        let mut commands = redis::pipe();
        xpending(&mut commands, &anchor.key, &anchor.group, (anchor.id, anchor.id), 1);
        xpending(&mut commands, &anchor.key, &anchor.group, (from, Id::MAX), count);
        xpending(&mut commands, &anchor.key, &anchor.group, (anchor.id, anchor.id), 1);
        let [before, page, behind]: [Value; 3] = self
            .peer
            .together(&commands)?
            .try_into()
            .ok()
            .context("three commands have three replies")?;
        let (before, behind) = (rows(before)?, rows(behind)?);
        let ([before], [behind]) = (&before[..], &behind[..]) else {
            return Ok(None);
        };
        if before.idle_ms != behind.idle_ms || before.idle_ms < 0 {
            return Ok(None);
        }
        let now_ms = anchor.delivered_ms + before.idle_ms;
        rows(page)?.into_iter().map(|row| row.at(now_ms)).collect::<Result<_>>().map(Some)
    }
}

impl Source for Live {
    fn summary(&mut self, key: &[u8]) -> Result<Summary> {
        let info = self.peer.ask(redis::cmd("XINFO").arg("STREAM").arg(key))?;
        let mut pairs = Pairs::new(info)?;
        Ok(Summary {
            length: reply::count(&pairs.take("length")?)?,
            last_id: reply::id(pairs.take("last-generated-id")?)?,
            entries_added: pairs
                .find("entries-added")
                .map(|added| reply::count(&added))
                .transpose()?,
            deleted_id_max: pairs.find("max-deleted-entry-id").map(reply::id).transpose()?,
            idempotent: pairs.find("iids-tracked").map_or(Ok(0), |ids| reply::count(&ids))?,
        })
    }

    fn policies(&mut self, key: &[u8], groups: &[Group]) -> Result<Option<Policies>> {
        Policies::read(&mut self.peer, key, groups)
    }

    fn entries(&mut self, key: &[u8], from: Id, to: Id, count: usize) -> Result<Vec<Entry>> {
        let mut command = redis::cmd("XRANGE");
        command.arg(key).arg(from.to_string()).arg(to.to_string()).arg("COUNT").arg(count);
        let page = reply::array(self.peer.ask(&command)?)?;
        page.into_iter()
            .map(|entry| {
                let [id, fields] = reply::tuple(entry)?;
                Ok(Entry { id: reply::id(id)?, fields: reply::strings(fields)? })
            })
            .collect()
    }

    fn groups(&mut self, key: &[u8]) -> Result<Vec<Group>> {
        let info = self.peer.ask(redis::cmd("XINFO").arg("GROUPS").arg(key))?;
        let mut groups = Vec::new();
        for group in reply::array(info)? {
            let mut pairs = Pairs::new(group)?;
            let name = reply::bytes(pairs.take("name")?)?;
            let info = self.peer.ask(redis::cmd("XINFO").arg("CONSUMERS").arg(key).arg(&name))?;
            let mut consumers = reply::array(info)?
                .into_iter()
                .map(|consumer| reply::bytes(Pairs::new(consumer)?.take("name")?))
                .collect::<Result<Vec<_>>>()?;
            consumers.sort();
            groups.push(Group {
                name,
                last_id: reply::id(pairs.take("last-delivered-id")?)?,
                entries_read: pairs
                    .find("entries-read")
                    .map(|read| reply::count(&read))
                    .transpose()?,
                consumers,
            });
        }
        groups.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(groups)
    }

    fn pending(
        &mut self,
        key: &[u8],
        group: &[u8],
        from: Id,
        count: usize,
    ) -> Result<Vec<Pending>> {
        let page = self.delivered(key, group, from, count)?;
        if !self.peer.policies {
            return Ok(page);
        }
        let parked = self.parked(key, group, from, count)?;
        let is_full = parked.len() >= count;
        Ok(merged(page, &parked, is_full))
    }

    fn scheduled(&mut self, key: &[u8]) -> Result<u64> {
        match schedule::target_of(key).filter(|_| self.peer.policies) {
            Some(target) => {
                reply::count(&self.peer.ask(redis::cmd("XSCHED").arg("LEN").arg(target))?)
            }
            None => Ok(0),
        }
    }
}

/// What is pending and what is parked, in order, up to where both are known.
fn merged(mut page: Vec<Pending>, parked: &[Id], is_full: bool) -> Vec<Pending> {
    // Behind a page there may be more of its kind; behind an empty one there is nothing.
    let end = page.last().map_or(Id::MAX, |last| last.id);
    let end = parked.last().filter(|_| is_full).map_or(end, |last| end.min(*last));
    page.extend(parked.iter().map(|id| Pending { id: *id, owner: None, count: 0 }));
    page.retain(|pending| pending.id <= end);
    page.sort_by_key(|pending| pending.id);
    page
}

/// A row of XPENDING.
struct Row {
    id: Id,
    consumer: Vec<u8>,
    /// Below zero where nobody owns it.
    idle_ms: i64,
    count: u64,
}

impl Row {
    fn at(self, now_ms: i64) -> Result<Pending> {
        let delivered_ms = now_ms.checked_sub(self.idle_ms).context("an idle time out of range")?;
        let owner = Owner { consumer: self.consumer, delivered_ms };
        let owner = (self.idle_ms >= 0).then_some(owner);
        Ok(Pending { id: self.id, owner, count: self.count })
    }
}

fn rows(reply: Value) -> Result<Vec<Row>> {
    let row = |row| {
        let [id, consumer, idle, count] = reply::tuple(row)?;
        Ok(Row {
            id: reply::id(id)?,
            consumer: reply::bytes(consumer)?,
            idle_ms: reply::integer(&idle)?,
            count: reply::count(&count)?,
        })
    };
    reply::array(reply)?.into_iter().map(row).collect()
}

fn xpending(commands: &mut Pipeline, key: &[u8], group: &[u8], ids: (Id, Id), count: usize) {
    let command = commands.cmd("XPENDING").arg(key).arg(group);
    command.arg(ids.0.to_string()).arg(ids.1.to_string()).arg(count);
}

/// The first pending entry of any consumer of the group.
fn find_anchor(full: Value, key: &[u8], group: &[u8]) -> Result<Option<Anchor>> {
    for known in reply::array(Pairs::new(full)?.take("groups")?)? {
        let mut known = Pairs::new(known)?;
        if reply::bytes(known.take("name")?)? != group {
            continue;
        }
        for consumer in reply::array(known.take("consumers")?)? {
            let mut consumer = Pairs::new(consumer)?;
            // Some versions call it pel, some pending.
            let pending = consumer.find("pel").or_else(|| consumer.find("pending"));
            let first =
                pending.map(reply::array).transpose()?.unwrap_or_default().into_iter().next();
            if let Some(first) = first {
                let [id, delivered, _] = reply::tuple(first)?;
                return Ok(Some(Anchor {
                    key: key.to_owned(),
                    group: group.to_owned(),
                    id: reply::id(id)?,
                    delivered_ms: reply::integer(&delivered)?,
                }));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(page: &[u64], parked: &[u64], is_full: bool) -> Vec<u64> {
        let id = |n: &u64| Id { ms: *n, seq: 0 };
        let page = page.iter().map(|n| Pending { id: id(n), owner: None, count: 1 }).collect();
        let parked: Vec<_> = parked.iter().map(id).collect();
        merged(page, &parked, is_full).iter().map(|pending| pending.id.ms).collect()
    }

    #[test]
    fn a_page_ends_where_one_of_its_kinds_may_go_on() {
        assert_eq!(ids(&[], &[], false), [0; 0]);
        assert_eq!(ids(&[1, 4], &[2, 3, 5], false), [1, 2, 3, 4]);
        assert_eq!(ids(&[], &[5, 6], false), [5, 6]);
        assert_eq!(ids(&[1, 4, 9], &[2, 3], true), [1, 2, 3]);
        assert_eq!(ids(&[1, 2], &[7, 8], true), [1, 2]);
    }
}
