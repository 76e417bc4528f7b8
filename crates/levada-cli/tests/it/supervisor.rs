//! What a supervisor hears: readiness, a sign of life, the end; and `levada ping`, which asks.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// A server and what systemd would hear of it: each message, until it is told to stop. `watched` is
/// what the shell that becomes the server exports.
fn heard(watched: &str, signs: usize) -> Vec<String> {
    let directory = fresh_directory("notify");
    let path = directory.join("socket");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(MESSAGE_MAX)).expect("a limit");
    let hear = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    };
    let child = Command::new("sh")
        .arg("-c")
        .arg(format!("{watched} exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_levada"))
        .args(["serve", "--port", "0", "--dir"])
        .arg(directory.join("data"))
        .env("NOTIFY_SOCKET", &path)
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .stderr(Stdio::null())
        .spawn()
        .expect("levada starts");
    let mut child = Ended(child);
    let mut heard: Vec<_> = (0..=signs).map(|_| hear()).collect();
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    while heard.last().is_none_or(|last| last != "STOPPING=1") {
        heard.push(hear());
    }
    assert!(child.0.wait().expect("our child").success());
    std::fs::remove_dir_all(directory).expect("ours");
    heard
}

#[test]
fn systemd_is_told_that_it_is_ready_alive_and_stopping() {
    const SIGNS: usize = 12;
    let begin = Instant::now();
    let heard = heard("export WATCHDOG_USEC=400000 WATCHDOG_PID=$$;", SIGNS);
    // A hundred milliseconds apart; a loop that slept as long as it otherwise may would take 5 s.
    assert!(begin.elapsed() < Duration::from_secs(11), "{:?}", begin.elapsed());
    assert_eq!(heard[0], "READY=1");
    assert!(heard.len() >= SIGNS + 2, "{heard:?}");
    assert!(heard[1..heard.len() - 1].iter().all(|it| it == "WATCHDOG=1"), "{heard:?}");
}

#[test]
fn who_is_not_watched_shows_no_sign_of_life() {
    // A server that is watched shows the first one before it can be told to stop.
    let unwatched = ["", "export WATCHDOG_USEC=1 WATCHDOG_PID=1;", "export WATCHDOG_USEC=0;"];
    for watched in unwatched {
        assert_eq!(heard(watched, 0), ["READY=1", "STOPPING=1"], "{watched}");
    }
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
