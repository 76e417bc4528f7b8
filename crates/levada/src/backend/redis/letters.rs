//! Dead letters: how entries become some, and their way back to the group that failed.
//!
//! Where the server has leases it does the first by itself. Elsewhere a script does it in one step;
//! a user who may run none gets a transaction that watches a key of that entry, which all who bury
//! it write, and looks first whether it is still pending for its consumer: it is written once, also
//! by two at once. What WATCH cannot see is that another takes the entry over (what a group does is
//! no change of its key): within the round trip between look and transaction an entry that has just
//! been taken over may still become a dead letter.
//!
//! Where the server has XDLQ, one record gives the entry back. Elsewhere it goes, in a transaction,
//! into a stream beside the source that only the workers of that group read.

use std::time::Duration;

use redis::cmd;

use super::group::{milliseconds, on};
use super::{Redis, arguments, is_no_script, parse};
use crate::backend::{Failed, Seat};
use crate::error::{Error, Result};
use crate::message::{Entry, Fields};
use crate::{dead_letter, names};

/// Makes a dead letter of what is still pending for its consumer, in one step: what was done but
/// not answered is then not done again.
const BURY: &str = "\
local id = ARGV[3]
local held = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])
if #held == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 4))
redis.call('XACK', KEYS[1], ARGV[1], id)
redis.call('ZREM', KEYS[3], id)
return 1";
/// How long the key of an entry that was buried stays: longer than anybody is between look and
/// transaction is not needed, as a later look finds nothing.
const BURIED: Duration = Duration::from_mins(1);

/// How often a transaction is tried that others disturb: each new dead letter does.
const ATTEMPTS_MAX: u32 = 32;

impl Redis {
    pub(super) async fn bury(&self, seat: &Seat, failed: &Failed, to: &str) -> Result<()> {
        let id = failed.id.to_string();
        if self.capabilities.leases {
            let mut nack = on("XNACK", seat);
            nack.arg("FATAL").arg("REASON").arg(&failed.reason).arg("IDS").arg(1).arg(id);
            return self.link.run(&nack).await.map(drop);
        }
        let fields = dead_letter::fields(seat, failed, self.time().await?);
        if self.capabilities.scripts {
            let resting = names::resting(&seat.stream, &seat.group);
            let mut bury = cmd("EVAL");
            bury.arg(BURY).arg(3).arg(&*seat.stream).arg(to).arg(resting);
            bury.arg(&*seat.group).arg(&*seat.consumer).arg(&id);
            arguments(&mut bury, &fields);
            match self.link.run(&bury).await {
                Err(error) if is_no_script(&error) => {}
                done => return done.map(drop),
            }
        }
        self.bury_watching(seat, &id, to, &fields).await
    }

    /// The same without a script.
    async fn bury_watching(&self, seat: &Seat, id: &str, to: &str, fields: &Fields) -> Result<()> {
        let buried = names::buried(&seat.stream, &seat.group, id);
        let link = self.watching.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let watching = link.watch(&[&buried]).await?;
            let mut pending = on("XPENDING", seat);
            pending.arg(id).arg(id).arg(1).arg(&*seat.consumer);
            if parse::pending_rows(link.run(&pending).await?)?.is_empty() {
                link.run(&cmd("UNWATCH")).await?;
                return Ok(()); // It was buried before, or another has it.
            }
            self.expect_stream(&link, to).await?;
            let mut mark = cmd("SET");
            mark.arg(&buried).arg("").arg("PX").arg(milliseconds(BURIED));
            let mut add = cmd("XADD");
            add.arg(to).arg("*");
            arguments(&mut add, fields);
            let mut ack = on("XACK", seat);
            ack.arg(id);
            let mut awake = cmd("ZREM");
            awake.arg(names::resting(&seat.stream, &seat.group)).arg(id);
            if link.run_atomic(watching, vec![mark, add, ack, awake]).await?.is_some() {
                return Ok(());
            }
        }
        Err(Error::Conflict(format!("{buried} is being written by others")))
    }

    pub(super) async fn give_again(
        &self,
        seat: &Seat,
        from: &str,
        letters: &[Entry],
    ) -> Result<u64> {
        let mut given = 0;
        if self.capabilities.redrive {
            /// Letters in one command.
            const LETTERS_MAX: usize = 500;
            for letters in letters.chunks(LETTERS_MAX) {
                let mut redrive = cmd("XDLQ");
                redrive.arg("REDRIVE").arg(&*seat.stream).arg(&*seat.group);
                redrive.arg("IDS").arg(letters.len());
                for letter in letters {
                    redrive.arg(letter.id.to_string());
                }
                given += self.count(&redrive).await?;
            }
            return Ok(given);
        }
        for letter in letters {
            given += u64::from(self.give_one(seat, from, letter).await?);
        }
        Ok(given)
    }

    /// Whether it was still there.
    async fn give_one(&self, seat: &Seat, from: &str, letter: &Entry) -> Result<bool> {
        let link = self.watching.lock().await;
        let id = letter.id.to_string();
        for _ in 0..ATTEMPTS_MAX {
            let watching = link.watch(&[from]).await?;
            let there = link.run(cmd("XRANGE").arg(from).arg(&id).arg(&id)).await?;
            if parse::entries(there)?.is_empty() {
                link.run(&cmd("UNWATCH")).await?;
                return Ok(false);
            }
            let again = names::again(&seat.stream, &seat.group);
            self.expect_stream(&link, &again).await?;
            let mut add = cmd("XADD");
            add.arg(again).arg("*");
            arguments(&mut add, &dead_letter::original(&letter.fields));
            let mut delete = cmd("XDEL");
            delete.arg(from).arg(&id);
            if link.run_atomic(watching, vec![add, delete]).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false) // It stays a dead letter.
    }
}
