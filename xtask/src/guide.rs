//! `cargo xtask guide`: what README and guide tell people to type is typed, and answers what they
//! say. The shape of the guide, its chapters and links, is checked by [`book`] in an ordinary test.
//!
//! A fence ```` ```sh run ```` holds commands; a fence ```` ```text ```` right behind it what they
//! print, as redis-cli shows it on a terminal. In it `...` stands for anything, on a line of its
//! own for any lines; an id with the time of day in it for any such id, and an age (`12ms`, `3s`)
//! for any age. A fence that is not run says why: ```` ```sh not-run: REASON ````. Each page has a
//! server of its own that runs already, from its first command to its last. What a reader has and
//! the page does not show (entries, a server that was stopped) is made by blocks within `<!--` and
//! `-->`, which readers do not see.

pub mod book;
mod page;
mod session;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use self::page::Step;
use self::session::Session;
use crate::ci::{self, Outcome};
use crate::{peers, workspace};

/// Pages that must have commands to run, and how many at least.
const STEPS_MIN: [(&str, usize); 9] = [
    ("README.md", 3),
    ("docs/quick-start.md", 6),
    ("docs/from-redis.md", 1),
    ("docs/import.md", 4),
    ("docs/operate/backup.md", 3),
    ("docs/operate/cli.md", 16),
    ("docs/operate/dashboard.md", 2),
    ("docs/operate/metrics.md", 3),
    ("docs/operate/tls.md", 6),
];

/// Runs the commands of pages; none named means all that have some.
pub fn run(arguments: &[String]) -> Result<Outcome> {
    let (mut levada, mut pages) = (None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--binary" => levada = Some(PathBuf::from(rest.next().context("--binary FILE")?)),
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            page => pages.push(page.to_owned()),
        }
    }
    if !peers::has("redis-cli") {
        return ci::lacking("redis-cli is not installed: cargo xtask peers");
    }
    let levada = match levada {
        Some(program) => program,
        None => workspace::build(&["levada"])?.join("levada"),
    };
    let root = workspace::root();
    if pages.is_empty() {
        pages = book::pages(&root)?;
    }
    for page in pages {
        let text = std::fs::read_to_string(root.join(&page)).with_context(|| page.clone())?;
        let steps = page::steps(&text);
        let expected = STEPS_MIN.iter().find(|(name, _)| *name == page);
        let at_least = expected.map_or(0, |(_, count)| *count);
        ensure!(steps.len() >= at_least, "{page} has {} commands to run", steps.len());
        if !steps.is_empty() {
            match follow(&page, &steps, &levada)? {
                Outcome::Passed => println!("{page}: {} blocks, as it says", steps.len()),
                Outcome::Skipped(why) => println!("{page}: SKIPPED: {why}"),
            }
        }
    }
    Ok(Outcome::Passed)
}

/// Runs the commands of a page on a server of its own.
fn follow(page: &str, steps: &[Step], levada: &Path) -> Result<Outcome> {
    let mut session = Session::start(levada)?;
    let others = session.start_others(steps.iter().map(|step| step.script.as_str()));
    if let Outcome::Skipped(why) = others? {
        session.end()?;
        return Ok(Outcome::Skipped(why));
    }
    for step in steps {
        let printed = session.run(&step.script).with_context(|| step.place(page))?;
        if let Some(expect) = &step.expect {
            ensure!(
                page::is_meant(&printed, expect),
                "{}: it prints\n{printed}\nand the page says\n{expect}",
                step.place(page)
            );
        }
    }
    session.end()?;
    Ok(Outcome::Passed)
}
