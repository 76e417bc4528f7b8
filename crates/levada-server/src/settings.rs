//! What the server is told when it starts.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use levada_core::idempotence::IdmpLimits;
use levada_engine::shard::ShardSettings;
use levada_engine::store::local::LocalSettings;

use crate::http::Pages;
use crate::log_event::LogEvent;
use crate::policies::Policies;
use crate::tls::TlsSettings;

/// Settings of [`run`](crate::run). Those that CONFIG SET can change begin with these values.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the data lie; created where it is missing.
    pub directory: PathBuf,
    /// Password of the user `default`; empty for none.
    pub requirepass: String,
    /// Users beside it, or it itself, each as `name rule ...` with the rules of ACL SETUSER.
    pub users: Vec<String>,
    /// A file of users, a line `user name rule ...` each, instead of `users`.
    pub aclfile: Option<PathBuf>,
    /// Without a password only loopback is served.
    pub protected_mode: bool,
    /// TLS, as far as listeners speak it.
    pub tls: TlsSettings,
    /// Set from outside, by a signal: certificates and keys are read again within seconds.
    pub reload: Arc<AtomicBool>,
    /// Where `/metrics` and the questions of health are answered; nowhere without it.
    pub http: Option<Arc<TcpListener>>,
    /// What answers there beside them.
    pub pages: Option<Pages>,
    /// Streams that `/metrics` tells one by one; the others are told as one.
    pub metrics_streams_max: usize,
    /// Connections at once, at least 1; one more from this machine, for an operator.
    pub clients_max: u64,
    /// Connections at once from one address (`maxclients-per-address`); 0 for no bound.
    pub clients_per_address_max: u64,
    /// Connections at once that are logged in as one user (`maxclients-per-user`); 0 for no bound.
    pub clients_per_user_max: u64,
    /// Bytes that the buffers of all connections may take together (`maxmemory-clients`); 0 for no
    /// bound.
    pub clients_bytes_max: u64,
    /// Connections at once for which there are descriptors, whatever `maxclients` says.
    pub connections_max: u64,
    /// Connections at once that have neither authenticated nor agreed on keys, at least 1: the
    /// oldest gives way to the next.
    pub strangers_max: usize,
    /// Milliseconds that they have for it.
    pub strangers_ms_max: u64,
    /// Seconds that new streams track idempotent ids (`stream-idmp-duration`), 1 to 86400.
    pub idmp_duration_s: u64,
    /// Idempotent ids that they track per producer (`stream-idmp-maxsize`), 1 to 10000.
    pub idmp_iids_max: u64,
    /// Policies of streams and groups that come into being (`stream-policy`, `group-policy`).
    pub policies: Policies,
    /// Memory in bytes for idempotent ids under DEDUP-WINDOW and DEDUP-MAX (`dedup-bytes-max`).
    pub dedup_bytes_max: u64,
    /// Memory in bytes for blocks that were read or written lately.
    pub cache_bytes: usize,
    /// Bytes of blocks read a second to see whether they are whole (`scrub-bytes-per-second`); 0
    /// for none.
    pub scrub_bytes_per_second: u64,
    /// Bytes kept in reserve for a full disk; more where a checkpoint needs more.
    pub reserve_bytes: u64,
    /// Free bytes below which the disk counts as full.
    pub headroom_bytes: u64,
    /// Average time of a sync in microseconds above which syncs leave the loop.
    pub inline_sync_us_max: u64,
    /// Length of a log file in bytes: a multiple of 4 KiB, at least 32 MiB, as the largest
    /// transaction must fit.
    pub log_file_bytes: u64,
    /// Where random numbers begin (RANDOMKEY, run id, hashing of names).
    pub seed: u64,
    /// Answers what benches send without doing it, to find the ceiling of a machine.
    #[cfg(feature = "null")]
    pub null: bool,
    /// Writes and syncs a page before replies leave, whatever was asked.
    #[cfg(feature = "null")]
    pub null_syncs: bool,
    /// Takes events that operators act on, each with the Unix time in milliseconds.
    pub log: fn(&LogEvent, u64),
    /// What CONFIG GET shows as `log-format`: how `log` writes them down.
    pub log_format: &'static str,
    /// How often `tell` hears that the loop goes round, in milliseconds, at least 1; never without
    /// it.
    pub alive_ms: Option<u64>,
    /// Hears how far the server is, from its loop, which waits for it to return.
    pub tell: fn(Moment),
}

/// What [`Settings::tell`] hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// All is recovered: requests are answered from now on.
    Ready,
    /// The loop goes round: every [`Settings::alive_ms`], while nothing holds it up.
    Alive,
    /// It was told to stop: what is left to do is the last checkpoint.
    Stopping,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("levada-data"),
            requirepass: String::new(),
            users: Vec::new(),
            aclfile: None,
            protected_mode: true,
            http: None,
            pages: None,
            metrics_streams_max: 100,
            tls: TlsSettings::default(),
            reload: Arc::default(),
            clients_max: 10_000,
            clients_per_address_max: 0,
            clients_per_user_max: 0,
            clients_bytes_max: 1 << 30,
            connections_max: u64::MAX,
            strangers_max: 1_024,
            strangers_ms_max: 10_000,
            idmp_duration_s: IdmpLimits::default().duration_s,
            idmp_iids_max: IdmpLimits::default().iids_max,
            policies: Policies::default(),
            dedup_bytes_max: 512 << 20,
            cache_bytes: 128 << 20,
            scrub_bytes_per_second: ShardSettings::default().scrub_bytes_per_second,
            reserve_bytes: LocalSettings::default().reserve_bytes,
            headroom_bytes: LocalSettings::default().headroom_bytes,
            inline_sync_us_max: ShardSettings::default().inline_sync_us_max,
            log_file_bytes: LocalSettings::default().log_file_bytes,
            seed: 1,
            #[cfg(feature = "null")]
            null: false,
            #[cfg(feature = "null")]
            null_syncs: false,
            log: |event, _| eprintln!("{}: {}", event.name.text(), event.message),
            log_format: "text",
            alive_ms: None,
            tell: |_| {},
        }
    }
}
