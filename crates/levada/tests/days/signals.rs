//! A worker that is asked to end, once and twice: `examples/patient.rs`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use levada::{Attempt, Broker, Event, Msg, State, Worker};
use tokio::sync::mpsc;

use super::{PATIENCE, Server};

#[derive(serde::Serialize, serde::Deserialize)]
struct Work {
    ms: u64,
}

impl Event for Work {
    const STREAM: &'static str = "patient";
}

/// The example, and what it prints.
struct Patient {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Patient {
    fn start(server: &Server) -> Self {
        let examples = std::env::var("LEVADA_TEST_EXAMPLES")
            .expect("LEVADA_TEST_EXAMPLES names no directory: cargo xtask toolkit does");
        let program = PathBuf::from(examples).join("patient");
        let mut command = Command::new(program);
        let child = command.arg(server.url()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the example can be started");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    /// The next line; the end of the program is a failure.
    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").expect("text")
    }

    fn terminate(&self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill is there").success());
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn send(broker: &Broker, ms: u64) {
    broker.producer().send(&Work { ms }).await.expect("sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask toolkit names the programs that it kills"]
async fn at_the_first_signal_a_worker_finishes() {
    for mut server in Server::all("first") {
        let broker = server.start().await;
        let mut patient = Patient::start(&server);
        send(&broker, 300).await;
        assert_eq!(patient.line(), "begun 300");
        patient.terminate();
        assert_eq!(patient.line(), "draining");
        assert_eq!(patient.line(), "drained 1");
        assert_eq!(patient.code(), Some(0));
    }
}

async fn take_over(
    State(tell): State<mpsc::UnboundedSender<u64>>,
    Attempt(attempt): Attempt,
    Msg(_): Msg<Work>,
) {
    // The test may have seen enough.
    let _ = tell.send(attempt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask toolkit names the programs that it kills"]
async fn at_the_second_signal_a_worker_ends_and_another_goes_on() {
    for mut server in Server::all("second") {
        let broker = server.start().await;
        let mut patient = Patient::start(&server);
        send(&broker, 3_600_000).await;
        assert_eq!(patient.line(), "begun 3600000");
        patient.terminate();
        assert_eq!(patient.line(), "draining");
        patient.terminate();
        assert_eq!(patient.code(), Some(143));
        let (tell, mut told) = mpsc::unbounded_channel();
        let worker = Worker::new(&broker, "patients").state(tell).handle(take_over);
        let worker = worker.lease(Duration::from_secs(1)).poll(Duration::from_millis(50));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(worker.run(async {
            let _ = stopped.await;
        }));
        let attempt = tokio::time::timeout(PATIENCE, told.recv()).await;
        assert_eq!(attempt.expect("in time"), Some(2));
        let _ = stop.send(());
        running.await.expect("no panic").expect("it ends well");
    }
}
