//! MULTI, EXEC, DISCARD, WATCH key \[key ...], UNWATCH
//!
//! What they do is in `crate::transaction`.

use super::{BASE, KEYS};
use crate::spec::{CommandSpec, Run, Transactional, access, category, flag};

/// What they have in common.
const TRANSACTION: CommandSpec = CommandSpec {
    group: "transactions",
    categories: category::TRANSACTION,
    flags: flag::NOSCRIPT
        | flag::LOADING
        | flag::STALE
        | flag::FAST
        | flag::ALLOW_BUSY
        | flag::NOT_QUEUED,
    ..BASE
};

pub(super) const MULTI: CommandSpec = CommandSpec {
    name: "multi",
    summary: "Queues the commands that follow.",
    since: "1.2.0",
    arity: 1,
    run: Run::Transaction(Transactional::Multi),
    ..TRANSACTION
};

pub(super) const EXEC: CommandSpec = CommandSpec {
    name: "exec",
    summary: "Runs the queued commands as one: all of them or none is in the log.",
    since: "1.2.0",
    complexity: "That of the queued commands.",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::NOT_QUEUED,
    run: Run::Transaction(Transactional::Exec),
    ..TRANSACTION
};

pub(super) const DISCARD: CommandSpec = CommandSpec {
    name: "discard",
    summary: "Forgets the queued commands.",
    since: "2.0.0",
    complexity: "O(N), N queued commands",
    arity: 1,
    run: Run::Transaction(Transactional::Discard),
    ..TRANSACTION
};

pub(super) const WATCH: CommandSpec = CommandSpec {
    name: "watch",
    access: &[access::RO],
    syntax: "key [key ...]",
    summary: "Lets the next EXEC fail if one of the keys is changed before it.",
    since: "2.2.0",
    complexity: "O(N), N keys",
    arity: -2,
    keys: KEYS,
    run: Run::Transaction(Transactional::Watch),
    ..TRANSACTION
};

pub(super) const UNWATCH: CommandSpec = CommandSpec {
    name: "unwatch",
    summary: "Forgets the watched keys.",
    since: "2.2.0",
    arity: 1,
    flags: flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::ALLOW_BUSY,
    run: Run::Transaction(Transactional::Unwatch),
    ..TRANSACTION
};
