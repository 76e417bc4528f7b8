//! Ops carried out on the model.

use super::{CONSUMERS, GROUPS, Op, PIDS, model_key, other_database};
use crate::model::{Answer, ErrorKind, GroupFrom, Id, Iid, Model, ReadFrom, Reply};
use std::ops::Bound;

/// Carries an op out; the answers in order, one but for a transaction.
pub fn apply(model: &mut Model, now_ms: u64, op: &Op) -> Vec<Answer> {
    match op {
        Op::Multi(ops) => ops.iter().flat_map(|op| apply(model, now_ms, op)).collect(),
        Op::Limits(limits) => {
            model.limits = *limits;
            Vec::new()
        }
        Op::OnceLimits(limits) => {
            model.once = *limits;
            Vec::new()
        }
        op => vec![apply_one(model, now_ms, op)],
    }
}

fn apply_one(model: &mut Model, now_ms: u64, op: &Op) -> Answer {
    let inside = |first: &Id, last: &Id| (Bound::Included(*first), Bound::Included(*last));
    match op {
        Op::Xadd { key, create, trim, id, fields } => {
            model.xadd(now_ms, &model_key(*key), *create, *trim, *id, fields.clone())
        }
        Op::XaddOnce { .. } | Op::Xcfgset { .. } | Op::Xidmprecord { .. } => {
            apply_once(model, now_ms, op)
        }
        Op::Xdel(key, ids) => model.xdel(now_ms, &model_key(*key), ids),
        Op::Xdelex(key, what, ids) => model.xdelex(now_ms, &model_key(*key), *what, ids),
        Op::Xtrim(key, trim) => model.xtrim(now_ms, &model_key(*key), *trim),
        Op::Xsetid { key, last_id, entries_added, max_deleted_id } => {
            let deleted = max_deleted_id.unwrap_or(Id::MIN);
            model.xsetid(now_ms, &model_key(*key), *last_id, *entries_added, deleted)
        }
        Op::Xlen(key) => model.xlen(now_ms, &model_key(*key)),
        Op::Xrange { key, first, last, reverse, count } => {
            let (first, last) = inside(first, last);
            match reverse {
                true => model.xrevrange(now_ms, &model_key(*key), last, first, *count),
                false => model.xrange(now_ms, &model_key(*key), first, last, *count),
            }
        }
        Op::Xread { from, count, more } => {
            let from: Vec<(Vec<u8>, ReadFrom)> =
                from.iter().map(|(key, id)| (model_key(*key), *id)).collect();
            let from: Vec<_> = from.iter().map(|(key, id)| (&key[..], *id)).collect();
            model.xread(now_ms, &from, *count, more.most)
        }
        Op::XpendingRange { key, group, min_idle_ms, first, last, count, consumer } => {
            let (first, last) = inside(first, last);
            let consumer = consumer.map(|consumer| CONSUMERS[consumer]);
            let (key, group) = (model_key(*key), GROUPS[*group]);
            let idle = *min_idle_ms;
            model.xpending_range(now_ms, &key, group, idle, first, last, *count, consumer)
        }
        _ => apply_to_group(model, now_ms, op),
    }
}

fn apply_once(model: &mut Model, now_ms: u64, op: &Op) -> Answer {
    match op {
        Op::XaddOnce { key, create, trim, pid, iid, fields } => {
            let given = iid.as_ref().map(|iid| Iid::Given(iid.clone()));
            let iid = given.unwrap_or_else(|| Iid::of(fields));
            let (key, fields) = (model_key(*key), fields.clone());
            model.xadd_once(now_ms, &key, *create, *trim, fields, PIDS[*pid], iid)
        }
        Op::Xcfgset { key, duration_s, iids_max } => {
            model.xcfgset(now_ms, &model_key(*key), *duration_s, *iids_max)
        }
        Op::Xidmprecord { key, pid, iid, id } => {
            model.xidmprecord(now_ms, &model_key(*key), PIDS[*pid], iid, *id)
        }
        _ => unreachable!("the caller has told them apart"),
    }
}

fn apply_to_group(model: &mut Model, now_ms: u64, op: &Op) -> Answer {
    match op {
        Op::GroupCreate { key, group, start, create, entries_read } => {
            let (key, group) = (model_key(*key), GROUPS[*group]);
            model.xgroup_create(now_ms, &key, group, *start, *create, *entries_read)
        }
        Op::GroupSetid { key, group, start, entries_read } => {
            let (key, group) = (model_key(*key), GROUPS[*group]);
            model.xgroup_setid(now_ms, &key, group, *start, *entries_read)
        }
        Op::GroupDestroy(key, group) => {
            model.xgroup_destroy(now_ms, &model_key(*key), GROUPS[*group])
        }
        Op::CreateConsumer(key, group, consumer) => {
            let (group, consumer) = (GROUPS[*group], CONSUMERS[*consumer]);
            model.xgroup_createconsumer(now_ms, &model_key(*key), group, consumer)
        }
        Op::DelConsumer(key, group, consumer) => {
            let (group, consumer) = (GROUPS[*group], CONSUMERS[*consumer]);
            model.xgroup_delconsumer(now_ms, &model_key(*key), group, consumer)
        }
        Op::Xreadgroup { group, consumer, from, count, noack, more } => {
            let from: Vec<(Vec<u8>, GroupFrom)> =
                from.iter().map(|(key, id)| (model_key(*key), *id)).collect();
            let from: Vec<_> = from.iter().map(|(key, id)| (&key[..], *id)).collect();
            let (group, consumer) = (GROUPS[*group], CONSUMERS[*consumer]);
            model.xreadgroup(now_ms, group, consumer, &from, *count, *noack, *more)
        }
        Op::Xack(key, group, ids) => model.xack(now_ms, &model_key(*key), GROUPS[*group], ids),
        Op::Xackdel(key, group, what, ids) => {
            model.xackdel(now_ms, &model_key(*key), GROUPS[*group], *what, ids)
        }
        Op::Xpending(key, group) => model.xpending(now_ms, &model_key(*key), GROUPS[*group]),
        Op::Xclaim { key, group, consumer, min_idle_ms, ids, options } => {
            let (key, group, consumer) = (model_key(*key), GROUPS[*group], CONSUMERS[*consumer]);
            model.xclaim(now_ms, &key, group, consumer, *min_idle_ms, ids, *options)
        }
        Op::Xautoclaim { key, group, consumer, min_idle_ms, start, count, just_id } => {
            let (key, group, consumer) = (model_key(*key), GROUPS[*group], CONSUMERS[*consumer]);
            let (idle, start) = (*min_idle_ms, Bound::Included(*start));
            model.xautoclaim(now_ms, &key, group, consumer, idle, start, *count, *just_id)
        }
        Op::Xnack { key, group, mode, ids, count, force } => {
            let (key, group) = (model_key(*key), GROUPS[*group]);
            model.xnack(now_ms, &key, group, *mode, ids, *count, *force)
        }
        _ => apply_to_keys(model, now_ms, op),
    }
}

fn apply_to_keys(model: &mut Model, now_ms: u64, op: &Op) -> Answer {
    let names = |keys: &[usize]| keys.iter().map(|key| model_key(*key)).collect::<Vec<_>>();
    match op {
        Op::Del(keys) => {
            let keys = names(keys);
            model.del(now_ms, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        Op::Exists(keys) => {
            let keys = names(keys);
            model.exists(now_ms, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        Op::Set(key, value, ttl_ms) => model.set(now_ms, &model_key(*key), value, *ttl_ms),
        Op::Get(key) => model.get(now_ms, &model_key(*key)),
        Op::Incr(key) => model.incr(now_ms, &model_key(*key)),
        Op::Pexpire(key, ttl_ms) => model.pexpire(now_ms, &model_key(*key), *ttl_ms),
        Op::Persist(key) => {
            model.expire_keys(now_ms);
            let found = model.keys.get_mut(&model_key(*key));
            let had = found.is_some_and(|key| key.expires_ms.take().is_some());
            Ok(Reply::Integer(had.into()))
        }
        Op::Rename { from, to, only_new } => rename(model, now_ms, *from, *to, *only_new),
        Op::Copy { from, to, replace } => {
            model.copy(now_ms, &model_key(*from), &model_key(*to), *replace)
        }
        Op::Move(key) => model.move_to(now_ms, &model_key(*key), &model_key(other_database(*key))),
        Op::Swapdb => model.swap_databases(now_ms),
        Op::Restore { key, replace, ttl_ms, payload } => {
            model.restore(now_ms, &model_key(*key), *replace, *ttl_ms, payload)
        }
        Op::Flush(None) => model.flushall(),
        Op::Flush(Some(database)) => {
            model.keys.retain(|name, _| name[0] != b'0' + database);
            Ok(Reply::Ok)
        }
        Op::Dbsize(database) => {
            model.expire_keys(now_ms);
            let here = model.keys.keys().filter(|name| name[0] == b'0' + database);
            Ok(Reply::Integer(i64::try_from(here.count()).expect("a handful")))
        }
        _ => unreachable!("every other op has its place above"),
    }
}

/// RENAME, RENAMENX: the value moves with its expiry; onto itself nothing happens.
fn rename(model: &mut Model, now_ms: u64, from: usize, to: usize, only_new: bool) -> Answer {
    model.expire_keys(now_ms);
    let (from, to) = (model_key(from), model_key(to));
    if !model.keys.contains_key(&from) {
        return Err(ErrorKind::NoSuchKey);
    }
    if only_new && model.keys.contains_key(&to) {
        return Ok(Reply::Integer(0));
    }
    if let Some(moved) = model.keys.remove(&from) {
        model.keys.insert(to, moved);
    }
    Ok(match only_new {
        true => Reply::Integer(1),
        false => Reply::Ok,
    })
}
