//! What a group does: reading, leases, rests, hand-backs, dead letters.
//!
//! On a server with leases each is one command. On another the entry stays pending, and its rest
//! stands in a sorted set beside the stream: a crash at any point leaves an entry that is pending,
//! and what is pending longer than the lease and not resting is claimed by whoever tends. How long
//! that is, and what is due, the server says: no clock of ours is compared with anything.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use super::{Redis, link::Link, parse};
use crate::backend::GroupPolicy;
use crate::backend::{Delivered, Failed, GroupReader, Pending, Seat, Start};
use crate::error::{Error, Result};
use crate::message::{Fields, MessageId};
use crate::names;

/// `COMMAND key group` for a seat.
pub(super) fn on(command: &str, seat: &Seat) -> Cmd {
    let mut cmd = cmd(command);
    cmd.arg(&*seat.stream).arg(&*seat.group);
    cmd
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(i64::MAX as u64)
}

/// A reader with a connection of its own.
pub(super) struct Reader {
    link: Link,
    /// Whether a read may have MAXCOUNT.
    limits: bool,
    /// Whether what comes back may have been delivered before.
    redelivers: bool,
    /// Where the next read begins that cannot wait for all its streams.
    turn: usize,
}

impl Reader {
    pub(super) fn new(redis: &Redis) -> Self {
        Self {
            link: redis.link.another(true),
            limits: redis.capabilities.read_limit,
            redelivers: redis.capabilities.leases,
            turn: 0,
        }
    }

    async fn read_some(
        &mut self,
        seats: &[(usize, &Seat)],
        each: usize,
        count: usize,
        wait: Option<Duration>,
    ) -> Result<Vec<Delivered>> {
        let most = self.limits.then_some(count);
        let mut all = read_group(&self.link, seats, each, most, wait).await?;
        if self.redelivers {
            count_again(&self.link, seats, &mut all).await?;
        }
        Ok(all)
    }
}

/// One XREADGROUP over some of the seats: `each` entries of each, `most` in all.
async fn read_group(
    link: &Link,
    seats: &[(usize, &Seat)],
    each: usize,
    most: Option<usize>,
    wait: Option<Duration>,
) -> Result<Vec<Delivered>> {
    let Some((_, first)) = seats.first() else {
        return Ok(Vec::new());
    };
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg(&*first.group).arg(&*first.consumer).arg("COUNT").arg(each);
    if let Some(most) = most {
        read.arg("MAXCOUNT").arg(most);
    }
    if let Some(wait) = wait {
        read.arg("BLOCK").arg(milliseconds(wait).max(1));
    }
    read.arg("STREAMS");
    for (_, seat) in seats {
        read.arg(&*seat.stream);
    }
    for _ in seats {
        read.arg(">");
    }
    let value = link.run_blocking(&read, wait.unwrap_or_default()).await?;
    let mut all = Vec::new();
    for (name, entries) in parse::streams(value)? {
        let Some((seat, _)) = seats.iter().find(|(_, seat)| *seat.stream == *name) else {
            return Err(Error::protocol(name));
        };
        for (id, fields) in parse::deliveries(entries)? {
            all.push(Delivered { seat: *seat, id, fields, attempt: 1 });
        }
    }
    Ok(all)
}

/// The server redelivers in the shape of a first delivery: the pending list knows better.
async fn count_again(link: &Link, seats: &[(usize, &Seat)], all: &mut [Delivered]) -> Result<()> {
    for (number, seat) in seats {
        let ids = all.iter().filter(|it| it.seat == *number).map(|it| it.id).collect();
        let attempts = attempts(link, seat, ids).await?;
        for delivered in all.iter_mut().filter(|it| it.seat == *number) {
            delivered.attempt = attempts.get(&delivered.id).copied().unwrap_or(1).max(1);
        }
    }
    Ok(())
}

impl GroupReader for Reader {
    fn read<'a>(
        &'a mut self,
        seats: &'a [Seat],
        count: usize,
        wait: Option<Duration>,
    ) -> Pending<'a, Vec<Delivered>> {
        Box::pin(async move {
            let numbered: Vec<_> = seats.iter().enumerate().collect();
            if self.limits || seats.len() == 1 {
                return self.read_some(&numbered, count, count, wait).await;
            }
            // COUNT holds for each stream: to read no more than asked for, one after the other.
            let mut all = Vec::new();
            for seat in numbered.chunks(1) {
                let left = count - all.len();
                if left > 0 {
                    all.extend(self.read_some(seat, left, left, None).await?);
                }
            }
            let (Some(_), true) = (wait, all.is_empty() && count > 0) else {
                return Ok(all);
            };
            let mut some = numbered;
            some.rotate_left(self.turn % seats.len().max(1));
            some.truncate(count);
            self.turn = self.turn.wrapping_add(some.len());
            let each = (count / some.len().max(1)).max(1);
            self.read_some(&some, each, count, wait).await
        })
    }
}

/// How often each of some entries was delivered, of those that the seat holds.
async fn attempts(
    link: &Link,
    seat: &Seat,
    mut ids: Vec<MessageId>,
) -> Result<HashMap<MessageId, u64>> {
    /// Ids that one XPENDING is asked for.
    const RUN: usize = 256;
    ids.sort_unstable();
    let mut counts = HashMap::new();
    let runs = ids.chunks(RUN).map(|run| (run[0], run[run.len() - 1], run.len()));
    count_attempts(link, seat, runs, &mut counts).await?;
    // Where other entries of ours stand between them a page may end too early: one by one, then.
    let missing: Vec<_> = ids.iter().filter(|id| !counts.contains_key(id)).copied().collect();
    count_attempts(link, seat, missing.into_iter().map(|id| (id, id, 1)), &mut counts).await?;
    Ok(counts)
}

async fn count_attempts(
    link: &Link,
    seat: &Seat,
    pages: impl Iterator<Item = (MessageId, MessageId, usize)>,
    counts: &mut HashMap<MessageId, u64>,
) -> Result<()> {
    let mut pipeline = Pipeline::new();
    for (first, last, count) in pages {
        let mut pending = on("XPENDING", seat);
        pending.arg(first.to_string()).arg(last.to_string()).arg(count).arg(&*seat.consumer);
        pipeline.add_command(pending);
    }
    for rows in link.run_all(&pipeline).await? {
        counts.extend(parse::pending_rows(rows?)?.into_iter().map(|row| (row.id, row.count)));
    }
    Ok(())
}

impl Redis {
    /// New entries of one seat, without waiting, over the shared connection.
    pub(super) async fn read_now(&self, seat: &Seat, count: usize) -> Result<Vec<Delivered>> {
        read_group(&self.link, &[(0, seat)], count, None, None).await
    }

    pub(super) async fn join_group(
        &self,
        seat: &Seat,
        start: Start,
        policy: &GroupPolicy,
    ) -> Result<()> {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(&*seat.stream).arg(&*seat.group);
        match start {
            Start::Oldest => create.arg("0"),
            Start::New => create.arg("$"),
            Start::After(id) => create.arg(id.to_string()),
        };
        match self.link.run(create.arg("MKSTREAM")).await {
            Ok(_) | Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
        if !self.capabilities.leases {
            return Ok(());
        }
        let mut set = cmd("XGROUP");
        set.arg("CFGSET").arg(&*seat.stream).arg(&*seat.group);
        set.arg("ACK-WAIT").arg(milliseconds(policy.lease));
        set.arg("MAX-DELIVER").arg(policy.server_limit());
        set.arg("BACKOFF").arg(policy.rests.len());
        for rest in &policy.rests {
            set.arg(milliseconds(*rest));
        }
        set.arg("DLQ").arg(&policy.dead_letters);
        if let (true, Some(field)) = (self.capabilities.order_by, &policy.order_by) {
            set.arg("ORDER-BY").arg(field);
        }
        self.link.run(&set).await.map(drop)
    }

    pub(super) async fn extend_lease(
        &self,
        seat: &Seat,
        ids: &[MessageId],
    ) -> Result<Vec<MessageId>> {
        // Only what is ours still: a claim of what another has taken would take it back.
        let ours = attempts(&self.link, seat, ids.to_vec()).await?;
        let held: Vec<MessageId> = ids.iter().copied().filter(|id| ours.contains_key(id)).collect();
        if held.is_empty() {
            return Ok(held);
        }
        let mut claim = on("XCLAIM", seat);
        claim.arg(&*seat.consumer).arg(0);
        for id in &held {
            claim.arg(id.to_string());
        }
        self.link.run(claim.arg("JUSTID")).await?;
        Ok(held)
    }

    pub(super) async fn rest(&self, seat: &Seat, failed: &Failed, rest: Duration) -> Result<()> {
        if self.capabilities.leases {
            let mut nack = on("XNACK", seat);
            nack.arg("FAIL").arg("DELAY").arg(milliseconds(rest)).arg("REASON").arg(&failed.reason);
            return self
                .link
                .run(nack.arg("IDS").arg(1).arg(failed.id.to_string()))
                .await
                .map(drop);
        }
        let due = self.time().await?.saturating_add(milliseconds(rest));
        let mut add = cmd("ZADD");
        add.arg(names::resting(&seat.stream, &seat.group)).arg(due).arg(failed.id.to_string());
        self.link.run(&add).await.map(drop)
    }

    pub(super) async fn give_back(
        &self,
        seat: &Seat,
        entries: &[(MessageId, u64)],
        lease: Duration,
    ) -> Result<()> {
        if self.capabilities.nack {
            let mut nack = on("XNACK", seat);
            nack.arg("SILENT").arg("IDS").arg(entries.len());
            for (id, _) in entries {
                nack.arg(id.to_string());
            }
            return self.link.run(&nack).await.map(drop);
        }
        // As old as the lease, and one delivery less: the next who looks takes it.
        let mut pipeline = Pipeline::new();
        for (id, attempt) in entries {
            let mut claim = on("XCLAIM", seat);
            claim.arg(&*seat.consumer).arg(0).arg(id.to_string());
            claim.arg("IDLE").arg(milliseconds(lease).saturating_add(1));
            claim.arg("RETRYCOUNT").arg(attempt.saturating_sub(1)).arg("JUSTID");
            pipeline.add_command(claim);
        }
        self.link.run_all(&pipeline).await?.into_iter().try_for_each(|done| done.map(drop))
    }

    /// What is due and what a dead worker held, for a server without leases.
    pub(super) async fn take_over(
        &self,
        seat: &Seat,
        lease: Duration,
        count: usize,
    ) -> Result<Vec<Delivered>> {
        let mut ids = self.due(seat, count).await?;
        if ids.len() < count {
            ids.extend(self.idle(seat, lease, count - ids.len()).await?);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let claimed: Vec<_> = self.claim(seat, &ids).await?;
        let claimed_ids = claimed.iter().map(|(id, _)| *id).collect();
        let attempts = attempts(&self.link, seat, claimed_ids).await?;
        let deliver = |(id, fields)| {
            let attempt = attempts.get(&id).copied().unwrap_or(1).max(1);
            Delivered { seat: 0, id, fields, attempt }
        };
        Ok(claimed.into_iter().map(deliver).collect())
    }

    /// Entries whose rest is over. Whoever takes the mark away has the entry; if they die before
    /// they claim it, its lease ends all the same.
    async fn due(&self, seat: &Seat, count: usize) -> Result<Vec<(MessageId, Duration)>> {
        let key = names::resting(&seat.stream, &seat.group);
        let Some(now) = self.is_due(&key).await? else {
            return Ok(Vec::new());
        };
        let mut range = cmd("ZRANGEBYSCORE");
        range.arg(&key).arg("-inf").arg(now).arg("LIMIT").arg(0).arg(count);
        let members = parse::list(self.link.run(&range).await?)?;
        let mut pipeline = Pipeline::new();
        for member in &members {
            pipeline.cmd("ZREM").arg(&key).arg(parse::bytes_of(member).unwrap_or_default());
        }
        let mut ids = Vec::new();
        for (member, removed) in members.iter().zip(self.link.run_all(&pipeline).await?) {
            if parse::count(&removed?)? == 1 {
                ids.push((parse::id(member)?, Duration::ZERO));
            }
        }
        Ok(ids)
    }

    /// Entries that were not extended for longer than the lease and do not rest.
    async fn idle(
        &self,
        seat: &Seat,
        lease: Duration,
        count: usize,
    ) -> Result<Vec<(MessageId, Duration)>> {
        /// Most pages looked through for entries that do not rest.
        const PAGES_MAX: usize = 16;
        let page = count.max(100);
        let mut found = Vec::new();
        let mut start = "-".to_owned();
        for _ in 0..PAGES_MAX {
            let mut pending = on("XPENDING", seat);
            pending.arg("IDLE").arg(milliseconds(lease)).arg(&start).arg("+").arg(page);
            let rows = parse::pending_rows(self.link.run(&pending).await?)?;
            let awake = self.awake(seat, rows.iter().map(|row| row.id).collect()).await?;
            found.extend(awake.into_iter().map(|id| (id, lease)));
            match rows.last() {
                Some(last) if rows.len() == page && found.len() < count => {
                    start = format!("({}", last.id);
                }
                _ => break,
            }
        }
        found.truncate(count);
        Ok(found)
    }

    async fn awake(&self, seat: &Seat, ids: Vec<MessageId>) -> Result<Vec<MessageId>> {
        let key = names::resting(&seat.stream, &seat.group);
        let mut pipeline = Pipeline::new();
        for id in &ids {
            pipeline.cmd("ZSCORE").arg(&key).arg(id.to_string());
        }
        let mut awake = Vec::new();
        for (id, score) in ids.into_iter().zip(self.link.run_all(&pipeline).await?) {
            if score? == Value::Nil {
                awake.push(id);
            }
        }
        Ok(awake)
    }

    /// Claims entries that are still as idle as they were when they were found.
    async fn claim(
        &self,
        seat: &Seat,
        ids: &[(MessageId, Duration)],
    ) -> Result<Vec<(MessageId, Option<Fields>)>> {
        let mut pipeline = Pipeline::new();
        for (id, idle) in ids {
            let mut claim = on("XCLAIM", seat);
            claim.arg(&*seat.consumer).arg(milliseconds(*idle)).arg(id.to_string());
            pipeline.add_command(claim);
        }
        let mut all = Vec::new();
        for claimed in self.link.run_all(&pipeline).await? {
            all.extend(parse::deliveries(claimed?)?);
        }
        Ok(all)
    }
}
