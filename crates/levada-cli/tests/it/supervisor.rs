//! What a supervisor hears: readiness, a sign of life, the end; and `levada ping`, which asks.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::rig::{Server, fresh_directory, levada};

/// Longest wait for a message.
const MESSAGE_MAX: Duration = Duration::from_secs(30);

/// Ends a server that a failed test left.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn systemd_is_told_that_it_is_ready_alive_and_stopping() {
    let directory = fresh_directory("notify");
    let path = directory.join("socket");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(MESSAGE_MAX)).expect("a limit");
    let hear = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    };
    let child = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["serve", "--port", "0", "--dir"])
        .arg(directory.join("data"))
        .env("NOTIFY_SOCKET", &path)
        .stderr(Stdio::null())
        .spawn()
        .expect("levada starts");
    let mut child = Ended(child);
    assert_eq!(hear(), "READY=1");
    assert_eq!(hear(), "WATCHDOG=1");
    assert_eq!(hear(), "WATCHDOG=1", "it goes on");
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let last = std::iter::repeat_with(hear).find(|message| message != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
    assert!(child.0.wait().expect("our child").success());
    std::fs::remove_dir_all(directory).expect("ours");
}

#[test]
fn ping_says_by_its_exit_code_whether_a_server_answers() {
    let server = Server::levada();
    assert_eq!(levada(&["ping", "--url", &server.url()], 0), "PONG\n");
    let locked = Server::levada_with(&["--requirepass", "secret"]);
    assert!(levada(&["ping", "--url", &locked.url()], 0).starts_with("NOAUTH"));
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    levada(&["ping", "--url", &format!("redis://127.0.0.1:{port}")], 1);
}
