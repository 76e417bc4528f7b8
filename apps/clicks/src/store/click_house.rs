//! Rows in ClickHouse.
//!
//! The table replaces rows of one key by one of them when it merges, so a batch that is written
//! twice, because the first answer was lost, is there once; until it has merged, `FINAL` does the
//! same for a query. Nothing here is newer than ClickHouse 18.16, which is what Debian has: the
//! client therefore sends plain `RowBinary`, without the names and types that newer servers check.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clickhouse::Client;

use super::{Audience, NAMES_MAX, Pending, Row, Rows, Seen};

/// Longest wait for a batch to be sent, and then to be answered.
const SEND_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// The key is what the same click has at every attempt; its time, which is that of its entry in
/// the stream, is not.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS clicks (
    code String, id String, at DateTime, weight UInt32, country String, browser String,
    os String, device String, referer String
) ENGINE = ReplacingMergeTree() ORDER BY (code, id)";

/// A database. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ClickHouse(Client);

impl ClickHouse {
    /// Connects by HTTP (`http://127.0.0.1:8123`), and makes the table.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let client = Client::default().with_url(url).with_validation(false);
        client.query(TABLE).execute().await.context("the table of ClickHouse")?;
        Ok(Self(client))
    }

    async fn pairs(&self, sql: &str, code: Option<&str>) -> Result<BTreeMap<String, u64>> {
        let query = self.0.query(sql);
        let query = match code {
            Some(code) => query.bind(code),
            None => query,
        };
        Ok(query.fetch_all::<(String, u64)>().await?.into_iter().collect())
    }
}

impl Rows for ClickHouse {
    fn write(&self, rows: Vec<Row>) -> Pending<'_, ()> {
        Box::pin(async move {
            let insert = self.0.insert::<Row>("clicks").await?;
            let mut insert = insert.with_timeouts(Some(SEND_MAX), Some(ANSWER_MAX));
            for row in &rows {
                insert.write(row).await?;
            }
            insert.end().await.context("ClickHouse did not take the batch")
        })
    }

    fn audience<'a>(&'a self, code: &'a str) -> Pending<'a, Audience> {
        const TOTAL: &str = "SELECT sum(weight) FROM clicks FINAL WHERE code = ?";
        let by = |name: &str| {
            format!(
                "SELECT {name}, sum(weight) FROM clicks FINAL WHERE code = ? AND {name} != '' \
                 GROUP BY {name} ORDER BY sum(weight) DESC, {name} LIMIT {NAMES_MAX}"
            )
        };
        let (countries, browsers) = (by("country"), by("browser"));
        Box::pin(async move {
            Ok(Audience {
                total: self.0.query(TOTAL).bind(code).fetch_one::<u64>().await?,
                countries: self.pairs(&countries, Some(code)).await?,
                browsers: self.pairs(&browsers, Some(code)).await?,
            })
        })
    }

    fn seen(&self) -> Pending<'_, Vec<Seen>> {
        const SEEN: &str = "SELECT id, code, toUInt64(weight) FROM clicks FINAL";
        Box::pin(async move { Ok(self.0.query(SEEN).fetch_all::<Seen>().await?) })
    }

    fn totals(&self) -> Pending<'_, BTreeMap<String, u64>> {
        const TOTALS: &str = "SELECT code, sum(weight) FROM clicks FINAL GROUP BY code";
        Box::pin(self.pairs(TOTALS, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_what_stores_keep() {
        let Some(server) = stage::ClickHouse::start().unwrap() else {
            return crate::tests::lacking("clickhouse-server");
        };
        let store = ClickHouse::connect(&server.url()).await.unwrap();
        crate::tests::a_store_of_rows(&store).await;
    }
}
