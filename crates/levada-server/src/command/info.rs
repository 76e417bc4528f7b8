//! INFO \[section ...]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use levada_core::limits::DATABASES;

use super::SERVER;
use crate::REDIS_VERSION;
use crate::context::Context;
use crate::engine::Listening;
use crate::session::{Reason, Session};
use crate::spec::{CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

/// Sections in their order, and whether INFO without an argument shows them.
const SECTIONS: [(&str, bool, Section); 11] = [
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Commandstats", false, command_stats),
    ("Errorstats", true, error_stats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
];

type Section = fn(&Context<'_>, &mut String);

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "info",
    syntax: "[section ...]",
    summary: "Tells facts and counters about the server.",
    since: "1.0.0",
    complexity: "O(N), N connections and commands",
    arity: -1,
    flags: flag::LOADING | flag::STALE,
    categories: category::DANGEROUS,
    run: Run::Server(run),
    ..SERVER
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn run(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let asked: Vec<_> = request.rest(1).iter().map(|word| word.to_ascii_lowercase()).collect();
    let has = |word: &str| asked.iter().any(|asked| asked == word.as_bytes());
    let all = has("all") || has("everything");
    let default = asked.is_empty() || has("default");
    let mut text = String::new();
    for (title, is_default, section) in SECTIONS {
        if all || (default && is_default) || has(&title.to_ascii_lowercase()) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {title}\r\n");
            section(context, &mut text);
        }
    }
    context.output.write().verbatim(&text);
    Ok(Then::Done)
}

/// `name:value` lines.
fn put(text: &mut String, pairs: &[(&str, &dyn std::fmt::Display)]) {
    for (name, value) in pairs {
        let _ = write!(text, "{name}:{value}\r\n");
    }
}

fn server(context: &Context<'_>, text: &mut String) {
    let uptime_s = (context.now.monotonic_ms() - context.state.started.monotonic_ms()) / 1000;
    let run_id = format!("{:040x}", context.state.settings.seed);
    put(
        text,
        &[
            ("redis_version", &REDIS_VERSION),
            ("levada_version", &env!("CARGO_PKG_VERSION")),
            ("redis_mode", &"standalone"),
            ("os", &std::env::consts::OS),
            ("arch_bits", &usize::BITS),
            ("multiplexing_api", &"epoll"),
            ("process_id", &std::process::id()),
            ("run_id", &run_id),
            ("tcp_port", &context.state.config.get("port")),
            ("server_time_usec", &(context.now.wall_ms * 1000)),
            ("uptime_in_seconds", &uptime_s),
            ("uptime_in_days", &(uptime_s / 86_400)),
            ("config_file", &""),
        ],
    );
}

fn clients(context: &Context<'_>, text: &mut String) {
    let (mut keys, mut group_keys) = (BTreeSet::new(), BTreeSet::new());
    let mut watching = 0;
    let mut watched = 0;
    let mut listening = 0;
    let mut count = |session: &Session| {
        listening += usize::from(session.subscriptions.any());
        watching += usize::from(session.watched > 0);
        watched += session.watched;
    };
    count(context.session);
    let sessions = || context.others.iter().map(|other| &other.session);
    sessions().for_each(&mut count);
    let blocked = sessions().filter_map(|session| session.blocked.as_deref());
    for blocked in blocked.filter(|blocked| blocked.reason == Reason::Read) {
        for key in &blocked.keys {
            keys.insert((blocked.database, key));
            if blocked.spec.name == "xreadgroup" {
                group_keys.insert((blocked.database, key));
            }
        }
    }
    put(
        text,
        &[
            ("connected_clients", &(context.others.len())),
            ("cluster_connections", &0),
            ("maxclients", &context.state.config.get("maxclients")),
            ("blocked_clients", &context.state.blocked_clients),
            ("tracking_clients", &0),
            ("pubsub_clients", &listening),
            ("watching_clients", &watching),
            ("clients_in_timeout_table", &0),
            ("total_watched_keys", &watched),
            ("total_blocking_keys", &keys.len()),
            ("total_blocking_keys_on_nokey", &group_keys.len()),
        ],
    );
}

/// Bytes of memory that the process has; 0 where the system does not say.
pub(crate) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn memory(context: &Context<'_>, text: &mut String) {
    let resident = resident_bytes();
    put(
        text,
        &[
            ("used_memory", &resident),
            ("used_memory_human", &human(resident)),
            ("used_memory_rss", &resident),
            ("used_memory_rss_human", &human(resident)),
            ("maxmemory", &context.state.config.get("maxmemory")),
            ("maxmemory_human", &human(context.state.config.number("maxmemory"))),
            ("maxmemory_policy", &context.state.config.get("maxmemory-policy")),
            ("mem_fragmentation_ratio", &"1.00"),
            ("mem_clients_normal", &context.state.memory.bytes),
            ("mem_allocator", &"system"),
        ],
    );
}

fn human(bytes: u64) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let hundredths = u128::from(bytes) * 100 / u128::from(*unit);
            format!("{}.{:02}{name}", hundredths / 100, hundredths % 100)
        }
        None => format!("{bytes}B"),
    }
}

fn persistence(context: &Context<'_>, text: &mut String) {
    let facts = context.shard.facts();
    // A checkpoint is what a snapshot and a rewritten log are to Redis. One that fails ends the
    // process, so that no status but this one can be seen.
    let saving = u8::from(context.shard.checkpoints().in_progress);
    put(
        text,
        &[
            ("loading", &0),
            ("async_loading", &0),
            ("rdb_changes_since_last_save", &context.state.stats.changes),
            ("rdb_bgsave_in_progress", &saving),
            ("rdb_last_save_time", &context.state.saves.last_s),
            ("rdb_last_bgsave_status", &"ok"),
            ("rdb_saves", &facts.checkpoints),
            ("aof_enabled", &1),
            ("aof_rewrite_in_progress", &saving),
            ("aof_rewrite_scheduled", &0),
            ("aof_last_bgrewrite_status", &"ok"),
            ("aof_last_write_status", &"ok"),
            ("levada_last_batch", &facts.last_lsn),
            ("levada_durable_batch", &facts.durable_lsn),
            ("levada_checkpoints", &facts.checkpoints),
            ("levada_checkpoint_in_progress", &u8::from(facts.checkpoint_in_progress)),
            ("levada_commit_usec_average", &facts.sync_us_average),
            ("levada_batches_replayed", &facts.recovery.batches_replayed),
            ("levada_batches_discarded", &facts.recovery.batches_discarded),
            ("scrub_blocks", &facts.scrubbed.blocks),
            ("scrub_errors", &facts.scrubbed.errors),
            ("scrub_passes", &facts.scrubbed.passes),
            ("scrub_last_full_pass_time", &(facts.scrubbed_at_ms.unwrap_or(0) / 1000)),
            ("levada_disk_full", &u8::from(facts.space.is_full)),
            ("levada_disk_free_bytes", &facts.space.free_bytes),
            ("levada_disk_reserve_bytes", &facts.space.reserve_bytes),
        ],
    );
}

fn stats(context: &Context<'_>, text: &mut String) {
    let stats = &context.state.stats;
    let denied = context.state.acl.log.counts;
    let facts = context.shard.facts();
    let count = |listening| context.shard.listeners(listening).count();
    put(
        text,
        &[
            ("total_connections_received", &stats.connections),
            ("total_commands_processed", &stats.commands_run),
            ("total_net_input_bytes", &stats.bytes_in),
            ("total_net_output_bytes", &stats.bytes_out),
            ("rejected_connections", &stats.connections_refused),
            ("expired_keys", &facts.expired_keys),
            ("evicted_keys", &facts.evicted_keys),
            ("evicted_clients", &stats.clients_evicted),
            ("client_output_buffer_limit_disconnections", &stats.clients_beyond_limit),
            ("keyspace_hits", &context.state.usage.hits),
            ("keyspace_misses", &context.state.usage.misses),
            ("pubsub_channels", &count(Listening::Channel)),
            ("pubsub_patterns", &count(Listening::Pattern)),
            ("pubsubshard_channels", &count(Listening::Shard)),
            ("total_error_replies", &stats.error_replies),
            ("acl_access_denied_auth", &denied.auth),
            ("acl_access_denied_cmd", &denied.command),
            ("acl_access_denied_key", &denied.key),
            ("acl_access_denied_channel", &denied.channel),
            ("acl_access_denied_group", &denied.group),
            ("acl_access_denied_tls_cert", &denied.certificate),
            ("eventloop_cycles", &stats.iterations),
            ("levada_tls_handshakes_failed", &stats.handshakes_failed),
            ("levada_strangers_dropped", &stats.strangers_dropped),
        ],
    );
}

fn replication(_: &Context<'_>, text: &mut String) {
    put(
        text,
        &[
            ("role", &"master"),
            ("connected_slaves", &0),
            ("master_failover_state", &"no-failover"),
            ("master_repl_offset", &0),
            ("second_repl_offset", &-1),
            ("repl_backlog_active", &0),
        ],
    );
}

/// Seconds of processor time, in the kernel and outside of it.
fn cpu(_: &Context<'_>, text: &mut String) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which stands in brackets, fields 12 and 13 are ticks of 10 ms.
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |at: usize| {
        let field = behind.split_whitespace().nth(at);
        field.and_then(|ticks| ticks.parse::<u32>().ok()).unwrap_or(0)
    };
    put(
        text,
        &[
            ("used_cpu_sys", &format!("{:.6}", f64::from(ticks(12)) / 100.0)),
            ("used_cpu_user", &format!("{:.6}", f64::from(ticks(11)) / 100.0)),
        ],
    );
}

fn command_stats(context: &Context<'_>, text: &mut String) {
    for number in context.state.registry.numbers() {
        let stats = context.state.stats.command(number);
        if stats.calls == 0 && stats.rejected == 0 {
            continue;
        }
        let name = context.state.registry.spec(number).name;
        let usec = stats.usec();
        let hundredths = usec * 100 / stats.calls.max(1);
        let _ = write!(
            text,
            "cmdstat_{name}:calls={},usec={usec},usec_per_call={}.{:02},rejected_calls={},\
             failed_calls={}\r\n",
            stats.calls,
            hundredths / 100,
            hundredths % 100,
            stats.rejected,
            stats.failed,
        );
    }
}

fn error_stats(context: &Context<'_>, text: &mut String) {
    for (code, count) in context.state.stats.errors() {
        let _ = write!(text, "errorstat_{}:count={count}\r\n", String::from_utf8_lossy(code));
    }
}

fn cluster(_: &Context<'_>, text: &mut String) {
    put(text, &[("cluster_enabled", &0)]);
}

fn keyspace(context: &Context<'_>, text: &mut String) {
    let machine = context.shard.machine();
    for database in 0..DATABASES {
        let (keys, expires) = (machine.keys.len(database), machine.keys.expiring(database));
        if keys > 0 {
            let _ = write!(
                text,
                "db{database}:keys={keys},expires={expires},avg_ttl=0,subexpiry=0\r\n"
            );
        }
    }
}
