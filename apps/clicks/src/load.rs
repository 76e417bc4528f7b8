//! `clicks load`: redirects at a rate, whatever the service makes of it, and how long they took.
//!
//! The loop is open: each request has its time, and one that had to wait for its connection began
//! when it should have. (Where the connection was free it begins when it is sent: that a timer of
//! this program is late says nothing of the service.) Each mode of recording gets a service and a
//! directory of its own; the difference to the one that records nothing is what recording costs.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;
use hdrhistogram::Histogram;
use serde::Deserialize;
use stage::{ClickHouse, Directory, Postgres, Process};

use crate::client::{Answer, Client, Failed};
use crate::record::Mode;

/// Connections that requests are spread over.
const CONNECTIONS: u64 = 64;
/// Requests that are this late at the end are given up: the service is far behind.
const LATE_MAX: Duration = Duration::from_secs(2);
/// Longest wait for a service to answer at its start.
const START_MAX: Duration = Duration::from_mins(1);
/// Longest wait for its end.
const END_MAX: Duration = Duration::from_mins(1);
/// Links that are clicked.
const LINKS: u64 = 50;
/// Before what is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often it is tried how soon a click is seen, and how long one look waits for the next.
const PROBE_EVERY: Duration = Duration::from_millis(300);
const PROBE_LOOK: Duration = Duration::from_millis(10);
/// A click that is not seen for so long is not waited for any more.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Redirects per second, one run for each.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000")]
    rates: Vec<u64>,
    /// How long each run takes.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// What happens to clicks, one run for each.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "nothing,enqueued,durable,synchronous"
    )]
    modes: Vec<Mode>,
    /// On Postgres and ClickHouse, which are started for it, instead of SQLite.
    #[arg(long)]
    databases: bool,
}

/// Redirects to send.
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) codes: Vec<String>,
    /// Per second.
    pub(crate) rate: u64,
    pub(crate) time: Duration,
    /// What ids of these requests begin with.
    pub(crate) name: String,
}

/// One of them: its id and the link.
pub(crate) struct Shot<'a> {
    pub(crate) id: String,
    pub(crate) code: &'a str,
}

/// What came of them.
pub(crate) struct Measured {
    /// Microseconds, of those that were answered.
    pub(crate) latency: Histogram<u64>,
    /// Those that were not, or not by a redirect.
    pub(crate) failed: u64,
    /// Those that were not sent, as the service was too far behind.
    pub(crate) unsent: u64,
}

/// Sends redirects at a rate; `note` gets every outcome.
pub(crate) async fn drive(
    plan: Arc<Plan>,
    note: impl Fn(&Shot<'_>, &Result<Answer, Failed>) + Send + Sync + Clone + 'static,
) -> Result<Measured> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        tasks.spawn(drive_one(Arc::clone(&plan), connection, start, note.clone()));
    }
    let mut all = Measured::new()?;
    while let Some(ended) = tasks.join_next().await {
        let one = ended??;
        all.latency.add(&one.latency)?;
        all.failed += one.failed;
        all.unsent += one.unsent;
    }
    Ok(all)
}

/// Those of one connection: each `CONNECTIONS`-th.
async fn drive_one(
    plan: Arc<Plan>,
    connection: u64,
    start: Instant,
    note: impl Fn(&Shot<'_>, &Result<Answer, Failed>),
) -> Result<Measured> {
    let mut client = Client::new(plan.address);
    let mut measured = Measured::new()?;
    for number in (connection..).step_by(usize::try_from(CONNECTIONS)?) {
        let due = Duration::from_nanos(number.saturating_mul(1_000_000_000) / plan.rate.max(1));
        if due >= plan.time {
            break;
        }
        if start.elapsed() > plan.time + LATE_MAX {
            measured.unsent += 1;
            continue;
        }
        let due = start + due;
        let begun = match Instant::now() < due {
            true => {
                tokio::time::sleep_until(due.into()).await;
                Instant::now()
            }
            false => due,
        };
        let code = &plan.codes[popular(number, plan.codes.len())];
        let shot = Shot { id: format!("{}-{number}", plan.name), code };
        let outcome = shoot(&mut client, &shot, number).await;
        match &outcome {
            Ok(answer) if answer.status.as_u16() == 302 => {
                measured.latency.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
            }
            _ => measured.failed += 1,
        }
        note(&shot, &outcome);
    }
    Ok(measured)
}

async fn shoot(client: &mut Client, shot: &Shot<'_>, number: u64) -> Result<Answer, Failed> {
    let (path, ip) = (format!("/{}", shot.code), address(number).to_string());
    let agent = AGENTS[usize::try_from(mixed(number) >> 7).unwrap_or(0) % AGENTS.len()];
    let headers = [
        ("x-request-id", &*shot.id),
        ("x-forwarded-for", &*ip),
        ("user-agent", agent),
        ("referer", "https://news.example/today"),
    ];
    client.get(&path, &headers).await
}

/// One of so many links: the first are followed more often than the last.
fn popular(number: u64, links: usize) -> usize {
    let links = links as u64;
    let even = mixed(number) % (links * links);
    // The root of an even choice is more often large than small.
    usize::try_from(links - 1 - even.isqrt()).unwrap_or(0)
}

/// A number that does not look like the one before.
fn mixed(number: u64) -> u64 {
    number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// Addresses of all the world.
fn address(number: u64) -> Ipv4Addr {
    let [_, _, _, _, a, b, c, d] = mixed(number).to_be_bytes();
    Ipv4Addr::new(a % 222 + 1, b, c, d)
}

/// What browsers call themselves, and what is no browser.
const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
     Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 \
     (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "curl/8.14.1",
    "\u{2014} no such browser",
];

impl Measured {
    fn new() -> Result<Self> {
        let latency = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        Ok(Self { latency, failed: 0, unsent: 0 })
    }

    /// Milliseconds at a quantile.
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Makes links and answers their codes; every address is posted twice, and has one code.
pub(crate) async fn make_links(address: SocketAddr, count: u64) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Made {
        code: String,
    }
    let mut client = Client::new(address);
    let mut codes = Vec::new();
    for number in 0..count {
        let body = format!(r#"{{"url":"https://example.org/page/{number}"}}"#);
        let mut twice = Vec::new();
        for status in [201, 200] {
            let made = client.post("/links", body.clone()).await;
            let made = made.map_err(|failed| anyhow::anyhow!("POST /links: {failed:?}"))?;
            ensure!(made.status.as_u16() == status, "POST /links: {} {:?}", made.status, made.body);
            twice.push(serde_json::from_slice::<Made>(&made.body)?.code);
        }
        ensure!(twice[0] == twice[1], "one address has the codes {twice:?}");
        codes.push(twice.swap_remove(0));
    }
    Ok(codes)
}

/// Waits until a service answers.
pub(crate) async fn answers(address: SocketAddr, process: &mut Process) -> Result<()> {
    let started = Instant::now();
    let mut client = Client::new(address);
    loop {
        process.check_running()?;
        match client.json::<serde_json::Value>("/status").await {
            Ok(_) => return Ok(()),
            Err(error) => ensure!(started.elapsed() < START_MAX, "no answer: {error:#}"),
        }
        tokio::time::sleep(PROBE_LOOK).await;
    }
}

/// Measures, and prints a table.
pub(crate) async fn run(args: &Args) -> Result<()> {
    println!(
        "rate/s  clicks       redirects    p50 ms   p99 ms  p99.9 ms    max ms  failed  \
         seen after ms: p50, max"
    );
    for &rate in &args.rates {
        for &mode in &args.modes {
            run_one(args, rate, mode).await?;
        }
    }
    Ok(())
}

/// One line of the table.
async fn run_one(args: &Args, rate: u64, mode: Mode) -> Result<()> {
    let directory = Directory::new("clicks-load")?;
    let databases = match args.databases {
        true => Some((
            Postgres::start()?.context("postgresql-15 is not installed")?,
            ClickHouse::start()?.context("clickhouse-server is not installed")?,
        )),
        false => None,
    };
    let port = stage::free_port()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let word = mode.to_possible_value().context("every mode has a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--behind-proxy", "--clicks", word.get_name()]);
    command.args(["--listen", &address.to_string(), "--data"]).arg(directory.path());
    if let Some((postgres, clickhouse)) = &databases {
        command.args(["--postgres", &postgres.address(), "--clickhouse", &clickhouse.url()]);
    }
    command.stdout(std::process::Stdio::null());
    let mut service = Process::start("clicks", &mut command)?;
    answers(address, &mut service).await?;
    let codes = make_links(address, LINKS).await?;
    let plan = |name: &str, time| {
        let (codes, name) = (codes.clone(), name.to_owned());
        Arc::new(Plan { address, codes, rate, time, name })
    };
    drive(plan("warm", WARM_UP), |_, _| {}).await?;
    let looking = tokio::spawn(probe(address, Duration::from_secs(args.seconds)));
    let is_seen = matches!(mode, Mode::Durable | Mode::Enqueued);
    if !is_seen {
        looking.abort();
    }
    let measured = drive(plan("load", Duration::from_secs(args.seconds)), |_, _| {}).await?;
    let seen = if is_seen { Some(looking.await??) } else { None };
    print(rate, word.get_name(), &measured, seen.as_ref());
    service.stop(END_MAX)?;
    directory.remove()
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn print(rate: u64, mode: &str, measured: &Measured, seen: Option<&Histogram<u64>>) {
    let seen = seen.map_or_else(String::new, |it| {
        let ms = |micros: u64| micros as f64 / 1000.0;
        format!("{:>9.0} {:>6.0}", ms(it.value_at_quantile(0.5)), ms(it.max()))
    });
    println!(
        "{rate:>6}  {mode:<12} {:>9} {:>9.2} {:>8.2} {:>9.2} {:>9.2} {:>7} {seen}",
        measured.latency.len(),
        measured.ms(0.5),
        measured.ms(0.99),
        measured.ms(0.999),
        measured.ms(1.0),
        measured.failed + measured.unsent,
    );
}

/// How soon a click is seen in both databases, in microseconds; tried again and again.
async fn probe(address: SocketAddr, time: Duration) -> Result<Histogram<u64>> {
    #[derive(Deserialize)]
    struct Stats {
        clicks: Total,
        audience: Total,
    }
    #[derive(Deserialize)]
    struct Total {
        total: u64,
    }
    let mut client = Client::new(address);
    let answer = client.post("/links", r#"{"url":"https://example.org/probe"}"#.to_owned()).await;
    let answer = answer.map_err(|failed| anyhow::anyhow!("POST /links: {failed:?}"))?;
    let made: serde_json::Value = serde_json::from_slice(&answer.body)?;
    let code = made["code"].as_str().context("no code")?.to_owned();
    let (path, stats) = (format!("/{code}"), format!("/links/{code}/stats"));
    let (start, mut clicks) = (Instant::now(), 0);
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    while start.elapsed() < time {
        let begun = Instant::now();
        let answer = client.get(&path, &[]).await;
        ensure!(answer.is_ok_and(|it| it.status.as_u16() == 302), "the probe was not redirected");
        clicks += 1;
        loop {
            let seen: Stats = client.json(&stats).await?;
            if seen.clicks.total >= clicks && seen.audience.total >= clicks {
                break;
            }
            ensure!(begun.elapsed() < PROBE_MAX, "a click was not seen for {PROBE_MAX:?}");
            tokio::time::sleep(PROBE_LOOK).await;
        }
        histogram.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
        tokio::time::sleep(PROBE_EVERY).await;
    }
    Ok(histogram)
}
