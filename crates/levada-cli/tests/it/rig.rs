//! Servers on free ports and directories of their own, ended by their handle.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, Value};

/// Longest wait for a server to answer.
const START_MAX: Duration = Duration::from_secs(20);
/// How often another port is tried when the chosen one was taken meanwhile.
const ATTEMPTS_MAX: u32 = 3;

/// A running server.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) directory: PathBuf,
    child: Child,
}

impl Server {
    /// A Levada with nothing in it.
    pub(crate) fn levada() -> Self {
        Self::levada_with(&[])
    }

    /// The same with settings of one's own.
    pub(crate) fn levada_with(more: &[&str]) -> Self {
        Self::levada_in(fresh_directory("levada"), more)
    }

    /// The same with what is in a directory, which goes with the server.
    pub(crate) fn levada_in(directory: PathBuf, more: &[&str]) -> Self {
        Self::try_levada(directory, more).expect("it says where it listens")
    }

    /// The same with a port for HTTP, which comes with it.
    pub(crate) fn levada_with_http(more: &[&str]) -> (Self, u16) {
        for _ in 0..ATTEMPTS_MAX {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            let http = ["--http-port", &port.to_string()].map(str::to_owned);
            let more: Vec<&str> = http.iter().map(String::as_str).chain(more.to_vec()).collect();
            if let Some(server) = Self::try_levada(fresh_directory("levada"), &more) {
                return (server, port);
            }
        }
        panic!("no port for HTTP stays free");
    }

    /// `None` where it ends before it listens.
    fn try_levada(directory: PathBuf, more: &[&str]) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_levada"))
            .args(["serve", "--port", "0", "--dir"])
            .arg(&directory)
            .args(more)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("levada starts");
        let stderr = child.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        let mut server = Self { port: 0, directory, child };
        server.port = loop {
            let line = lines.next()?.expect("text");
            if let Some((_, address)) = line.split_once("Listening on ") {
                break address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("port");
            }
        };
        // What it says later is read, so that it never waits for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Some(server)
    }

    /// A Redis with nothing in it; `None`, said aloud, where none is installed.
    pub(crate) fn redis() -> Option<Self> {
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        if Command::new(&program).arg("--version").output().is_err() {
            skip("redis-server");
            return None;
        }
        for _ in 0..ATTEMPTS_MAX {
            let directory = fresh_directory("redis");
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            let child = Command::new(&program)
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                .args(["--stream-node-max-entries", "10", "--dir"])
                .arg(&directory)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server starts");
            let mut server = Self { port, directory, child };
            if server.answers() {
                return Some(server);
            }
        }
        panic!("redis-server does not answer");
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            let client = redis::Client::open(self.url()).expect("an address");
            if client.get_connection().is_ok_and(|mut connection| {
                redis::cmd("PING").query::<String>(&mut connection).is_ok()
            }) {
                return true;
            }
            if self.child.try_wait().expect("our child").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it, and answers its directory, which stays.
    pub(crate) fn kill(mut self) -> PathBuf {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
        std::mem::take(&mut self.directory)
    }

    /// Memory of the process.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("told");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    pub(crate) fn connect(&self) -> Connection {
        let client = redis::Client::open(self.url()).expect("an address");
        client.get_connection().expect("it runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors have nowhere to go: it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Says aloud that a program is missing and its test is not run; in CI that is a failure.
pub(crate) fn skip(program: &str) {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "{program} is not installed: cargo xtask peers");
    eprintln!("SKIPPED: {program} is not installed");
}

/// A directory that nobody else uses.
pub(crate) fn fresh_directory(name: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("levada-cli-test-{name}-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).expect("a directory for a test");
    directory
}

/// Runs the program to its end. Answers what it said.
pub(crate) fn levada(arguments: &[&str], code: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_levada"));
    let output = command.args(arguments).output().expect("levada runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?} says:\n{said}");
    said
}

/// A Levada, and a Redis where one is installed.
pub(crate) fn servers() -> Vec<Server> {
    std::iter::once(Server::levada()).chain(Server::redis()).collect()
}

/// The lines of what it prints, each as JSON.
pub(crate) fn objects(arguments: &[&str], code: i32) -> Vec<serde_json::Value> {
    let said = levada(arguments, code);
    said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Runs the program with something to read. Answers what it said.
pub(crate) fn levada_reading(arguments: &[&str], input: &str, code: i32) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("levada runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_owned();
    // It may end before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it has no reason to panic");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?} says:\n{said}");
    said
}

/// Imports and kills the program when it has said so many lines, if it lives that long. Answers
/// whether it did.
pub(crate) fn import_killed(from: &Server, to: &Server, more: &[&str], lines: usize) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["import", "--json", "--from", &from.url(), "--to", &to.url()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("levada runs");
    let said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let count = said.take(lines).map_while(Result::ok).count();
    child.kill().expect("our child");
    child.wait().expect("our child");
    count == lines
}

/// Imports, and says what it said if it did not exit with this code.
pub(crate) fn import(from: &Server, to: &Server, more: &[&str], code: i32) -> String {
    transfer("import", from, to, more, code)
}

/// Runs either face.
pub(crate) fn transfer(verb: &str, from: &Server, to: &Server, more: &[&str], code: i32) -> String {
    let (from, to) = (from.url(), to.url());
    levada(&[&[verb, "--from", &from, "--to", &to], more].concat(), code)
}

/// Asks with words.
pub(crate) fn ask(connection: &mut Connection, words: &str) -> Value {
    let mut words = words.split(' ');
    let mut command = Cmd::new();
    words.by_ref().for_each(|word| drop(command.arg(word).clone()));
    command.query(connection).unwrap_or_else(|error| panic!("{error}"))
}

/// All that a server holds in database 0, in a form in which two servers can be compared: what
/// depends on how entries are kept, and when consumers were seen, is left out.
pub(crate) fn state(server: &Server, exact: bool) -> Vec<(String, String)> {
    let mut connection = server.connect();
    let Value::Array(keys) = ask(&mut connection, "KEYS *") else {
        panic!("KEYS answers no array");
    };
    let mut state = Vec::new();
    for key in keys {
        let Value::BulkString(key) = key else { panic!("a key is no string") };
        let query = |command: &Cmd, connection: &mut Connection| -> Value {
            command.query(connection).unwrap_or_else(|error| panic!("{error}"))
        };
        let kind = query(redis::cmd("TYPE").arg(&key), &mut connection);
        let value = if kind == Value::SimpleString("stream".to_owned()) {
            let mut full = redis::cmd("XINFO");
            full.arg("STREAM").arg(&key).arg("FULL").arg("COUNT").arg(0);
            plain(query(&full, &mut connection), exact)
        } else {
            query(redis::cmd("GET").arg(&key), &mut connection)
        };
        let expires = query(redis::cmd("PEXPIRETIME").arg(&key), &mut connection);
        state.push((key.escape_ascii().to_string(), format!("{value:?} {expires:?}")));
    }
    state.sort();
    state
}

/// XINFO STREAM FULL without what may differ.
fn plain(value: Value, exact: bool) -> Value {
    const KEPT_ELSEWHERE: &[&str] = &["radix-tree-keys", "radix-tree-nodes", "pids-tracked"];
    const SEEN: &[&str] = &["seen-time", "active-time"];
    let Value::Array(values) = value else {
        return value;
    };
    let mut kept = Vec::new();
    let mut values = values.into_iter();
    while let Some(value) = values.next() {
        let name = match &value {
            Value::BulkString(name) => String::from_utf8_lossy(name).into_owned(),
            _ => String::new(),
        };
        let is = |names: &[&str]| names.contains(&&*name);
        let is_idempotence = name.starts_with("idmp") || name.starts_with("iids");
        if is(KEPT_ELSEWHERE) || is_idempotence || (is(SEEN) && !exact) {
            values.next();
        } else {
            kept.push(plain(value, exact));
        }
    }
    Value::Array(kept)
}
