//! XADD, XTRIM, XDEL, XSETID: entries come and go.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{
    Context, Decided, Decision, Refusal, create, idempotent, integer, places, references, retention,
};
use crate::{
    command::{Key, NewId, References, Trim, TrimKeep, Xadd, Xsetid},
    effect::{Effect, EntryFields},
    error::Error,
    id::StreamId,
    keyspace::KeyNumber,
    policy::Retention,
    reply::Reply,
    stream::Stream,
};

/// The place after everything that a trim removes, and how much that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cut {
    block: u64,
    row: u32,
    removed: u64,
}

/// The entry that the same command appends, for a trim that follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) id: StreamId,
    pub(super) block: u64,
    pub(super) row: u32,
    pub(super) starts_node: bool,
}

/// XADD key \[NOMKSTREAM] \[KEEPREF|DELREF|ACKED] \[IDMPAUTO pid|IDMP pid iid]
/// \[MAXLEN|MINID \[=|~] threshold \[LIMIT n]] <*|id> field value ...
pub(super) fn xadd<'a>(context: Context<'_>, xadd: &Xadd<'a>) -> Decided<'a> {
    let found = context.stream(xadd.key)?;
    if found.is_none() && xadd.must_exist {
        return Ok(Decision::answer(Reply::Nil));
    }
    let empty;
    let stream = if let Some((_, stream)) = found {
        stream
    } else {
        empty = Stream::default();
        &empty
    };
    let iid = idempotent::Asked::of(xadd);
    if let (Some(iid), Some((key, stream))) = (&iid, found)
        && let Some(duplicate) = iid.duplicate(context, key, stream)
    {
        return Ok(duplicate);
    }
    let id = new_id(stream.last_id, xadd.id, context.now_ms)?;
    let mut effects = context.effects();
    if let (true, Some((key, stream))) = (stream.policy.has_limit(), found) {
        effects.extend(retention::make_room(context, key, stream, xadd.fields.bytes())?);
    }
    let key = match found {
        Some((key, _)) => key,
        None => create::stream(context, xadd.key, &mut effects)?,
    };
    let seals = stream.is_tail_full();
    if seals {
        effects.push(Effect::Sealed { key });
    }
    let starts_node = seals || stream.starts_node(context.nodes);
    effects.push(Effect::Appended { key, id, starts_node, fields: EntryFields(xadd.fields) });
    let secret = stream.idempotence.secret().or_else(|| create::secret(&effects));
    effects.extend(iid.map(|iid| iid.tracked(context, key, stream, secret, id, context.now_ms)));
    if let Some(trim) = &xadd.trim {
        let (block, row) = match seals {
            true => (stream.tail_number() + 1, 0),
            false => (stream.tail_number(), stream.tail().count()),
        };
        let newest = Newest { id, block, row, starts_node };
        effects.extend(self::trim(context, key, stream, trim, Some(newest))?.1);
    }
    Ok(Decision { reply: Reply::Id(id), effects })
}

/// The id of a new entry.
pub(super) fn new_id(last: StreamId, asked: NewId, now_ms: u64) -> Result<StreamId, Error> {
    if last == StreamId::MAX {
        return Err(Error::IdsExhausted);
    }
    match asked {
        NewId::Auto if now_ms > last.ms => Ok(StreamId::new(now_ms, 0)),
        NewId::Auto => last.next().ok_or(Error::IdsExhausted),
        NewId::AutoSeq(ms) if ms > last.ms => Ok(StreamId::new(ms, 0)),
        NewId::AutoSeq(ms) if ms == last.ms => {
            last.seq.checked_add(1).map(|seq| StreamId::new(ms, seq)).ok_or(Error::IdTooSmall)
        }
        NewId::Explicit(id) if id > last => Ok(id),
        NewId::AutoSeq(_) | NewId::Explicit(_) => Err(Error::IdTooSmall),
    }
}

/// XTRIM key MAXLEN|MINID \[=|~] threshold \[LIMIT n] \[KEEPREF|DELREF|ACKED]
pub(super) fn xtrim<'a>(context: Context<'_>, key: Key<'a>, trim: &Trim) -> Decided<'a> {
    let Some((key, stream)) = context.stream(key)? else {
        return Ok(Decision::answer(Reply::Integer(0)));
    };
    let (removed, effects) = self::trim(context, key, stream, trim, None)?;
    Ok(Decision { reply: integer(removed), effects })
}

/// How many entries a trim removes, and its effects.
fn trim(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    trim: &Trim,
    newest: Option<Newest>,
) -> Result<(u64, Vec<Effect<'static>>), Refusal> {
    // Under RETENTION ACKED only an explicit KEEPREF or DELREF drops what a group still needs.
    let default = match stream.policy.retention {
        Retention::Keep => References::Keep,
        Retention::Acked => References::Acked,
    };
    let references = trim.references.unwrap_or(default);
    if references != References::Keep {
        return references::trim(context, key, stream, trim, references, newest);
    }
    Ok(match cut(context, key, stream, trim, newest)? {
        None => (0, Vec::new()),
        Some(Cut { block, row, removed }) => {
            (removed, Vec::from([Effect::Trimmed { key, block, row }]))
        }
    })
}

fn cut(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    trim: &Trim,
    newest: Option<Newest>,
) -> Result<Option<Cut>, Refusal> {
    let length = stream.len() + u64::from(newest.is_some());
    if let TrimKeep::MaxLen(keep) = trim.keep
        && length <= keep
    {
        return Ok(None);
    }
    let cut = match (trim.approximate, trim.keep) {
        (false, TrimKeep::MaxLen(keep)) => exact_by_length(stream, length - keep, newest),
        (false, TrimKeep::MinId(id)) => exact_by_id(context, key, stream, id, newest)?,
        (true, keep) => {
            let limit = limit(context, trim);
            Approximate { context, key, stream, keep, limit, newest, length }.cut()?
        }
    };
    Ok(Some(cut).filter(|cut| cut.removed > 0))
}

/// How many entries a trim removes at most.
pub(super) fn limit(context: Context<'_>, trim: &Trim) -> u64 {
    match trim.limit {
        _ if !trim.approximate => u64::MAX,
        None => default_limit(context.nodes.entries),
        Some(0) => u64::MAX,
        Some(limit) => limit,
    }
}

/// What `~` removes at most where there is no LIMIT: Redis' 100 nodes, within its bounds.
fn default_limit(node_entries_max: u64) -> u64 {
    match node_entries_max.saturating_mul(100) {
        0 => 10_000,
        limit => limit.min(1_000_000),
    }
}

fn exact_by_length(stream: &Stream, removed: u64, newest: Option<Newest>) -> Cut {
    match newest {
        Some(Newest { block, row, .. }) if removed > stream.len() => {
            Cut { block, row: row + 1, removed }
        }
        _ => {
            let (block, row) = stream.place_after(removed);
            Cut { block, row, removed }
        }
    }
}

fn exact_by_id(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    keep: StreamId,
    newest: Option<Newest>,
) -> Result<Cut, Refusal> {
    if let Some(Newest { block, row, .. }) = newest.filter(|newest| newest.id < keep) {
        return Ok(Cut { block, row: row + 1, removed: stream.len() + 1 });
    }
    let block = stream.seek(keep);
    let begins_within = stream.meta(block).is_some_and(|meta| meta.base < keep);
    let row = if begins_within { context.block(key, stream, block)?.lower_bound(keep) } else { 0 };
    Ok(Cut { block, row, removed: stream.live_before(block, row) })
}

/// A trim by whole logical nodes.
struct Approximate<'m> {
    context: Context<'m>,
    key: KeyNumber,
    stream: &'m Stream,
    keep: TrimKeep,
    limit: u64,
    newest: Option<Newest>,
    length: u64,
}

impl Approximate<'_> {
    /// Whole blocks first, which the index knows; then nodes of the block where that ends.
    fn cut(&self) -> Result<Cut, Refusal> {
        let stream = self.stream;
        let mut cut = Cut { block: stream.first_block(), row: 0, removed: 0 };
        while cut.block < stream.tail_number() {
            let live = stream.meta(cut.block).map_or(0, |meta| u64::from(meta.live));
            let next = stream.meta(cut.block + 1).filter(|next| next.count > 0);
            // Behind the last sealed block the tail may be empty.
            let below = |id| match next {
                Some(next) => next.base <= id,
                None => stream.last_id < id,
            };
            let whole = match self.keep {
                TrimKeep::MaxLen(keep) => self.length - cut.removed - live >= keep,
                TrimKeep::MinId(id) => below(id),
            };
            if !whole || cut.removed + live > self.limit {
                break;
            }
            cut = Cut { block: cut.block + 1, row: 0, removed: cut.removed + live };
        }
        self.cut_nodes(cut)
    }

    /// Goes on by nodes within one block.
    fn cut_nodes(&self, mut cut: Cut) -> Result<Cut, Refusal> {
        let Some(meta) = self.stream.meta(cut.block) else {
            return Ok(cut);
        };
        let is_tail = cut.block == self.stream.tail_number();
        let block = self.context.block(self.key, self.stream, cut.block)?;
        let (mut live, mut last) = (0, StreamId::MIN);
        for row in block.rows(meta.first_row) {
            if row.starts_node && row.index > meta.first_row {
                if !self.removes(&cut, live, last) {
                    return Ok(cut);
                }
                cut = Cut { row: row.index, removed: cut.removed + live, ..cut };
                live = 0;
            }
            live += u64::from(meta.is_live(row.index));
            last = row.id;
        }
        // The last node of the block; in the tail the newest entry may belong to it.
        let joins = self.newest.filter(|newest| is_tail && !newest.starts_node);
        if let Some(newest) = joins {
            live += 1;
            last = newest.id;
        }
        if !self.removes(&cut, live, last) {
            return Ok(cut);
        }
        let row = joins.map_or(block.count(), |newest| newest.row + 1);
        cut = Cut { row, removed: cut.removed + live, ..cut };
        match self.newest.filter(|newest| is_tail && newest.starts_node) {
            Some(newest) if self.removes(&cut, 1, newest.id) => {
                Ok(Cut { block: newest.block, row: newest.row + 1, removed: cut.removed + 1 })
            }
            _ => Ok(cut),
        }
    }

    /// Whether a node of so many live entries, ending at `last`, goes.
    fn removes(&self, cut: &Cut, live: u64, last: StreamId) -> bool {
        let enough = match self.keep {
            TrimKeep::MaxLen(keep) => self.length - cut.removed - live >= keep,
            TrimKeep::MinId(id) => last < id,
        };
        enough && cut.removed + live <= self.limit
    }
}

/// XDEL key id \[id ...]
pub(super) fn xdel<'a>(context: Context<'_>, key: Key<'a>, ids: &[StreamId]) -> Decided<'a> {
    let Some((key, stream)) = context.stream(key)? else {
        return Ok(Decision::answer(Reply::Integer(0)));
    };
    let found = places::places(context, key, stream, ids)?;
    let rows: BTreeSet<_> = found.iter().flatten().copied().collect();
    if rows.is_empty() {
        return Ok(Decision::answer(Reply::Integer(0)));
    }
    let deleted = ids.iter().zip(&found).filter(|(_, place)| place.is_some()).map(|(id, _)| *id);
    let max_deleted_id = deleted.fold(stream.max_deleted_id, StreamId::max);
    let reply = integer(rows.len() as u64);
    let rows = rows.into_iter().collect();
    Ok(Decision { reply, effects: Vec::from([Effect::Deleted { key, max_deleted_id, rows }]) })
}

/// XSETID key last-id \[ENTRIESADDED n] \[MAXDELETEDID id]
pub(super) fn xsetid<'a>(context: Context<'_>, xsetid: &Xsetid<'a>) -> Decided<'a> {
    let (key, stream) = context.existing(xsetid.key)?;
    let last_id = xsetid.last_id;
    if last_id < stream.max_deleted_id {
        return Err(Error::SetidBelowDeleted.into());
    }
    if !stream.is_empty() {
        if last_id < places::last_id(context, key, stream)? {
            return Err(Error::SetidBelowTop.into());
        }
        if xsetid.entries_added.is_some_and(|added| added < stream.len()) {
            return Err(Error::EntriesAddedBelowLength.into());
        }
    }
    let max_deleted_id = match xsetid.max_deleted_id {
        None | Some(StreamId::MIN) => stream.max_deleted_id,
        Some(id) => id,
    };
    let entries_added = xsetid.entries_added.unwrap_or(stream.entries_added);
    let mut effects = Vec::new();
    // Ids of a block increase, deleted ones included: the next entry may be below one of these.
    if last_id < stream.tail().last() {
        effects.push(Effect::Sealed { key });
    }
    effects.push(Effect::IdSet { key, last_id, entries_added, max_deleted_id });
    Ok(Decision { reply: Reply::Ok, effects })
}
