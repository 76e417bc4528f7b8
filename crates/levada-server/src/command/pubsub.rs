//! SUBSCRIBE channel \[channel ...], UNSUBSCRIBE \[channel ...], PSUBSCRIBE, PUNSUBSCRIBE,
//! SSUBSCRIBE, SUNSUBSCRIBE
//! PUBLISH channel message, SPUBLISH channel message
//! PUBSUB CHANNELS|NUMSUB|NUMPAT|SHARDCHANNELS|SHARDNUMSUB|HELP

use levada_core::error::Error as CoreError;
use levada_core::glob;

use super::{BASE, CONTAINER, help_flags};
use crate::context::Context;
use crate::engine::{ClientId, Listening, NAME_BYTES};
use crate::spec::{Answer, Channels, CommandSpec, Keys, Request, Run, Then, access, flag};
use crate::wire_error::WireError;

const PUBSUB: CommandSpec = CommandSpec { group: "pubsub", ..BASE };

/// Flags of what a listener may do.
const LISTENER: u32 =
    flag::PUBSUB | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::WHILE_LISTENING;
/// Flags of questions.
const QUESTION: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;
const COMPLEXITY: &str = "O(N), N names";

pub(super) const SUBSCRIBE: CommandSpec = CommandSpec {
    name: "subscribe",
    syntax: "channel [channel ...]",
    summary: "Listens to channels.",
    since: "2.0.0",
    complexity: COMPLEXITY,
    arity: -2,
    flags: LISTENER | flag::DENYOOM,
    channels: Channels::Names,
    run: Run::Server(subscribe),
    ..PUBSUB
};

pub(super) const UNSUBSCRIBE: CommandSpec = CommandSpec {
    name: "unsubscribe",
    syntax: "[channel [channel ...]]",
    summary: "Stops listening to channels, or to all.",
    since: "2.0.0",
    complexity: COMPLEXITY,
    arity: -1,
    flags: LISTENER,
    run: Run::Server(unsubscribe),
    ..PUBSUB
};

pub(super) const PSUBSCRIBE: CommandSpec = CommandSpec {
    name: "psubscribe",
    syntax: "pattern [pattern ...]",
    summary: "Listens to all channels that match.",
    channels: Channels::Patterns,
    run: Run::Server(psubscribe),
    ..SUBSCRIBE
};

pub(super) const PUNSUBSCRIBE: CommandSpec = CommandSpec {
    name: "punsubscribe",
    syntax: "[pattern [pattern ...]]",
    summary: "Stops listening by patterns, or by all.",
    run: Run::Server(punsubscribe),
    ..UNSUBSCRIBE
};

/// Names of shard channels stand where keys would.
const SHARD_CHANNELS: Keys = Keys::Range { first: 1, last: -1, step: 1 };

pub(super) const SSUBSCRIBE: CommandSpec = CommandSpec {
    name: "ssubscribe",
    access: &[access::NOT_KEY],
    syntax: "shardchannel [shardchannel ...]",
    summary: "Listens to shard channels.",
    since: "7.0.0",
    keys: SHARD_CHANNELS,
    run: Run::Server(ssubscribe),
    ..SUBSCRIBE
};

pub(super) const SUNSUBSCRIBE: CommandSpec = CommandSpec {
    name: "sunsubscribe",
    access: &[access::NOT_KEY],
    syntax: "[shardchannel [shardchannel ...]]",
    summary: "Stops listening to shard channels, or to all.",
    since: "7.0.0",
    keys: SHARD_CHANNELS,
    run: Run::Server(sunsubscribe),
    ..UNSUBSCRIBE
};

pub(super) const PUBLISH: CommandSpec = CommandSpec {
    name: "publish",
    syntax: "channel message",
    summary: "Sends a message to all who listen to a channel.",
    since: "2.0.0",
    complexity: "O(N+M), N listeners, M patterns",
    arity: 3,
    flags: QUESTION | flag::FAST,
    channels: Channels::First,
    run: Run::Server(publish),
    ..PUBSUB
};

pub(super) const SPUBLISH: CommandSpec = CommandSpec {
    name: "spublish",
    access: &[access::NOT_KEY],
    syntax: "shardchannel message",
    summary: "Sends a message to all who listen to a shard channel.",
    since: "7.0.0",
    complexity: "O(N), N listeners",
    keys: super::KEY,
    run: Run::Server(spublish),
    ..PUBLISH
};

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "pubsub",
    syntax: "subcommand ...",
    summary: "Tells about channels and who listens.",
    since: "2.8.0",
    group: "pubsub",
    subcommands: &[
        question("pubsub|channels", "[pattern]", "Lists channels that are listened to.", channels),
        CommandSpec {
            arity: 2,
            flags: help_flags(),
            ..question("pubsub|help", "", "Lists the subcommands.", help)
        },
        CommandSpec {
            arity: 2,
            complexity: "O(1)",
            ..question("pubsub|numpat", "", "Counts patterns.", count_patterns)
        },
        question("pubsub|numsub", "[channel [channel ...]]", "Counts listeners.", count),
        CommandSpec {
            since: "7.0.0",
            ..question(
                "pubsub|shardchannels",
                "[pattern]",
                "Lists shard channels that are listened to.",
                shard_channels,
            )
        },
        CommandSpec {
            since: "7.0.0",
            ..question(
                "pubsub|shardnumsub",
                "[shardchannel [shardchannel ...]]",
                "Counts listeners of shard channels.",
                shard_count,
            )
        },
    ],
    ..CONTAINER
};

const fn question(
    name: &'static str,
    syntax: &'static str,
    summary: &'static str,
    run: Answer,
) -> CommandSpec {
    CommandSpec {
        name,
        syntax,
        summary,
        since: "2.8.0",
        complexity: COMPLEXITY,
        arity: -2,
        flags: QUESTION,
        run: Run::Server(run),
        ..PUBSUB
    }
}

fn subscribe(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    listen(context, request, Listening::Channel, "subscribe")
}

fn psubscribe(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    listen(context, request, Listening::Pattern, "psubscribe")
}

fn ssubscribe(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    listen(context, request, Listening::Shard, "ssubscribe")
}

fn unsubscribe(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    Ok(cease(context, request, Listening::Channel, "unsubscribe"))
}

fn punsubscribe(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    Ok(cease(context, request, Listening::Pattern, "punsubscribe"))
}

fn sunsubscribe(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    Ok(cease(context, request, Listening::Shard, "sunsubscribe"))
}

fn listen(
    context: &mut Context<'_>,
    request: &Request<'_>,
    listening: Listening,
    word: &str,
) -> Result<Then, WireError> {
    let client = ClientId(context.session.id);
    // What `maxmemory` bounds of this: the names that are listened to.
    let limit = context.state.config.number("maxmemory");
    let more: usize = request.rest(1).iter().map(|name| name.len() + NAME_BYTES).sum();
    if limit > 0 && (context.shard.listening_bytes() + more) as u64 > limit {
        return Err(WireError::Core(CoreError::OutOfMemory, request.spec.name));
    }
    for name in request.rest(1) {
        if !context.shard.subscribe(client, listening, name) {
            return Err(WireError::TOO_MANY_SUBSCRIPTIONS);
        }
        confirm(context, listening, word, Some(name));
    }
    Ok(Then::Pushed)
}

/// There is always an answer, though there may be nothing that ends.
fn cease(
    context: &mut Context<'_>,
    request: &Request<'_>,
    listening: Listening,
    word: &str,
) -> Then {
    let client = ClientId(context.session.id);
    let named: Vec<_> = request.rest(1).iter().map(|name| std::sync::Arc::from(*name)).collect();
    let all = named.is_empty();
    let names = if all { context.shard.listened(client, listening) } else { named };
    for name in &names {
        context.shard.unsubscribe(client, listening, name);
        confirm(context, listening, word, Some(name));
    }
    if names.is_empty() {
        confirm(context, listening, word, None);
    }
    Then::Pushed
}

/// One name, and how many there are now.
fn confirm(context: &mut Context<'_>, listening: Listening, word: &str, name: Option<&[u8]>) {
    let held = context.shard.subscriptions(ClientId(context.session.id));
    context.session.subscriptions = held;
    let mut writer = context.output.write();
    writer.push(3);
    writer.bulk(word.as_bytes());
    match name {
        Some(name) => writer.bulk(name),
        None => writer.null(),
    }
    context.output.unsigned(match listening {
        Listening::Shard => held.shards,
        Listening::Channel | Listening::Pattern => held.channels + held.patterns,
    } as u64);
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn publish(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let count = context.shard.publish(Listening::Channel, request.arg(1), request.arg(2));
    context.output.unsigned(count);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn spublish(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let count = context.shard.publish(Listening::Shard, request.arg(1), request.arg(2));
    context.output.unsigned(count);
    Ok(Then::Done)
}

fn channels(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    list(context, request, Listening::Channel)
}

fn shard_channels(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    list(context, request, Listening::Shard)
}

fn list(
    context: &mut Context<'_>,
    request: &Request<'_>,
    listening: Listening,
) -> Result<Then, WireError> {
    if request.args.len() > 3 {
        return Err(WireError::subcommand_syntax("PUBSUB", request.arg(1)));
    }
    let pattern = request.args.get(2).copied();
    let all = context.shard.listeners(listening).map(|(name, _)| name);
    let wanted = all.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)));
    let names: Vec<_> = wanted.cloned().collect();
    let mut writer = context.output.write();
    writer.array(names.len());
    names.iter().for_each(|name| writer.bulk(name));
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn count(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    count_listeners(context, request, Listening::Channel);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn shard_count(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    count_listeners(context, request, Listening::Shard);
    Ok(Then::Done)
}

/// Names and counts in turn, an array in both dialects.
fn count_listeners(context: &mut Context<'_>, request: &Request<'_>, listening: Listening) {
    let names = request.rest(2);
    context.output.write().array(names.len() * 2);
    for name in names {
        context.output.write().bulk(name);
        context.output.unsigned(context.shard.listeners_of(listening, name) as u64);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn count_patterns(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let count = context.shard.listeners(Listening::Pattern).count();
    context.output.unsigned(count as u64);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CHANNELS [<pattern>]",
        "    List the channels that are listened to.",
        "NUMPAT",
        "    Count the patterns that are listened to.",
        "NUMSUB [<channel> ...]",
        "    Count who listens to each channel, patterns not included.",
        "SHARDCHANNELS [<pattern>]",
        "    List the shard channels that are listened to.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Count who listens to each shard channel.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
