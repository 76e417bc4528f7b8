//! CLIENT ID|GETNAME|SETNAME|SETINFO|INFO|LIST|KILL|UNBLOCK|PAUSE|UNPAUSE|REPLY|NO-EVICT|NO-TOUCH
//! CLIENT CACHING|GETREDIR|TRACKINGINFO|HELP
//!
//! Keys are not tracked for caches of clients: CLIENT TRACKING is unknown, and what asks about it
//! answers that it is off.

use std::net::SocketAddr;

use super::{BASE, CONTAINER, OPERATOR, help_flags};
use crate::acl::{Acl, UserNumber};
use crate::context::{Context, Pause};
use crate::describe_client::Described;
use crate::number::parse_i64;
use crate::read_arguments::timeout_ms;
use crate::session::{Replies, Session};
use crate::spec::{Answer, CommandSpec, Request, Run, Then, category, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "client",
    syntax: "subcommand ...",
    summary: "Tells about connections, and changes them.",
    since: "2.4.0",
    group: "connection",
    subcommands: &[
        own("client|caching", 3, "6.0.0", "Refuses: keys are not tracked.", "YES|NO", caching),
        own("client|getname", 2, "2.6.9", "Tells the name of the connection.", "", get_name),
        own("client|getredir", 2, "6.0.0", "Tells that keys are not tracked.", "", redirection),
        CommandSpec {
            flags: help_flags(),
            ..own("client|help", 2, "5.0.0", "Lists the subcommands.", "", help)
        },
        own("client|id", 2, "5.0.0", "Tells the number of the connection.", "", id),
        own("client|info", 2, "6.2.0", "Describes the connection.", "", info),
        CommandSpec {
            flags: OPERATOR,
            complexity: "O(N), N connections",
            ..own(
                "client|kill",
                -3,
                "2.4.0",
                "Ends connections.",
                "address | [ID id] [TYPE type] [USER name] [ADDR address] [LADDR address] \
                 [MAXAGE seconds] [SKIPME YES|NO]",
                kill,
            )
        },
        CommandSpec {
            flags: OPERATOR,
            complexity: "O(N), N connections",
            ..own(
                "client|list",
                -2,
                "2.4.0",
                "Describes connections.",
                "[TYPE type] [ID id [id ...]]",
                list,
            )
        },
        CommandSpec {
            flags: OPERATOR,
            ..own(
                "client|no-evict",
                3,
                "7.0.0",
                "Notes a wish: connections are not evicted.",
                "ON|OFF",
                no_evict,
            )
        },
        own(
            "client|no-touch",
            3,
            "7.2.0",
            "Notes a wish: when keys are used is not noted.",
            "ON|OFF",
            no_touch,
        ),
        CommandSpec {
            flags: OPERATOR,
            ..own(
                "client|pause",
                -3,
                "3.0.0",
                "Lets commands wait, all or those that write.",
                "milliseconds [WRITE|ALL]",
                pause,
            )
        },
        own("client|reply", 3, "3.2.0", "Turns replies on and off.", "ON|OFF|SKIP", reply),
        own(
            "client|setinfo",
            4,
            "7.2.0",
            "Notes the library of the client.",
            "LIB-NAME name | LIB-VER version",
            set_info,
        ),
        own("client|setname", 3, "2.6.9", "Names the connection.", "name", set_name),
        own(
            "client|trackinginfo",
            2,
            "6.2.0",
            "Tells that keys are not tracked.",
            "",
            tracking_info,
        ),
        CommandSpec {
            flags: OPERATOR,
            ..own(
                "client|unblock",
                -3,
                "5.0.0",
                "Ends the wait of a blocked connection.",
                "id [TIMEOUT|ERROR]",
                unblock,
            )
        },
        CommandSpec {
            flags: OPERATOR,
            complexity: "O(N), N connections that wait",
            ..own("client|unpause", 2, "6.2.0", "Ends a pause.", "", unpause)
        },
    ],
    ..CONTAINER
};

/// A subcommand about the own connection.
const fn own(
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
        group: "connection",
        arity,
        flags: flag::NOSCRIPT | flag::LOADING | flag::STALE,
        categories: category::CONNECTION,
        run: Run::Server(run),
        ..BASE
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn id(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let id = context.session.id;
    context.output.unsigned(id);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn get_name(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    if context.session.name.is_empty() {
        context.output.write().null();
    } else {
        context.output.write().bulk(&context.session.name);
    }
    Ok(Then::Done)
}

fn set_name(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    check_name(request.arg(2), "Client names")?;
    context.session.name = request.arg(2).to_vec();
    context.output.write().ok();
    Ok(Then::Done)
}

fn set_info(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let (option, value) = (request.arg(2), request.arg(3));
    if option.eq_ignore_ascii_case(b"LIB-NAME") {
        check_name(value, &String::from_utf8_lossy(option))?;
        context.session.library_name = value.to_vec();
    } else if option.eq_ignore_ascii_case(b"LIB-VER") {
        check_name(value, &String::from_utf8_lossy(option))?;
        context.session.library_version = value.to_vec();
    } else {
        return Err(WireError::quoting("ERR Unrecognized option '", option, "'"));
    }
    context.output.write().ok();
    Ok(Then::Done)
}

/// Names stand in CLIENT LIST, between spaces.
pub(super) fn check_name(name: &[u8], what: &str) -> Result<(), WireError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    let text = format!("ERR {what} cannot contain spaces, newlines or special characters.");
    Err(WireError::Text(text.into_bytes()))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn info(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let text = Described::own(context).line(context.state, context.now);
    context.output.write().verbatim(&text);
    Ok(Then::Done)
}

fn list(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let mut of_type = None;
    let ids = match request.rest(2) {
        [] => None,
        [word, kind] if word.eq_ignore_ascii_case(b"TYPE") => {
            of_type = Some(client_type(kind)?);
            None
        }
        [word, ids @ ..] if word.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| parse_i64(id)).collect();
            Some(ids.ok_or(WireError::Fixed("ERR Invalid client ID"))?)
        }
        _ => return Err(WireError::SYNTAX),
    };
    let is = |id: u64| move |asked: &i64| u64::try_from(*asked) == Ok(id);
    let wanted = |id: u64| ids.as_ref().is_none_or(|ids| ids.iter().any(is(id)));
    let mut all = vec![Described::own(context)];
    all.extend(context.others.iter().map(Described::of));
    all.retain(|one| wanted(one.session.id) && is_of(one.session, of_type));
    all.sort_by_key(|one| one.session.id);
    let mut text = String::new();
    for one in all {
        text.push_str(&one.line(context.state, context.now));
    }
    context.output.write().verbatim(&text);
    Ok(Then::Done)
}

/// Types of clients: there are no others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientType {
    Normal,
    /// It listens to channels.
    Listener,
    /// What connects servers of Redis with each other.
    Peer,
}

fn client_type(kind: &[u8]) -> Result<ClientType, WireError> {
    match kind.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(ClientType::Normal),
        b"pubsub" => Ok(ClientType::Listener),
        b"master" | b"replica" | b"slave" => Ok(ClientType::Peer),
        _ => Err(WireError::quoting("ERR Unknown client type '", kind, "'")),
    }
}

/// Whether a connection is of this type, if one is asked for.
fn is_of(session: &Session, kind: Option<ClientType>) -> bool {
    let own = match session.subscriptions.any() {
        true => ClientType::Listener,
        false => ClientType::Normal,
    };
    kind.is_none_or(|kind| kind == own)
}

/// Which connections CLIENT KILL means.
#[derive(Debug)]
struct Victims {
    id: Option<u64>,
    address: Option<Vec<u8>>,
    local_address: Option<Vec<u8>>,
    age_s_min: u64,
    kind: Option<ClientType>,
    user: Option<UserNumber>,
    skip_own: bool,
}

impl Victims {
    fn parse(acl: &Acl, args: &[&[u8]]) -> Result<Self, WireError> {
        let mut victims = Self {
            id: None,
            address: None,
            local_address: None,
            age_s_min: 0,
            kind: None,
            user: None,
            skip_own: true,
        };
        for pair in args.chunks(2) {
            let [word, value] = pair else {
                return Err(WireError::SYNTAX);
            };
            match word.to_ascii_uppercase().as_slice() {
                b"ID" => {
                    let id = parse_i64(value).filter(|id| *id > 0);
                    let error = WireError::Fixed("ERR client-id should be greater than 0");
                    victims.id = Some(id.ok_or(error)?.unsigned_abs());
                }
                b"TYPE" => victims.kind = Some(client_type(value)?),
                b"USER" => {
                    let unknown = || WireError::quoting("ERR No such user '", value, "'");
                    victims.user = Some(acl.find(value).ok_or_else(unknown)?);
                }
                b"ADDR" => victims.address = Some(value.to_vec()),
                b"LADDR" => victims.local_address = Some(value.to_vec()),
                b"MAXAGE" => {
                    let error = WireError::Fixed("ERR maxage is not an integer or out of range");
                    let age = parse_i64(value).ok_or(error)?;
                    let age = u64::try_from(age).ok().filter(|age| *age > 0);
                    let error = WireError::Fixed("ERR maxage should be greater than 0");
                    victims.age_s_min = age.ok_or(error)?;
                }
                b"SKIPME" => {
                    victims.skip_own = match value.to_ascii_lowercase().as_slice() {
                        b"yes" => true,
                        b"no" => false,
                        _ => return Err(WireError::SYNTAX),
                    }
                }
                _ => return Err(WireError::SYNTAX),
            }
        }
        Ok(victims)
    }

    fn has(&self, one: &Described<'_>, now_ms: u64) -> bool {
        let is = |asked: &Option<Vec<u8>>, address: SocketAddr| {
            asked.as_ref().is_none_or(|asked| *asked == address.to_string().into_bytes())
        };
        is_of(one.session, self.kind)
            && self.user.is_none_or(|user| user == one.session.user)
            && self.id.is_none_or(|id| id == one.session.id)
            && is(&self.address, one.session.address)
            && is(&self.local_address, one.session.local_address)
            && now_ms.saturating_sub(one.session.created_ms) / 1000 >= self.age_s_min
    }
}

fn kill(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let old_form = request.args.len() == 3;
    let victims = if old_form {
        let address = Some(request.arg(2).to_vec());
        Victims { address, skip_own: false, ..Victims::parse(&context.state.acl, &[])? }
    } else {
        Victims::parse(&context.state.acl, request.rest(2))?
    };
    let now_ms = context.now.monotonic_ms();
    let own = !victims.skip_own && victims.has(&Described::own(context), now_ms);
    let mut killed = u64::from(own);
    for other in context.others.iter_mut() {
        if victims.has(&Described::of(other), now_ms) {
            other.broken = true;
            context.state.wake.push(other.token);
            killed += 1;
        }
    }
    match old_form {
        true if killed == 0 => return Err(WireError::NO_SUCH_CLIENT),
        true => context.output.write().ok(),
        false => context.output.unsigned(killed),
    }
    Ok(if own { Then::Close } else { Then::Done })
}

fn unblock(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let error = match request.rest(3) {
        [] => None,
        [word] if word.eq_ignore_ascii_case(b"TIMEOUT") => None,
        [word] if word.eq_ignore_ascii_case(b"ERROR") => Some(&WireError::UNBLOCKED),
        [_, _, ..] => return Err(WireError::subcommand_syntax("CLIENT", request.arg(1))),
        _ => {
            return Err(WireError::Fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = parse_i64(request.arg(2)).ok_or(WireError::NOT_INTEGER)?;
    let unblocked = u64::try_from(id).is_ok_and(|id| context.unblock(id, error));
    context.output.unsigned(u64::from(unblocked));
    Ok(Then::Done)
}

fn pause(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let all = match request.rest(3) {
        [] => true,
        [word] if word.eq_ignore_ascii_case(b"ALL") => true,
        [word] if word.eq_ignore_ascii_case(b"WRITE") => false,
        [_] => return Err(WireError::Fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(WireError::subcommand_syntax("CLIENT", request.arg(1))),
    };
    let now_ms = context.now.monotonic_ms();
    let until_ms = now_ms.saturating_add(timeout_ms(request.arg(2), now_ms)?);
    // Of two pauses the longer time counts, and the kind of the later one.
    let before = context.state.pause.map_or(0, |pause| pause.until_ms);
    context.state.pause = Some(Pause { until_ms: until_ms.max(before), all });
    context.output.write().ok();
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn unpause(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.state.pause = None;
    context.output.write().ok();
    Ok(Then::Done)
}

fn caching(_: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    Err(WireError::Fixed(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
         OPTOUT mode enabled",
    ))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn redirection(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.write().integer(-1);
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn tracking_info(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let mut writer = context.output.write();
    writer.map(3);
    writer.bulk(b"flags");
    writer.set(1);
    writer.bulk(b"off");
    writer.bulk(b"redirect");
    writer.integer(-1);
    writer.bulk(b"prefixes");
    writer.array(0);
    Ok(Then::Done)
}

fn reply(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    context.session.replies = match request.arg(2).to_ascii_uppercase().as_slice() {
        b"ON" => {
            context.output.write().ok();
            Replies::On
        }
        b"OFF" => Replies::Off,
        b"SKIP" if context.session.replies == Replies::Off => Replies::Off,
        b"SKIP" => Replies::SkipNext,
        _ => return Err(WireError::SYNTAX),
    };
    Ok(Then::Done)
}

/// ON or OFF.
fn switch(word: &[u8]) -> Result<bool, WireError> {
    match word.to_ascii_uppercase().as_slice() {
        b"ON" => Ok(true),
        b"OFF" => Ok(false),
        _ => Err(WireError::SYNTAX),
    }
}

fn no_evict(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    context.session.no_evict = switch(request.arg(2))?;
    context.output.write().ok();
    Ok(Then::Done)
}

fn no_touch(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    context.session.no_touch = switch(request.arg(2))?;
    context.output.write().ok();
    Ok(Then::Done)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn help(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    context.output.help(&[
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CACHING (YES|NO)",
        "    Refused: keys are not tracked.",
        "GETNAME",
        "    Tell the name of the connection.",
        "GETREDIR",
        "    Tell that keys are not tracked.",
        "ID",
        "    Tell the number of the connection.",
        "INFO",
        "    Describe the connection.",
        "KILL <ip:port>",
        "    End the connection from this address.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    End connections by ID, ADDR, LADDR, TYPE, USER, MAXAGE, SKIPME.",
        "LIST [TYPE <type>] [ID <id> [<id> ...]]",
        "    Describe connections.",
        "NO-EVICT (ON|OFF)",
        "    Accepted: connections are not evicted.",
        "NO-TOUCH (ON|OFF)",
        "    Accepted: when keys are used is not noted.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Let commands wait for so many milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Turn replies on and off.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Note the library of the client.",
        "SETNAME <name>",
        "    Name the connection.",
        "TRACKINGINFO",
        "    Tell that keys are not tracked.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    End the wait of a blocked connection.",
        "UNPAUSE",
        "    End a pause.",
        "HELP",
        "    Print this help.",
    ]);
    Ok(Then::Done)
}
