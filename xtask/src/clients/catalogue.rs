//! The clients of the matrix: how each is installed, its programs, and the protocols it speaks.
//!
//! Versions are pinned by the files under tests/clients that `Source` names.

/// Where a client comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// `python/NAME.txt`, a list of requirements; the programs stand beside it.
    Python(&'static str),
}

/// A client and its programs.
#[derive(Debug)]
pub(super) struct Client {
    /// What the table calls it: the library and its version.
    pub(super) name: &'static str,
    pub(super) source: Source,
    /// Names of programs, each run with HOST PORT PROTOCOL.
    pub(super) programs: &'static [&'static str],
    /// Versions of RESP.
    pub(super) protocols: &'static [u8],
}

impl Client {
    /// Whether a name on the command line means this client: a part of its name.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.name.contains(name)
    }
}

const REDIS_PY: &[&str] = &["redis_py.py", "produce_consume.py", "group_worker.py"];

/// In the order of the table.
pub(super) const CLIENTS: &[Client] = &[
    Client {
        name: "redis-py 5.3.1",
        source: Source::Python("redis-py-5.3.1"),
        programs: REDIS_PY,
        protocols: &[2, 3],
    },
    Client {
        name: "redis-py 6.4.0",
        source: Source::Python("redis-py-6.4.0"),
        programs: REDIS_PY,
        protocols: &[2, 3],
    },
    Client {
        name: "redis-py 8.1.0",
        source: Source::Python("redis-py-8.1.0"),
        programs: REDIS_PY,
        protocols: &[2, 3],
    },
];
