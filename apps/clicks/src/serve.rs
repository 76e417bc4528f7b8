//! The service: one process that does everything, or several that share the work.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use levada::{Broker, connect};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::click::Ids;
use crate::enrich::Enricher;
use crate::links::{CACHE_WAIT_MAX, Finder};
use crate::live::Live;
use crate::record::{Databases, Mode, Recorder, WAIT_MAX};
use crate::store::click_house::ClickHouse;
use crate::store::postgres::Postgres;
use crate::store::sqlite::Sqlite;
use crate::store::{Counts, Links, Rows};
use crate::visitor::Visitors;
use crate::web::App;
use crate::{groups, run, web};

/// Rest between attempts to reach what is needed at the start.
const REST: Duration = Duration::from_millis(500);
/// Longest wait for it.
const START_MAX: Duration = Duration::from_mins(1);
/// Longest wait for clicks to be sent at the end.
const FLUSH_MAX: Duration = Duration::from_secs(20);

/// What the service needs to know.
#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Directory for what is embedded: the stream and the SQLite file.
    #[arg(long, default_value = "./clicks-data")]
    data: PathBuf,
    /// The stream's server, `redis://host:port`; the default is embedded.
    #[arg(long)]
    broker: Option<String>,
    /// Links and counts: `postgres://user@host/database`, or pairs such as `host=/run/postgresql`.
    #[arg(long)]
    postgres: Option<String>,
    /// Rows: `http://host:8123`.
    #[arg(long)]
    clickhouse: Option<String>,
    /// When a redirect is answered: once its click is...
    #[arg(long, value_enum, default_value_t = Mode::Enqueued)]
    clicks: Mode,
    /// What this process does; one that is embedded does everything.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "web,analytics,pipeline")]
    roles: Vec<Role>,
    /// Host name of this service; links to it are refused. May be given several times.
    #[arg(long = "own-host")]
    own_hosts: Vec<String>,
    /// A proxy of ours stands in front: its X-Forwarded-For and X-Request-Id are believed.
    #[arg(long)]
    behind_proxy: bool,
    /// A GeoIP database (.mmdb).
    #[arg(long)]
    geoip: Option<PathBuf>,
    /// User agents: the regexes.yaml of uap-core.
    #[arg(long)]
    user_agents: Option<PathBuf>,
}

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Redirects, links, the live page
    Web,
    /// The group that counts
    Analytics,
    /// The group that keeps rows
    Pipeline,
}

/// What holds the data.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) links: Arc<dyn Links>,
    pub(crate) counts: Arc<dyn Counts>,
    pub(crate) rows: Arc<dyn Rows>,
}

impl Stores {
    /// Postgres and ClickHouse where they are named, and the SQLite file for the rest. Those that
    /// are not there yet are waited for.
    pub(crate) async fn open(
        sqlite: &std::path::Path,
        postgres: Option<&str>,
        clickhouse: Option<&str>,
    ) -> Result<Self> {
        let file = match (postgres, clickhouse) {
            (Some(_), Some(_)) => None,
            _ => Some(Arc::new(Sqlite::open(sqlite).await?)),
        };
        let embedded = || file.clone().context("there is a file unless both are named");
        let (links, counts): (Arc<dyn Links>, Arc<dyn Counts>) = match postgres {
            Some(address) => {
                let database = Arc::new(patiently(|| Postgres::connect(address)).await?);
                (database.clone(), database)
            }
            None => (embedded()?, embedded()?),
        };
        let rows: Arc<dyn Rows> = match clickhouse {
            Some(url) => Arc::new(patiently(|| ClickHouse::connect(url)).await?),
            None => embedded()?,
        };
        Ok(Self { links, counts, rows })
    }
}

/// Tries again what fails, for a while.
async fn patiently<T, F: Future<Output = Result<T>>>(attempt: impl Fn() -> F) -> Result<T> {
    let started = std::time::Instant::now();
    loop {
        match attempt().await {
            Err(error) if started.elapsed() < START_MAX => {
                eprintln!("clicks: waits: {error:#}");
                tokio::time::sleep(REST).await;
            }
            outcome => return outcome,
        }
    }
}

/// Serves until SIGTERM.
pub(crate) async fn run(args: Args) -> Result<()> {
    let terminated = levada::terminated()?;
    let does = |role| args.roles.contains(&role);
    let (embedded, all) = (args.broker.is_none(), [Role::Web, Role::Analytics, Role::Pipeline]);
    ensure!(
        !embedded || all.into_iter().all(does),
        "what is embedded is in one process: several roles need --broker"
    );
    std::fs::create_dir_all(&args.data)?;
    let url = match &args.broker {
        Some(url) => url.clone(),
        None => format!("embedded:{}", args.data.join("stream").display()),
    };
    let broker = patiently(|| async { Ok(connect(&url).await?) }).await?;
    let file = args.data.join("clicks.db");
    let (postgres, clickhouse) = (args.postgres.as_deref(), args.clickhouse.as_deref());
    let stores = Stores::open(&file, postgres, clickhouse).await?;
    let (countries, agents) = (args.geoip.as_deref(), args.user_agents.as_deref());
    let enricher = Arc::new(Enricher::open(countries, agents)?);

    let (stop, stopped) = watch::channel(false);
    let mut work = JoinSet::new();
    if does(Role::Analytics) {
        let counts = Arc::clone(&stores.counts);
        work.spawn(groups::analytics(broker.clone(), Arc::clone(&counts), stopped.clone()));
        tokio::spawn(groups::tidy(broker.clone(), counts));
    }
    if does(Role::Pipeline) {
        let rows = Arc::clone(&stores.rows);
        work.spawn(groups::pipeline(broker.clone(), rows, Arc::clone(&enricher), stopped.clone()));
    }
    let web = match does(Role::Web) {
        true => Some(begin_web(&args, &broker, &stores, &enricher, stopped).await?),
        false => None,
    };
    terminated.await;
    stop.send_replace(true);
    if let Some((app, serving)) = web {
        serving.await?;
        // What was enqueued is sent while the groups still work, or after they have ended: both
        // are well, as the stream keeps it.
        app.recorder.flush(FLUSH_MAX).await;
    }
    while let Some(ended) = work.join_next().await {
        ended?;
    }
    Ok(())
}

/// Begins to serve requests.
async fn begin_web(
    args: &Args,
    broker: &Broker,
    stores: &Stores,
    enricher: &Arc<Enricher>,
    stopped: watch::Receiver<bool>,
) -> Result<(Arc<App>, tokio::task::JoinHandle<()>)> {
    let app = app(args, broker, stores, enricher)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("clicks: http://{}/live", listener.local_addr()?);
    let serving = tokio::spawn(run::run(listener, web::router(Arc::clone(&app)), stopped));
    Ok((app, serving))
}

fn app(
    args: &Args,
    broker: &Broker,
    stores: &Stores,
    enricher: &Arc<Enricher>,
) -> Result<Arc<App>> {
    let Stores { links, counts, rows } = stores.clone();
    let visitors = Arc::new(Visitors::new(Ids::new()?, args.behind_proxy));
    let databases = Databases {
        counts: Arc::clone(&counts),
        rows: Arc::clone(&rows),
        enricher: Arc::clone(enricher),
    };
    let recorder = Recorder::start(args.clicks, WAIT_MAX, broker, Arc::clone(&visitors), databases);
    let mut ours = args.own_hosts.clone();
    ours.push(args.listen.ip().to_string());
    let live = Live::start(broker.clone(), Arc::clone(enricher));
    let finder = Finder::new(links, broker, CACHE_WAIT_MAX, ours);
    let broker = broker.clone();
    let app = Arc::new(App { finder, recorder, visitors, counts, rows, broker, live });
    let listening = Arc::clone(&app);
    tokio::spawn(async move { listening.finder.listen().await });
    Ok(app)
}
