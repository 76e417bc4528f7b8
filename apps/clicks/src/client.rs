//! A client for the demo and the load: one connection, one request at a time, and an honest
//! answer to whether a request that failed may have arrived.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A connection, made when it is needed.
pub(crate) struct Client {
    address: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failed {
    /// There was no connection: the request did not leave.
    Refused,
    /// The connection broke, or it took too long: the request may have arrived.
    Broken,
}

impl Client {
    /// To a service of the loopback.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, sender: None }
    }

    /// Follows a link, as a proxy would: with an id, an address and a user agent.
    pub(crate) async fn get(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, Failed> {
        self.send("GET", path, headers, String::new()).await
    }

    /// Makes a link.
    pub(crate) async fn post(&mut self, path: &str, body: String) -> Result<Answer, Failed> {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    /// Asks for JSON, and takes no other answer than 200.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        match self.get(path, &[]).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                serde_json::from_slice(&answer.body).with_context(|| path.to_owned())
            }
            Ok(answer) => bail!("{path}: {} {:?}", answer.status, answer.body),
            Err(failed) => bail!("{path}: {failed:?}"),
        }
    }

    /// Sends a request.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, Failed> {
        let mut request = Request::builder().method(method).uri(path).header("host", "clicks.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            request.body(Full::from(body)).expect("the programs here make well-formed ones");
        self.connect().await?;
        let Some(sender) = &mut self.sender else {
            return Err(Failed::Refused);
        };
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer { status: head.status, headers: head.headers, body })
        };
        if let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_MAX, exchange).await {
            return Ok(answer);
        }
        self.sender = None;
        Err(Failed::Broken)
    }

    /// Makes the connection unless there is one that can be used.
    async fn connect(&mut self) -> Result<(), Failed> {
        if let Some(sender) = &mut self.sender
            && sender.ready().await.is_ok()
        {
            return Ok(());
        }
        self.sender = None;
        let stream = TcpStream::connect(self.address).await.map_err(|_| Failed::Refused)?;
        stream.set_nodelay(true).map_err(|_| Failed::Refused)?;
        let io = TokioIo::new(stream);
        let (sender, connection) = http1::handshake(io).await.map_err(|_| Failed::Refused)?;
        tokio::spawn(connection);
        self.sender = Some(sender);
        Ok(())
    }
}
