//! Dead letters on their way back to the group that failed.
//!
//! Where the server has XDLQ, one record gives the entry back. Elsewhere it goes, in a transaction,
//! into a stream beside the source that only the workers of that group read.

use redis::cmd;

use super::{Redis, arguments, parse};
use crate::backend::Seat;
use crate::error::Result;
use crate::message::Entry;
use crate::{dead_letter, names};

/// How often a transaction is tried that others disturb: each new dead letter does.
const ATTEMPTS_MAX: u32 = 32;

impl Redis {
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
            link.run(cmd("WATCH").arg(from)).await?;
            let there = link.run(cmd("XRANGE").arg(from).arg(&id).arg(&id)).await?;
            if parse::entries(there)?.is_empty() {
                link.run(&cmd("UNWATCH")).await?;
                return Ok(false);
            }
            let mut add = cmd("XADD");
            add.arg(names::again(&seat.stream, &seat.group)).arg("*");
            arguments(&mut add, &dead_letter::original(&letter.fields));
            let mut delete = cmd("XDEL");
            delete.arg(from).arg(&id);
            if link.run_atomic(vec![add, delete]).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false) // It stays a dead letter.
    }
}
