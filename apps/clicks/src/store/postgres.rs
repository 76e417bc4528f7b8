//! Links and counts in Postgres.
//!
//! A batch of clicks is one statement, and so one transaction: it marks those ids that are not
//! marked, and adds those clicks whose marks are new.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use levada::postgres::deadpool_postgres::Object;

use super::{Clicks, Counted, Counts, Links, MINUTES_MAX, Pending, Seen};

/// Connections: batches under way, and what asks beside them.
const CONNECTIONS: usize = 8;

/// Made where they are missing. Several processes may do so at once: hence the lock, which ends
/// with the implicit transaction of this text.
const TABLES: &str = "
SELECT pg_advisory_xact_lock(hashtext('clicks tables'));
CREATE TABLE IF NOT EXISTS links (code text PRIMARY KEY, address text NOT NULL);
CREATE TABLE IF NOT EXISTS counted (
    id text PRIMARY KEY, code text NOT NULL, at_ms bigint NOT NULL, weight bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS counted_at ON counted (at_ms);
CREATE TABLE IF NOT EXISTS counts (
    code text NOT NULL, minute bigint NOT NULL, clicks bigint NOT NULL,
    PRIMARY KEY (code, minute)
);
";

/// In the order of the keys, so that two batches at once wait for each other and not around a
/// circle. An id that stands in the batch twice is taken once.
const COUNT: &str = "
WITH batch AS (
    SELECT DISTINCT ON (id) id, code, at_ms, weight
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS t (id, code, at_ms, weight)
    ORDER BY id
), fresh AS (
    INSERT INTO counted SELECT * FROM batch ORDER BY id ON CONFLICT DO NOTHING
    RETURNING code, at_ms, weight
), added AS (
    INSERT INTO counts
    SELECT code, at_ms / 60000, sum(weight)::bigint FROM fresh GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (code, minute) DO UPDATE SET clicks = counts.clicks + excluded.clicks
)
SELECT count(*) FROM fresh";

/// A database. Cheap to clone; all clones share its connections.
#[derive(Clone, Debug)]
pub(crate) struct Postgres(levada::postgres::Postgres);

impl Postgres {
    /// Connects, and makes the tables.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let database = levada::postgres::Postgres::connect(address, CONNECTIONS).await?;
        let store = Self(database);
        store.client().await?.batch_execute(TABLES).await.context("the tables of Postgres")?;
        Ok(store)
    }

    async fn client(&self) -> Result<Object> {
        self.0.pool().get().await.context("Postgres cannot be reached")
    }
}

impl Links for Postgres {
    fn create<'a>(&'a self, code: &'a str, address: &'a str) -> Pending<'a, (String, bool)> {
        Box::pin(async move {
            let client = self.client().await?;
            let made = client
                .execute(
                    "INSERT INTO links VALUES ($1, $2) ON CONFLICT DO NOTHING",
                    &[&code, &address],
                )
                .await?;
            let row =
                client.query_one("SELECT address FROM links WHERE code = $1", &[&code]).await?;
            Ok((row.get(0), made == 1))
        })
    }

    fn address<'a>(&'a self, code: &'a str) -> Pending<'a, Option<String>> {
        Box::pin(async move {
            let client = self.client().await?;
            let statement =
                client.prepare_cached("SELECT address FROM links WHERE code = $1").await?;
            Ok(client.query_opt(&statement, &[&code]).await?.map(|row| row.get(0)))
        })
    }

    fn remove<'a>(&'a self, code: &'a str) -> Pending<'a, bool> {
        Box::pin(async move {
            let client = self.client().await?;
            Ok(client.execute("DELETE FROM links WHERE code = $1", &[&code]).await? == 1)
        })
    }
}

impl Counts for Postgres {
    fn count(&self, clicks: Vec<Counted>) -> Pending<'_, u64> {
        Box::pin(async move {
            let ids: Vec<&str> = clicks.iter().map(|click| &*click.id).collect();
            let codes: Vec<&str> = clicks.iter().map(|click| &*click.code).collect();
            let times: Vec<i64> = clicks.iter().map(|click| click.at_ms).collect();
            let weights: Vec<i64> = clicks.iter().map(|click| click.weight).collect();
            let client = self.client().await?;
            let statement = client.prepare_cached(COUNT).await?;
            let row = client.query_one(&statement, &[&ids, &codes, &times, &weights]).await?;
            Ok(unsigned(row.get(0)))
        })
    }

    fn clicks<'a>(&'a self, code: &'a str) -> Pending<'a, Clicks> {
        const TOTAL: &str = "SELECT coalesce(sum(clicks), 0)::bigint FROM counts WHERE code = $1";
        const MINUTES: &str = "SELECT minute, clicks FROM counts WHERE code = $1 \
                               ORDER BY minute DESC LIMIT $2";
        Box::pin(async move {
            let client = self.client().await?;
            let total = unsigned(client.query_one(TOTAL, &[&code]).await?.get(0));
            let rows = client.query(MINUTES, &[&code, &i64::from(MINUTES_MAX)]).await?;
            let pair = |row: &levada::postgres::tokio_postgres::Row| {
                (unsigned(row.get(0)), unsigned(row.get(1)))
            };
            Ok(Clicks { total, minutes: rows.iter().map(pair).collect() })
        })
    }

    fn forget(&self, before_ms: i64) -> Pending<'_, u64> {
        Box::pin(async move {
            let client = self.client().await?;
            Ok(client.execute("DELETE FROM counted WHERE at_ms < $1", &[&before_ms]).await?)
        })
    }

    fn seen(&self) -> Pending<'_, Vec<Seen>> {
        Box::pin(async move {
            let client = self.client().await?;
            let rows = client.query("SELECT id, code, weight FROM counted", &[]).await?;
            let one = |row: &levada::postgres::tokio_postgres::Row| Seen {
                id: row.get(0),
                code: row.get(1),
                weight: unsigned(row.get(2)),
            };
            Ok(rows.iter().map(one).collect())
        })
    }

    fn totals(&self) -> Pending<'_, BTreeMap<String, u64>> {
        const TOTALS: &str = "SELECT code, sum(clicks)::bigint FROM counts GROUP BY code";
        Box::pin(async move {
            let rows = self.client().await?.query(TOTALS, &[]).await?;
            Ok(rows.iter().map(|row| (row.get(0), unsigned(row.get(1)))).collect())
        })
    }
}

/// Counts are never below zero.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_what_stores_keep() {
        let Some(server) = stage::Postgres::start().unwrap() else {
            return crate::tests::lacking("postgresql-15");
        };
        let store = Postgres::connect(&server.address()).await.unwrap();
        crate::tests::a_store_of_links(&store).await;
        crate::tests::a_store_of_counts(&store).await;
    }
}
