//! The loop: one thread, which owns the engine and every connection.
//!
//! ```text
//! some who have to be patient have their turn: who is a stranger, or has asked for much
//! -> wait for sockets, time or the disk
//! -> every ready connection has its turn: read once, run what is whole; so do those on whose
//!    sockets something has come meanwhile, for they share the sync
//! -> commit: all changes of the iteration are one batch of the log
//! -> send every reply whose position is durable, one write per connection
//! ```
//!
//! Invariants: a connection is in `ready` or `patient` at most once; between two iterations no
//! connection is taken out; a reply that may not leave yet is in `waiting`, so that ten thousand
//! idle connections cost nothing. An error of the engine ends the loop: replies that were not sent
//! by then never are, and their connections are closed.

mod accept;
mod ahead;
mod alive;
mod answer;
mod deliver;
mod disk;
mod flush;
mod memory;
mod nap;
mod notices;
mod patience;
mod pause;
#[cfg(feature = "debug-shim")]
mod reload;
mod reserved;
#[cfg(test)]
mod rig;
mod served;
mod strangers;
mod sweep;
mod turns;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use levada_engine::clock::Clock;
use levada_engine::disk::file::FileDisk;
use levada_engine::error::{Error, ErrorKind};
use levada_engine::shard::ShardSettings;
use levada_engine::store::local::{LocalSettings, LocalStore};
use mio::net::{TcpListener, UnixStream};
use mio::{Events, Poll, Token, Waker};

use self::answer::Questions;
use self::flush::Waiting;
pub(crate) use self::memory::{ClientsMemory, Counted};
use self::nap::Naps;
use self::patience::Patient;
#[cfg(feature = "debug-shim")]
pub(crate) use self::reload::Reload;
use self::served::Shared;
use self::strangers::Strangers;
use crate::acl::Failures;
use crate::config::Config;
use crate::connection::{Connections, READ_BYTES};
use crate::context::State;
use crate::engine::{Answer, BlockAccess, ClientId, Event, Lsn, Now, Shard};
use crate::entries::Source;
use crate::http::Stage;
use crate::log_event::{LogEvent, LogName};
use crate::metrics::Commits;
use crate::out::{Out, Release};
use crate::session::{Reason, Replies};
use crate::settings::{Moment, Settings};

/// Events taken from the system at once.
const EVENTS_MAX: usize = 512;
/// Longest sleep, so that the sweep has its time.
const SLEEP_MS_MAX: u64 = 5_000;

const SHUTDOWN: Token = Token(usize::MAX);
const DISK: Token = Token(usize::MAX - 1);
/// Listeners have the tokens from here down.
const LISTENER: usize = usize::MAX - 2;

/// Serves until `shutdown` can be read or is closed, or a client says SHUTDOWN; then everything
/// that was acknowledged is on disk and in a checkpoint. `listeners` are bound already; without a
/// password all of them must be on loopback. An error is one of the engine, or of the sockets at
/// the start; what it leaves is recovered at the next start.
pub fn run(
    listeners: Vec<net::TcpListener>,
    shutdown: StdUnixStream,
    settings: Settings,
) -> Result<(), Error> {
    let server = Server::open(listeners, shutdown, settings)?;
    server.state.log(&LogEvent::new(LogName::Ready, "Ready to accept connections"));
    server.serve()
}

/// See the module.
struct Server {
    poll: Poll,
    listeners: Vec<TcpListener>,
    shutdown: UnixStream,
    /// There may be only one.
    #[cfg(feature = "debug-shim")]
    waker: Arc<Waker>,
    shard: Shard,
    state: State,
    connections: Connections,
    /// Connections that have something to do, by token.
    ready: Vec<usize>,
    /// The same of strangers, and of those whose replies are long: see `patience`.
    patient: Patient,
    /// Those whose turn it is, and those whose replies are being sent; empty between, kept for
    /// their memory.
    turns: Vec<usize>,
    flushing: Vec<usize>,
    /// Clients whose replies may leave; empty between two flushes.
    released: Vec<u64>,
    /// Connections that may have something to send, by token.
    touched: Vec<usize>,
    waiting: Waiting,
    strangers: Strangers,
    handshakes_failed: Failures,
    peers_refused: Failures,
    questions: Questions,
    stage: Stage,
    commits: Commits,
    recovery_us: u64,
    /// Sleepers of WAIT: when, who.
    timers: BTreeSet<(u64, u64)>,
    /// Connections whose command waits for the end of a pause, by token.
    paused: BTreeSet<usize>,
    next_client: u64,
    /// A listener has more connections than could be accepted.
    accept_again: bool,
    /// The next iteration must not sleep: the disk, or whoever else works beside the loop, has
    /// woken it behind its look at them, or more connections wait than were accepted.
    was_woken: bool,
    naps: Naps,
    stopping: bool,
    said: disk::Said,
    last_sweep_ms: u64,
    /// Bytes of requests that were run since the last commit.
    uncommitted_bytes: usize,
    scratch: Box<[u8]>,
    /// Ranges of the arguments of a request.
    ranges: Vec<std::ops::Range<usize>>,
    /// The arguments of a request; empty between turns, kept for its memory.
    args: Vec<&'static [u8]>,
    /// Buffers that nobody writes into at the moment.
    buffers: Vec<Vec<u8>>,
    /// Replies that several blocked readers get; empty between two commands.
    shared: Vec<Shared>,
}

impl Server {
    fn open(
        listeners: Vec<net::TcpListener>,
        shutdown: StdUnixStream,
        settings: Settings,
    ) -> Result<Self, Error> {
        let clock = Clock::new();
        let sockets = |error: io::Error| Error::io("preparing", "the sockets", &error);
        let poll = Poll::new().map_err(sockets)?;
        let waker = Arc::new(Waker::new(poll.registry(), DISK).map_err(sockets)?);
        let exposed = accept::exposed(&listeners)?;
        let config = initial_config(&listeners, &settings);
        let shard_settings = ShardSettings {
            nodes: config.node_limits(),
            idmp: config.idmp_limits(),
            dedup_bytes_max: config.number("dedup-bytes-max"),
            scrub_bytes_per_second: config.number("scrub-bytes-per-second"),
            inline_sync_us_max: settings.inline_sync_us_max,
            ..ShardSettings::default()
        };
        let mut state = State::new(settings, config, exposed.is_some(), clock);
        let loaded = state.load_users().and_then(|()| state.load_tls(&[]));
        loaded.map_err(|why| Error::new(ErrorKind::Invalid, why))?;
        accept::check_exposure(&state, exposed)?;
        let stage = Stage::new();
        let questions = Questions::open(&state.settings, &waker, &stage).map_err(sockets)?;
        let shard = recover(&waker, &state.settings, shard_settings)?;
        let recovery_us = state.clock.now().monotonic_us - state.started.monotonic_us;
        let commits_from = shard.current();
        let (listeners, shutdown) =
            accept::register(&poll, listeners, shutdown).map_err(sockets)?;
        Ok(Self {
            poll,
            listeners,
            shutdown,
            #[cfg(feature = "debug-shim")]
            waker,
            shard,
            state,
            connections: Connections::default(),
            ready: Vec::new(),
            patient: Patient::default(),
            turns: Vec::new(),
            flushing: Vec::new(),
            released: Vec::new(),
            touched: Vec::new(),
            waiting: Waiting::default(),
            strangers: Strangers::default(),
            handshakes_failed: Failures::new(LogName::HandshakesFailed, "speak TLS"),
            peers_refused: Failures::new(LogName::PeersRefused, accept::UNPROTECTED),
            questions,
            stage,
            commits: Commits::new(commits_from),
            recovery_us,
            timers: BTreeSet::new(),
            paused: BTreeSet::new(),
            next_client: 1,
            accept_again: false,
            was_woken: false,
            naps: Naps::default(),
            stopping: false,
            said: disk::Said::default(),
            last_sweep_ms: 0,
            uncommitted_bytes: 0,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            ranges: Vec::new(),
            args: Vec::new(),
            buffers: Vec::new(),
            shared: Vec::new(),
        })
    }

    fn serve(mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        #[cfg(feature = "null")]
        {
            self.state.null_syncs = crate::null::Syncs::open(&self.state.settings)?;
        }
        self.stage.set(Stage::READY);
        let tell = self.state.settings.tell;
        tell(Moment::Ready);
        Naps::prepare();
        while !self.stopping {
            self.iterate(&mut events)?;
            #[cfg(feature = "debug-shim")]
            {
                self = self.reload_if_asked()?;
            }
            self.flush();
            self.naps.end(self.state.clock.now().monotonic_us);
        }
        self.stage.set(Stage::STOPPING);
        let message = "Told to stop: what is left to do is the last checkpoint";
        self.state.log(&LogEvent::new(LogName::Stopping, message));
        tell(Moment::Stopping);
        self.shard.shut_down(self.state.clock.now())?;
        self.flush_released();
        Ok(())
    }

    fn iterate(&mut self, events: &mut Events) -> Result<(), Error> {
        self.serve_newcomers_or_patient(self.state.clock.now())?;
        let timeout = match std::mem::take(&mut self.was_woken) {
            true => Duration::ZERO,
            false => self.timeout(self.state.clock.now()),
        };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(Error::io("waiting for", "the sockets", &error));
        }
        let now = self.state.clock.now();
        self.state.stats.iterations += 1;
        self.naps.begin(now.monotonic_us);
        self.shard.poll(now)?;
        self.state.saves.note(self.shard.checkpoints(), &mut self.state.stats, now);
        self.settle_commits();
        self.answer_questions(now);
        self.note_disk();
        self.drain_events(now);
        self.note_readiness(events);
        self.wake_sleepers(now);
        self.end_pause(now);
        self.run_turns(events, now)?;
        if !self.patient.tokens.is_empty() {
            self.patient.turns_us =
                self.state.clock.now().monotonic_us.saturating_sub(now.monotonic_us);
        }
        self.say_notices();
        self.state.reload_tls_if_told();
        self.sweep(now);
        self.say_alive(now);
        self.commit(now)
    }

    /// How long nothing may happen.
    fn timeout(&self, now: Now) -> Duration {
        let waits = !self.ready.is_empty() || !self.patient.tokens.is_empty();
        if waits && !self.shard.is_congested() || self.questions.is_busy() {
            return Duration::ZERO;
        }
        let mut sleep_us = SLEEP_MS_MAX * 1000;
        if let Some(at_us) = self.shard.next_deadline_us(now) {
            sleep_us = sleep_us.min(at_us.saturating_sub(now.monotonic_us));
        }
        if let Some((at_ms, _)) = self.timers.first() {
            sleep_us = sleep_us.min(at_ms.saturating_mul(1000).saturating_sub(now.monotonic_us));
        }
        sleep_us = sleep_us.min(self.pause_left_us(now).unwrap_or(u64::MAX));
        sleep_us = sleep_us.min(self.alive_left_us(now).unwrap_or(u64::MAX));
        if self.accept_again {
            sleep_us = sleep_us.min(accept::RETRY_US);
        }
        Duration::from_micros(sleep_us)
    }

    /// Seals the changes of the iteration.
    fn commit(&mut self, now: Now) -> Result<(), Error> {
        let bytes = std::mem::take(&mut self.uncommitted_bytes);
        #[cfg(feature = "null")]
        self.state.null_syncs.sync(bytes)?;
        let bytes = bytes as u64;
        self.shard.commit(now)?;
        let position = (self.shard.current(), self.shard.durable_wish());
        self.commits.note(position, self.state.stats.commands_run, bytes, now);
        self.settle_commits();
        Ok(())
    }

    /// Times the batches that have become durable.
    fn settle_commits(&mut self) {
        let durable = self.shard.durable();
        if self.commits.is_any_durable(durable) {
            self.commits.settle(durable, self.state.clock.now());
        }
    }

    /// Takes note of what the system says about sockets.
    fn note_readiness(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                SHUTDOWN => self.note_shutdown(),
                DISK => {}
                token if self.is_listener(token) => self.accept_again = true,
                Token(token) => {
                    let Some(connection) = self.connections.get_mut(token) else {
                        continue;
                    };
                    connection.readable |= event.is_readable() || event.is_read_closed();
                    connection.peer_closed |= event.is_read_closed();
                    connection.writable |= event.is_writable();
                    connection.broken |= event.is_error();
                    self.wake(token);
                }
            }
        }
    }

    fn is_listener(&self, token: Token) -> bool {
        (LISTENER - self.listeners.len() + 1..=LISTENER).contains(&token.0)
    }

    fn note_shutdown(&mut self) {
        let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let nothing = self.shutdown.read(&mut [0]).is_err_and(|error| would_block(&error));
        self.stopping |= !nothing;
    }

    /// Puts a connection into the list of those with something to do.
    fn wake(&mut self, token: usize) {
        if let Some(connection) = self.connections.get_mut(token)
            && !connection.queued
        {
            connection.queued = true;
            match connection.is_patient() {
                true => self.patient.tokens.push_back(token),
                false => self.ready.push(token),
            }
        }
    }

    /// Takes note of what the engine has to say to connections.
    fn drain_events(&mut self, now: Now) {
        self.note_events(now);
        self.deliver(None);
    }

    /// The same without the messages of channels. No event of a command is for who sent it.
    fn note_events(&mut self, now: Now) {
        while let Some(event) = self.shard.poll_event() {
            match event {
                Event::Retry { client } => {
                    if let Some(token) = self.connections.token(client.0) {
                        if let Some(connection) = self.connections.get_mut(token) {
                            connection.awaits_blocks = false;
                        }
                        self.wake(token);
                    }
                }
                Event::Served { client, answer } => self.served(client, answer, now),
                Event::TimedOut { client } => {
                    let wait = crate::engine::Wait::Nothing;
                    let result = Ok(levada_core::reply::Reply::NilList);
                    self.served(client, Answer { result, wait }, now);
                }
            }
        }
        self.shared.clear();
    }

    /// Ends the sleep of those whose WAIT is over.
    fn wake_sleepers(&mut self, now: Now) {
        while let Some((at_ms, client)) = self.timers.first().copied() {
            if at_ms > now.monotonic_ms() {
                break;
            }
            self.timers.pop_first();
            let Some(connection) = self.connections.by_client(client) else {
                continue;
            };
            let until = connection.session.blocked.as_ref().map(|blocked| blocked.reason);
            if until != Some(Reason::Sleep(at_ms)) {
                continue;
            }
            let Some(blocked) = connection.session.blocked.take() else {
                continue;
            };
            self.state.blocked_clients -= 1;
            let start = connection.out.position();
            let protocol = connection.session.protocol;
            crate::command::wait::reply(connection.out.target(), protocol, &blocked);
            let release = self.shard.wait_for_everything().into();
            end_reply(&mut connection.out, &mut connection.session.replies, start, release);
            let token = connection.token;
            self.wake(token);
            self.touched.push(token);
        }
    }
}

/// Opens the data directory and recovers what it holds. The disk wakes the loop when it has news.
fn recover(waker: &Arc<Waker>, settings: &Settings, shard: ShardSettings) -> Result<Shard, Error> {
    let waker = Arc::clone(waker);
    let mut disk = FileDisk::open(&settings.directory)?;
    disk.set_waker(Arc::new(move || {
        // It fails only when the loop is gone, and then nobody waits.
        let _ = waker.wake();
    }));
    let local = LocalSettings {
        cache_bytes: settings.cache_bytes,
        log_file_bytes: settings.log_file_bytes,
        reserve_bytes: settings.reserve_bytes,
        headroom_bytes: settings.headroom_bytes,
        ..LocalSettings::default()
    };
    let (store, recovered) = LocalStore::open(disk, local)?;
    let mut shard = Shard::recover(store, recovered, shard, settings.seed)?;
    shard.set_defaults(settings.policies.defaults());
    Ok(shard)
}

/// Ends the reply of a connection that was blocked, unless it wants none.
fn end_reply(out: &mut Out, replies: &mut Replies, start: u64, release: Release) {
    match replies {
        Replies::On | Replies::SkipNext => out.mark(release),
        Replies::Off => out.discard_from(start),
        Replies::Skip => {
            out.discard_from(start);
            *replies = Replies::On;
        }
    }
}

/// The settings as CONFIG GET shows them at first.
fn initial_config(listeners: &[net::TcpListener], settings: &Settings) -> Config {
    let mut config = Config::new();
    let addresses: Vec<_> =
        listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let bind: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    config.put("bind", bind.join(" "));
    settings.tls.describe(&addresses, &mut config);
    config.put("dir", settings.directory.display().to_string());
    config.put("log-format", settings.log_format.to_owned());
    config.put("maxclients", settings.clients_max.to_string());
    for (name, clients_max) in [
        ("maxclients-per-address", settings.clients_per_address_max),
        ("maxclients-per-user", settings.clients_per_user_max),
    ] {
        config.put(name, clients_max.to_string());
    }
    config.put("requirepass", settings.requirepass.clone());
    config.put("protected-mode", if settings.protected_mode { "yes" } else { "no" }.to_owned());
    let aclfile = settings.aclfile.as_ref().map(|path| path.display().to_string());
    config.put("aclfile", aclfile.unwrap_or_default());
    config.put("group-policy", settings.policies.groups().join("\n"));
    config.put("stream-policy", settings.policies.streams().join("\n"));
    for (name, bytes) in [
        ("dedup-bytes-max", settings.dedup_bytes_max),
        ("headroom-bytes", settings.headroom_bytes),
        ("maxmemory-clients", settings.clients_bytes_max),
        ("reserve-bytes", settings.reserve_bytes),
        ("scrub-bytes-per-second", settings.scrub_bytes_per_second),
    ] {
        config.put(name, bytes.to_string());
    }
    config.put("stream-idmp-duration", settings.idmp_duration_s.to_string());
    config.put("stream-idmp-maxsize", settings.idmp_iids_max.to_string());
    config
}

/// Bytes up to which an unused buffer is kept, and how many are.
const BUFFER_BYTES_KEPT: usize = 256 << 10;
const BUFFERS_KEPT: usize = 64;

fn keep_buffer(buffers: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if buffer.capacity() <= BUFFER_BYTES_KEPT && buffers.len() < BUFFERS_KEPT {
        buffer.clear();
        buffers.push(buffer);
    }
}

/// Blocks for the replies of a connection.
struct Blocks<'a> {
    shard: &'a mut Shard,
    client: ClientId,
}

impl Source for Blocks<'_> {
    fn block(&mut self, key: levada_core::keyspace::KeyNumber, number: u64) -> BlockAccess<'_> {
        self.shard.block(self.client, key, number)
    }
}
