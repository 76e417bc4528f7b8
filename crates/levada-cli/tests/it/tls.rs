//! A server that speaks nothing but TLS: with redis-cli, a client that is not ours, and with
//! certificates that change at a signal; and with each subcommand that asks a server.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::browser::Browser;
use crate::dashboard;
use crate::rig::{self, fresh_directory, levada};

/// Longest wait for a line: only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often another port is tried when the chosen one was taken meanwhile.
const ATTEMPTS_MAX: u32 = 3;

fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../levada-server/tests/it/tls").join(name)
}

/// A server that speaks nothing but TLS, with certificates in its directory.
struct Server {
    port: u16,
    directory: PathBuf,
    child: Child,
    said: Receiver<String>,
}

impl Server {
    /// Which asks clients for no certificate.
    fn start() -> Self {
        let directory = fresh_directory("tls");
        put(&directory, "one");
        Self::start_in(&directory, &["--tls-auth-clients", "no"])
    }

    /// With `cert.pem` and `key.pem` of a directory.
    fn start_in(directory: &Path, more: &[&str]) -> Self {
        for _ in 0..ATTEMPTS_MAX {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            let mut child = Command::new(env!("CARGO_BIN_EXE_levada"))
                .args(["serve", "--port", "0", "--tls-port", &port.to_string()])
                .args(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"])
                .args(["--dir", "data"])
                .args(more)
                .current_dir(directory)
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("levada starts");
            let (line, said) = channel();
            let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
            std::thread::spawn(move || {
                lines.map_while(Result::ok).for_each(|text| drop(line.send(text)));
            });
            let server = Self { port, directory: directory.to_owned(), child, said };
            if server.says("Ready to accept connections") {
                return server;
            }
        }
        panic!("levada does not listen");
    }

    /// Waits for a line; `false` when it ends without it.
    fn says(&self, text: &str) -> bool {
        while let Ok(line) = self.said.recv_timeout(PATIENCE) {
            if line.contains(text) {
                return true;
            }
        }
        false
    }

    /// What redis-cli prints that trusts a certificate.
    fn ask(&self, trusted: &str, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string(), "--tls", "--cacert"])
            .arg(certificate(&format!("{trusted}.cert.pem")))
            .args(words)
            .output()
            .expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Puts a certificate and its key in the place from which the server reads them.
fn put(directory: &Path, name: &str) {
    for kind in ["cert", "key"] {
        let to = directory.join(format!("{kind}.pem"));
        std::fs::copy(certificate(&format!("{name}.{kind}.pem")), to).expect("copied");
    }
}

/// Whether there is a redis-cli that speaks TLS; says aloud where there is none.
fn has_client() -> bool {
    let help = Command::new("redis-cli").arg("--help").output();
    let text = help.map(|help| [help.stdout, help.stderr].concat()).unwrap_or_default();
    let has = String::from_utf8_lossy(&text).contains("--tls ");
    if !has {
        rig::skip("a redis-cli with TLS");
    }
    has
}

#[test]
fn redis_cli_speaks_tls_and_a_signal_brings_new_certificates() {
    if !has_client() {
        return;
    }
    let server = Server::start();
    assert_eq!(server.ask("one", &["XADD", "s", "7-1", "f", "v"]), "7-1");
    let value = "x".repeat(100_000);
    assert_eq!(server.ask("one", &["SET", "k", &value]), "OK");
    assert_eq!(server.ask("one", &["GET", "k"]), value);
    let port = server.ask("one", &["CONFIG", "GET", "tls-port"]);
    assert_eq!(port, format!("tls-port\n{}", server.port));
    assert_eq!(server.ask("one", &["CONFIG", "GET", "port"]), "port\n0");
    assert!(server.ask("two", &["PING"]).contains("certificate verify failed"));

    put(&server.directory, "two");
    signal(&server.child);
    assert!(server.says("The certificates were read again"));
    assert_eq!(server.ask("two", &["PING"]), "PONG");
    assert!(server.ask("one", &["PING"]).contains("certificate verify failed"));
    // What does not belong together changes nothing.
    std::fs::copy(certificate("one.key.pem"), server.directory.join("key.pem")).expect("copied");
    signal(&server.child);
    assert!(server.says("The certificates stay as they are: cert.pem and key.pem"));
    assert_eq!(server.ask("two", &["PING"]), "PONG");
}

fn signal(child: &Child) {
    let id = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let sent = rustix::process::kill_process(id.expect("a process"), rustix::process::Signal::HUP);
    sent.expect("it runs");
}

/// Makes an authority, a certificate of it for the server at 127.0.0.1 and one for a client, and
/// an authority that nobody has heard of.
fn make_certificates(directory: &Path) {
    // Each has a name: who is issued under its own name is taken for an authority.
    let named = |name: &str, of: &[&str]| {
        let of: Vec<_> = of.iter().map(|&of| of.to_owned()).collect();
        let mut params = CertificateParams::new(of).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let key = || KeyPair::generate().expect("a key");
    let authority = |name: &str| {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, key()).expect("signed")
    };
    let write = |name: &str, text: String| {
        std::fs::write(directory.join(name), text).expect("written");
    };
    let (ours, other) = (authority("ours"), authority("another"));
    for (issuer, cert, key_name, common) in [
        (&ours, "cert.pem", "key.pem", "server"),
        (&ours, "client.pem", "client.key.pem", "client"),
        (&other, "stranger.pem", "stranger.key.pem", "stranger"),
    ] {
        let key = key();
        let signed = named(common, &["127.0.0.1"]).signed_by(&key, issuer).expect("signed");
        write(cert, signed.pem());
        write(key_name, key.serialize_pem());
    }
    write("ca.pem", ours.pem());
    write("other.pem", other.pem());
}

/// A server that lets in only who shows a certificate of its authority and says the password.
fn strict() -> Server {
    let directory = fresh_directory("tls");
    make_certificates(&directory);
    let strict = ["--tls-auth-clients", "yes", "--tls-ca-cert-file", "ca.pem"];
    Server::start_in(&directory, &[&strict[..], &["--requirepass", "hunter2"]].concat())
}

impl Server {
    /// Its address; files are those of its directory, by their names.
    fn url(&self, files: &[(&str, &str)]) -> String {
        let files: Vec<_> = files
            .iter()
            .map(|(name, file)| format!("{name}={}", self.directory.join(file).display()))
            .collect();
        format!("rediss://:hunter2@127.0.0.1:{}?{}", self.port, files.join("&"))
    }

    /// The same as who is let in names it.
    fn trusted(&self) -> String {
        self.url(&[("ca", "ca.pem"), ("cert", "client.pem"), ("key", "client.key.pem")])
    }
}

/// A stream with a group that is behind and has a dead letter.
fn fill(server: &Server) {
    let client = ::levada::client(&server.trusted()).expect("an address");
    let mut connection = client.get_connection().expect("it is let in");
    for words in [
        "XADD s 1-0 n one",
        "XADD s 2-0 n two",
        "XGROUP CREATE s g 0",
        "XGROUP CFGSET s g MAX-DELIVER 5",
        "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
        "XNACK s g FATAL REASON broken IDS 1 1-0",
    ] {
        rig::ask(&mut connection, words);
    }
}

#[test]
fn each_subcommand_asks_a_server_that_speaks_only_tls_to_whom_it_knows() {
    let server = strict();
    fill(&server);
    let url = server.trusted();
    assert_eq!(levada(&["ping", "--url", &url], 0), "PONG\n");
    let lag = levada(&["lag", "--json", "--url", &url], 0);
    assert!(lag.contains("\"group\":\"g\"") && lag.contains("\"lag\":1,"), "{lag}");
    levada(&["lag", "--fail-above", "0", "--url", &url], 3);
    assert_eq!(levada(&["tail", "s", "-n", "1", "--url", &url], 0), "2-0  n=two\n");
    let letters = levada(&["dlq", "list", "s", "g", "--url", &url], 0);
    assert!(letters.contains("broken"), "{letters}");
    let janitor = ["janitor", "--once", "--dry-run", "--stream", "s", "--url", &url];
    let swept = levada(&janitor, 0);
    let left = swept.lines().nth(1).map(|row| row.split_whitespace().take(2).collect::<Vec<_>>());
    assert_eq!(left, Some(vec!["s", "2"]), "{swept}");
    let add = ["add", "t", "--id", "7-1", "f", "v", "--url", &url];
    assert_eq!(levada(&add, 0), "7-1\n");
    assert_eq!(levada(&["replay", "t", "--url", &url], 0), "7-1  f=v\n");
    assert!(levada(&["groups", "s", "--url", &url], 0).contains("MAX-DELIVER 5"));
    assert!(levada(&["pending", "s", "g", "--url", &url], 0).contains("0 pending"));
    levada(&["schedule", "list", "--url", &url], 0);
    let target = rig::Server::levada();
    levada(&["import", "--from", &url, "--to", &target.url()], 0);
    assert_eq!(rig::ask(&mut target.connect(), "XLEN s"), redis::Value::Int(2));
    // Files are copied, whoever may connect.
    let data = server.directory.join("data").display().to_string();
    let copy = server.directory.join("copy").display().to_string();
    levada(&["backup", &data, &copy], 0);
}

#[test]
fn a_dashboard_stands_before_a_server_that_speaks_only_tls() {
    let server = strict();
    fill(&server);
    let (_alone, mut browser) = dashboard::before(&server.trusted());
    let overview = browser.get("/").expect(200).body;
    assert!(overview.contains("/stream?key=s"), "{overview}");
    // Who signs in has a connection of their own, with the same certificates.
    assert_eq!(browser.sign_in("default", "wrong").status, 403);
    browser.sign_in("default", "hunter2").expect(303);
    let letters = browser.get("/letters?key=s&group=g").expect(200).body;
    assert!(letters.contains("broken") && letters.contains("checkbox"), "{letters}");
    let ca = server.url(&[("ca", "ca.pem")]);
    let gone = |(_alone, browser): (dashboard::Alone, Browser)| browser.get("/").expect(502).body;
    let nameless = gone(dashboard::before(&ca));
    assert!(nameless.contains("cannot be reached"), "{nameless}");
}

#[test]
fn who_is_not_known_learns_why_and_no_password_is_shown() {
    let (server, plain) = (strict(), rig::Server::levada());
    let (cert, key) = (("cert", "client.pem"), ("key", "client.key.pem"));
    let stranger = [("ca", "ca.pem"), ("cert", "stranger.pem"), ("key", "stranger.key.pem")];
    let clear = format!("redis://:hunter2@127.0.0.1:{}", server.port);
    for (url, code, why) in [
        (server.url(&[("ca", "other.pem"), cert, key]), 1, "rediss://HOST?ca=FILE"),
        (server.url(&[cert, key]), 1, "rediss://HOST?ca=FILE"),
        (server.url(&[("ca", "ca.pem")]), 1, "rediss://HOST?cert=FILE&key=FILE"),
        (server.url(&stranger), 1, "see tls-ca-cert-file"),
        (clear, 1, "if it speaks TLS, write rediss://"),
        (server.url(&[("ca", "nowhere.pem")]), 2, "nowhere.pem"),
        (server.url(&[("ca", "ca.pem"), cert]), 2, "both cert and key"),
        (format!("rediss://:hunter2@127.0.0.1:{}", plain.port), 1, "write redis://"),
    ] {
        for command in [&["ping"][..], &["lag"], &["tail", "s"], &["dlq", "list", "s", "g"]] {
            let said = levada(&[command, &["--url", &url]].concat(), code);
            assert!(said.contains(why) && !said.contains("hunter2"), "{command:?}: {said}");
        }
    }
}
