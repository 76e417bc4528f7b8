//! HELLO \[version \[AUTH username password] \[SETNAME name]]

use levada_resp::Protocol;

use super::auth::authenticate;
use super::client::check_name;
use super::{ANYTIME, CONNECTION};
use crate::REDIS_VERSION;
use crate::context::Context;
use crate::number::parse_i64;
use crate::spec::{CommandSpec, Request, Run, Then};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "hello",
    syntax: "[version [AUTH username password] [SETNAME name]]",
    summary: "Chooses the version of the protocol, and introduces the client.",
    since: "6.0.0",
    arity: -1,
    flags: ANYTIME,
    run: Run::Server(run),
    ..CONNECTION
};

fn run(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let protocol = match request.args.get(1) {
        None => None,
        Some(version) => match parse_i64(version).ok_or(WireError::PROTOCOL_NOT_INTEGER)? {
            2 => Some(Protocol::Resp2),
            3 => Some(Protocol::Resp3),
            _ => return Err(WireError::PROTOCOL_UNKNOWN),
        },
    };
    let (mut login, mut name) = (None, None);
    let mut options = request.rest(2);
    while let [word, rest @ ..] = options {
        options = match rest {
            [user, password, rest @ ..] if word.eq_ignore_ascii_case(b"AUTH") => {
                login = Some((user, password));
                rest
            }
            [given, rest @ ..] if word.eq_ignore_ascii_case(b"SETNAME") => {
                check_name(given, "Client names")?;
                name = Some(given);
                rest
            }
            _ => return Err(WireError::quoting("ERR Syntax error in HELLO option '", word, "'")),
        };
    }
    if let Some((user, password)) = login {
        authenticate(context, request, user, password)?;
    }
    if !context.session.authenticated && context.state.acl.needs_password() {
        return Err(WireError::NO_AUTH_HELLO);
    }
    if let Some(name) = name {
        context.session.name = name.to_vec();
    }
    if let Some(protocol) = protocol {
        context.session.protocol = protocol;
        context.output.set_protocol(protocol);
    }
    introduce(context);
    Ok(Then::Done)
}

fn introduce(context: &mut Context<'_>) {
    let version = match context.session.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let mut writer = context.output.write();
    writer.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        writer.bulk(name.as_bytes());
        writer.bulk(value.as_bytes());
    }
    writer.bulk(b"proto");
    writer.integer(version);
    writer.bulk(b"id");
    writer.integer(i64::try_from(context.session.id).unwrap_or(i64::MAX));
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        writer.bulk(name.as_bytes());
        writer.bulk(value.as_bytes());
    }
    writer.bulk(b"modules");
    writer.array(0);
}
