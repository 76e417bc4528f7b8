//! Idempotency and an outbox in Postgres: where the effect is a row, the mark that it was done,
//! and the events that follow from it, can be in the same transaction.
//!
//! A transaction is on a connection of a pool, which goes back to the pool only behind a COMMIT or
//! ROLLBACK that was answered. Whatever else happens to it, a panic or a timeout of the handler for
//! instance, closes the connection, and the server rolls back.
//!
//! ```no_run
//! use levada::postgres::{Outbox, Postgres, Tx};
//! use levada::{Event, Fault, Msg, Worker};
//! # use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Paid { order: String, cents: i64 }
//! impl Event for Paid {
//!     const STREAM: &'static str = "payments";
//!     fn idempotency_key(&self) -> Option<String> { Some(self.order.clone()) }
//! }
//! # #[derive(Serialize, Deserialize)] struct Booked { order: String }
//! # impl Event for Booked { const STREAM: &'static str = "booked"; }
//!
//! /// Books once, however often the event comes, and tells others of it once.
//! async fn book(tx: Tx, Msg(paid): Msg<Paid>) -> Result<(), Fault> {
//!     let sql = "UPDATE account SET cents = cents + $1";
//!     tx.execute(sql, &[&paid.cents]).await?;
//!     Outbox::enqueue(&*tx, &Booked { order: paid.order }).await?;
//!     Ok(())
//! }
//!
//! # async fn run(shutdown: impl Future<Output = ()> + Send) -> levada::Result<()> {
//! let broker = levada::connect("redis://localhost").await?;
//! let postgres = Postgres::connect("postgres://app@localhost/app", 16).await?;
//! postgres.create_tables().await?;
//! Worker::new(&broker, "books").handle(book).idempotent(postgres.marks()).run(shutdown).await?;
//! # Ok(())
//! # }
//! ```

mod marks;
mod outbox;
mod transaction;

use std::fmt;
use std::time::Duration;

pub use deadpool_postgres;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, Runtime};
pub use tokio_postgres;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

pub use self::marks::PostgresMarks;
pub use self::outbox::{BATCH_MAX, Outbox, Relay, Relayed};
pub use self::transaction::Tx;
use crate::error::{Error, Result};

/// Longest wait for a connection of the pool, new or returned.
const POOL_WAIT_MAX: Duration = Duration::from_secs(30);

/// The tables, made where they are missing. Several programs may do so at once: hence the lock,
/// which ends with the implicit transaction of this text.
const TABLES: &str = "
SELECT pg_advisory_xact_lock(hashtext('levada tables'));
CREATE TABLE IF NOT EXISTS levada_done (
    stream text NOT NULL,
    receiver text NOT NULL,
    id text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, receiver, id)
);
CREATE INDEX IF NOT EXISTS levada_done_at ON levada_done (at);
CREATE TABLE IF NOT EXISTS levada_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    stream text NOT NULL,
    producer text,
    once text,
    names bytea[] NOT NULL,
    vals bytea[] NOT NULL,
    refused text,
    at timestamptz NOT NULL DEFAULT now()
);
";

/// A database. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Postgres {
    pool: Pool,
}

impl Postgres {
    /// Connects, without TLS, by a URL (`postgres://USER:PASSWORD@HOST/DATABASE`) or by pairs
    /// (`host=/run/postgresql user=app`). At most so many connections: one for each handler that
    /// runs, [`crate::Worker::concurrency`], and one for a [`Relay`]; those that find none wait.
    pub async fn connect(address: &str, connections: usize) -> Result<Self> {
        // The error of the parser does not show the address, which may hold a password.
        let config: tokio_postgres::Config = address
            .parse()
            .map_err(|error| Error::Invalid(format!("no address of a database: {error}")))?;
        let manager = Manager::from_config(config, NoTls, ManagerConfig::default());
        let built = Pool::builder(manager)
            .max_size(connections.max(1))
            .wait_timeout(Some(POOL_WAIT_MAX))
            .create_timeout(Some(POOL_WAIT_MAX))
            .runtime(Runtime::Tokio1)
            .build();
        let pool = built.map_err(|error| Error::Invalid(error.to_string()))?;
        let postgres = Self::over(pool);
        drop(postgres.client().await?); // It goes into the pool.
        Ok(postgres)
    }

    /// Over a pool of one's own: with TLS, for instance, or shared with the rest of a program.
    pub fn over(pool: Pool) -> Self {
        Self { pool }
    }

    /// Makes the tables `levada_done` and `levada_outbox` where they are missing, in the first
    /// schema of the search path.
    pub async fn create_tables(&self) -> Result<()> {
        self.client().await?.batch_execute(TABLES).await.map_err(of)
    }

    /// A store for [`crate::Worker::idempotent`].
    pub fn marks(&self) -> PostgresMarks {
        PostgresMarks::new(self.clone())
    }

    /// The pool underneath.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    async fn client(&self) -> Result<Object> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => Error::Timeout(POOL_WAIT_MAX),
            PoolError::Backend(error) => of(error),
            other => Error::Connection(other.to_string()),
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("connections", &self.pool.status().max_size).finish()
    }
}

/// What the caller should do about an error of the database.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn of(error: tokio_postgres::Error) -> Error {
    let Some(failed) = error.as_db_error() else {
        return Error::Connection(error.to_string());
    };
    let message = format!("{} {}", failed.code().code(), failed.message());
    match failed.code() {
        code if *code == SqlState::UNDEFINED_TABLE => Error::NotFound(message),
        code => match &code.code()[..2] {
            "53" => Error::Full(message),              // Insufficient resources.
            "40" | "55" => Error::Conflict(message),   // Rolled back for others; locked.
            "08" | "57" => Error::Connection(message), // Connection; shutdown by an operator.
            _ => Error::Refused(message),
        },
    }
}
