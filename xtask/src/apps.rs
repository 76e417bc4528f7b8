//! `cargo xtask apps`: the reference applications from end to end, each by its own demo, which
//! starts what it needs, kills it at random, and compares what was counted with what was served.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use stage::{Browser, ClickHouse, Postgres};

use crate::ci::{Outcome, lacking};
use crate::peer::Peer;
use crate::workspace;

/// Applications that run on an engine in the process or on any server.
const ANYWHERE: [&str; 3] = ["orders", "users", "facade"];

/// All but `flights`, which has a stage of its own: what needs nothing installed comes first.
pub fn run() -> Result<Outcome> {
    workspace::build(&[&ANYWHERE[..], &["clicks"]].concat())?;
    for app in ANYWHERE {
        demo(app, &[])?;
        let server = Peer::levada()?;
        demo(app, &["--url", &format!("redis://{}", server.address)])?;
    }
    clicks()
}

/// `clicks`: embedded, then with such clicks as may be lost in a buffer, then with Levada, Postgres
/// and ClickHouse while a browser looks at the live page.
fn clicks() -> Result<Outcome> {
    demo("clicks", &["--seconds", "8", "--kills", "3", "--rate", "200"])?;
    demo("clicks", &["--seconds", "5", "--kills", "0", "--rate", "200", "--clicks", "enqueued"])?;
    if Postgres::installed().is_none() || ClickHouse::installed().is_none() {
        return lacking("postgresql-15 or clickhouse-server is not installed: cargo xtask peers");
    }
    if !Browser::is_installed() {
        return lacking("chromium-driver is not installed: cargo xtask peers");
    }
    let picture = workspace::target_dir().join("live.png");
    let picture = picture.to_str().context("a path that is text")?;
    let options = ["--seconds", "20", "--kills", "8", "--rate", "200", "--databases"];
    demo("clicks", &[&options[..], &["--picture", picture]].concat())?;
    Ok(Outcome::Passed)
}

fn demo(app: &str, options: &[&str]) -> Result<()> {
    println!("--- {app} demo {}", options.join(" "));
    let mut program = Command::new(workspace::target_dir().join("debug").join(app));
    program.arg("demo").args(options).current_dir(workspace::root());
    ensure!(program.status()?.success(), "{app} demo {}", options.join(" "));
    Ok(())
}
