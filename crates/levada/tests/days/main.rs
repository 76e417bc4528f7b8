//! Bad days, with programs that are killed: servers and workers. `cargo xtask toolkit` names the
//! servers' programs in `LEVADA_TEST_PROGRAMS` and the place of the examples in
//! `LEVADA_TEST_EXAMPLES`; as nothing else does, these tests are ignored elsewhere.
//!
//! - `clocks`: workers whose machines disagree about the time.
//! - `servers`: a server that is killed and comes back, or has no room.
//! - `signals`: a worker that is asked to end, once and twice.
//! - here: a server that can be killed and started again on the same port.

#[cfg(target_os = "linux")]
mod clocks;
mod servers;
mod signals;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use levada::{Broker, connect};

/// Longest wait for what must come: far more than any machine needs.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server on a directory and a port that it keeps.
struct Server {
    name: String,
    program: String,
    port: u16,
    directory: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// One of each program, not started yet.
    fn all(test: &str) -> Vec<Self> {
        let programs = std::env::var("LEVADA_TEST_PROGRAMS")
            .expect("LEVADA_TEST_PROGRAMS names no servers: cargo xtask toolkit does");
        let server = |it: &str| {
            let (name, program) = it.split_once('=').expect("NAME=PROGRAM");
            let own = format!("levada-days-{}-{test}-{name}", std::process::id());
            let directory = std::env::temp_dir().join(own);
            std::fs::create_dir_all(&directory).expect("a directory");
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let port = free.local_addr().expect("an address").port();
            Self { name: name.into(), program: program.into(), port, directory, child: None }
        };
        let servers: Vec<_> = programs.split_whitespace().map(server).collect();
        assert!(!servers.is_empty(), "LEVADA_TEST_PROGRAMS is empty");
        servers
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, with what it accepted before, and connects. Somebody else may hold the port for a
    /// moment: it is tried again.
    async fn start(&mut self) -> Broker {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.child.as_mut().is_none_or(|it| it.try_wait().expect("a state").is_some()) {
                self.child = Some(self.launch());
            }
            match connect(&self.url()).await {
                Ok(broker) => return broker,
                Err(error) => assert!(Instant::now() < deadline, "{}: {error}", self.name),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn launch(&self) -> Child {
        let mut command = Command::new(&self.program);
        let port = self.port.to_string();
        match self.name.as_str() {
            "levada" => command.args(["serve", "--port", &port, "--dir"]).arg(&self.directory),
            _ => command
                .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
                .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
                .arg(&self.directory),
        };
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the server can be started")
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it has ended");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // What cannot be removed stays in the directory for such things.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
