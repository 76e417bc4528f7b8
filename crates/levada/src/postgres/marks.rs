//! Marks in the transaction of the effect.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::transaction::{Transaction, Tx};
use super::{Postgres, of};
use crate::backend::Pending;
use crate::error::{Error, Result};
use crate::extensions::Extensions;
use crate::idempotency::{Idempotency, Mark, Undertaking};

/// Marks in the table `levada_done`, in the same transaction as the effect: both are there or
/// neither is. The handler takes the transaction as [`Tx`].
///
/// While a handler runs, a second delivery of the same mark waits for its end. Marks stay until
/// [`PostgresMarks::forget`]; an event that comes again later than that is handled again.
#[derive(Clone, Debug)]
pub struct PostgresMarks {
    postgres: Postgres,
}

impl PostgresMarks {
    pub(super) fn new(postgres: Postgres) -> Self {
        Self { postgres }
    }

    /// Marks by hand, inside a transaction of one's own, in a batch handler for instance: whether
    /// it was not done before.
    pub async fn mark(client: &impl GenericClient, mark: &Mark) -> Result<bool> {
        const SQL: &str = "INSERT INTO levada_done (stream, receiver, id) VALUES ($1, $2, $3) \
                           ON CONFLICT DO NOTHING";
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
            [(&mark.stream, Type::TEXT), (&mark.group, Type::TEXT), (&mark.id, Type::TEXT)];
        Ok(client.execute_typed(SQL, &parameters).await.map_err(of)? == 1)
    }

    /// Forgets marks that are older; answers how many. For a job that runs once an hour or a day.
    pub async fn forget(&self, older_than: Duration) -> Result<u64> {
        const SQL: &str = "DELETE FROM levada_done WHERE at < now() - make_interval(secs => $1)";
        let client = self.postgres.client().await?;
        client.execute(SQL, &[&older_than.as_secs_f64()]).await.map_err(of)
    }

    async fn try_begin(&self, mark: &Mark) -> Result<Option<Box<dyn Undertaking>>> {
        let transaction = Transaction::begin(&self.postgres).await?;
        if Self::mark(transaction.client(), mark).await? {
            return Ok(Some(Box::new(Begun(Arc::new(transaction)))));
        }
        transaction.roll_back().await?;
        Ok(None)
    }
}

impl Idempotency for PostgresMarks {
    fn begin<'a>(&'a self, mark: &'a Mark) -> Pending<'a, Option<Box<dyn Undertaking>>> {
        Box::pin(self.try_begin(mark))
    }
}

struct Begun(Arc<Transaction>);

impl Begun {
    /// The transaction, if nobody else holds it; otherwise it is rolled back here, or its mark
    /// would be in the way of the next attempt.
    async fn alone(self) -> Result<Transaction> {
        match Arc::try_unwrap(self.0) {
            Ok(transaction) => Ok(transaction),
            Err(shared) => {
                shared.client().batch_execute("ROLLBACK").await.map_err(of)?;
                let kept = "the handler kept its transaction beyond its end";
                Err(Error::Conflict(kept.to_owned()))
            }
        }
    }
}

impl Undertaking for Begun {
    fn lend(&self, extensions: &mut Extensions) {
        extensions.insert(Tx(Arc::clone(&self.0)));
    }

    fn finish(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move { self.alone().await?.commit().await })
    }

    fn abandon(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move { self.alone().await?.roll_back().await })
    }
}
