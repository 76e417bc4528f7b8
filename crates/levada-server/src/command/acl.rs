//! ACL SETUSER name \[rule ...], ACL GETUSER name, ACL DELUSER name \[name ...]
//! ACL LIST, ACL USERS, ACL WHOAMI, ACL CAT \[category], ACL GENPASS \[bits]
//! ACL DRYRUN name command \[argument ...], ACL LOG \[count|RESET]
//! ACL LOAD, ACL SAVE, ACL HELP

use levada_resp::Protocol;

use super::{BASE, CONTAINER, OPERATOR, help_flags, table};
use crate::acl::file;
use crate::acl::selector::Selector;
use crate::acl::user::{User, is_name, merge};
use crate::acl::{DEFAULT, Reason, Wish, random_password};
use crate::context::Context;
use crate::dispatch::{Refused, resolve};
use crate::log_event::{LogEvent, LogName};
use crate::number::parse_i64;
use crate::output::Output;
use crate::spec::{Answer, CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

/// Bits that a generated password may have.
const PASSWORD_BITS_MAX: i64 = 4096;
/// Entries of ACL LOG where nothing is said.
const LOGGED: i64 = 10;

const OPEN: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "acl",
    syntax: "subcommand ...",
    summary: "Tells who may do what, and changes it.",
    since: "6.0.0",
    group: "server",
    subcommands: &[
        open(
            "acl|cat",
            -2,
            "Lists categories, or the commands of one.",
            "[category]",
            list_category,
        ),
        own("acl|deluser", -3, "Removes users.", "name [name ...]", remove),
        own(
            "acl|dryrun",
            -4,
            "Tells whether a user may run a command.",
            "name command [argument ...]",
            dry_run,
        ),
        open("acl|genpass", -2, "Makes a password.", "[bits]", generate),
        own("acl|getuser", 3, "Describes a user.", "name", get),
        CommandSpec {
            flags: help_flags(),
            ..own("acl|help", 2, "Lists the subcommands.", "", help)
        },
        own("acl|list", 2, "Describes all users, as the lines of a file.", "", list),
        own("acl|load", 2, "Reads the users from the file again.", "", load),
        own("acl|log", -2, "Lists what was refused lately.", "[count|RESET]", log),
        own("acl|save", 2, "Writes the users into the file.", "", save),
        own("acl|setuser", -3, "Adds or changes a user.", "name [rule [rule ...]]", set),
        own("acl|users", 2, "Names all users.", "", users),
        open("acl|whoami", 2, "Names the user of the connection.", "", who_am_i),
    ],
    ..CONTAINER
};

/// A subcommand for operators.
const fn own(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    syntax: &'static str,
    run: Answer,
) -> CommandSpec {
    CommandSpec {
        name,
        syntax,
        summary,
        since: "6.0.0",
        complexity: "O(N), N users, rules or entries",
        group: "server",
        arity,
        flags: OPERATOR,
        run: Run::Server(run),
        ..BASE
    }
}

/// A subcommand for everybody.
const fn open(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    syntax: &'static str,
    run: Answer,
) -> CommandSpec {
    CommandSpec { flags: OPEN, ..own(name, arity, summary, syntax, run) }
}

fn list_category(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let found: Vec<&str> = match request.rest(2) {
        [] => category::NAMES.iter().map(|(_, name)| name.trim_start_matches('@')).collect(),
        [asked] => {
            let unknown = || WireError::quoting("ERR Unknown category '", asked, "'");
            let bit = category::named(asked).ok_or_else(unknown)?;
            let leaves = table().iter().flat_map(|spec| match spec.subcommands {
                [] => std::slice::from_ref(spec),
                subcommands => subcommands,
            });
            leaves.filter(|spec| spec.all_categories() & bit != 0).map(|spec| spec.name).collect()
        }
        _ => return Err(WireError::subcommand_syntax("ACL", request.arg(1))),
    };
    let mut writer = context.output.write();
    writer.array(found.len());
    found.iter().for_each(|name| writer.bulk(name.as_bytes()));
    Ok(Then::Done)
}

/// Rules are tried on a copy: all of them hold, or none.
fn set(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let name = request.arg(2);
    if !is_name(name) {
        return Err(WireError::Fixed("ERR Usernames can't contain spaces or null characters"));
    }
    let rules = merge(request.rest(3)).map_err(|open| {
        WireError::quoting("ERR Unmatched parenthesis in acl selector starting at '", &open, "'.")
    })?;
    let acl = &context.state.acl;
    let known = acl.find(name).and_then(|number| acl.user(number));
    let mut user = known.cloned().unwrap_or_else(|| User::new(name, acl.all_channels));
    if let Err((rule, fault)) = user.apply_all(&context.state.registry, &rules, acl.all_channels) {
        let after = format!("': {}", fault.text());
        return Err(WireError::quoting("ERR Error in ACL SETUSER modifier '", &rule, &after));
    }
    let opens = name == DEFAULT && user.no_password && user.enabled;
    if opens && context.state.is_protected() {
        return Err(WireError::Fixed(
            "ERR The 'default' user needs a password while addresses other than loopback are \
             served and protected-mode is on",
        ));
    }
    let (number, _) = context.state.acl.put(user);
    let ends = context.revoke(number);
    context.output.write().ok();
    Ok(if ends { Then::Close } else { Then::Done })
}

fn remove(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    if request.rest(2).contains(&DEFAULT) {
        return Err(WireError::Fixed("ERR The 'default' user cannot be removed"));
    }
    let (mut removed, mut ends) = (0, false);
    for name in request.rest(2) {
        if let Some(number) = context.state.acl.remove(name) {
            ends |= context.throw_out_user(number);
            removed += 1;
        }
    }
    context.output.unsigned(removed);
    Ok(if ends { Then::Close } else { Then::Done })
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn get(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let acl = &context.state.acl;
    let Some(user) = acl.find(request.arg(2)).and_then(|number| acl.user(number)) else {
        context.output.write().null();
        return Ok(Then::Done);
    };
    let mut rights = user.rights();
    let root = rights.next().expect("a user has rights of its own");
    let mut writer = context.output.write();
    writer.map(3 + facts(root).len());
    writer.bulk(b"flags");
    let flags = user.flags();
    writer.set(flags.len());
    flags.iter().for_each(|flag| writer.bulk(flag.as_bytes()));
    writer.bulk(b"passwords");
    writer.array(user.passwords().len());
    user.passwords().iter().for_each(|hash| writer.bulk(hash.digits()));
    put_rights(&mut context.output, root);
    let others: Vec<_> = rights.collect();
    let mut writer = context.output.write();
    writer.bulk(b"selectors");
    writer.array(others.len());
    for selector in others {
        context.output.write().map(facts(selector).len());
        put_rights(&mut context.output, selector);
    }
    Ok(Then::Done)
}

fn put_rights(output: &mut Output<'_>, rights: &Selector) {
    let mut writer = output.write();
    for (name, value) in facts(rights) {
        writer.bulk(name.as_bytes());
        writer.bulk(&value);
    }
}

/// What GETUSER tells of rights. Groups are ours: told only where a rule is about them.
fn facts(rights: &Selector) -> Vec<(&'static str, Vec<u8>)> {
    let mut facts = vec![
        ("commands", rights.describe_commands().into_bytes()),
        ("keys", rights.describe_keys()),
        ("channels", rights.describe_channels()),
    ];
    facts.extend(rights.describe_groups().map(|groups| ("groups", groups)));
    facts
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn list(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let mut writer = context.output.write();
    writer.array(context.state.acl.len());
    context.state.acl.users().for_each(|user| writer.bulk(&user.line()));
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn users(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let mut writer = context.output.write();
    writer.array(context.state.acl.len());
    context.state.acl.users().for_each(|user| writer.bulk(&user.name));
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn who_am_i(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let name = context.state.acl.name(context.session.user);
    context.output.write().bulk(name);
    Ok(Then::Done)
}

fn generate(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let bits = match request.rest(2) {
        [] => 256,
        [bits] => parse_i64(bits).ok_or(WireError::NOT_INTEGER)?,
        _ => return Err(WireError::subcommand_syntax("ACL", request.arg(1))),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(WireError::Fixed(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to 4096",
        ));
    }
    let password = random_password(usize::try_from(bits).expect("it is positive and small"))?;
    context.output.write().bulk(&password);
    Ok(Then::Done)
}

fn dry_run(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let acl = &context.state.acl;
    let (name, args) = (request.arg(2), request.rest(3));
    let user = acl.find(name).and_then(|number| acl.user(number));
    let user = user.ok_or_else(|| WireError::quoting("ERR User '", name, "' not found"))?;
    let number = match resolve(&context.state.registry, args) {
        Ok(number) => number,
        Err(Refused { error: error @ WireError::Arity(_), .. }) => return Err(error),
        Err(_) => {
            let command = request.arg(3);
            return Err(WireError::quoting("ERR Command '", command, "' not found"));
        }
    };
    let spec = context.state.registry.spec(number);
    let keys = spec.key_uses(args);
    let group = spec.group_use(args);
    let wish = Wish { number, spec, args, keys: keys.as_deref(), group };
    let Err(denied) = user.check(&wish) else {
        context.output.write().ok();
        return Ok(Then::Done);
    };
    let object = args.get(denied.at).copied().unwrap_or_default();
    let (before, named, after): (&[u8], &[u8], &[u8]) = match denied.reason {
        Reason::Command => (b"run the '", spec.name.as_bytes(), b"' command"),
        Reason::Key => (b"access the '", object, b"' key"),
        Reason::Channel => (b"access the '", object, b"' channel"),
        Reason::Group => (b"access the '", object, b"' group"),
    };
    let text = [b"User ", name, b" has no permissions to ", before, named, after].concat();
    context.output.write().bulk(&text);
    Ok(Then::Done)
}

fn log(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let count = match request.rest(2) {
        [] => LOGGED,
        [word] if word.eq_ignore_ascii_case(b"RESET") => {
            context.state.acl.log.clear();
            context.output.write().ok();
            return Ok(Then::Done);
        }
        [count] => parse_i64(count).ok_or(WireError::NOT_INTEGER)?,
        _ => return Err(WireError::subcommand_syntax("ACL", request.arg(1))),
    };
    let entries = context.state.acl.log.entries();
    let count = usize::try_from(count).unwrap_or(0).min(entries.len());
    let mut writer = context.output.write();
    writer.array(count);
    for entry in entries.iter().take(count) {
        let age_ms = context.now.wall_ms.saturating_sub(entry.updated_ms);
        let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        writer.map(10);
        writer.bulk(b"count");
        writer.integer(integer(entry.count));
        writer.bulk(b"reason");
        writer.bulk(entry.refusal.text().as_bytes());
        writer.bulk(b"context");
        writer.bulk(if entry.in_transaction { b"multi" } else { b"toplevel" });
        writer.bulk(b"object");
        writer.bulk(&entry.object);
        writer.bulk(b"username");
        writer.bulk(&entry.user);
        writer.bulk(b"age-seconds");
        let seconds = std::time::Duration::from_millis(age_ms).as_secs_f64();
        match writer.protocol() {
            Protocol::Resp2 => writer.bulk(seconds.to_string().as_bytes()),
            Protocol::Resp3 => writer.double(seconds),
        }
        writer.bulk(b"client-info");
        writer.bulk(entry.client.as_bytes());
        writer.bulk(b"entry-id");
        writer.integer(integer(entry.id));
        writer.bulk(b"timestamp-created");
        writer.integer(integer(entry.created_ms));
        writer.bulk(b"timestamp-last-updated");
        writer.integer(integer(entry.updated_ms));
    }
    Ok(Then::Done)
}

const NO_FILE: WireError = WireError::Fixed(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users \
     via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis \
     configuration file set) in order to store users in the Redis configuration.",
);

fn save(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let path = context.state.settings.aclfile.clone().ok_or(NO_FILE)?;
    if let Err(error) = file::save(&path, context.state.acl.users()) {
        let message = format!("Cannot write {}: {error}; users are as they were", path.display());
        context.state.log(
            &LogEvent::new(LogName::AclNotSaved, message)
                .text("file", &path.display())
                .text("error", &error),
        );
        return Err(WireError::Fixed(
            "ERR There was an error trying to save the ACLs. Please check the server logs for \
             more information",
        ));
    }
    context.output.write().ok();
    Ok(Then::Done)
}

/// Users that the file does not name are removed, but for `default`, which is as at first then.
fn load(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let path = context.state.settings.aclfile.clone().ok_or(NO_FILE)?;
    let (registry, acl) = (&context.state.registry, &context.state.acl);
    let mut users = file::load(registry, &path, acl.all_channels)
        .map_err(|text| WireError::quoting("ERR ", text.as_bytes(), ""))?;
    if !users.iter().any(|user| user.name == DEFAULT) {
        users.push(User::first(registry, DEFAULT));
    }
    let opens = |user: &User| user.name == DEFAULT && user.no_password && user.enabled;
    if context.state.is_protected() && users.iter().any(opens) {
        return Err(WireError::Fixed(
            "ERR The file gives the 'default' user no password, and addresses other than loopback \
             are served in protected mode",
        ));
    }
    let is_gone = |known: &&User| !users.iter().any(|user| user.name == known.name);
    let gone: Vec<_> = acl.users().filter(is_gone).map(|user| user.name.clone()).collect();
    let mut ends = false;
    for name in gone {
        if let Some(number) = context.state.acl.remove(&name) {
            ends |= context.throw_out_user(number);
        }
    }
    for user in users {
        let (number, _) = context.state.acl.put(user);
        ends |= context.revoke(number);
    }
    context.output.write().ok();
    Ok(if ends { Then::Close } else { Then::Done })
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CAT [<category>]",
        "    List the categories, or the commands of one.",
        "DELUSER <username> [<username> ...]",
        "    Remove users; their connections end.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Tell whether a user may run a command, without running it.",
        "GETUSER <username>",
        "    Describe a user.",
        "GENPASS [<bits>]",
        "    Make a password of 256 bits, or of so many.",
        "LIST",
        "    Describe all users, as the lines of a file.",
        "LOAD",
        "    Read the users from the file again.",
        "LOG [<count> | RESET]",
        "    List what was refused lately, or forget it.",
        "SAVE",
        "    Write the users into the file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Add a user, or change it.",
        "USERS",
        "    Name all users.",
        "WHOAMI",
        "    Name the user of the connection.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
