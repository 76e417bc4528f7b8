//! A worker: one consumer of the group.
//!
//! It is made to be killed. Nothing it holds in memory matters: what it counted is in its ledger
//! before it acknowledges, and what it did not acknowledge is delivered again, to itself after a
//! reconnect or to another worker that claims it.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply,
};
use redis::{Connection, RedisError, TypedCommands};

use crate::aggregate::band_of;
use crate::client::{self, BLOCK_MS, GROUP, STREAM};
use crate::ledger::{Counted, Ledger};

/// An entry pending for longer than this is taken from its consumer.
const CLAIM_IDLE: Duration = Duration::from_secs(2);
const CLAIM_EVERY: Duration = Duration::from_secs(1);

/// What a worker needs to know.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address of the server, `redis://host:port`.
    #[arg(long)]
    url: String,
    /// Name of this consumer in the group.
    #[arg(long)]
    consumer: String,
    /// Directory for the ledger.
    #[arg(long)]
    ledger: PathBuf,
    /// Entries in one read.
    #[arg(long, default_value_t = 200)]
    batch: usize,
}

/// Works until killed; returns only when the server stays away or refuses.
pub(crate) fn run(args: &Args) -> Result<Infallible> {
    let mut worker = Worker { args, ledger: Ledger::create(&args.ledger, &args.consumer)? };
    loop {
        let mut connection = client::connect(&args.url)?;
        let error = match worker.session(&mut connection) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        if !error.downcast_ref::<RedisError>().is_some_and(client::passing) {
            return Err(error.context(format!("{} gives up", args.consumer)));
        }
        println!("{}: connection lost, connecting again", args.consumer);
    }
}

struct Worker<'a> {
    args: &'a Args,
    ledger: Ledger,
}

impl Worker<'_> {
    /// Works over one connection until it breaks.
    fn session(&mut self, connection: &mut Connection) -> Result<Infallible> {
        create_group(connection)?;
        // First what was delivered to this consumer before and never acknowledged.
        while self.read(connection, "0")? > 0 {}
        let mut claimed_at = Instant::now();
        loop {
            if claimed_at.elapsed() >= CLAIM_EVERY {
                self.claim(connection)?;
                claimed_at = Instant::now();
            }
            self.read(connection, ">")?;
        }
    }

    /// Reads after `id` and counts what comes; returns how many entries came.
    fn read(&mut self, connection: &mut Connection, id: &str) -> Result<usize> {
        let options = StreamReadOptions::default()
            .group(GROUP, &self.args.consumer)
            .count(self.args.batch)
            .block(BLOCK_MS);
        let reply: Option<StreamReadReply> =
            connection.xread_options(&[STREAM], &[id], &options)?;
        let entries = reply.into_iter().flat_map(|r| r.keys).flat_map(|k| k.ids);
        let entries: Vec<StreamId> = entries.collect();
        self.count(connection, &entries)?;
        Ok(entries.len())
    }

    /// Takes over what others left pending for too long, and counts it.
    fn claim(&mut self, connection: &mut Connection) -> Result<()> {
        let mut cursor = "0-0".to_owned();
        let mut claimed = 0;
        loop {
            let reply: StreamAutoClaimReply = connection.xautoclaim_options(
                STREAM,
                GROUP,
                &self.args.consumer,
                CLAIM_IDLE.as_millis().to_string(),
                &cursor,
                StreamAutoClaimOptions::default().count(self.args.batch),
            )?;
            self.count(connection, &reply.claimed)?;
            claimed += reply.claimed.len();
            cursor = reply.next_stream_id;
            if cursor == "0-0" {
                break;
            }
        }
        if claimed > 0 {
            println!("{}: claimed {claimed} entries that lay pending", self.args.consumer);
        }
        Ok(())
    }

    /// Records first, acknowledges second: the other order loses entries in a kill.
    fn count(&mut self, connection: &mut Connection, entries: &[StreamId]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let counted = entries
            .iter()
            .map(|entry| Ok((entry.id.as_str(), flight(entry)?)))
            .collect::<Result<Vec<_>>>()?;
        self.ledger.record(&counted)?;
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        connection.xack(STREAM, GROUP, &ids)?;
        Ok(())
    }
}

/// Creates stream and group from the first entry on, unless another worker was faster.
fn create_group(connection: &mut Connection) -> Result<()> {
    match connection.xgroup_create_mkstream(STREAM, GROUP, "0") {
        Err(error) if error.code() != Some("BUSYGROUP") => Err(error.into()),
        _ => Ok(()),
    }
}

fn flight(entry: &StreamId) -> Result<Counted> {
    let field = |name| {
        entry.get::<i64>(name).with_context(|| format!("entry {} has no number {name}", entry.id))
    };
    let distance = u64::try_from(field("distance")?)
        .with_context(|| format!("entry {} has a distance below zero", entry.id))?;
    Ok((band_of(distance), field("delay")?))
}
