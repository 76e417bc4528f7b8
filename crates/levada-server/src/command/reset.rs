//! RESET

use levada_resp::Protocol;

use super::{ANYTIME, CONNECTION};
use crate::acl::UserNumber;
use crate::context::Context;
use crate::engine::{ClientId, Subscriptions};
use crate::session::Replies;
use crate::spec::{CommandSpec, Request, Run, Then, flag};
use crate::wire_error::WireError;

pub(super) const SPEC: CommandSpec = CommandSpec {
    name: "reset",
    summary: "Makes the connection as it was when it was new.",
    since: "6.2.0",
    arity: 1,
    flags: ANYTIME | flag::NOT_QUEUED | flag::WHILE_LISTENING,
    run: Run::Server(run),
    ..CONNECTION
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every command")]
fn run(context: &mut Context<'_>, _: &Request<'_>) -> Result<Then, WireError> {
    let session = &mut *context.session;
    session.transaction = None;
    if session.watched > 0 {
        session.watched = 0;
        context.shard.unwatch(ClientId(session.id));
    }
    if session.subscriptions.any() {
        session.subscriptions = Subscriptions::default();
        context.shard.unsubscribe_all(ClientId(session.id));
    }
    if std::mem::take(&mut session.monitors) {
        let id = session.id;
        context.state.monitors.retain(|monitor| *monitor != id);
    }
    session.protocol = Protocol::Resp2;
    session.database = 0;
    session.name.clear();
    session.replies = Replies::On;
    session.no_evict = false;
    session.no_touch = false;
    session.authenticated = !context.state.acl.needs_password();
    session.user = UserNumber::DEFAULT;
    context.state.heads.leave(session);
    context.output.set_protocol(Protocol::Resp2);
    context.output.write().simple("RESET");
    Ok(Then::Done)
}
