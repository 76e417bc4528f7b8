//! `cargo xtask VERB`: one place for everything that builds, checks and proves this workspace.
//! Clone, then `cargo xtask check` and `cargo xtask test`; `.ci/run` calls the same verbs.

mod browse;
mod chaos;
mod compare;
mod dedup;
mod faults;
mod flips;
mod footprint;
mod full_disk;
mod fuzz;
mod hostile;
mod kills;
mod mount;
mod order;
mod pgo;
mod retention;
mod schedule;
mod toolkit_chaos;
mod transfer;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use xtask::peers::{self, Version};
use xtask::transcript::{Options, Target};
use xtask::{
    apps, ci, clients, conformance, differential, guide, package, tidy, toolkit, workspace,
};

const HELP: &str = "\
cargo xtask VERB
  check                     rustfmt, clippy with warnings as errors, tidy
  test                      all tests: cargo nextest if installed, else cargo test
  fmt                       format the source
  tidy                      the rules that neither compiler nor clippy knows
  peers                     install and build the real servers to compare with, in the cache
  transcripts --peer 8.6|8.2|7.0|valkey
                            run tests/transcripts against a real server
  transcripts --levada      ... against a levada that is built and started for it
  transcripts --port P [--host H]   ... against a server that runs already: IT IS FLUSHED
              [--record]    write the replies that a file does not have yet into it
              [FILE ...]    only these files
  conformance [--plain] [--peer] [--only NAME]
                            the Tcl suite of Redis 8.6.3 against a levada that has DEBUG for it;
                            --plain without DEBUG, --peer against the real Redis
  kills [--rounds 100] [--seed S] [--server levada|redis] [--fault kill] [--canary] [--record]
                            a fault under load, and a ledger of what was acknowledged; faults:
                            kill, power-cut, sync-error, sync-kill, slow-sync, write-error,
                            no-space, directory-renamed, directory-removed, few-files,
                            little-memory
  schedule [--entries 100000] [--seconds 60] [--restarts 5] [--seed S]
                            entries for later and kill -9: none early, lost or twice; how late
  faults [--rounds 10] [--flips 100] [--seed S] [--servers levada,redis-8.6-always,...] [--dry]
                            the same faults for all, into RELIABILITY.md
  clients [--server levada|7.0|8.2|8.6|valkey|PROGRAM] [NAME ...]
                            other people's clients against a server, into a table
  browse [--pictures]       the dashboard in Chromium, clicked through; --pictures for the guide
  chaos [--seconds 600] [--seed S] [lease|pipeline ...]
                            the guide's example workers, killed at random with their server
  full-disk                 the real binary on a small tmpfs and ext4 until it is full (root)
  flips [--count 10000] [--seed S] [--record]
                            single bits flipped at rest: never served in silence, always named
  fuzz TARGET|all [--seconds 60] [--keep]
                            any bytes into a decoder or a reader of files, under libFuzzer
  footprint [--entries 10000000] [--server levada|redis|everysec]
                            memory, disk and restart of one long stream
  hostile [--strangers 1000] [--insiders 100] [--rounds 11] [--seconds 1] [--program FILE] [--apart]
                            attackers with and without a password, and a client that is served
  deny                      licences, sources and advisories of what is linked, by cargo-deny
  dedup [--appends 10000000]
                            idempotent appends with repetitions and a kill -9: count, memory, reload
  compare [--only CASE,...] [--rounds 5] [--seconds 2] [--wait-quiet] [--resume] [--dry]
                            speed and size beside Redis and Valkey, into BENCHMARKS.md; --render
                            makes the page anew, --smoke only tries every case
  differential [--commands 1000000] [--seed S] [--peer 8.6|PATH] [--replay FILE]
                            random commands: the same replies as a real Redis?
  toolkit [--server levada|7.0|8.2|8.6|valkey|tls|sentinel|cluster] [FILTER ...]
                            the promises of the toolkit, on each server, with a database, and on
                            bad days
  toolkit-chaos [--minutes 10 | --seconds S] [--seed S] [--server levada|valkey]
                            its workers and their server killed at random: every effect once
  order [--entries 1000000] [--keys 10000] [--consumers 16] [--kills 3] [--seed S] [--canary]
                            a group with ORDER-BY: is every key in order, and nothing lost?
  apps                      the reference applications with real databases, killed at random
  retention [--entries 1000000]
                            RETENTION ACKED with a stopped group: nothing lost, bytes on disk
  transfer [--entries 1000000] [--redis PROGRAM]
                            a stream with groups from Redis to Levada and back, compared
  pgo [--target T]          records how often which code runs under load, for the compiler of
                            what is packaged: by hand, for each version, and for
                            x86_64-unknown-linux-musl, too
  guide [--binary FILE] [PAGE ...]
                            runs the commands of README and guide, and compares what they print
  package [deb|pip|npm|tar|sbom|all] [--target T] [--binary FILE] [--check]
                            packages in target/package; --check makes them twice, installs each
                            and runs what was installed
  ci                        every stage in order, with a table of minutes
  help                      this text";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match verb {
        "check" => ci::check(),
        "test" => ci::test().map(drop),
        "fmt" => ci::fmt(),
        "tidy" => tidy::check(&workspace::root()),
        "peers" => peers::install(),
        "transcripts" => transcripts(rest),
        "clients" => clients::run(rest),
        "conformance" => {
            let options = conformance::Options::parse(rest);
            options.and_then(|it| conformance::run(&it)).map(|outcome| ci::say(&outcome))
        }
        "kills" => kills::run(rest),
        "browse" => browse::run(rest),
        "chaos" => chaos::run(rest),
        "schedule" => schedule::run(rest),
        "full-disk" => full_disk::run(),
        "faults" => faults::run(rest),
        "flips" => flips::run(rest),
        "dedup" => dedup::run(rest),
        "fuzz" => fuzz::run(rest),
        "footprint" => footprint::run(rest),
        "deny" => xtask::deny::run().map(|outcome| ci::say(&outcome)),
        "hostile" => hostile::run(rest),
        "differential" => differential::run(rest),
        "toolkit" => toolkit::run(rest).map(|outcome| ci::say(&outcome)),
        "toolkit-chaos" => toolkit_chaos::run(rest).map(|outcome| ci::say(&outcome)),
        "apps" => apps::run().map(|outcome| ci::say(&outcome)),
        "order" => order::run(rest),
        "retention" => retention::run(rest),
        "transfer" => transfer::run(rest),
        "compare" => compare::run(rest),
        "guide" => guide::run(rest).map(|outcome| ci::say(&outcome)),
        "pgo" => pgo::run(rest),
        "package" => package::run(rest).map(|outcome| ci::say(&outcome)),
        "ci" => ci::run_all(),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("unknown verb {other:?}\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            match error.downcast_ref::<ci::Unable>() {
                Some(_) => ExitCode::from(ci::Unable::EXIT_CODE),
                None => ExitCode::FAILURE,
            }
        }
    }
}

/// Parses the options of `transcripts` and runs them.
fn transcripts(arguments: &[String]) -> Result<()> {
    let (mut host, mut port, mut peer) = ("127.0.0.1".to_owned(), None, None);
    let (mut options, mut files) = (Options::default(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--host" => host.clone_from(value()?),
            "--port" => port = Some(value()?.parse::<u16>().context("--port")?),
            "--peer" => peer = Some(ci::PeerKind::Real(Version::parse(value()?)?)),
            "--levada" => peer = Some(ci::PeerKind::Levada),
            "--record" => options.record = true,
            flag if flag.starts_with('-') => bail!("unknown option {flag}"),
            file => files.push(PathBuf::from(file)),
        }
    }
    match (port, peer) {
        (Some(port), None) => {
            let address: SocketAddr =
                (host.as_str(), port).to_socket_addrs()?.next().context("host has no address")?;
            ci::run_transcripts(&Target { name: address.to_string(), address }, &files, options)
        }
        (None, Some(peer)) => {
            ci::transcripts(peer, &files, options).map(|outcome| ci::say(&outcome))
        }
        _ => bail!("say either --port P, --peer NAME or --levada"),
    }
}
