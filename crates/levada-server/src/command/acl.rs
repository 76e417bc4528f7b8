//! ACL WHOAMI, ACL LIST, ACL USERS, ACL CAT \[category], ACL HELP
//!
//! There is one user, `default`, who may do everything; only its password can be changed.

use super::auth::USER;
use super::{BASE, CONTAINER, OPERATOR, help_flags, table};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

const ACL: CommandSpec =
    CommandSpec { since: "6.0.0", group: "server", arity: 2, flags: OPERATOR, ..BASE };
const OPEN: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "acl",
    syntax: "subcommand ...",
    summary: "Tells about the only user.",
    since: "6.0.0",
    group: "server",
    subcommands: &[
        CommandSpec {
            name: "acl|cat",
            syntax: "[category]",
            summary: "Lists categories, or the commands of one.",
            complexity: "O(N), N commands",
            arity: -2,
            flags: OPEN,
            run: Run::Server(list_category),
            ..ACL
        },
        CommandSpec {
            name: "acl|help",
            summary: "Lists the subcommands.",
            flags: help_flags(),
            run: Run::Server(help),
            ..ACL
        },
        CommandSpec {
            name: "acl|list",
            summary: "Tells what the only user may do.",
            run: Run::Server(list),
            ..ACL
        },
        CommandSpec {
            name: "acl|users",
            summary: "Names the only user.",
            run: Run::Server(users),
            ..ACL
        },
        CommandSpec {
            name: "acl|whoami",
            summary: "Names the user of the connection.",
            flags: OPEN,
            run: Run::Server(who_am_i),
            ..ACL
        },
    ],
    ..CONTAINER
};

fn list_category(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let names = category::NAMES.iter().map(|(bit, name)| (*bit, name.trim_start_matches('@')));
    let found: Vec<&str> = match request.rest(2) {
        [] => names.map(|(_, name)| name).collect(),
        [asked] => {
            let wanted = |(_, name): &(u32, &str)| asked.eq_ignore_ascii_case(name.as_bytes());
            let unknown = || WireError::quoting("ERR Unknown category '", asked, "'");
            let (bit, _) = names.into_iter().find(wanted).ok_or_else(unknown)?;
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

/// The password is not shown, not even hashed.
#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn list(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let open = if context.state.needs_password() { "" } else { "nopass " };
    let mut writer = context.output.write();
    writer.array(1);
    writer.bulk(format!("user default on {open}sanitize-payload ~* &* +@all").as_bytes());
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn users(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let mut writer = context.output.write();
    writer.array(1);
    writer.bulk(USER);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn who_am_i(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().bulk(USER);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CAT [<category>]",
        "    List the categories, or the commands of one.",
        "LIST",
        "    Tell what the only user may do.",
        "USERS",
        "    Name the only user.",
        "WHOAMI",
        "    Name the user of the connection.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
