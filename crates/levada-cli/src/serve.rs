//! `levada serve`: binds, says what it is, and hands over to the server.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::dashboard;
use crate::descriptors;
use crate::settings::Settings;
use crate::supervisor;

/// Serves until it is told to stop. An error where it could not start, or where the disk failed.
pub(crate) fn run(settings: &Settings) -> Result<()> {
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
    let http = http_listener(settings)?;
    let pages = match http {
        Some(_) if settings.dashboard => pages(settings, &listeners)?,
        _ => None,
    };
    let tls = settings.tls()?;
    let reload = Arc::default();
    signal_hook::flag::register(SIGHUP, Arc::clone(&reload)).context("cannot watch for signals")?;
    let shutdown = shutdown_signal().context("cannot watch for signals")?;
    let connections_max = descriptors::connections_max(settings.maxclients)?;
    announce(settings, &listeners, tls.listeners);
    if connections_max < settings.maxclients {
        eprintln!("At most {connections_max} connections: the limit of open files allows no more");
    }
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
        log: |line| eprintln!("{line}"),
        tell: supervisor::tell,
        ..levada_server::Settings::default()
    };
    levada_server::run(listeners, shutdown, server)?;
    eprintln!("Everything is on disk, bye");
    Ok(())
}

/// Whether other machines must not be let in, since nobody would ask them for a password.
fn has_no_password(settings: &Settings) -> bool {
    let has_users = !settings.user.is_empty() || !settings.aclfile.as_os_str().is_empty();
    settings.protected_mode && settings.requirepass.is_empty() && !has_users
}

/// Where HTTP is spoken, if there is a port for it.
fn http_listener(settings: &Settings) -> Result<Option<Arc<TcpListener>>> {
    if settings.http_port == 0 {
        return Ok(None);
    }
    let address = (settings.http_bind, settings.http_port);
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {}:{}", address.0, address.1))?;
    eprintln!("Metrics at http://{}:{}/metrics", address.0, address.1);
    Ok(Some(Arc::new(listener)))
}

/// The dashboard, if it can be a client: of a port without TLS, since for the other it would need
/// a certificate of its own. It comes from loopback, so that the server would take whoever uses it
/// for somebody on this machine; without a password it is for those alone.
fn pages(settings: &Settings, listeners: &[TcpListener]) -> Result<Option<levada_server::Pages>> {
    let is_clear = settings.port != 0 || settings.tls_port == 0;
    let Some(listener) = listeners.first().filter(|_| is_clear) else {
        eprintln!(
            "No dashboard: it needs a port without TLS. `levada dashboard --url rediss://...` \
             does not"
        );
        return Ok(None);
    };
    if !settings.http_bind.is_loopback() && has_no_password(settings) {
        eprintln!("No dashboard: other machines reach http-bind, and there is no password");
        return Ok(None);
    }
    let mut address = listener.local_addr().context("cannot tell where it listens")?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let pages = dashboard::pages(&format!("redis://{address}"), &settings.http_names)?;
    eprintln!("Dashboard at http://{}:{}/", settings.http_bind, settings.http_port);
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

fn announce(settings: &Settings, listeners: &[TcpListener], with_tls: usize) {
    eprintln!(
        "Levada {}, speaks Redis {}",
        env!("CARGO_PKG_VERSION"),
        levada_server::REDIS_VERSION
    );
    eprintln!("Data in {}", settings.dir.display());
    #[cfg(feature = "null")]
    if settings.null {
        eprintln!("NULL SERVER: what benches send is answered and NOT DONE");
    }
    eprintln!("Acknowledged means on disk: DURABILITY ALWAYS");
    for (at, listener) in listeners.iter().enumerate() {
        if let Ok(address) = listener.local_addr() {
            let speaks = if at + with_tls < listeners.len() { "" } else { "with TLS " };
            eprintln!("Listening {speaks}on {address}");
        }
    }
}
