//! The whole job: each need, and both migrations, one after the other.

use std::path::Path;

use anyhow::{Result, ensure};
use stage::{Directory, Table};

use crate::{from_channel, needs, second};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// An empty server: `redis://HOST` of Levada, Redis or Valkey. An embedded engine unless given.
    #[arg(long)]
    url: Option<String>,
    /// Another empty one, which is moved to. An embedded engine unless given.
    #[arg(long)]
    second: Option<String>,
    /// How many of each.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(6..=10_000))]
    count: u64,
}

/// Runs it; whether everything is as it should be.
pub(crate) fn run(args: &Args) -> Result<bool> {
    Directory::during("facade", |dir| {
        // Engines close with their last task: before the directory goes.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(on(args, dir))
    })
}

async fn on(args: &Args, dir: &Path) -> Result<bool> {
    let embedded = |name: &str| format!("embedded:{}", dir.join(name).display());
    let url = args.url.clone().unwrap_or_else(|| embedded("first"));
    let second_url = args.second.clone().unwrap_or_else(|| embedded("second"));
    ensure!(url != second_url, "the second system has to be another");
    let broker = levada::connect(&url).await?;
    for stream in ["readings", "tasks-idle", "quotes", "signals", "bookings"] {
        let entries = broker.backend().len(stream).await?;
        ensure!(entries == 0, "{stream} has {entries} entries: the demo needs an empty server");
    }
    println!("--- {} on {url}", broker.capabilities());
    let mut table = Table::default();
    needs::log(&broker, args.count, &mut table).await?;
    needs::tasks(&broker, args.count, &mut table).await?;
    needs::notices(&broker, &mut table).await?;
    needs::request(&broker, &mut table).await?;
    from_channel::run(&broker, args.count.div_ceil(10), &mut table).await?;
    second::run(&broker, &second_url, args.count, &mut table).await?;
    print!("{}", table.text());
    println!("facade: {}", if table.is_equal() { "EQUAL" } else { "DIFFERENT" });
    Ok(table.is_equal())
}
