//! Streams and groups come into being, with the policies that an operator has configured for them:
//! all in the record that creates them.

use alloc::{borrow::Cow, vec::Vec};

use super::{Context, check, policy::order_seed};
use crate::{
    command::Key,
    dedup::{DedupLimits, Secret},
    effect::{Act, DedupChange, Effect, Kind},
    error::Error,
    idempotence::IdmpLimits,
    keyspace::KeyNumber,
    policy::StreamPolicy,
    schedule,
};

/// The number of a new key, and the effect that creates it.
pub(super) fn key<'a>(context: Context<'_>, key: Key<'a>, kind: Kind) -> (KeyNumber, Effect<'a>) {
    let number = context.machine.keys.next_number();
    let (database, name) = (key.database, key.name.into());
    (number, Effect::KeyCreated { key: number, database, kind, name })
}

/// The number of a new stream, with the effects that create it as the settings say. An error where
/// they say what cannot be kept.
pub(super) fn stream<'a>(
    context: Context<'_>,
    name: Key<'a>,
    effects: &mut Vec<Effect<'a>>,
) -> Result<KeyNumber, Error> {
    named_stream(context, name.database, name.name.into(), effects)
}

/// The same, where the name may be one that nobody gave.
pub(super) fn named_stream<'a>(
    context: Context<'_>,
    database: u8,
    name: Cow<'a, [u8]>,
    effects: &mut Vec<Effect<'a>>,
) -> Result<KeyNumber, Error> {
    let key = context.machine.keys.next_number();
    let policies = policies(context, key, &name)?;
    effects.push(Effect::KeyCreated { key, database, kind: Kind::Stream, name });
    effects.extend(policies);
    Ok(key)
}

/// What follows the creation of a stream of this name. Patterns say nothing of schedules: what
/// waits in one must not go by a limit or an age.
pub(super) fn policies(
    context: Context<'_>,
    key: KeyNumber,
    name: &[u8],
) -> Result<Vec<Effect<'static>>, Error> {
    let line = context.defaults.stream(name).filter(|_| schedule::target_of(name).is_none());
    let limits = IdmpLimits {
        duration_s: line.and_then(|line| line.idmp_duration_s).unwrap_or(context.idmp.duration_s),
        iids_max: line.and_then(|line| line.idmp_iids_max).unwrap_or(context.idmp.iids_max),
    };
    let mut effects = Vec::new();
    if limits != IdmpLimits::default() {
        effects.push(Effect::IdmpSet { key, limits });
    }
    let policy = line.map(|line| line.policy).unwrap_or_default();
    if policy != StreamPolicy::default() {
        check::dedup(context, 0, &policy)?;
        effects.push(Effect::Policy { key, act: Act::StreamPolicySet(policy) });
        effects.extend(dedup(context, key, &policy));
    }
    Ok(effects)
}

/// What makes a stream of this policy keep hashes that keeps none, where the policy says so.
pub(super) fn dedup(
    context: Context<'_>,
    key: KeyNumber,
    policy: &StreamPolicy,
) -> Option<Effect<'static>> {
    DedupLimits::of(policy)?;
    let secret = context.machine.new_secret(key, context.now_ms);
    Some(Effect::Dedup { key, change: DedupChange::Started(secret) })
}

/// The key of the hashes that one of these effects starts.
pub(super) fn secret(effects: &[Effect<'_>]) -> Option<Secret> {
    effects.iter().find_map(|effect| match effect {
        Effect::Dedup { change: DedupChange::Started(secret), .. } => Some(*secret),
        _ => None,
    })
}

/// What follows the creation of a group of this name.
pub(super) fn group(
    context: Context<'_>,
    key: KeyNumber,
    stream: &[u8],
    group: u32,
    name: &[u8],
) -> Option<Effect<'static>> {
    let mut policy = context.defaults.group(stream, name)?.clone();
    if policy.is_ordered() {
        policy.order_seed = order_seed(context, key, group);
    }
    Some(Effect::Policy { key, act: Act::GroupPolicySet { group, policy } })
}
