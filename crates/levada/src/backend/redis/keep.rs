//! What a janitor needs: which streams there are, and consumers that are gone. Where our user may
//! run no scripts these keep their names: what is pending for them is handed over all the same.

use std::time::Duration;

use redis::{Value, cmd};

use super::group::milliseconds;
use super::{Redis, parse};
use crate::backend::{ConsumerFacts, Seat};
use crate::error::{Error, Result};

/// Keys that one SCAN looks at.
const SCAN_COUNT: u32 = 1000;
/// Entries handed over in one step.
const HANDED_MAX: u32 = 500;
/// Deletes a consumer unless something is pending for it, in one step: in two, what it was
/// delivered in between would be gone.
const REMOVE: &str = "\
local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if #held > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1";

impl Redis {
    pub(super) async fn all_streams(&self, pattern: &str) -> Result<Vec<String>> {
        let (mut streams, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
            let mut page = parse::list(self.link.run(scan.arg("TYPE").arg("stream")).await?)?;
            let names = parse::list(page.pop().unwrap_or(Value::Nil))?;
            streams.extend(names.iter().filter_map(parse::text_of));
            cursor = page.pop().as_ref().and_then(parse::text_of).unwrap_or_else(|| "0".into());
            if cursor == "0" {
                streams.sort_unstable();
                streams.dedup(); // A key may come twice while the table of keys grows.
                return Ok(streams);
            }
        }
    }

    pub(super) async fn all_consumers(
        &self,
        stream: &str,
        group: &str,
    ) -> Result<Vec<ConsumerFacts>> {
        let asked = self.link.run(cmd("XINFO").arg("CONSUMERS").arg(stream).arg(group)).await?;
        parse::list(asked)?.into_iter().map(consumer).collect()
    }

    pub(super) async fn retire_consumer(
        &self,
        seat: &Seat,
        heir: Option<&str>,
        idle: Duration,
    ) -> Result<bool> {
        while let Some(heir) = heir {
            let mut pending = cmd("XPENDING");
            pending.arg(&*seat.stream).arg(&*seat.group).arg("IDLE").arg(milliseconds(idle));
            pending.arg("-").arg("+").arg(HANDED_MAX).arg(&*seat.consumer);
            let rows = parse::pending_rows(self.link.run(&pending).await?)?;
            if rows.is_empty() {
                break;
            }
            // As idle as before, and not counted: whoever looks for what is idle finds it.
            let mut claim = cmd("XCLAIM");
            claim.arg(&*seat.stream).arg(&*seat.group).arg(heir).arg(milliseconds(idle));
            for row in &rows {
                claim.arg(row.id.to_string());
            }
            let claimed = self.link.run(claim.arg("IDLE").arg(milliseconds(idle)).arg("JUSTID"));
            if parse::list(claimed.await?)?.is_empty() {
                break; // They are alive, or their entries are gone: the next sweep sees.
            }
        }
        if !self.capabilities.scripts {
            // What a group delivers is no change that WATCH would see: a consumer that wakes up at
            // this moment would be removed with what it has in hand. Its name does no harm.
            return Ok(false);
        }
        let mut remove = cmd("EVAL");
        remove.arg(REMOVE).arg(1).arg(&*seat.stream).arg(&*seat.group).arg(&*seat.consumer);
        Ok(parse::count(&self.link.run(&remove).await?)? > 0)
    }
}

fn consumer(row: Value) -> Result<ConsumerFacts> {
    let mut facts = ConsumerFacts { name: String::new(), pending: 0, idle: Duration::ZERO };
    for (name, value) in parse::pairs(row)? {
        match parse::text_of(&name).unwrap_or_default().as_str() {
            "name" => facts.name = parse::text_of(&value).ok_or_else(|| Error::protocol(&value))?,
            "pending" => facts.pending = parse::count(&value)?,
            "idle" => facts.idle = Duration::from_millis(parse::count(&value)?),
            _ => {}
        }
    }
    Ok(facts)
}
