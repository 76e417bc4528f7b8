//! The producer: one connection, XADDs in pipelines.
//!
//! When the link breaks, nobody knows which of the unanswered XADDs were done. So the entry id is
//! not left to the server: record n is entry `n-0`. The producer sends the whole pipeline again,
//! and the server itself answers "equal or smaller" for those that it has.

use std::path::PathBuf;

use anyhow::{Context, Result};
use redis::{Connection, RedisError, RedisResult};

use crate::client::{self, STREAM};
use crate::records::{self, Record};

/// What the producer needs to know.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address of the server, `redis://host:port`.
    #[arg(long)]
    url: String,
    /// The flight records, a JSON array.
    #[arg(long)]
    file: PathBuf,
    /// Send only the first N records.
    #[arg(long)]
    records: Option<usize>,
    /// XADDs in one pipeline.
    #[arg(long, default_value_t = 500)]
    batch: usize,
}

/// Appends the records and returns when the server has acknowledged every one.
pub(crate) fn run(args: &Args) -> Result<()> {
    let records = records::load(&args.file, args.records)?;
    let mut connection = client::connect(&args.url)?;
    let mut first = 1;
    for batch in records.chunks(args.batch.max(1)) {
        while let Err(error) = send(&mut connection, first, batch) {
            if !client::passing(&error) {
                return Err(error).with_context(|| format!("the batch at record {first} failed"));
            }
            println!("producer: connection lost, sending again from record {first}");
            connection = client::connect(&args.url)?;
        }
        first += batch.len();
    }
    println!("producer: all {} records are acknowledged", records.len());
    Ok(())
}

/// Sends one pipeline; record `first` is the first of `batch`.
fn send(connection: &mut Connection, first: usize, batch: &[Record]) -> RedisResult<()> {
    let mut pipeline = redis::pipe();
    for (number, record) in (first..).zip(batch) {
        pipeline.xadd(
            STREAM,
            format!("{number}-0"),
            &[
                ("delay", record.delay.to_string()),
                ("distance", record.distance.to_string()),
                ("time", record.time.to_string()),
            ],
        );
    }
    let replies: Vec<RedisResult<String>> = pipeline.ignore_errors().query(connection)?;
    replies
        .into_iter()
        .find_map(|reply| reply.err().filter(|e| !already_there(e)))
        .map_or(Ok(()), Err)
}

/// XADD refuses an id at or below the last one. From a producer that sends its records in order,
/// that says that this record is in the stream already.
fn already_there(error: &RedisError) -> bool {
    error.detail().is_some_and(|text| text.contains("equal or smaller"))
}
