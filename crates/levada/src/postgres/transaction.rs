//! A transaction on a connection of the pool, and the handler's share of it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use deadpool_postgres::Object;

use super::{Postgres, of};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::handler::{BoxError, FromDelivery};

/// The transaction that an effect belongs to, as an argument of a handler of a worker that is
/// idempotent by [`super::PostgresMarks`].
///
/// It is committed when the handler has returned well, and rolled back otherwise. It begins,
/// commits and rolls back by itself: a handler must not say `COMMIT`, and must not keep it beyond
/// its end (then it is rolled back, and the event is tried again). A statement that failed has
/// failed the whole transaction, as always in Postgres, also where its error is ignored.
#[derive(Clone)]
pub struct Tx(pub(super) Arc<Transaction>);

impl Deref for Tx {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        self.0.client()
    }
}

impl<S> FromDelivery<S> for Tx {
    fn from_delivery(delivery: &Delivery, _: &S) -> Result<Self, BoxError> {
        let found = delivery.extensions.get::<Self>().cloned();
        found.ok_or_else(|| "the worker lends no transaction: Worker::idempotent".into())
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tx")
    }
}

/// A transaction under way. Dropped, its connection is closed and the server rolls back.
pub(super) struct Transaction {
    /// `None` when it has gone back to the pool.
    client: Option<Object>,
}

impl Transaction {
    pub(super) async fn begin(postgres: &Postgres) -> Result<Self> {
        // From here on the connection is closed unless it is known to be clean again.
        let transaction = Self { client: Some(postgres.client().await?) };
        transaction.client().batch_execute("BEGIN").await.map_err(of)?;
        Ok(transaction)
    }

    pub(super) fn client(&self) -> &tokio_postgres::Client {
        self.client.as_ref().expect("it is taken only by the end of the transaction")
    }

    /// Commits. An error where the transaction has failed: COMMIT alone would roll it back then,
    /// and say that all is well.
    pub(super) async fn commit(self) -> Result<()> {
        self.end("SELECT 1; COMMIT").await
    }

    pub(super) async fn roll_back(self) -> Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &str) -> Result<()> {
        self.client().batch_execute(how).await.map_err(of)?;
        drop(self.client.take()); // Back to the pool.
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}
