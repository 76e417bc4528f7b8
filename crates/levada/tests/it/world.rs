//! The backends that promises are kept on, and helpers to keep them with.

use std::future::Future;
use std::time::Duration;

use levada::{Broker, Drained, Result, Worker, connect};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Longest wait for what must come: far more than any machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A backend.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) url: String,
}

/// All backends of this run: a name and a URL each. `LEVADA_TEST_URLS` names servers,
/// `LEVADA_TEST_ONLY` those of all that are meant.
pub(crate) fn worlds(test: &str) -> Vec<World> {
    let directory = std::env::temp_dir().join(format!("levada-it-{}-{test}", std::process::id()));
    let mut all = vec![
        ("memory".to_owned(), "memory:".to_owned()),
        ("embedded".to_owned(), format!("embedded:{}", directory.display())),
    ];
    let servers = std::env::var("LEVADA_TEST_URLS").unwrap_or_default();
    for server in servers.split_whitespace() {
        let (name, url) = server.split_once('=').expect("LEVADA_TEST_URLS is NAME=URL ...");
        all.push((name.to_owned(), url.to_owned()));
    }
    let only = std::env::var("LEVADA_TEST_ONLY").unwrap_or_default();
    all.retain(|(name, _)| only.is_empty() || only.split_whitespace().any(|it| it == name));
    assert!(!all.is_empty(), "LEVADA_TEST_ONLY names no backend");
    all.into_iter().map(|(name, url)| World { name, url }).collect()
}

/// Keeps a promise on each backend, one after the other.
pub(crate) async fn everywhere<F, Fut>(test: &str, streams: &[&str], promise: F)
where
    F: Fn(Broker, World) -> Fut,
    Fut: Future<Output = ()>,
{
    for world in worlds(test) {
        println!("{test} on {}", world.name);
        let broker = connect(&world.url).await.expect("the backend is there");
        for stream in streams {
            for key in keys_of(stream) {
                broker.backend().remove(&key).await.expect("a key can be removed");
            }
        }
        let kept = tokio::time::timeout(PATIENCE * 2, promise(broker, world.clone())).await;
        assert!(kept.is_ok(), "{test} on {}: it takes for ever", world.name);
        if let Some(path) = world.url.strip_prefix("embedded:") {
            // What still runs lets go of it at its own pace.
            eventually("the engine has closed", || async { connect(&world.url).await.is_ok() })
                .await;
            std::fs::remove_dir_all(path).expect("the data directory can be removed");
        }
    }
}

fn keys_of(stream: &str) -> Vec<String> {
    let beside = ["dlq:g", "again:g", "rest:g", "delayed", "sched", "once:levada:one"];
    let beside = beside.iter().map(|suffix| format!("{{{stream}}}:{suffix}"));
    std::iter::once(stream.to_owned()).chain(beside).collect()
}

/// A worker under way.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Drained>>,
}

impl Running {
    pub(crate) fn start<S: Send + Sync + 'static>(worker: Worker<S>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        Self { stop, task: tokio::spawn(worker.run(shutdown)) }
    }

    pub(crate) async fn stop(self) -> Drained {
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it ends in time");
        ended.expect("it does not panic").expect("it ends well")
    }

    /// As if its process had died: nothing is given back.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// What handlers tell a test.
pub(crate) fn tells<T>() -> (mpsc::UnboundedSender<T>, Told<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Told(receiver))
}

pub(crate) struct Told<T>(mpsc::UnboundedReceiver<T>);

impl<T> Told<T> {
    pub(crate) async fn next(&mut self) -> T {
        let next = tokio::time::timeout(PATIENCE, self.0.recv()).await;
        next.expect("a handler is called in time").expect("handlers are there")
    }

    /// What was told until now.
    pub(crate) fn rest(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// Waits until something is so.
pub(crate) async fn eventually<Fut: Future<Output = bool>>(
    what: &str,
    mut is_so: impl FnMut() -> Fut,
) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "not so in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
