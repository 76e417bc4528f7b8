//! Carries a whole stream as one payload, DUMP to RESTORE: the only way that takes the times along
//! at which consumers were seen and what idempotent producers left. For small streams, as both
//! servers hold the payload in memory, and stop for it.

use anyhow::{Context as _, Result};
use redis::Value;

use super::key::Item;
use super::peer::Peer;

/// Longest payload.
const PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// Memory above which no payload is asked for: it would hardly be shorter than allowed.
const MEMORY_BYTES_MAX: i64 = 32 << 20;

/// Restores a stream in the target, in place of what is there. `false` where that did not work,
/// and nothing changed: too large, or a payload or command that the target does not know.
pub(crate) fn carry(source: &mut Peer, target: &mut Peer, item: &Item) -> Result<bool> {
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
    let command = commands.cmd("RESTORE").arg(key).arg(item.expires_ms.unwrap_or(0)).arg(payload);
    command.arg("REPLACE").arg("ABSTTL");
    let restored = target.send(&commands)?.pop().context("RESTORE does not answer")?;
    // Why it was refused does not matter: there is another way, and its errors tell.
    Ok(restored == Value::Okay)
}
