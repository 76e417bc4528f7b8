//! Effects, marks and events in the transactions of a real Postgres, which is named in
//! `LEVADA_TEST_POSTGRES`, beside servers in `LEVADA_TEST_URLS`; without the first, every test
//! fails. They share streams: `--test-threads=1`.
//!
//! - `once`: the effect and its mark are there together or not at all.
//! - `outbox`: what was committed is sent, once, in order; what was not never is.
//! - here: a schema of its own for each test and server.

mod once;
mod outbox;

use std::future::Future;
use std::time::Duration;

use levada::postgres::Postgres;
use levada::{Broker, connect};

/// Longest wait for what must come: far more than any machine needs.
const PATIENCE: Duration = Duration::from_mins(2);

/// Connections of a test.
const CONNECTIONS: usize = 8;

/// Runs a test on each server, with an empty schema and without this stream.
async fn everywhere<F, Fut>(test: &str, stream: &str, run: F)
where
    F: Fn(Broker, Postgres) -> Fut,
    Fut: Future<Output = ()>,
{
    let servers = std::env::var("LEVADA_TEST_URLS").unwrap_or_default();
    let servers = servers.split_whitespace().map(|it| it.split_once('=').expect("NAME=URL"));
    for (number, (name, url)) in [("memory", "memory:")].into_iter().chain(servers).enumerate() {
        println!("{test} on {name}");
        let broker = connect(url).await.expect("the server is there");
        for key in
            [stream.to_owned(), format!("{{{stream}}}:dlq:g"), format!("{{{stream}}}:rest:g")]
        {
            broker.backend().remove(&key).await.expect("a key can be removed");
        }
        let postgres = schema(&format!("{test}_{number}")).await;
        let kept = tokio::time::timeout(PATIENCE, run(broker, postgres)).await;
        assert!(kept.is_ok(), "{test} on {name}: it takes for ever");
    }
}

/// The database, with an empty schema of this name first in its path, and a table for effects.
async fn schema(name: &str) -> Postgres {
    let address = std::env::var("LEVADA_TEST_POSTGRES")
        .expect("LEVADA_TEST_POSTGRES names no database: cargo xtask toolkit starts one");
    let plain = Postgres::connect(&address, 1).await.expect("the database is there");
    let client = plain.pool().get().await.expect("a connection");
    let sql = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
    client.batch_execute(&sql).await.expect("a schema");
    let address = format!("{address} options=-csearch_path={name}");
    let postgres = Postgres::connect(&address, CONNECTIONS).await.expect("the database is there");
    postgres.create_tables().await.expect("tables");
    postgres.create_tables().await.expect("they may be there");
    let client = postgres.pool().get().await.expect("a connection");
    client.batch_execute("CREATE TABLE effect (n int)").await.expect("a table");
    postgres
}

/// The effects that are there, in order.
async fn effects(postgres: &Postgres) -> Vec<i32> {
    let client = postgres.pool().get().await.expect("a connection");
    let rows = client.query("SELECT n FROM effect ORDER BY n", &[]).await.expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}
