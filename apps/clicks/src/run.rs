//! Connections: how many, how long, how much.
//!
//! A stranger gets one place among many, a few seconds to say what they want, and room for a
//! reasonable request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::web::Peer;

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;
/// Headers of a request, and bytes of all of them.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Longest time for a request's headers to arrive.
const HEADER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Rest where no connection can be accepted: there may be no file descriptors.
const REST: Duration = Duration::from_millis(50);
/// How long requests may go on when the service ends. Those who watch live would never end.
const END_MAX: Duration = Duration::from_secs(3);

/// Serves until the shutdown.
pub(crate) async fn run(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => break,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (stream, peer) = match accepted.1 {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("web: no connection: {error}");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let connection = graceful.watch(serve(stream, peer, router.clone()));
        tokio::spawn(async move {
            let _place = accepted.0;
            // How a connection ends is its own affair.
            let _ = connection.await;
        });
    }
    drop(listener);
    if tokio::time::timeout(END_MAX, graceful.shutdown()).await.is_err() {
        eprintln!("web: some requests did not end in time");
    }
}

fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> impl hyper_util::server::graceful::GracefulConnection {
    // A redirect is one small packet: it must not wait for another.
    let _ = stream.set_nodelay(true);
    let inner = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        inner.call(request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
}
