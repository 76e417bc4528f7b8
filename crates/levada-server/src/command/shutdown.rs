//! SHUTDOWN \[NOSAVE|SAVE] \[NOW] \[FORCE] \[ABORT]

use super::{OPERATOR, SERVER};
use crate::context::Context;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "shutdown",
    syntax: "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]",
    summary: "Ends the server. What was acknowledged is on disk, whatever the options say.",
    since: "1.0.0",
    complexity: "O(N), N bytes not yet in a checkpoint",
    arity: -1,
    flags: OPERATOR | flag::NO_MULTI | flag::ALLOW_BUSY,
    run: Run::Server(run),
    ..SERVER
};

fn run(_: &mut Context<'_>, request: &Request<'_>) -> Result<Then, WireError> {
    let (mut save, mut nosave, mut abort, mut other) = (false, false, false, false);
    for word in request.rest(1) {
        match word.to_ascii_uppercase().as_slice() {
            b"SAVE" => save = true,
            b"NOSAVE" => nosave = true,
            b"ABORT" => abort = true,
            b"NOW" | b"FORCE" => other = true,
            _ => return Err(WireError::SYNTAX),
        }
    }
    if save && nosave || abort && (save || nosave || other) {
        return Err(WireError::SYNTAX);
    }
    if abort {
        return Err(WireError::Fixed("ERR No shutdown in progress."));
    }
    Ok(Then::Shutdown)
}
