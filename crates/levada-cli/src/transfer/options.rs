//! What `levada import` and `levada export` have in common on the command line.

use clap::Args;

/// Which keys, and how.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Options {
    /// Only keys that match, as SCAN understands it.
    #[arg(long = "match", value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
    /// A database, or all; without it the one in the address.
    #[arg(long, value_name = "N|all", value_parser = databases)]
    pub(crate) db: Option<Databases>,
    /// Keys that are worked on at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) jobs: u64,
    /// Entries of a page at most; a page has about 4 MiB at most, too.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) batch: u64,
    /// Copies page by page also what is small enough to go as one payload of DUMP.
    #[arg(long)]
    pub(crate) by_pages: bool,
    /// Replaces keys that the target has.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Copies entries only, and leaves each stream open so that a later run goes on behind them.
    #[arg(long, conflicts_with_all = ["verify_only"])]
    pub(crate) keep_open: bool,
    /// Changes nothing, only compares.
    #[arg(long)]
    pub(crate) verify_only: bool,
    /// Tells of progress and of every key in lines of JSON on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which databases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Databases {
    /// All that have keys.
    All,
    /// This one.
    One(i64),
}

fn databases(text: &str) -> Result<Databases, String> {
    match text {
        "all" => Ok(Databases::All),
        text => text
            .parse()
            .ok()
            .filter(|number| *number >= 0)
            .map(Databases::One)
            .ok_or_else(|| "this is neither a number nor all".to_owned()),
    }
}
