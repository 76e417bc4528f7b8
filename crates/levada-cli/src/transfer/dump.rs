//! Carries a whole stream as one payload, DUMP to RESTORE: the only way that takes the times along
//! at which consumers were seen and what idempotent producers left. For small streams, as both
//! servers hold the payload in memory, and stop for it.

use anyhow::{Context as _, Result};
use redis::Value;

use super::key::Item;
use super::peer::Peer;
use super::policy::Policies;

/// Longest payload.
const PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// Memory above which no payload is asked for: it would hardly be shorter than allowed.
const MEMORY_BYTES_MAX: i64 = 32 << 20;

/// Restores a stream in the target, in place of what is there, with these policies. `false` where
/// that did not work, and nothing changed: too large, or a payload or command that the target does
/// not know.
pub(crate) fn carry(
    source: &mut Peer,
    target: &mut Peer,
    item: &Item,
    policies: Option<&Policies>,
) -> Result<bool> {
    let key = &item.key;
    let mut commands = redis::pipe();
    commands.cmd("MEMORY").arg("USAGE").arg(key);
    let memory = source.send(&commands)?.pop();
    if !matches!(memory, Some(Value::Int(..=MEMORY_BYTES_MAX))) {
        return Ok(false);
    }
    let mut commands = redis::pipe();
    commands.cmd("DUMP").arg(key);
    let payload = match source.send(&commands)?.pop() {
        Some(Value::BulkString(payload)) if payload.len() <= PAYLOAD_BYTES_MAX => payload,
        _ => return Ok(false),
    };
    let mut commands = redis::pipe();
    commands.cmd("MULTI");
    let command = commands.cmd("RESTORE").arg(key).arg(item.expires_ms.unwrap_or(0)).arg(payload);
    command.arg("REPLACE").arg("ABSTTL");
    policies.iter().for_each(|policies| policies.set(key, &mut commands));
    commands.cmd("EXEC");
    let done = target.send(&commands)?.pop().context("EXEC does not answer")?;
    let Value::Array(replies) = done else {
        return Ok(false);
    };
    let mut replies = replies.into_iter();
    // Why it was refused does not matter: there is another way, and its errors tell.
    if replies.next() != Some(Value::Okay) {
        return Ok(false);
    }
    for reply in replies {
        if let Value::ServerError(error) = reply {
            return Err(redis::RedisError::from(error)).context("its policies in the target");
        }
    }
    Ok(true)
}
