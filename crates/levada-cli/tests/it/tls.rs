//! A client that is not ours speaks TLS with the program: redis-cli, in clear refused, and with
//! certificates that change at a signal.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

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
    fn start() -> Self {
        let name = format!("levada-cli-test-tls-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        put(&directory, "one");
        for _ in 0..ATTEMPTS_MAX {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            let mut child = Command::new(env!("CARGO_BIN_EXE_levada"))
                .args(["serve", "--port", "0", "--tls-port", &port.to_string()])
                .args(["--tls-auth-clients", "no", "--tls-cert-file", "cert.pem"])
                .args(["--tls-key-file", "key.pem", "--dir", "data"])
                .current_dir(&directory)
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("levada starts");
            let (line, said) = channel();
            let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
            std::thread::spawn(move || {
                lines.map_while(Result::ok).for_each(|text| drop(line.send(text)));
            });
            let server = Self { port, directory: directory.clone(), child, said };
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
fn put(directory: &std::path::Path, name: &str) {
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
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(has || !in_ci, "no redis-cli with TLS is installed");
    if !has {
        eprintln!("SKIPPED: no redis-cli with TLS is installed");
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
