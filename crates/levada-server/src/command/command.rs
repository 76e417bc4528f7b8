//! COMMAND
//! COMMAND COUNT|INFO|DOCS|LIST|GETKEYS|GETKEYSANDFLAGS|HELP
//!
//! All of it is generated from the table.

use levada_core::glob;
use levada_resp::Protocol;

use super::{BASE, help_flags, table};
use crate::context::Context;
use crate::dispatch::{Refused, resolve};
use crate::output::Output;
use crate::spec::{Answer, CommandSpec, Keys, Request, Run, Then, access, category, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "command",
    syntax: "[subcommand ...]",
    summary: "Describes all commands.",
    since: "2.8.13",
    complexity: "O(N), N commands",
    group: "server",
    arity: -1,
    flags: help_flags(),
    categories: category::CONNECTION,
    subcommands: &[
        about("command|count", 2, "2.8.13", "Counts the commands.", "", count),
        about("command|docs", -2, "7.0.0", "Documents commands.", "[name ...]", docs),
        about(
            "command|getkeys",
            -3,
            "2.8.13",
            "Finds the keys of a request.",
            "name ...",
            get_keys,
        ),
        about(
            "command|getkeysandflags",
            -3,
            "7.0.0",
            "Finds the keys of a request and what it does with them.",
            "name ...",
            get_keys_and_flags,
        ),
        about("command|help", 2, "5.0.0", "Lists the subcommands.", "", help),
        about("command|info", -2, "2.8.13", "Describes commands.", "[name ...]", info),
        about(
            "command|list",
            -2,
            "7.0.0",
            "Lists the names of commands.",
            "[FILTERBY MODULE name|ACLCAT category|PATTERN pattern]",
            list,
        ),
    ],
    run: Run::Server(all),
    ..BASE
};

const fn about(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    syntax: &'static str,
    run: Answer,
) -> CommandSpec {
    CommandSpec {
        name,
        syntax,
        summary,
        since,
        group: "server",
        arity,
        flags: help_flags(),
        categories: category::CONNECTION,
        run: Run::Server(run),
        ..BASE
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn all(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().array(table().len());
    for spec in table() {
        put_info(&mut context.output, spec);
    }
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn count(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let count = context.state.registry.top_len() as u64;
    context.output.unsigned(count);
    Ok(Then::Done)
}

fn info(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let names = request.rest(2);
    if names.is_empty() {
        return all(context, request);
    }
    context.output.write().array(names.len());
    for name in names {
        match context.state.registry.find_full(name) {
            Some(number) => put_info(&mut context.output, context.state.registry.spec(number)),
            None => context.output.write().null(),
        }
    }
    Ok(Then::Done)
}

fn put_info(output: &mut Output<'_>, spec: &CommandSpec) {
    let mut writer = output.write();
    writer.array(10);
    writer.bulk(spec.name.as_bytes());
    writer.integer(spec.arity.into());
    put_names(output, spec.flags, &flag::NAMES);
    let (first, last, step) = match spec.keys.fixed() {
        Keys::Range { first, last, step } => (first, last, step),
        _ => (0, 0, 0),
    };
    for number in [first, last, step] {
        output.write().integer(number.into());
    }
    put_names(output, spec.all_categories(), &category::NAMES);
    output.write().set(0); // Hints for clusters.
    put_key_specs(output, spec);
    let writer = &mut output.write();
    if spec.subcommands.is_empty() {
        writer.set(0);
    } else {
        writer.set(spec.subcommands.len());
        for sub in spec.subcommands {
            put_info(output, sub);
        }
    }
}

fn put_names(output: &mut Output<'_>, bits: u32, names: &[(u32, &str)]) {
    let set: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).collect();
    output.write().set(set.len());
    for (_, name) in set {
        output.write().simple(name);
    }
}

fn put_key_specs(output: &mut Output<'_>, spec: &CommandSpec) {
    if spec.keys == Keys::None {
        output.write().set(0);
        return;
    }
    let mut writer = output.write();
    writer.set(1);
    writer.map(3);
    writer.bulk(b"flags");
    put_key_flags(output, spec.access_of(0));
    let mut writer = output.write();
    writer.bulk(b"begin_search");
    writer.map(2);
    let (last, step, limit) = match spec.keys.fixed() {
        Keys::Range { first, last, step } => {
            pair(output, "type", "index");
            output.write().bulk(b"spec");
            numbers(output, &[("index", first)]);
            // Counted from the first key.
            (if last < 0 { last } else { last - first }, step, 0)
        }
        Keys::Counted { count, first, step } => {
            pair(output, "type", "index");
            output.write().bulk(b"spec");
            numbers(output, &[("index", count)]);
            output.write().bulk(b"find_keys");
            output.write().map(2);
            pair(output, "type", "keynum");
            output.write().bulk(b"spec");
            let first = first - count;
            return numbers(output, &[("keynumidx", 0), ("firstkey", first), ("keystep", step)]);
        }
        _ => {
            pair(output, "type", "keyword");
            output.write().bulk(b"spec");
            output.write().map(2);
            pair(output, "keyword", "STREAMS");
            output.write().bulk(b"startfrom");
            output.write().integer(if spec.flags & flag::WRITE == 0 { 1 } else { 4 });
            (-1, 1, 2)
        }
    };
    output.write().bulk(b"find_keys");
    output.write().map(2);
    pair(output, "type", "range");
    output.write().bulk(b"spec");
    numbers(output, &[("lastkey", last), ("keystep", step), ("limit", limit)]);
}

/// What a command does with a key.
fn put_key_flags(output: &mut Output<'_>, access: u16) {
    let set = access::NAMES.iter().filter(|(bit, _)| access & bit != 0);
    let flags: Vec<_> = set.map(|(_, name)| name).collect();
    output.write().set(flags.len());
    for flag in flags {
        output.write().simple(flag);
    }
}

fn pair(output: &mut Output<'_>, name: &str, value: &str) {
    output.write().bulk(name.as_bytes());
    output.write().bulk(value.as_bytes());
}

fn numbers(output: &mut Output<'_>, pairs: &[(&str, i32)]) {
    output.write().map(pairs.len());
    for (name, value) in pairs {
        output.write().bulk(name.as_bytes());
        output.write().integer((*value).into());
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn docs(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let registry = &context.state.registry;
    let named = request.rest(2).iter().filter_map(|name| registry.find_full(name));
    let mut specs: Vec<&CommandSpec> = named.map(|number| registry.spec(number)).collect();
    if request.rest(2).is_empty() {
        specs = table().iter().collect();
    }
    context.output.write().map(specs.len());
    for spec in specs {
        put_docs(&mut context.output, spec);
    }
    Ok(Then::Done)
}

fn put_docs(output: &mut Output<'_>, spec: &CommandSpec) {
    output.write().bulk(spec.name.as_bytes());
    output.write().map(4 + usize::from(!spec.subcommands.is_empty()));
    pair(output, "summary", spec.summary);
    pair(output, "since", spec.since);
    pair(output, "group", spec.group);
    pair(output, "complexity", spec.complexity);
    if !spec.subcommands.is_empty() {
        output.write().bulk(b"subcommands");
        output.write().map(spec.subcommands.len());
        for sub in spec.subcommands {
            put_docs(output, sub);
        }
    }
}

fn list(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let with_subcommands = || {
        table().iter().flat_map(|spec| {
            std::iter::once(spec).filter(|spec| spec.subcommands.is_empty()).chain(spec.subcommands)
        })
    };
    let names: Vec<&str> = match request.rest(2) {
        [] => table().iter().map(|spec| spec.name).collect(),
        [filter, by, value] if filter.eq_ignore_ascii_case(b"FILTERBY") => {
            match by.to_ascii_uppercase().as_slice() {
                b"MODULE" => Vec::new(),
                b"ACLCAT" => {
                    let bit = category::named(value).unwrap_or(0);
                    let has = |spec: &&CommandSpec| spec.all_categories() & bit != 0;
                    with_subcommands().filter(has).map(|spec| spec.name).collect()
                }
                b"PATTERN" => {
                    let lower = value.to_ascii_lowercase();
                    let matches = |name: &&str| glob::matches(&lower, name.as_bytes());
                    table().iter().map(|spec| spec.name).filter(matches).collect()
                }
                _ => return Err(WireError::SYNTAX),
            }
        }
        _ => return Err(WireError::SYNTAX),
    };
    let mut writer = context.output.write();
    if writer.protocol() == Protocol::Resp3 {
        writer.set(names.len());
    } else {
        writer.array(names.len());
    }
    for name in names {
        writer.bulk(name.as_bytes());
    }
    Ok(Then::Done)
}

/// The keys of a request inside a request, and what it does with them.
fn inner_keys<'a>(
    context: &Context<'_>,
    args: &'a [&'a [u8]],
) -> Result<Vec<(&'a [u8], u16)>, WireError> {
    let registry = &context.state.registry;
    let number = match resolve(registry, args) {
        Ok(number) => number,
        Err(Refused { error: WireError::Arity(_), .. }) => {
            return Err(WireError::Fixed("ERR Invalid number of arguments specified for command"));
        }
        Err(_) => return Err(WireError::Fixed("ERR Invalid command specified")),
    };
    let spec = registry.spec(number);
    if spec.keys == Keys::None {
        return Err(WireError::Fixed("ERR The command has no key arguments"));
    }
    let uses = spec.key_uses(args);
    let uses = uses.ok_or(WireError::Fixed("ERR Invalid arguments specified for command"))?;
    Ok(uses.into_iter().filter_map(|key| Some((*args.get(key.at)?, key.access))).collect())
}

fn get_keys(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let keys = inner_keys(context, request.rest(2))?;
    context.output.write().array(keys.len());
    for (key, _) in keys {
        context.output.write().bulk(key);
    }
    Ok(Then::Done)
}

fn get_keys_and_flags(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let keys = inner_keys(context, request.rest(2))?;
    context.output.write().array(keys.len());
    for (key, access) in keys {
        context.output.write().array(2);
        context.output.write().bulk(key);
        put_key_flags(&mut context.output, access);
    }
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "(no subcommand)",
        "    Describe all commands.",
        "COUNT",
        "    Count the commands.",
        "DOCS [<command-name> ...]",
        "    Document commands, all of them where none is named.",
        "GETKEYS <full-command>",
        "    Find the keys of a request.",
        "GETKEYSANDFLAGS <full-command>",
        "    Find the keys of a request and what it does with them.",
        "INFO [<command-name> ...]",
        "    Describe commands, all of them where none is named.",
        "LIST [FILTERBY MODULE|ACLCAT|PATTERN <value>]",
        "    List the names of commands.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
