//! The port for HTTP: `/metrics`, `/livez` and `/readyz`, from a thread of its own.
//!
//! The thread knows nothing: it hands each question to the loop and waits for the text, so that no
//! state is shared. What a stranger may do here is bounded: so many connections, so many bytes of a
//! request's head, so long for it; nothing but GET, no body is read. A browser that was sent here
//! under another name is refused ([`is_own_name`]).

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use mio::Waker;
use tokio::sync::{Semaphore, oneshot};

/// Connections at once; more of them wait.
const CONNECTIONS_MAX: usize = 32;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Time for a request's head, and for the loop to answer.
const HEAD_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Questions that the loop has not taken yet.
const QUESTIONS_MAX: usize = CONNECTIONS_MAX;

/// How far the server is.
#[derive(Clone, Debug)]
pub(crate) struct Stage(Arc<AtomicU8>);

impl Stage {
    pub(crate) const RECOVERING: u8 = 0;
    pub(crate) const READY: u8 = 1;
    pub(crate) const STOPPING: u8 = 2;

    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Self::RECOVERING)))
    }

    pub(crate) fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Release);
    }
}

/// What the loop is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Topic {
    /// The text of `/metrics`.
    Metrics,
    /// Nothing but that it answers.
    Presence,
}

/// A question, and where its answer goes. Nobody may be left to hear it.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) topic: Topic,
    pub(crate) answer: oneshot::Sender<String>,
}

/// Serves on a listener until the process ends or the loop is gone. The questions come out here; the
/// loop is woken for each.
pub(crate) fn start(
    listener: &TcpListener,
    waker: Arc<Waker>,
    stage: Stage,
) -> io::Result<Receiver<Question>> {
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let (asking, questions) = sync_channel(QUESTIONS_MAX);
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let door = Arc::new(Door { asking, waker, stage, is_open: !address.ip().is_loopback() });
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        // It ends with an error where the system has no more descriptors for its own needs.
        let _ = runtime.block_on(serve(listener, door));
    })?;
    Ok(questions)
}

/// What every connection needs.
#[derive(Debug)]
struct Door {
    asking: SyncSender<Question>,
    waker: Arc<Waker>,
    stage: Stage,
    /// Other machines may come.
    is_open: bool,
}

async fn serve(listener: TcpListener, door: Arc<Door>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or the client has gone.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let door = Arc::clone(&door);
                async move { Ok::<_, Infallible>(door.answer(&request).await) }
            });
            // Errors are the client's: it has gone, or did not speak HTTP.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            drop(permit);
        });
    }
}

impl Door {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if !self.is_open && !host.is_some_and(is_own_name) {
            return text(StatusCode::FORBIDDEN, "this name is not mine\n");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        match request.uri().path() {
            "/metrics" => self.metrics().await,
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => self.readiness().await,
            _ => text(StatusCode::NOT_FOUND, "/metrics, /livez and /readyz are here\n"),
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        let Some(body) = self.ask(Topic::Metrics).await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "no answer yet\n");
        };
        let mut response = text(StatusCode::OK, body);
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    async fn readiness(&self) -> Response<Full<Bytes>> {
        match self.stage.0.load(Ordering::Acquire) {
            Stage::READY if self.ask(Topic::Presence).await.is_some() => {
                text(StatusCode::OK, "ready\n")
            }
            Stage::READY => text(StatusCode::SERVICE_UNAVAILABLE, "the loop does not answer\n"),
            Stage::RECOVERING => text(StatusCode::SERVICE_UNAVAILABLE, "recovering\n"),
            _ => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        }
    }

    /// The loop's answer; `None` if it has none in time.
    async fn ask(&self, topic: Topic) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.asking.try_send(Question { topic, answer }).ok()?;
        self.waker.wake().ok()?;
        tokio::time::timeout(ANSWER_TIME, answered).await.ok()?.ok()
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("content-security-policy", HeaderValue::from_static("default-src 'none'"));
    response
}

/// Whether a request that reached loopback was meant for it: a page of another name that points
/// here, as browsers can be told to open, says that name.
fn is_own_name(host: &str) -> bool {
    let is_address = |text: &str| {
        let text = text.trim_start_matches('[').trim_end_matches(']');
        text.parse::<IpAddr>().is_ok()
    };
    let name = match host.parse::<SocketAddr>() {
        Ok(_) => return true,
        Err(_) => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || is_address(host) || is_address(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_are_answered() {
        for own in ["localhost", "localhost:9121", "127.0.0.1", "127.0.0.1:1", "[::1]:2", "[::1]"] {
            assert!(is_own_name(own), "{own}");
        }
        for foreign in ["evil.example", "evil.example:80", "localhost.evil.example", "", "a:b:c"] {
            assert!(!is_own_name(foreign), "{foreign}");
        }
    }
}
