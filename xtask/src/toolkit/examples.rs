//! The example programs of the toolkit, run as a reader of them would.

use std::process::Command;

use anyhow::{Context as _, Result};
use stage::Postgres;

use crate::workspace;

/// Each with what it has to say.
const EXAMPLES: [(&str, &str); 7] = [
    ("hello", "3 done"),
    ("retry", "given back: 1"),
    ("batch", "acked: 249, retried: 0, dead: 1"),
    ("later", "cancelled: true"),
    ("ask", "100 euros are 107.00 dollars"),
    ("partitions", "12 events handled"),
    ("replay", "again: edsger"),
];
/// The one that needs a database.
const BANK: (&str, &str) = ("bank", "others were told 1 time(s)");

/// Whether all of them do what they say, on memory and on the server of a URL.
pub(super) fn run(url: Option<&str>, database: Option<&Postgres>) -> Result<bool> {
    workspace::build_examples(&EXAMPLES.map(|(name, _)| name))?;
    let mut well = true;
    for url in ["memory:"].into_iter().chain(url) {
        for (name, words) in EXAMPLES {
            well &= says(name, &[url], words)?;
        }
    }
    if let Some(database) = database {
        workspace::build_examples(&[BANK.0])?;
        well &= says(BANK.0, &[&database.address(), "memory:"], BANK.1)?;
    }
    Ok(well)
}

fn says(name: &str, arguments: &[&str], words: &str) -> Result<bool> {
    let program = workspace::target_dir().join("debug/examples").join(name);
    let output = Command::new(&program).args(arguments).output();
    let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let well = output.status.success() && said.contains(words);
    if well {
        println!("example {name} on {}: well", arguments[arguments.len() - 1]);
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        println!("example {name} {arguments:?} does not say {words:?}, but\n{said}{errors}");
    }
    Ok(well)
}
