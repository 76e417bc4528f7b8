//! What is known of a connection beside its bytes.

use std::net::SocketAddr;

use levada_resp::Protocol;

use crate::acl::UserNumber;
use crate::engine::Subscriptions;
use crate::registry::CommandNumber;
use crate::spec::CommandSpec;
use crate::wire_error::WireError;

/// Bytes of arguments that a transaction may queue.
const TRANSACTION_BYTES_MAX: usize = 16 << 20;
/// What a queued argument costs beside its bytes.
const ARGUMENT_BYTES: usize = 16;

/// See the module.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that change apart from each other")]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) local_address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) database: u8,
    pub(crate) authenticated: bool,
    pub(crate) user: UserNumber,
    /// As whom it logged in and is counted, if it did.
    pub(crate) counted_as: Option<UserNumber>,
    pub(crate) name: Vec<u8>,
    pub(crate) library_name: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
    pub(crate) replies: Replies,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
    pub(crate) transaction: Option<Box<Transaction>>,
    /// Keys that WATCH named.
    pub(crate) watched: usize,
    /// It is shown what others do.
    pub(crate) monitors: bool,
    /// Names that it listens to, as the engine counts them.
    pub(crate) subscriptions: Subscriptions,
    pub(crate) blocked: Option<Box<Blocked>>,
    pub(crate) created_ms: u64,
    pub(crate) active_ms: u64,
    pub(crate) last_command: Option<CommandNumber>,
    pub(crate) commands: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// Whether replies are sent: CLIENT REPLY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replies {
    On,
    Off,
    /// Not to the next command.
    SkipNext,
    /// Not to this one.
    Skip,
}

/// Commands between MULTI and EXEC.
#[derive(Default, Debug)]
pub(crate) struct Transaction {
    bytes: Vec<u8>,
    /// Ends of the arguments in `bytes`.
    ends: Vec<u32>,
    commands: Vec<Queued>,
    /// A command was refused: EXEC will refuse all.
    pub(crate) failed: bool,
}

/// A queued command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub(crate) number: CommandNumber,
    /// Its arguments, name included, in `ends`.
    first: usize,
    count: usize,
}

/// Why a connection sleeps, and what its reply needs when it is woken.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) spec: &'static CommandSpec,
    pub(crate) number: CommandNumber,
    pub(crate) reason: Reason,
    pub(crate) database: u8,
    /// Keys of a read, in order.
    pub(crate) keys: Vec<Vec<u8>>,
    /// The group of XREADGROUP, for who takes rights away.
    pub(crate) group: Option<Vec<u8>>,
}

/// What a sleeping connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// Entries: the engine wakes it.
    Read,
    /// WAIT, WAITAOF: replicas that never come. Until this monotonic time in milliseconds.
    Sleep(u64),
}

impl Reason {
    /// The time of a sleep that only CLIENT UNBLOCK and the end of the connection end.
    pub(crate) const FOR_EVER: u64 = u64::MAX;
}

impl Session {
    pub(crate) fn new(
        id: u64,
        address: SocketAddr,
        local_address: SocketAddr,
        authenticated: bool,
        now_ms: u64,
    ) -> Self {
        Self {
            id,
            address,
            local_address,
            protocol: Protocol::Resp2,
            database: 0,
            authenticated,
            user: UserNumber::DEFAULT,
            counted_as: None,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            replies: Replies::On,
            no_evict: false,
            no_touch: false,
            transaction: None,
            watched: 0,
            monitors: false,
            subscriptions: Subscriptions::default(),
            blocked: None,
            created_ms: now_ms,
            active_ms: now_ms,
            last_command: None,
            commands: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }
}

impl Transaction {
    /// Queues a command with copies of its arguments.
    pub(crate) fn push(&mut self, number: CommandNumber, args: &[&[u8]]) -> Result<(), WireError> {
        let more: usize = args.iter().map(|arg| arg.len() + ARGUMENT_BYTES).sum();
        if self.memory_bytes() + more > TRANSACTION_BYTES_MAX {
            return Err(WireError::TRANSACTION_TOO_LARGE);
        }
        let first = self.ends.len();
        for arg in args {
            self.bytes.extend_from_slice(arg);
            self.ends.push(u32::try_from(self.bytes.len()).expect("bounded above"));
        }
        self.commands.push(Queued { number, first, count: args.len() });
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    /// What the queue counts for its bound.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.ends.len() * ARGUMENT_BYTES
    }

    pub(crate) fn commands(&self) -> &[Queued] {
        &self.commands
    }

    /// Puts the arguments of a command into `args`.
    pub(crate) fn args<'a>(&'a self, queued: Queued, args: &mut Vec<&'a [u8]>) {
        args.clear();
        let mut start = match queued.first {
            0 => 0,
            first => self.ends[first - 1] as usize,
        };
        for end in &self.ends[queued.first..queued.first + queued.count] {
            args.push(&self.bytes[start..*end as usize]);
            start = *end as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_gives_back_what_was_queued() {
        let mut transaction = Transaction::default();
        let queue: [&[&[u8]]; 3] = [&[b"GET", b"a"], &[b"PING"], &[b"SET", b"", b"b"]];
        for args in queue {
            transaction.push(CommandNumber(7), args).expect("small");
        }
        let mut args = Vec::new();
        for (queued, expect) in transaction.commands().iter().zip(queue) {
            transaction.args(*queued, &mut args);
            assert_eq!(args, expect);
        }
        assert_eq!(transaction.len(), 3);
    }

    #[test]
    fn a_transaction_is_bounded() {
        let mut transaction = Transaction::default();
        let value = vec![0; 4 << 20];
        let mut push = || transaction.push(CommandNumber(0), &[&value]);
        for _ in 0..3 {
            push().expect("below the bound");
        }
        assert_eq!(push(), Err(WireError::TRANSACTION_TOO_LARGE));
    }
}
