//! What can be asked of the stream of accounts at any time: how they stood, and what was done.

use anyhow::Result;
use levada::{Reader, event};

use crate::event::Change;
use crate::state::Accounts;

#[derive(clap::Args, Debug)]
pub(crate) struct StateArgs {
    /// Where the streams are.
    #[arg(long)]
    url: String,
    /// Unix milliseconds of the server's clock: the accounts as they were then, else as they are.
    #[arg(long)]
    at: Option<u64>,
}

/// Prints all accounts.
pub(crate) async fn state(args: &StateArgs) -> Result<()> {
    let broker = levada::connect(&args.url).await?;
    for (user, account) in Accounts::at(&broker, args.at.unwrap_or(u64::MAX)).await?.0 {
        println!("{user} {account:?}");
    }
    Ok(())
}

#[derive(clap::Args, Debug)]
pub(crate) struct AuditArgs {
    /// Where the streams are.
    #[arg(long)]
    url: String,
    /// The user whose trail it is.
    #[arg(long)]
    user: String,
}

/// Prints what was done to an account, with the id of each entry: when, by the server's clock.
pub(crate) async fn audit(args: &AuditArgs) -> Result<()> {
    let broker = levada::connect(&args.url).await?;
    let mut reader = Reader::from_start::<Change>(&broker).await?;
    loop {
        let entries = reader.replay().await?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            match event::decode::<Change>(&entry.fields) {
                Ok(change) if change.user == args.user => {
                    println!("{} {} {:?}", entry.id, change.request, change.what);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}
