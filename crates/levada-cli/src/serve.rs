//! `levada serve`: binds, says what it is, and hands over to the server.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use levada_server::{LogEvent, LogName};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::dashboard;
use crate::descriptors;
use crate::log::Log;
use crate::say;
use crate::settings::Settings;
use crate::supervisor;

/// Serves until it is told to stop. Where it cannot start, or the disk fails, the log says why, and
/// the code is not 0.
pub(crate) fn run(settings: &Settings) -> ExitCode {
    let log = match settings.log_format() {
        Ok(format) => Log::open(format),
        Err(error) => unreachable!("settings were checked: {error}"),
    };
    match serve(settings, log) {
        Ok(()) => {
            log.say(&LogEvent::new(LogName::Stopped, "Everything is on disk, bye"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let why = say::causes(&error);
            log.say(&LogEvent::new(LogName::Failed, &*why).text("error", &why));
            ExitCode::from(if say::is_argument(&error) { 2 } else { 1 })
        }
    }
}

fn serve(settings: &Settings, log: Log) -> Result<()> {
    if settings.bind.iter().any(|address| !address.is_loopback()) && has_no_password(settings) {
        bail!(
            "bind names an address that other machines can reach, and there is no password: set \
             one with --requirepass or LEVADA_REQUIREPASS, or bind 127.0.0.1"
        );
    }
    let mut listeners = Vec::new();
    for port in settings.ports() {
        for address in &settings.bind {
            // The standard library sets SO_REUSEADDR, so that a restart need not wait.
            let listener = TcpListener::bind((*address, port))
                .with_context(|| format!("cannot listen on {address}:{port}"))?;
            listeners.push(listener);
        }
    }
    let tls = settings.tls()?;
    announce(settings, log);
    let http = http_listener(settings, log)?;
    let pages = match http {
        Some(_) if settings.dashboard => pages(settings, &listeners, log)?,
        _ => None,
    };
    announce_listeners(&listeners, tls.listeners, log);
    let reload = Arc::default();
    signal_hook::flag::register(SIGHUP, Arc::clone(&reload)).context("cannot watch for signals")?;
    let shutdown = shutdown_signal().context("cannot watch for signals")?;
    let connections_max = connections_max(settings, log)?;
    let server = levada_server::Settings {
        directory: settings.dir.clone(),
        requirepass: settings.requirepass.clone(),
        users: settings.user.clone(),
        aclfile: (!settings.aclfile.as_os_str().is_empty()).then(|| settings.aclfile.clone()),
        protected_mode: settings.protected_mode,
        tls,
        reload,
        http,
        pages,
        metrics_streams_max: settings.metrics_streams,
        clients_bytes_max: settings.maxmemory_clients()?,
        clients_max: settings.maxclients,
        clients_per_address_max: settings.maxclients_per_address,
        clients_per_user_max: settings.maxclients_per_user,
        connections_max,
        idmp_duration_s: settings.stream_idmp_duration,
        idmp_iids_max: settings.stream_idmp_maxsize,
        policies: settings.policies.clone(),
        dedup_bytes_max: settings.dedup_bytes_max()?,
        cache_bytes: settings.cache_bytes()?,
        scrub_bytes_per_second: settings.scrub_bytes_per_second()?,
        reserve_bytes: settings.reserve_bytes()?,
        headroom_bytes: settings.headroom_bytes()?,
        inline_sync_us_max: settings.inline_sync_us,
        seed: RandomState::new().build_hasher().finish(),
        #[cfg(feature = "null")]
        null: settings.null,
        #[cfg(feature = "null")]
        null_syncs: settings.null_syncs,
        log: log.write,
        log_format: settings.log_format()?.word(),
        alive_ms: supervisor::alive_ms(),
        tell: supervisor::tell,
        ..levada_server::Settings::default()
    };
    levada_server::run(listeners, shutdown, server)?;
    Ok(())
}

/// Connections for which there are descriptors; says so where that is fewer than are wanted.
fn connections_max(settings: &Settings, log: Log) -> Result<u64> {
    let connections_max = descriptors::connections_max(settings.maxclients)?;
    if connections_max < settings.maxclients {
        let message = format!(
            "At most {connections_max} connections: the limit of open files allows no more"
        );
        let event = LogEvent::new(LogName::ConnectionsCapped, message);
        log.say(&event.number("connections_max", connections_max));
    }
    Ok(connections_max)
}

/// Whether other machines must not be let in, since nobody would ask them for a password.
fn has_no_password(settings: &Settings) -> bool {
    let has_users = !settings.user.is_empty() || !settings.aclfile.as_os_str().is_empty();
    settings.protected_mode && settings.requirepass.is_empty() && !has_users
}

/// Where HTTP is spoken, if there is a port for it.
fn http_listener(settings: &Settings, log: Log) -> Result<Option<Arc<TcpListener>>> {
    if settings.http_port == 0 {
        return Ok(None);
    }
    let address = (settings.http_bind, settings.http_port);
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {}:{}", address.0, address.1))?;
    let url = format!("http://{}:{}/metrics", address.0, address.1);
    log.say(&LogEvent::new(LogName::HttpListening, format!("Metrics at {url}")).text("url", &url));
    Ok(Some(Arc::new(listener)))
}

/// The dashboard, if it can be a client: of a port without TLS, since for the other it would need
/// a certificate of its own. It comes from loopback, so that the server would take whoever uses it
/// for somebody on this machine; without a password it is for those alone.
fn pages(
    settings: &Settings,
    listeners: &[TcpListener],
    log: Log,
) -> Result<Option<levada_server::Pages>> {
    let off = |why: &str| {
        log.say(&LogEvent::new(LogName::DashboardOff, format!("No dashboard: {why}")));
        Ok(None)
    };
    let is_clear = settings.port != 0 || settings.tls_port == 0;
    let Some(listener) = listeners.first().filter(|_| is_clear) else {
        return off("it needs a port without TLS. `levada dashboard --url rediss://...` does not");
    };
    if !settings.http_bind.is_loopback() && has_no_password(settings) {
        return off("other machines reach http-bind, and there is no password");
    }
    let mut address = listener.local_addr().context("cannot tell where it listens")?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let pages = dashboard::pages(&format!("redis://{address}"), &settings.http_names)?;
    let url = format!("http://{}:{}/", settings.http_bind, settings.http_port);
    log.say(&LogEvent::new(LogName::DashboardOn, format!("Dashboard at {url}")).text("url", &url));
    Ok(Some(pages))
}

/// A socket that can be read from once SIGTERM or SIGINT has come.
fn shutdown_signal() -> std::io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    // A file beyond the limit of its size is then an error with a message, not a silent end.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Ok(reader)
}

/// Says what it is, and where the data lie.
fn announce(settings: &Settings, log: Log) {
    let (version, speaks) = (env!("CARGO_PKG_VERSION"), levada_server::REDIS_VERSION);
    let directory = settings.dir.display();
    let message = format!(
        "Levada {version}, speaks Redis {speaks}. Data in {directory}; acknowledged means on disk"
    );
    let event = LogEvent::new(LogName::Starting, message).text("version", &version);
    log.say(&event.text("redis_version", &speaks).text("directory", &directory));
    #[cfg(feature = "null")]
    if settings.null {
        let message = "NULL SERVER: what benches send is answered and NOT DONE";
        log.say(&LogEvent::new(LogName::NullServer, message));
    }
}

/// Says where clients find it, last: who waits for this line finds all else bound.
fn announce_listeners(listeners: &[TcpListener], with_tls: usize, log: Log) {
    for (at, listener) in listeners.iter().enumerate() {
        if let Ok(address) = listener.local_addr() {
            let is_tls = at + with_tls >= listeners.len();
            let speaks = if is_tls { "with TLS " } else { "" };
            let message = format!("Listening {speaks}on {address}");
            let event = LogEvent::new(LogName::Listening, message).text("address", &address);
            log.say(&event.text("tls", if is_tls { "yes" } else { "no" }));
        }
    }
}
