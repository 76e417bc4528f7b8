//! Groups of the engine: each step is one command, and the engine does what time does.

use std::collections::HashMap;
use std::time::Duration;

use levada_engine::command::{
    Command, GroupOption, Letters, NackMode, ReadMost, Xclaim, Xdlq, XdlqVerb, XgroupCfgset,
    XgroupCreate, Xnack, Xpending, Xreadgroup,
};
use levada_engine::reply::{PendingRow, Reply};
use levada_engine::shard::{BlockedRead, BlockedReadgroup};
use levada_engine::{Answered, Call, StreamId};

use super::{Embedded, key, milliseconds, own_id, stream_id, stream_ids};
use crate::backend::{
    Delivered, Failed, GroupFacts, GroupPolicy, GroupReader, Pending, Seat, Start,
};
use crate::error::{Error, Result};
use crate::message::{Entry, Fields, MessageId};

/// A reader of groups.
pub(super) struct Reader(pub(super) Embedded);

impl GroupReader for Reader {
    fn read<'a>(
        &'a mut self,
        seats: &'a [Seat],
        count: usize,
        wait: Option<Duration>,
    ) -> Pending<'a, Vec<Delivered>> {
        Box::pin(self.0.read_seats(seats, count, wait))
    }
}

fn read_call(read: BlockedReadgroup, wait: Option<Duration>) -> Call {
    let blocked = BlockedRead::Xreadgroup(read.clone());
    let call = Call::new(move |turn| {
        let name = |name: &(u8, Vec<u8>)| name.1.clone();
        let names: Vec<Vec<u8>> = read.streams.iter().map(name).collect();
        let key = |name| levada_engine::command::Key { database: 0, name };
        turn.execute(&Command::Xreadgroup(Xreadgroup {
            group: &read.group,
            consumer: &read.consumer,
            count: read.count,
            most: read.most,
            claim_idle_ms: None,
            no_ack: false,
            streams: names.iter().map(|name| (key(name), None)).collect(),
        }))
    });
    match wait {
        Some(wait) => call.or_wait(blocked, Some(wait)),
        None => call,
    }
}

impl Embedded {
    async fn read_seats(
        &self,
        seats: &[Seat],
        count: usize,
        wait: Option<Duration>,
    ) -> Result<Vec<Delivered>> {
        let Some(first) = seats.first() else {
            return Ok(Vec::new());
        };
        let most = ReadMost { entries: Some(count as u64), bytes: None };
        let read = BlockedReadgroup {
            group: first.group.as_bytes().to_vec(),
            consumer: first.consumer.as_bytes().to_vec(),
            count: Some(count as u64),
            most,
            claim_idle_ms: None,
            no_ack: false,
            streams: seats.iter().map(|seat| (0, seat.stream.as_bytes().to_vec())).collect(),
        };
        let streams = match self.call(read_call(read, wait)).await? {
            Answered::Streams(streams) => streams,
            Answered::Entries(entries) => vec![(0, entries)],
            Answered::Reply(_) => Vec::new(),
        };
        let mut all = Vec::new();
        for (number, entries) in streams {
            let seat = seats.get(number).ok_or_else(|| Error::protocol("another stream"))?;
            let ids = entries.iter().map(|entry| own_id(entry.id)).collect();
            let attempts = self.attempts(seat, ids).await?;
            all.extend(entries.into_iter().map(|entry| {
                let id = own_id(entry.id);
                let attempt = attempts.get(&id).copied().unwrap_or(1).max(1);
                Delivered { seat: number, id, fields: entry.fields.map(Fields), attempt }
            }));
        }
        Ok(all)
    }

    /// How often each of some entries was delivered, of those that the seat holds.
    async fn attempts(&self, seat: &Seat, ids: Vec<MessageId>) -> Result<HashMap<MessageId, u64>> {
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else {
            return Ok(HashMap::new());
        };
        // Others of ours may stand between them, as many as this consumer has in hand.
        let rows = self.pending(seat, *first, *last, u64::MAX, true).await?;
        Ok(rows.into_iter().map(|row| (own_id(row.id), row.count)).collect())
    }

    async fn pending(
        &self,
        seat: &Seat,
        first: MessageId,
        last: MessageId,
        count: u64,
        own: bool,
    ) -> Result<Vec<PendingRow>> {
        let (seat, first, last) = (seat.clone(), stream_id(first), stream_id(last));
        let reply = self
            .reply(move |turn| {
                turn.execute(&Command::Xpending(Xpending {
                    key: key(&seat.stream),
                    group: seat.group.as_bytes(),
                    idle_ms_min: 0,
                    first,
                    last,
                    count,
                    consumer: own.then_some(seat.consumer.as_bytes()),
                }))
            })
            .await?;
        match reply {
            Reply::PendingRows(rows) => Ok(rows),
            other => Err(Error::protocol(other)),
        }
    }

    pub(super) async fn join_group(
        &self,
        seat: &Seat,
        start: Start,
        policy: &GroupPolicy,
    ) -> Result<()> {
        let own = seat.clone();
        let created = self.reply(move |turn| {
            turn.execute(&Command::XgroupCreate(XgroupCreate {
                key: key(&own.stream),
                group: own.group.as_bytes(),
                id: match start {
                    Start::Oldest => Some(StreamId::MIN),
                    Start::New => None,
                    Start::After(id) => Some(stream_id(id)),
                },
                create_stream: true,
                entries_read: None,
            }))
        });
        match created.await {
            Ok(_) | Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
        let (seat, policy) = (seat.clone(), policy.clone());
        let set = self.reply(move |turn| {
            turn.execute(&Command::XgroupCfgset(XgroupCfgset {
                key: key(&seat.stream),
                group: seat.group.as_bytes(),
                options: vec![
                    GroupOption::AckWait(milliseconds(policy.lease)),
                    GroupOption::MaxDeliver(u64::from(policy.server_limit())),
                    GroupOption::Backoff(policy.rests.iter().copied().map(milliseconds).collect()),
                    GroupOption::Dlq(policy.dead_letters.as_bytes()),
                ],
            }))
        });
        set.await.map(drop)
    }

    pub(super) async fn extend_lease(
        &self,
        seat: &Seat,
        ids: &[MessageId],
    ) -> Result<Vec<MessageId>> {
        // Only what is ours still: a claim of what another has taken would take it back.
        let ours = self.attempts(seat, ids.to_vec()).await?;
        let held: Vec<MessageId> = ids.iter().copied().filter(|id| ours.contains_key(id)).collect();
        if held.is_empty() {
            return Ok(held);
        }
        let (seat, ids) = (seat.clone(), stream_ids(&held));
        let claimed = self.reply(move |turn| {
            turn.execute(&Command::Xclaim(Xclaim {
                key: key(&seat.stream),
                group: seat.group.as_bytes(),
                consumer: seat.consumer.as_bytes(),
                idle_ms_min: 0,
                ids: ids.clone(),
                delivered: None,
                retry_count: None,
                force: false,
                just_id: true,
                last_id: None,
            }))
        });
        claimed.await.map(|_| held)
    }

    async fn nack(
        &self,
        seat: &Seat,
        ids: Vec<StreamId>,
        mode: NackMode,
        delay_ms: Option<u64>,
        reason: Option<String>,
    ) -> Result<()> {
        let seat = seat.clone();
        let nacked = self.reply(move |turn| {
            turn.execute(&Command::Xnack(Xnack {
                key: key(&seat.stream),
                group: seat.group.as_bytes(),
                mode,
                ids: ids.clone(),
                retry_count: None,
                force: false,
                delay_ms,
                reason: reason.as_deref().map(str::as_bytes),
            }))
        });
        nacked.await.map(drop)
    }

    pub(super) async fn fail(&self, seat: &Seat, failed: &Failed, rest: Duration) -> Result<()> {
        let (ids, rest) = (vec![stream_id(failed.id)], milliseconds(rest));
        self.nack(seat, ids, NackMode::Fail, Some(rest), Some(failed.reason.clone())).await
    }

    pub(super) async fn release(&self, seat: &Seat, entries: &[(MessageId, u64)]) -> Result<()> {
        let ids = entries.iter().map(|(id, _)| stream_id(*id)).collect();
        self.nack(seat, ids, NackMode::Silent, None, None).await
    }

    pub(super) async fn bury(&self, seat: &Seat, failed: &Failed) -> Result<()> {
        let ids = vec![stream_id(failed.id)];
        self.nack(seat, ids, NackMode::Fatal, None, Some(failed.reason.clone())).await
    }

    pub(super) async fn give_again(&self, seat: &Seat, letters: &[Entry]) -> Result<u64> {
        /// Letters in one command.
        const LETTERS_MAX: usize = 500;
        let mut given = 0;
        for letters in letters.chunks(LETTERS_MAX) {
            let ids: Vec<StreamId> = letters.iter().map(|letter| stream_id(letter.id)).collect();
            let seat = seat.clone();
            let redrive = self.number(move |turn| {
                turn.execute(&Command::Xdlq(Xdlq {
                    verb: XdlqVerb::Redrive,
                    key: key(&seat.stream),
                    group: seat.group.as_bytes(),
                    letters: Letters::Ids(ids.clone()),
                    after: StreamId::MIN,
                }))
            });
            given += redrive.await?;
        }
        Ok(given)
    }

    pub(super) async fn leave_group(&self, seat: &Seat) -> Result<()> {
        let pending = self.pending(seat, MessageId::MIN, MessageId::MAX, 1, true).await?;
        if !pending.is_empty() {
            return Ok(());
        }
        let seat = seat.clone();
        let deleted = self.reply(move |turn| {
            let (key, group) = (key(&seat.stream), seat.group.as_bytes());
            turn.execute(&Command::XgroupDelconsumer(key, group, seat.consumer.as_bytes()))
        });
        deleted.await.map(drop)
    }

    pub(super) async fn all_groups(&self, stream: &str) -> Result<Vec<GroupFacts>> {
        let name = stream.to_owned();
        let groups =
            match self.reply(move |turn| turn.execute(&Command::XinfoGroups(key(&name)))).await {
                Ok(Reply::Groups(groups)) => groups,
                Ok(other) => return Err(Error::protocol(other)),
                Err(Error::NotFound(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let name = String::from_utf8_lossy(&group.name).into_owned();
            let seat =
                Seat { stream: stream.into(), group: name.as_str().into(), consumer: "".into() };
            let first = self.pending(&seat, MessageId::MIN, MessageId::MAX, 1, false).await?;
            all.push(GroupFacts {
                name,
                consumers: group.consumers,
                pending: group.pending,
                last_delivered: own_id(group.last_id),
                first_pending: first.first().map(|row| own_id(row.id)),
                lag: group.lag.and_then(|lag| u64::try_from(lag).ok()),
            });
        }
        Ok(all)
    }
}
