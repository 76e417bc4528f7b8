//! Events that are sent if, and only if, a transaction commits.
//!
//! [`Outbox::enqueue`] writes an event into a table, in whatever transaction the caller is;
//! a [`Relay`] appends what was committed to its stream and deletes the row. Between the append and
//! the deletion it may die: the append is idempotent by the row, so the next one does not append
//! it again within the server's window, and the event carries the row's mark as its idempotency
//! key, by which workers tell repetitions from then on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{GenericClient, Row};

use super::transaction::Transaction;
use super::{Postgres, of};
use crate::backend::{Append, Backend, Once};
use crate::broker::Broker;
use crate::error::{Error, Result};
use crate::event::{self, Event};
use crate::message::Fields;
use crate::producer;

/// Rows in one batch, at most. A batch is what a relay that died may have sent without knowing, and
/// Redis remembers a hundred ids of a producer by default.
pub const BATCH_MAX: usize = 100;
/// The producer of rows whose events have no idempotency key of their own.
const PRODUCER: &str = "outbox";
/// Rests behind failures: the first, doubled up to the longest.
const REST_MIN: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(10);
/// What a row comes to.
const DELETE: &str = "DELETE FROM levada_outbox WHERE id = ANY($1)";
const REFUSE: &str = "UPDATE levada_outbox SET refused = $2 WHERE id = $1";

/// The table `levada_outbox`, [`Postgres::create_tables`].
#[derive(Clone, Copy, Debug)]
pub struct Outbox;

impl Outbox {
    /// Puts an event into the outbox, in the transaction of the client: a
    /// `tokio_postgres::Transaction`, or [`super::Tx`] in a handler. It is sent behind the commit,
    /// and never if there is none. What is enqueued by one transaction after another has committed
    /// is sent behind it.
    pub async fn enqueue<E: Event>(client: &impl GenericClient, event: &E) -> Result<()> {
        const SQL: &str = "INSERT INTO levada_outbox (stream, producer, once, names, vals) \
                           VALUES ($1, $2, $3, $4, $5)";
        let Append { stream, fields, once } = producer::entry(event, producer::NAME, &[], None)?;
        let (producer, once) = once.map(|once| (once.producer, once.id)).unzip();
        let (names, values): (Vec<_>, Vec<_>) = fields.0.into_iter().unzip();
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&stream, Type::TEXT),
            (&producer, Type::TEXT),
            (&once, Type::TEXT),
            (&names, Type::BYTEA_ARRAY),
            (&values, Type::BYTEA_ARRAY),
        ];
        client.execute_typed(SQL, &parameters).await.map(drop).map_err(of)
    }
}

/// What a relay did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Relayed {
    /// Events that were sent.
    pub sent: u64,
    /// Events that the server refused for good, a key of another type for instance. They stay in
    /// the table, with the reason in the column `refused`, until somebody sets it to NULL.
    pub refused: u64,
}

/// Sends what stands in the outbox, in the order of the table. Any number of them may run: one
/// sends at a time, the others wait for its end.
#[derive(Clone, Debug)]
pub struct Relay {
    backend: Arc<dyn Backend>,
    postgres: Postgres,
    batch: usize,
    poll: Duration,
    ordered: bool,
}

impl Relay {
    /// From a database to a server.
    pub fn new(broker: &Broker, postgres: &Postgres) -> Self {
        Self {
            backend: Arc::clone(broker.backend()),
            postgres: postgres.clone(),
            batch: BATCH_MAX,
            poll: Duration::from_millis(200),
            ordered: true,
        }
    }

    /// Rows sent together, 1 to [`BATCH_MAX`], which it is unless it is said.
    #[must_use]
    pub fn batch(self, rows: usize) -> Self {
        Self { batch: rows.clamp(1, BATCH_MAX), ..self }
    }

    /// How often the table is looked at when it was empty, 200 ms unless it is said; at least
    /// 10 ms.
    #[must_use]
    pub fn poll(self, poll: Duration) -> Self {
        Self { poll: poll.max(Duration::from_millis(10)), ..self }
    }

    /// All relays send at the same time, different rows, in no order.
    #[must_use]
    pub fn unordered(self) -> Self {
        Self { ordered: false, ..self }
    }

    /// Sends until `shutdown` is over, and goes on behind failures that pass. An error where one
    /// does not: no table, for instance.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<Relayed> {
        let mut shutdown = pin!(shutdown);
        let mut total = Relayed::default();
        let mut failures = REST_MIN;
        loop {
            let rest = match self.pass().await {
                Ok(relayed) => {
                    failures = REST_MIN;
                    total.sent += relayed.sent;
                    total.refused += relayed.refused;
                    let full = relayed.sent + relayed.refused == self.batch as u64;
                    if full { Duration::ZERO } else { self.poll }
                }
                Err(error) if error.is_transient() || matches!(error, Error::Conflict(_)) => {
                    tracing::warn!(%error, "the outbox waits");
                    failures = (failures * 2).min(REST_MAX);
                    failures
                }
                Err(error) => return Err(error),
            };
            tokio::select! {
                biased;
                () = &mut shutdown => return Ok(total),
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Sends one batch. Where the server takes some and then fails, those before the first failure
    /// are done with and the rest is sent by the next pass.
    pub async fn pass(&self) -> Result<Relayed> {
        let transaction = Transaction::begin(&self.postgres).await?;
        let client = transaction.client();
        let mine = match self.ordered {
            true => {
                const SQL: &str =
                    "SELECT pg_try_advisory_xact_lock('levada_outbox'::regclass::oid::bigint)";
                client.query_one(SQL, &[]).await.map_err(of)?.get(0)
            }
            false => true,
        };
        let rows = if mine { self.rows(client).await? } else { Vec::new() };
        if rows.is_empty() {
            transaction.roll_back().await?;
            return Ok(Relayed::default());
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let answers = self.backend.append(rows.iter().map(entry).collect()).await?;
        let (mut relayed, mut sent, mut failure) = (Relayed::default(), Vec::new(), None);
        for (id, answer) in ids.into_iter().zip(answers) {
            match answer {
                Ok(_) => sent.push(id),
                Err(Error::Refused(why) | Error::Invalid(why)) => {
                    tracing::error!(row = id, why, "an event of the outbox is refused");
                    client.execute(REFUSE, &[&id, &why]).await.map_err(of)?;
                    relayed.refused += 1;
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        relayed.sent = client.execute(DELETE, &[&sent]).await.map_err(of)?;
        transaction.commit().await?;
        match failure {
            Some(error) if relayed == Relayed::default() => Err(error),
            _ => Ok(relayed),
        }
    }

    async fn rows(&self, client: &tokio_postgres::Client) -> Result<Vec<Row>> {
        const SQL: &str = "SELECT id, mark::text, stream, producer, once, names, vals \
                           FROM levada_outbox WHERE refused IS NULL \
                           ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";
        let most = i64::try_from(self.batch).expect("at most a hundred");
        client.query(SQL, &[&most]).await.map_err(of)
    }
}

/// The entry that a row becomes. An event without an idempotency key gets the mark of its row.
fn entry(row: &Row) -> Append {
    let (mark, stream): (String, String) = (row.get(1), row.get(2));
    let own: (Option<String>, Option<String>) = (row.get(3), row.get(4));
    let (names, values): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (row.get(5), row.get(6));
    let mut fields = Fields(names.into_iter().zip(values).collect());
    let once = if let (Some(producer), Some(id)) = own {
        Once { producer, id }
    } else {
        fields.push(event::ID, mark.clone());
        Once { producer: PRODUCER.to_owned(), id: mark }
    };
    Append { stream, fields, once: Some(once) }
}
