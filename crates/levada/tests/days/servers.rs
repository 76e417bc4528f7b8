//! A server that is killed and comes back, or has no room.

use std::collections::BTreeSet;
use std::time::Duration;

use levada::{Broker, Error, Event, Msg, Producer, Retry, State, Worker};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::{PATIENCE, Server};

#[derive(serde::Serialize, serde::Deserialize)]
struct Sent {
    n: u32,
    filling: String,
}

impl Sent {
    fn new(n: u32) -> Self {
        Self { n, filling: String::new() }
    }
}

impl Event for Sent {
    const STREAM: &'static str = "days-sent";

    fn idempotency_key(&self) -> Option<String> {
        Some(self.n.to_string())
    }
}

async fn tell(State(tell): State<mpsc::UnboundedSender<u32>>, Msg(sent): Msg<Sent>) {
    // The test may have seen enough.
    let _ = tell.send(sent.n);
}

/// Sends until it is known to be there; answers how often that was not known.
async fn send(producer: &Producer, n: u32) -> u32 {
    let mut failures = 0;
    while let Err(error) = producer.send(&Sent::new(n)).await {
        assert!(error.is_transient(), "{error:?}");
        failures += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    failures
}

fn worker(broker: &Broker, told: mpsc::UnboundedSender<u32>) -> Worker<mpsc::UnboundedSender<u32>> {
    let many = Retry { max_attempts: 100, ..Retry::default() };
    let worker = Worker::new(broker, "g").state(told).handle(tell).retry(many);
    worker.lease(Duration::from_secs(1)).poll(Duration::from_millis(100))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask toolkit names the programs that it kills"]
async fn a_server_that_is_killed_comes_back() {
    /// Events in each of three lives of the server.
    const EVENTS: u32 = 20;
    for mut server in Server::all("killed") {
        println!("on {}", server.name);
        let broker = server.start().await;
        let (sender, mut told) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(worker(&broker, sender).run(async {
            let _ = stopped.await;
        }));
        let producer = broker.producer();
        let sending = tokio::spawn(async move {
            for n in 0..3 * EVENTS {
                send(&producer, n).await;
            }
        });
        let mut seen = BTreeSet::new();
        for life in 1..=3 {
            while seen.len() < (life * EVENTS) as usize {
                let next = tokio::time::timeout(PATIENCE, told.recv()).await;
                seen.insert(next.expect("in time").expect("the worker is there"));
            }
            server.kill();
            server.start().await;
        }
        sending.await.expect("all is sent");
        assert_eq!(seen, (0..3 * EVENTS).collect());
        let _ = stop.send(());
        running.await.expect("no panic").expect("it ends well");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask toolkit names the programs that it kills"]
async fn a_server_may_be_gone_for_long() {
    for mut server in Server::all("gone") {
        println!("on {}", server.name);
        let broker = server.start().await;
        let (sender, mut told) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(worker(&broker, sender).run(async {
            let _ = stopped.await;
        }));
        let producer = broker.producer();
        assert_eq!(send(&producer, 0).await, 0);
        assert_eq!(told.recv().await, Some(0));
        server.kill();
        // A call tries to connect for a while, then says that it could not.
        let failed = producer.send(&Sent::new(1)).await.expect_err("nobody is there");
        assert!(matches!(failed, Error::Connection(_)), "{failed:?}");
        server.start().await;
        send(&producer, 1).await;
        // The first may come again: that it was done was perhaps not told before the kill.
        let second = async { while told.recv().await.expect("the worker is there") != 1 {} };
        tokio::time::timeout(PATIENCE, second).await.expect("in time");
        let _ = stop.send(());
        running.await.expect("no panic").expect("it ends well");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "cargo xtask toolkit names the programs that it kills"]
async fn no_room_is_an_error_of_its_own() {
    for mut server in Server::all("room") {
        println!("on {}", server.name);
        let broker = server.start().await;
        let producer = broker.producer();
        producer.send(&Sent::new(0)).await.expect("there is room");
        let (less, more) = match server.name.as_str() {
            "levada" => (
                format!("XCFGSET {} MAX-LEN 1 ON-LIMIT REJECT", Sent::STREAM),
                format!("XCFGSET {} MAX-LEN 100", Sent::STREAM),
            ),
            _ => ("CONFIG SET maxmemory 1".to_owned(), "CONFIG SET maxmemory 0".to_owned()),
        };
        if server.name == "levada" {
            // Without a group nobody needs what is there, and it would make room.
            say(&server, &format!("XGROUP CREATE {} g 0", Sent::STREAM)).await;
        }
        say(&server, &less).await;
        let full = producer.send(&Sent::new(1)).await.expect_err("there is no room");
        assert!(matches!(full, Error::Full(_)) && full.is_transient(), "{full:?}");
        say(&server, &more).await;
        producer.send(&Sent::new(1)).await.expect("there is room again");
    }
}

/// Says something to a server that the toolkit has no word for.
async fn say(server: &Server, command: &str) {
    let address = ("127.0.0.1", server.port);
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it is there");
    stream.write_all(format!("{command}\r\n").as_bytes()).await.expect("written");
    assert_eq!(stream.read_u8().await.expect("a reply"), b'+', "{command}");
}
