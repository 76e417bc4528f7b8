//! The port for HTTP: `/metrics`, `/livez` and `/readyz`, from a thread of its own, and whatever
//! [`Pages`] it was given beside them.
//!
//! The thread knows nothing: it hands each question to the loop and waits for the text, so that no
//! state is shared. What a stranger may do here is bounded: so many connections, each so long, so
//! many bytes of a request's head, so long for it; of the three nothing but GET, no body is read. A
//! browser that was sent here under another name is refused ([`is_own_name`]): on loopback always,
//! elsewhere where there are pages.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use mio::Waker;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// Connections at once; more of them wait.
const CONNECTIONS_MAX: usize = 32;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Time for a request's head, and for the loop to answer.
const HEAD_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Time for a connection, and behind it for what it is about to answer: one that reads nothing does
/// not keep its place for ever.
const CONNECTION_TIME: Duration = Duration::from_mins(15);
/// Questions that the loop has not taken yet.
const QUESTIONS_MAX: usize = CONNECTIONS_MAX;

type Failure = Box<dyn Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Failure>>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What answers requests for other paths than ours.
#[derive(Clone)]
pub struct Pages {
    answer: Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>,
    /// Names under which pages are asked for beside `localhost` and addresses, in lower case.
    names: Arc<[String]>,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Pages {
    /// Pages that this function answers, for requests whose Host is an address, `localhost` or one
    /// of these names. It bounds the bodies that it reads, and the time that it takes.
    pub fn new<F, B, A>(names: &[String], answer: A) -> Self
    where
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Failure>,
        A: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    {
        let boxed = move |request| -> Answering {
            let answering = answer(request);
            let boxed = |body: B| body.map_err(Into::into).boxed_unsync();
            Box::pin(async move { answering.await.map(boxed) })
        };
        let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { answer: Arc::new(boxed), names }
    }

    fn are_asked_as(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        is_own_name(host) || self.names.contains(&name)
    }
}

/// Serves pages alone on a listener, with the bounds of this module, until the process ends.
pub fn serve_pages(listener: &TcpListener, pages: Pages) -> io::Result<()> {
    let (listener, is_open, runtime) = prepare(listener)?;
    let door = Arc::new(Door { bell: None, pages: Some(pages), is_open });
    runtime.block_on(serve(listener, door))
}

fn prepare(listener: &TcpListener) -> io::Result<(TcpListener, bool, Runtime)> {
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let is_open = !listener.local_addr()?.ip().is_loopback();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((listener, is_open, runtime))
}

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

/// Serves on a listener until the process ends or the loop is gone. The questions come out here;
/// the loop is woken for each.
pub(crate) fn start(
    listener: &TcpListener,
    waker: Arc<Waker>,
    stage: Stage,
    pages: Option<Pages>,
) -> io::Result<Receiver<Question>> {
    let (listener, is_open, runtime) = prepare(listener)?;
    let (asking, questions) = sync_channel(QUESTIONS_MAX);
    let bell = Some(Bell { asking, waker, stage });
    let door = Arc::new(Door { bell, pages, is_open });
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        // It ends with an error where the system has no more descriptors for its own needs.
        let _ = runtime.block_on(serve(listener, door));
    })?;
    Ok(questions)
}

/// What every connection needs.
#[derive(Debug)]
struct Door {
    /// None where pages are served alone.
    bell: Option<Bell>,
    pages: Option<Pages>,
    /// Other machines may come.
    is_open: bool,
}

/// How the loop is asked.
#[derive(Debug)]
struct Bell {
    asking: SyncSender<Question>,
    waker: Arc<Waker>,
    stage: Stage,
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
                async move { Ok::<_, Infallible>(door.answer(request).await) }
            });
            let mut connection = pin!(
                hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIME)
                    .max_buf_size(HEAD_BYTES_MAX)
                    .serve_connection(TokioIo::new(stream), answer)
            );
            // Errors are the client's: it has gone, or did not speak HTTP.
            if timeout(CONNECTION_TIME, connection.as_mut()).await.is_err() {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(ANSWER_TIME, connection).await;
            }
            drop(permit);
        });
    }
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.unwrap_or_default();
        let is_named = match &self.pages {
            Some(pages) => pages.are_asked_as(host),
            None => is_own_name(host),
        };
        if !self.is_open && !is_named {
            return text(StatusCode::FORBIDDEN, "this name is not mine\n");
        }
        let path = request.uri().path();
        if let Some(bell) = &self.bell
            && matches!(path, "/metrics" | "/livez" | "/readyz")
        {
            if request.method() != Method::GET && request.method() != Method::HEAD {
                return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
            }
            return match path {
                "/metrics" => bell.metrics().await,
                "/livez" => text(StatusCode::OK, "alive\n"),
                _ => bell.readiness().await,
            };
        }
        match &self.pages {
            Some(_) if !is_named => text(
                StatusCode::FORBIDDEN,
                "this name is not mine: http-names says which are, beside addresses\n",
            ),
            Some(pages) => (pages.answer)(request).await,
            None => text(StatusCode::NOT_FOUND, "/metrics, /livez and /readyz are here\n"),
        }
    }
}

impl Bell {
    async fn metrics(&self) -> Answer {
        let Some(body) = self.ask(Topic::Metrics).await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "no answer yet\n");
        };
        let mut response = text(StatusCode::OK, body);
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    async fn readiness(&self) -> Answer {
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
        timeout(ANSWER_TIME, answered).await.ok()?.ok()
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
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
pub(crate) fn is_own_name(host: &str) -> bool {
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

    #[test]
    fn pages_have_names_beside_addresses() {
        let nothing = |_| async { text(StatusCode::OK, "") };
        let pages = Pages::new(&["Streams.example".to_owned()], nothing);
        for own in ["streams.example", "STREAMS.example:443", "10.0.0.1:9121", "localhost"] {
            assert!(pages.are_asked_as(own), "{own}");
        }
        for foreign in ["example", "evil.streams.example", "streams.example.evil", ""] {
            assert!(!pages.are_asked_as(foreign), "{foreign}");
        }
    }
}
