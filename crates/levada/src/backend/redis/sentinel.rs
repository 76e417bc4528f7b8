//! Who is the master, as sentinels say.
//!
//! They are asked anew for each connection, in the order of the URL, and what the first one says
//! is checked with the server itself: a sentinel that was cut off may name one that is a master no
//! more. What was acknowledged by a master that the others gave up may be lost, as Redis'
//! replication is; see `Durability`.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Value, cmd};

use super::link::{CONNECT_WAIT_MAX, of};
use super::parse;
use super::place::Place;
use crate::error::{Error, Result};

/// A client of the server that the sentinels take for the master.
pub(super) async fn master(place: &Place) -> Result<Client> {
    let mut last = Error::Connection(format!("no sentinel knows a master {:?}", place.master()));
    for sentinel in place.hosts() {
        match ask(place, sentinel).await {
            Ok(Some(host)) => return place.client(&host),
            Ok(None) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Fails where a server is no master (any more, or yet).
pub(super) async fn check_role(connection: &mut MultiplexedConnection) -> Result<()> {
    let role = connection.send_packed_command(&cmd("ROLE")).await.map_err(|error| of(&error))?;
    match parse::list(role)?.first().and_then(parse::text_of).as_deref() {
        Some("master") => Ok(()),
        role => Err(Error::Connection(format!("the server is {role:?}, no master"))),
    }
}

async fn ask(place: &Place, sentinel: &str) -> Result<Option<String>> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WAIT_MAX))
        .set_response_timeout(Some(CONNECT_WAIT_MAX));
    let client = place.sentinel(sentinel)?;
    let connecting = client.get_multiplexed_async_connection_with_config(&config).await;
    let mut connection = connecting.map_err(|error| of(&error))?;
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(place.master());
    match connection.send_packed_command(&question).await.map_err(|error| of(&error))? {
        Value::Nil => Ok(None),
        Value::ServerError(error) => Err(of(&error.into())),
        answer => match parse::list(answer)?.as_slice() {
            [host, port] => {
                let text = |value| parse::text_of(value).ok_or_else(|| Error::protocol(value));
                Ok(Some(host_and_port(&text(host)?, &text(port)?)))
            }
            other => Err(Error::protocol(other)),
        },
    }
}

/// As a URL has it.
pub(super) fn host_and_port(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
