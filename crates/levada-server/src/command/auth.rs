//! AUTH \[username] password

use super::{ANYTIME, CONNECTION};
use crate::acl::DEFAULT;
use crate::acl::log::Refusal;
use crate::acl::revoke::Refused;
use crate::context::Context;
use crate::describe_client::Described;
use crate::spec::{CommandSpec, Request, Run, Then};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "auth",
    syntax: "[username] password",
    summary: "Authenticates the connection.",
    since: "1.0.0",
    complexity: "O(N), N bytes of the password",
    arity: -2,
    flags: ANYTIME,
    run: Run::Server(run),
    ..CONNECTION
};

fn run(context: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    match request.rest(1) {
        [_] if context.state.acl.admits_anyone() => return Err(WireError::NO_PASSWORD),
        [password] => authenticate(context, request, DEFAULT, password)?,
        [user, password] => authenticate(context, request, user, password)?,
        _ => return Err(WireError::SYNTAX),
    }
    context.output.write().ok();
    Ok(Then::Done)
}

/// Lets the connection in, or not.
pub(super) fn authenticate(
    context: &mut Context<'_>,
    request: &Request<'_>,
    user: &[u8],
    password: &[u8],
) -> Result<(), WireError> {
    let Some(number) = context.state.acl.authenticate(user, password) else {
        note_failure(context, request.arg(0), user);
        return Err(WireError::WRONG_PASSWORD);
    };
    context.state.log_in(context.session, number)
}

/// For ACL LOG, and for the server's own log, which is not written more than once a minute.
fn note_failure(context: &mut Context<'_>, object: &[u8], user: &[u8]) {
    let address = context.session.address;
    let client = Described::own(context).line(context.state, context.now);
    let in_transaction = context.in_transaction || context.session.transaction.is_some();
    let (refusal, user) = (Refusal::Auth, user.to_vec());
    let shown = shown_name(&user);
    let refused = Refused { refusal, in_transaction, object, user, client };
    context.state.note_refusal(refused, context.now.wall_ms);
    context.state.acl.failures.note(format!("of {shown} from {address}"));
    let now_ms = context.now.monotonic_ms();
    if let Some(event) = context.state.acl.failures.tell(now_ms) {
        context.state.log(&event);
    }
}

/// The name of a user that somebody claims to be, as far as the server's log shows it.
pub(crate) fn shown_name(user: &[u8]) -> String {
    user.get(..SHOWN_BYTES_MAX).unwrap_or(user).escape_ascii().to_string()
}

/// Bytes of a user's name in the log.
const SHOWN_BYTES_MAX: usize = 64;
