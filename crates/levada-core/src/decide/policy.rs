//! XCFGSET, XCFGGET, XGROUP CFGSET, CFGGET and HANDOVER, XLAG: policies are set and shown.

use alloc::{sync::Arc, vec::Vec};
use core::hash::BuildHasher;

use super::{
    Context, Decided, Decision, Refusal, check, create, dead_letters_of, group::Found,
    group::find_for_xgroup, integer, places, retention,
};
use crate::{
    command::{Key, Xcfgset, XgroupCfgset, XgroupHandover, XgroupParked},
    effect::{Act, Effect},
    error::Error,
    group::{Group, NOBODY},
    id::StreamId,
    idempotence::IdmpLimits,
    keyspace::KeyNumber,
    limits, order,
    pending::Pending,
    policy::{Durability, GroupPolicy, OnLimit, Retention},
    reply::{Fact, Reply},
    stream::Stream,
};

/// Most delays that BACKOFF takes.
pub const DELAYS_MAX: usize = 64;

/// XCFGSET key \[IDMP-DURATION s] \[IDMP-MAXSIZE n] \[DEDUP-WINDOW ms] \[DEDUP-MAX n]
/// \[RETENTION KEEP|ACKED] \[RETAIN-ACKED ms] \[MAX-AGE ms] \[MAX-LEN n] \[MAX-BYTES n]
/// \[ON-LIMIT REJECT|TRIM]
pub(super) fn xcfgset<'a>(context: Context<'_>, asked: &Xcfgset<'a>) -> Decided<'a> {
    let (key, stream) = context.existing(asked.key)?;
    let held = stream.idempotence.limits;
    let limits = IdmpLimits {
        duration_s: asked.idmp_duration_s.unwrap_or(held.duration_s),
        iids_max: asked.idmp_iids_max.unwrap_or(held.iids_max),
    };
    let mut policy = *stream.policy;
    asked.options.iter().for_each(|option| option.set(&mut policy));
    check::stream(context, stream, &policy)?;
    let mut effects = Vec::new();
    if policy != *stream.policy {
        effects.push(Effect::Policy { key, act: Act::StreamPolicySet(policy) });
        if stream.idempotence.dedup().is_none() {
            effects.extend(create::dedup(context, key, &policy));
        }
    }
    // The same values forget nothing: every producer may set them before it begins.
    if limits != held {
        effects.push(Effect::IdmpSet { key, limits });
    }
    Ok(Decision { reply: Reply::Ok, effects })
}

/// XCFGGET key
pub(super) fn xcfgget<'a>(context: Context<'_>, key: Key<'a>) -> Decided<'a> {
    let (_, stream) = context.existing(key)?;
    let (policy, idmp) = (*stream.policy, stream.idempotence.limits);
    let word =
        |is_second: bool, words: [&'static str; 2]| Fact::Word(words[usize::from(is_second)]);
    let facts = Vec::from([
        ("idmp-duration", Fact::Number(idmp.duration_s)),
        ("idmp-maxsize", Fact::Number(idmp.iids_max)),
        ("dedup-window", Fact::Number(policy.dedup_window_ms)),
        ("dedup-max", Fact::Number(policy.dedup_max)),
        ("retention", word(policy.retention == Retention::Acked, ["KEEP", "ACKED"])),
        ("retain-acked", Fact::Number(policy.retain_acked_ms)),
        ("max-age", Fact::Number(policy.max_age_ms)),
        ("max-len", Fact::Number(policy.max_len)),
        ("max-bytes", Fact::Number(policy.max_bytes)),
        ("on-limit", word(policy.on_limit == OnLimit::Trim, ["REJECT", "TRIM"])),
        ("durability", word(policy.durability == Durability::Interval, ["ALWAYS", "INTERVAL"])),
    ]);
    Ok(Decision::answer(Reply::Facts(facts)))
}

/// XGROUP CFGSET key group \[ACK-WAIT ms] \[MAX-DELIVER n] \[BACKOFF n ms ...] \[DLQ key]
/// \[MAX-PENDING n] \[ORDER-BY field] \[CONSUMER-TTL ms] \[RETAIN YES|NO]
pub(super) fn cfgset<'a>(context: Context<'_>, asked: &XgroupCfgset<'a>) -> Decided<'a> {
    let found = find_for_xgroup(context, asked.key, asked.group)?;
    let Found { key, number: group, .. } = found;
    let mut policy = found.group.policy.clone();
    asked.options.iter().for_each(|option| option.set(&mut policy));
    check::group(context, asked.key, asked.group, &policy)?;
    let mut effects = Vec::new();
    if policy != found.group.policy {
        let keys = keys_of_pending(context, &found, &mut policy)?;
        effects.push(Effect::Policy { key, act: Act::GroupPolicySet { group, policy } });
        effects.extend(keys);
    }
    Ok(Decision { reply: Reply::Ok, effects })
}

/// The seed of a group's hashes: only the log and the checkpoint know it.
pub(super) fn order_seed(context: Context<'_>, key: KeyNumber, group: u32) -> u64 {
    context.machine.keys.hasher().hash_one((key.0, group, context.now_ms))
}

/// The keys of what is pending where ORDER-BY begins, and the seed of their hashes. What nobody has
/// and nobody was ever given is parked: so an import carries what was parked elsewhere.
fn keys_of_pending(
    context: Context<'_>,
    found: &Found<'_>,
    policy: &mut GroupPolicy,
) -> Result<Vec<Effect<'static>>, Refusal> {
    let Found { key, stream, number, group } = *found;
    if policy.order_by == group.policy.order_by || !policy.is_ordered() {
        return Ok(Vec::new());
    }
    if group.policy.is_ordered() {
        return Err(Error::OrderChanges.into());
    }
    if group.pending.len() > limits::ORDERED_PENDING_MAX {
        return Err(Error::OrderTooLate.into());
    }
    let ids: Vec<_> = group.pending.iter_from(StreamId::MIN).map(|held| held.id).collect();
    let mut blocks: Vec<_> = ids.iter().map(|id| stream.seek(*id)).collect();
    blocks.dedup();
    if blocks.len() > limits::ORDERED_START_BLOCKS {
        return Err(Error::OrderTooLate.into());
    }
    policy.order_seed = order_seed(context, key, number);
    let places = places::places(context, key, stream, &ids)?;
    let (mut taken, mut parked) = (Vec::new(), Vec::new());
    for (held, place) in group.pending.iter_from(StreamId::MIN).zip(places) {
        let Some((block, row)) = place else {
            continue;
        };
        let block = context.block(key, stream, block)?;
        let row = block.row(row);
        let of_key = row.and_then(|row| order::key_of(policy, &row.fields));
        let rows = match is_waiting(stream, &held) {
            true => &mut parked,
            false => &mut taken,
        };
        rows.extend(of_key.map(|of_key| (held.id, of_key)));
    }
    let mut effects = Vec::new();
    if !taken.is_empty() {
        let act = Act::TakenOff { group: number, rows: taken };
        effects.push(Effect::Policy { key, act });
    }
    if !parked.is_empty() {
        let ids = parked.iter().map(|(id, _)| *id).collect();
        effects.push(Effect::Released { key, group: number, ids });
        let act = Act::Parked { group: number, rows: parked };
        effects.push(Effect::Policy { key, act });
    }
    Ok(effects)
}

/// Whether a pending entry waits for its first delivery and is not offered, nor redriven.
fn is_waiting(stream: &Stream, held: &Pending) -> bool {
    let is_nobodys = held.consumer == NOBODY && held.flags == 0;
    is_nobodys && held.count == 0 && held.leases == 0 && !stream.redriven.contains(held.id)
}

/// XGROUP CFGGET key group
pub(super) fn cfgget<'a>(context: Context<'_>, key: Key<'a>, group: &[u8]) -> Decided<'a> {
    let policy = &find_for_xgroup(context, key, group)?.group.policy;
    let dlq = Arc::from(dead_letters_of(policy, key.name, group));
    let retain = Fact::Word(if policy.retain_no { "NO" } else { "YES" });
    let facts = Vec::from([
        ("ack-wait", Fact::Number(policy.ack_wait_ms)),
        ("max-deliver", Fact::Number(policy.max_deliver)),
        ("backoff", Fact::Numbers(policy.backoff_ms.to_vec())),
        ("dlq", Fact::Bytes(dlq)),
        ("max-pending", Fact::Number(policy.max_pending)),
        ("order-by", Fact::Bytes(Arc::clone(&policy.order_by))),
        ("consumer-ttl", Fact::Number(policy.consumer_ttl_ms)),
        ("retain", retain),
    ]);
    Ok(Decision::answer(Reply::Facts(facts)))
}

/// XGROUP PARKED key group \[AFTER id] \[COUNT n]
pub(super) fn parked_ids<'a>(context: Context<'_>, asked: &XgroupParked<'a>) -> Decided<'a> {
    let Found { key, stream, group, .. } = find_for_xgroup(context, asked.key, asked.group)?;
    let most = usize::try_from(asked.count).unwrap_or(usize::MAX);
    let mut ids = Vec::new();
    let above = asked.after.next().into_iter().flat_map(|from| group.order.parked_from(from));
    for (id, _) in above {
        if ids.len() >= most {
            break;
        }
        if places::still_there(context, key, stream, id)? {
            ids.push(id);
        }
    }
    Ok(Decision::answer(Reply::Ids(ids)))
}

/// XGROUP HANDOVER key group consumer \[TO consumer]
pub(super) fn handover<'a>(context: Context<'_>, asked: &XgroupHandover<'a>) -> Decided<'a> {
    let found = find_for_xgroup(context, asked.key, asked.group)?;
    let Some((consumer, held)) = found.group.consumers.find(asked.consumer) else {
        return Ok(Decision::answer(Reply::Integer(0)));
    };
    let reply = integer(held.pending);
    let mut effects = Vec::new();
    let to = match asked.to {
        None => None,
        Some(name) if name == asked.consumer => return Err(Error::HandoverToSelf.into()),
        Some(name) => {
            let (to, created) = found.consumer(name);
            effects.extend(created);
            Some(to)
        }
    };
    let act = Act::HandedOver { group: found.number, consumer, to };
    effects.push(Effect::Policy { key: found.key, act });
    Ok(Decision { reply, effects })
}

/// XLAG key group
pub(super) fn xlag<'a>(context: Context<'_>, key: Key<'a>, group: &[u8]) -> Decided<'a> {
    let Found { key, stream, group, .. } = super::group::find(context, key, group)?;
    let span = places::Span::above(group.last_id, u64::MAX);
    let behind = places::collect_new(context, key, stream, span)?;
    let age = |since_ms: u64| Fact::Number(context.now_ms.saturating_sub(since_ms));
    let first = behind.parts.first().and_then(crate::reply::Part::block);
    let parked = parked(context, key, stream, group)?;
    let first = parked.first().copied().or(first);
    let undelivered = first.map_or(Fact::Nil, |block| age(stream.appended_ms(block)));
    // What nobody was given is not old.
    let pending = group.pending.oldest_above(0).map_or(Fact::Nil, age);
    let watermark =
        retention::watermark(stream).min(stream.last_id.next().unwrap_or(StreamId::MAX));
    let facts = Vec::from([
        ("entries", Fact::Number(behind.count + parked.len() as u64)),
        ("oldest-undelivered-ms", undelivered),
        ("oldest-pending-ms", pending),
        ("watermark", Fact::Id(watermark)),
        ("offered", Fact::Number(group.offers.offered.len() as u64)),
        ("parked", Fact::Number(parked.len() as u64)),
        ("dead-letters", Fact::Number(group.dead_letters)),
        ("dlq-blocked", Fact::Number(group.offers.condemned.len() as u64)),
        ("dropped", Fact::Number(group.dropped)),
        ("released-unread", Fact::Number(group.released_unread)),
        ("stream-released-unread", Fact::Number(stream.released_unread)),
    ]);
    Ok(Decision::answer(Reply::Facts(facts)))
}

/// The blocks of the parked entries that are still there, one for each.
fn parked(
    context: Context<'_>,
    key: KeyNumber,
    stream: &Stream,
    group: &Group,
) -> Result<Vec<u64>, Refusal> {
    let (first, _) = stream.id_range(stream.first_block());
    let mut blocks = Vec::new();
    for (id, _) in group.order.parked_from(first) {
        if places::still_there(context, key, stream, id)? {
            blocks.push(stream.seek(id));
        }
    }
    Ok(blocks)
}
