//! The clients of the matrix: how each is installed, its programs, and the protocols it speaks.
//!
//! Versions are pinned by the files under tests/clients that `Source` names.

/// Where a client comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// `python/NAME.txt`, a list of requirements; the programs stand beside it.
    Python(&'static str),
    /// `node/NAME/package.json` and its lock file; the programs stand in `node`.
    Node(&'static str),
    /// A Rust program of this name with a lock file of its own, which is no part of the workspace.
    Cargo(&'static str),
    /// A Go program of this name, built from Debian's source packages.
    Go(&'static str),
    /// A program on the path; what calls it stands in `python` and needs no packages.
    Tool(&'static str),
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

const NODE_REDIS: &[&str] = &["node_redis.mjs", "node_worker.mjs", "guide_node_redis.mjs"];
const REDIS_PY: &[&str] =
    &["redis_py.py", "produce_consume.py", "group_worker.py", "guide_redis_py.py"];

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
    Client {
        name: "node-redis 4.7.1",
        source: Source::Node("node-redis-4.7.1"),
        programs: NODE_REDIS,
        protocols: &[2],
    },
    Client {
        name: "node-redis 6.3.1",
        source: Source::Node("node-redis-6.3.1"),
        programs: NODE_REDIS,
        protocols: &[2, 3],
    },
    Client {
        name: "ioredis 6.0.0",
        source: Source::Node("ioredis-6.0.0"),
        programs: &["ioredis.mjs", "guide_ioredis.mjs"],
        protocols: &[2, 3],
    },
    Client {
        name: "redis-rs 1.8.1",
        source: Source::Cargo("redis-rs"),
        programs: &["redis-rs"],
        protocols: &[2, 3],
    },
    Client {
        name: "redigo 1.8",
        source: Source::Go("redigo"),
        programs: &["redigo"],
        protocols: &[2],
    },
    Client {
        name: "FastStream 0.7.8",
        source: Source::Python("faststream-0.7.8"),
        programs: &["faststream_app.py", "guide_faststream.py"],
        protocols: &[2, 3],
    },
    Client {
        name: "taskiq-redis 1.2.4",
        source: Source::Python("taskiq-redis-1.2.4"),
        programs: &["taskiq_app.py"],
        protocols: &[2, 3],
    },
    Client {
        name: "redis-cli",
        source: Source::Tool("redis-cli"),
        programs: &["redis_cli.py"],
        protocols: &[2, 3],
    },
];
