//! CONFIG GET pattern \[pattern ...]
//! CONFIG SET name value \[name value ...]
//! CONFIG RESETSTAT, CONFIG REWRITE, CONFIG HELP

use levada_engine::shard::ShardSettings;

use super::{BASE, CONTAINER, OPERATOR, help_flags};
use crate::context::Context;
use crate::engine::Events;
use crate::log_event::LogEvent;
use crate::spec::{CommandSpec, Request, Run, Then};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "config",
    syntax: "subcommand ...",
    summary: "Reads and changes settings.",
    since: "2.0.0",
    group: "server",
    subcommands: &[
        CommandSpec {
            name: "config|get",
            syntax: "pattern [pattern ...]",
            summary: "Lists settings.",
            since: "2.0.0",
            complexity: "O(N), N settings",
            arity: -3,
            run: Run::Server(get),
            ..SETTING
        },
        CommandSpec {
            name: "config|help",
            summary: "Lists the subcommands.",
            since: "5.0.0",
            arity: 2,
            flags: help_flags(),
            run: Run::Server(help),
            ..SETTING
        },
        CommandSpec {
            name: "config|resetstat",
            summary: "Sets the counters of INFO to zero.",
            since: "2.0.0",
            arity: 2,
            run: Run::Server(reset_statistics),
            ..SETTING
        },
        CommandSpec {
            name: "config|rewrite",
            summary: "Refuses: the file of settings belongs to its author.",
            since: "2.8.0",
            arity: 2,
            run: Run::Server(rewrite),
            ..SETTING
        },
        CommandSpec {
            name: "config|set",
            syntax: "name value [name value ...]",
            summary: "Changes settings until the next start.",
            since: "2.0.0",
            complexity: "O(N), N settings",
            arity: -4,
            run: Run::Server(set),
            ..SETTING
        },
    ],
    ..CONTAINER
};

const SETTING: CommandSpec = CommandSpec { group: "server", flags: OPERATOR, ..BASE };

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn get(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let found = context.state.config.matching(request.rest(2));
    let mut writer = context.output.write();
    writer.map(found.len());
    for (name, value) in found {
        writer.bulk(name);
        writer.bulk(value.as_bytes());
    }
    Ok(Then::Done)
}

fn set(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let pairs = request.rest(2);
    if !pairs.len().is_multiple_of(2) {
        return Err(WireError::SYNTAX);
    }
    let opens = |pair: &[&[u8]]| pair[0].eq_ignore_ascii_case(b"requirepass") && pair[1].is_empty();
    if context.state.is_protected() && pairs.chunks_exact(2).any(opens) {
        let why = "without a password only loopback addresses are served";
        return Err(WireError::setting("requirepass", why));
    }
    let before = context.state.tls.clone();
    let is_read = |name: &[u8]| name.starts_with(b"tls-") && name != b"tls-auth-clients-user";
    if pairs.iter().step_by(2).any(|name| is_read(&name.to_ascii_lowercase())) {
        // The same names again read the files again.
        context.state.load_tls(pairs).map_err(|why| {
            context.state.log(&LogEvent::tls_not_reloaded(&why));
            let text = "Unable to update TLS configuration. Check server logs.";
            WireError::setting("tls-cert-file", text)
        })?;
    }
    let set = context.state.config.set(pairs);
    if set.is_err() {
        context.state.tls = before;
    }
    let names = set?;
    context.state.slow_log.configure(&context.state.config);
    context.state.apply_access_settings(&names);
    for pair in pairs.chunks_exact(2) {
        // From the letters as they came: what is shown of them says less.
        if pair[0].eq_ignore_ascii_case(b"notify-keyspace-events")
            && let Some(events) = Events::parse(pair[1])
        {
            context.shard.set_settings(ShardSettings { events, ..*context.shard.settings() });
        }
    }
    if names.iter().any(|name| name.starts_with("stream-")) {
        context.shard.set_settings(ShardSettings {
            nodes: context.state.config.node_limits(),
            idmp: context.state.config.idmp_limits(),
            ..*context.shard.settings()
        });
    }
    if names.contains(&"order-window") {
        let order_window = context.state.config.number("order-window");
        context.shard.set_settings(ShardSettings { order_window, ..*context.shard.settings() });
    }
    if names.contains(&"dedup-bytes-max") {
        let dedup_bytes_max = context.state.config.number("dedup-bytes-max");
        context.shard.set_settings(ShardSettings { dedup_bytes_max, ..*context.shard.settings() });
    }
    if names.contains(&"scrub-bytes-per-second") {
        let scrub_bytes_per_second = context.state.config.number("scrub-bytes-per-second");
        let settings = *context.shard.settings();
        context.shard.set_settings(ShardSettings { scrub_bytes_per_second, ..settings });
    }
    if names.contains(&"delivery-sync") {
        let delivery_strict = context.state.config.get("delivery-sync") == "strict";
        context.shard.set_settings(ShardSettings { delivery_strict, ..*context.shard.settings() });
    }
    if names.iter().any(|name| ["string-durability", "sync-interval"].contains(name)) {
        let config = &context.state.config;
        let strings_interval = config.get("string-durability") == "interval";
        let sync_interval_ms = config.number("sync-interval");
        let settings = *context.shard.settings();
        let settings = ShardSettings { strings_interval, sync_interval_ms, ..settings };
        context.shard.set_settings(settings);
    }
    context.output.write().ok();
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn reset_statistics(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.state.stats.reset();
    (context.state.usage.hits, context.state.usage.misses) = (0, 0);
    context.shard.reset_counts();
    context.output.write().ok();
    Ok(Then::Done)
}

fn rewrite(_: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    Err(WireError::Fixed("ERR The server is running without a config file"))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET <pattern>",
        "    List the settings that match the pattern.",
        "SET <directive> <value>",
        "    Change a setting.",
        "RESETSTAT",
        "    Set the counters of INFO to zero.",
        "REWRITE",
        "    Not offered.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
