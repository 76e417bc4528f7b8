//! What a person does when payments have failed: looks at the dead letters, mends the cause, and
//! gives them back to the group that failed. The other groups notice nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::event::{self, Step};
use crate::outside::Books;
use crate::{compare, payment, plan};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where the streams are.
    #[arg(long)]
    url: String,
    /// Where the books of the systems outside are.
    #[arg(long)]
    dir: PathBuf,
    /// Orders that were placed.
    #[arg(long)]
    orders: u64,
}

/// Gives back the payments that failed, which have to be those of the broken issuer, each as often
/// as it was sent.
pub(crate) async fn run(args: &Args) -> Result<()> {
    let broker = event::connect(&args.url).await?;
    let mut all = compare::letters(&broker, payment::GROUP).await?;
    let (mut dead, mut reasons) = (Vec::new(), BTreeSet::new());
    for (_, letters) in &mut all {
        // What is no order stays where it is: it would fail again.
        letters.retain(|letter| letter.event::<Step>().is_ok());
        for letter in letters {
            dead.push(letter.event::<Step>()?.order);
            reasons.insert(letter.reason.clone());
        }
    }
    println!("--- {} payments are dead letters: {reasons:?}", dead.len());
    let poison = compare::poison(args.orders);
    dead.sort_unstable();
    ensure!(dead == poison, "dead letters {dead:?}, expected {poison:?}");
    Books::new(&args.dir).mend().context("the issuer could not be mended")?;
    let mut given = 0;
    for (place, letters) in &all {
        given += place.redrive(letters).await?;
    }
    ensure!(given == poison.len() as u64, "{given} of {} were given back", poison.len());
    println!("--- {} answers again; {given} payments are given back", plan::BROKEN_ISSUER);
    Ok(())
}
