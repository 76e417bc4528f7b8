//! The line that CLIENT LIST and INFO give of a connection.

use std::fmt::Write as _;
use std::os::fd::AsRawFd;

use levada_resp::Protocol;

use crate::connection::Connection;
use crate::context::{Context, State};
use crate::engine::Now;
use crate::session::Session;

/// A connection as far as it is described.
#[derive(Debug)]
pub(crate) struct Described<'a> {
    pub(crate) session: &'a Session,
    descriptor: i32,
    input_bytes: usize,
    output_bytes: usize,
}

impl<'a> Described<'a> {
    /// Another connection.
    pub(crate) fn of(connection: &'a Connection) -> Self {
        Self {
            session: &connection.session,
            descriptor: connection.stream.as_raw_fd(),
            input_bytes: connection.input.len(),
            output_bytes: connection.out.len(),
        }
    }

    /// The connection that asks.
    pub(crate) fn own(context: &'a Context<'_>) -> Self {
        Self::of_session(context.session, context.descriptor)
    }

    /// A connection that has its turn.
    pub(crate) fn of_session(session: &'a Session, descriptor: i32) -> Self {
        Self { session, descriptor, input_bytes: 0, output_bytes: 0 }
    }

    /// The line, with its end.
    pub(crate) fn line(&self, state: &State, now: Now) -> String {
        let registry = &state.registry;
        let session = self.session;
        let seconds = |since: u64| now.monotonic_ms().saturating_sub(since) / 1000;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let command = session.last_command.map_or("NULL", |number| registry.spec(number).name);
        let (multi, multi_bytes) = match &session.transaction {
            Some(transaction) => (transaction.len().to_string(), transaction.memory_bytes()),
            None => ("-1".to_owned(), 0),
        };
        let protocol = match session.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        let mut line = String::new();
        write!(
            line,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} \
             ssub={} multi={multi} watch={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem={multi_bytes} \
             rbs=0 rbp=0 obl={} oll=0 omem=0 tot-mem={} events=r cmd={command} user={} \
             redir=-1 resp={protocol} lib-name={} lib-ver={} io-thread=0 tot-net-in={} \
             tot-net-out={} tot-cmds={}",
            session.id,
            session.address,
            session.local_address,
            self.descriptor,
            text(&session.name),
            seconds(session.created_ms),
            seconds(session.active_ms),
            flags(session),
            session.database,
            session.subscriptions.channels,
            session.subscriptions.patterns,
            session.subscriptions.shards,
            session.watched,
            self.input_bytes,
            self.output_bytes,
            self.input_bytes + self.output_bytes + multi_bytes + size_of::<Connection>(),
            text(state.acl.name(session.user)),
            text(&session.library_name),
            text(&session.library_version),
            session.bytes_in,
            session.bytes_out,
            session.commands,
        )
        .expect("a string takes all");
        line.push('\n');
        line
    }
}

fn flags(session: &Session) -> String {
    let all = [
        (session.monitors, 'O'),
        (session.subscriptions.any(), 'P'),
        (session.blocked.is_some(), 'b'),
        (session.transaction.is_some(), 'x'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    let flags: String = all.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}
