//! AUTH \[username] password

use super::{ANYTIME, CONNECTION};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then};
use crate::wire_error::WireError;

/// The only user there is.
pub(super) const USER: &[u8] = b"default";

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
        [_] if !context.state.needs_password() => return Err(WireError::NO_PASSWORD),
        [password] => authenticate(context, USER, password)?,
        [user, password] => authenticate(context, user, password)?,
        _ => return Err(WireError::SYNTAX),
    }
    context.output.write().ok();
    Ok(Then::Done)
}

/// Lets the connection in, or not. Without a password the user may come with any.
pub(super) fn authenticate(
    context: &mut Context<'_>,
    user: &[u8],
    password: &[u8],
) -> Result<(), WireError> {
    let right = !context.state.needs_password() || context.state.is_password(password);
    if user != USER || !right {
        return Err(WireError::WRONG_PASSWORD);
    }
    context.session.authenticated = true;
    Ok(())
}
