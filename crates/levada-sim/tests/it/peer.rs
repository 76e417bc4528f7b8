//! A real server of the Redis family as the judge of the reference model.
//!
//! It listens on a socket file in a directory of its own, so it needs no port, and ends with the
//! value that started it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{env, fs, io, process};

/// A running server and one connection to it.
#[expect(clippy::struct_excessive_bools, reason = "what a version can do, fact by fact")]
pub(crate) struct Peer {
    /// Its name and version, for messages.
    pub(crate) name: String,
    /// Counts entries-read and lag as Redis 8.2 does, over deletions and trims.
    pub(crate) counts_as_redis_8: bool,
    /// Reads and claims create their consumer in any case, and XINFO tells who was active.
    pub(crate) is_7_2: bool,
    /// XREAD knows `+`, also when the last entry was deleted.
    pub(crate) reads_last: bool,
    /// Has KEEPREF, DELREF and ACKED, XDELEX and XACKDEL.
    pub(crate) minds_references: bool,
    connection: BufReader<UnixStream>,
    child: Child,
    dir: PathBuf,
    /// Open, lest the server's log break.
    _log: BufReader<ChildStdout>,
}

/// One RESP2 value; both nulls are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resp {
    Null,
    Integer(i64),
    Text(Vec<u8>),
    Error(String),
    Array(Vec<Resp>),
}

impl Peer {
    /// Starts the server that `LEVADA_PEER` names, else `redis-server`. None, with a loud word,
    /// if there is none; with `CI=true` that is a failure.
    pub(crate) fn start(tag: &str) -> Option<Self> {
        let program = env::var("LEVADA_PEER").unwrap_or_else(|_| "redis-server".into());
        let dir = env::temp_dir().join(format!("levada-peer-{}-{tag}", process::id()));
        fs::create_dir_all(&dir).expect("a directory for the peer's socket");
        let mut command = Command::new(&program);
        command.args(["--port", "0", "--save", "", "--unixsocket", "socket", "--dir"]).arg(&dir);
        command.current_dir(&dir).stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::remove_dir_all(&dir).expect("the directory was just made");
                assert!(env::var("CI").as_deref() != Ok("true"), "no {program} on this machine");
                eprintln!("\n*** SKIPPED: no {program} here, the model was judged by nobody ***\n");
                return None;
            }
            Err(error) => panic!("{program} does not start: {error}"),
        };
        let mut log = BufReader::new(child.stdout.take().expect("stdout is piped"));
        wait_until_ready(&mut log);
        let connection = UnixStream::connect(dir.join("socket")).expect("the peer listens");
        let mut peer = Self {
            name: String::new(),
            counts_as_redis_8: false,
            is_7_2: false,
            reads_last: false,
            minds_references: false,
            connection: BufReader::new(connection),
            child,
            dir,
            _log: log,
        };
        peer.learn_version();
        Some(peer)
    }

    /// Sends one command and reads its reply.
    pub(crate) fn call(&mut self, args: &[Vec<u8>]) -> Resp {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend(format!("${}\r\n", arg.len()).into_bytes());
            request.extend(arg);
            request.extend(b"\r\n");
        }
        self.connection.get_mut().write_all(&request).expect("the peer reads");
        self.read()
    }

    /// The same for words without spaces.
    pub(crate) fn say(&mut self, line: &str) -> Resp {
        let args: Vec<_> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        self.call(&args)
    }

    fn read(&mut self) -> Resp {
        let mut line = String::new();
        self.connection.read_line(&mut line).expect("the peer answers");
        let rest = line.get(1..).expect("a reply has a type").trim_end();
        let number = || rest.parse::<i64>().expect("a number");
        match line.as_bytes()[0] {
            b'+' => Resp::Text(rest.into()),
            b'-' => Resp::Error(rest.into()),
            b':' => Resp::Integer(number()),
            b'$' | b'*' if number() < 0 => Resp::Null,
            b'$' => {
                let len = usize::try_from(number()).expect("a length");
                let mut text = vec![0; len + 2];
                self.connection.read_exact(&mut text).expect("a whole string");
                text.truncate(len);
                Resp::Text(text)
            }
            b'*' => Resp::Array((0..number()).map(|_| self.read()).collect()),
            other => panic!("no RESP2 type: {other}"),
        }
    }

    fn learn_version(&mut self) {
        let Resp::Text(info) = self.say("INFO server") else { panic!("INFO is a string") };
        let info = String::from_utf8(info).expect("INFO is text");
        let version = |field: &str| {
            let text = info.lines().find_map(|line| line.strip_prefix(field))?;
            let mut parts = text.split('.').map(|part| part.parse::<u32>().expect("a version"));
            Some((parts.next()?, parts.next()?))
        };
        let valkey = version("valkey_version:");
        let redis = version("redis_version:").expect("every peer tells it");
        self.name = valkey.map_or(format!("Redis {redis:?}"), |v| format!("Valkey {v:?}"));
        self.counts_as_redis_8 = valkey.is_none() && redis >= (8, 2);
        self.minds_references = self.counts_as_redis_8;
        self.is_7_2 = redis >= (7, 2);
        self.reads_last = valkey.is_none() && redis >= (8, 2);
    }
}

impl Resp {
    /// The elements of an array.
    pub(crate) fn items(self) -> Vec<Resp> {
        match self {
            Self::Array(items) => items,
            other => panic!("not an array: {other:?}"),
        }
    }

    /// The value after a name in a flat list.
    pub(crate) fn field(&self, name: &str) -> &Resp {
        let Self::Array(items) = self else { panic!("not an array: {self:?}") };
        let pair = items.chunks(2).find(|pair| pair[0] == Resp::Text(name.into()));
        pair.map_or_else(|| panic!("no {name} in {self:?}"), |pair| &pair[1])
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nothing to do about a failure here: the child is gone already, or so is the directory.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn wait_until_ready(log: &mut impl BufRead) {
    let mut seen = String::new();
    loop {
        let start = seen.len();
        let n = log.read_line(&mut seen).expect("the peer's log is text");
        assert!(n > 0, "the peer ended before it was ready:\n{seen}");
        if seen[start..].to_lowercase().contains("ready to accept connections") {
            return;
        }
    }
}
