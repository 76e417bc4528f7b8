//! Appends that are acknowledged when copies of them are there, and keys that are changed only
//! while they are ours.
//!
//! WAIT and WAITAOF go behind the appends in the same pipeline, on a connection of their own: they
//! hold up what comes behind them, and they speak of what was written on their connection.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd};

use super::group::milliseconds;
use super::link::Link;
use super::{Redis, parse};
use crate::backend::{Append, Backend as _};
use crate::durability::{Copies, Durability};
use crate::error::{Error, Result};
use crate::message::MessageId;

/// How often a transaction is tried that others disturb.
const ATTEMPTS_MAX: u32 = 8;

impl Redis {
    /// Appends in one pipeline, with the wait at its end.
    pub(super) async fn append_copied(
        &self,
        entries: Vec<Append>,
        durability: Durability,
    ) -> Result<Vec<Result<MessageId>>> {
        if self.needs_turns(&entries) {
            return self.append_each(entries, durability).await;
        }
        let mut pipeline = Pipeline::with_capacity(entries.len() + 1);
        for entry in &entries {
            pipeline.add_command(self.add(entry));
        }
        if let Some(wait) = wait(durability) {
            pipeline.add_command(wait);
        }
        let mut answers = self.copying.run_all(&pipeline).await?;
        let confirmed = match answers.pop() {
            Some(answer) => answer.and_then(|answer| confirmed(&answer, durability)),
            None => Err(Error::protocol("no answer to a wait")),
        };
        let mut ids = Vec::with_capacity(entries.len());
        for (entry, answer) in entries.iter().zip(answers) {
            ids.push(if self.needs_transaction(entry, &answer) {
                self.append_once(entry, durability).await
            } else {
                let id = answer.and_then(|id| parse::id(&id));
                id.and_then(|id| confirmed.clone().map(|()| id))
            });
        }
        Ok(ids)
    }

    /// Appends one after the other, for a user who may run no scripts: in order, also where only
    /// some of them are to be recognised.
    pub(super) async fn append_each(
        &self,
        entries: Vec<Append>,
        durability: Durability,
    ) -> Result<Vec<Result<MessageId>>> {
        let mut ids = Vec::with_capacity(entries.len());
        for entry in entries {
            ids.push(if self.is_emulated(&entry) {
                self.append_once(&entry, durability).await
            } else {
                // What was accepted before stays so.
                let one = self.append_held(vec![entry], durability).await;
                let one = one.map(|one| one.into_iter().next());
                one.and_then(|id| id.unwrap_or_else(|| Err(Error::protocol("nothing"))))
            });
        }
        Ok(ids)
    }

    /// Sets the time of a key, or removes it, if it has this value.
    pub(super) async fn renew_key(
        &self,
        key: &str,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let link = self.watching.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let watching = link.watch(&[key]).await?;
            let found = parse::bytes_of(&link.run(cmd("GET").arg(key)).await?);
            if found.as_deref() != Some(value) {
                link.run(&cmd("UNWATCH")).await?;
                return Ok(false);
            }
            let mut change = cmd(if ttl.is_some() { "SET" } else { "DEL" });
            change.arg(key);
            if let Some(ttl) = ttl {
                change.arg(value).arg("PX").arg(milliseconds(ttl).max(1));
            }
            if link.run_atomic(watching, vec![change]).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Waits, on the connection that wrote, until what it wrote is copied.
pub(super) async fn await_copies(link: &Link, durability: Durability) -> Result<()> {
    match wait(durability) {
        Some(wait) => confirmed(&link.run_blocking(&wait, durability.within).await?, durability),
        None => Ok(()),
    }
}

fn wait(durability: Durability) -> Option<Cmd> {
    let ms = milliseconds(durability.within).max(1);
    match durability.copies {
        Copies::Leader => None,
        Copies::Replicas(count) => {
            let mut wait = cmd("WAIT");
            wait.arg(count).arg(ms);
            Some(wait)
        }
        Copies::Synced(count) => {
            let mut wait = cmd("WAITAOF");
            wait.arg(count.min(1)).arg(count.saturating_sub(1)).arg(ms);
            Some(wait)
        }
    }
}

/// An error where fewer copies are there than were asked for.
fn confirmed(answer: &Value, durability: Durability) -> Result<()> {
    let number = |value| parse::count(value).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let (reached, wanted) = match durability.copies {
        Copies::Leader => return Ok(()),
        Copies::Replicas(count) => (number(answer)?, count),
        Copies::Synced(count) => match parse::list(answer.clone())?.as_slice() {
            // Without the leader's own nothing is worth anything.
            [local, _] if number(local)? == 0 => (0, count),
            [_, replicas] => (number(replicas)?.saturating_add(1), count),
            other => return Err(Error::protocol(other)),
        },
    };
    if reached < wanted { Err(Error::Unconfirmed { reached, wanted }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_copies_are_an_error() {
        let synced = |local, replicas| Value::Array(vec![Value::Int(local), Value::Int(replicas)]);
        let two = Durability::replicas(2);
        assert!(confirmed(&Value::Int(2), two).is_ok());
        assert!(matches!(
            confirmed(&Value::Int(1), two),
            Err(Error::Unconfirmed { reached: 1, wanted: 2 })
        ));
        assert!(confirmed(&synced(1, 1), Durability::fsync(2)).is_ok());
        assert!(confirmed(&synced(1, 0), Durability::fsync(2)).is_err());
        assert!(confirmed(&synced(0, 5), Durability::fsync(1)).is_err());
    }
}
