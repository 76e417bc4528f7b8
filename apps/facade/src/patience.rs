//! Waiting for what must come.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What has not come by then will not come.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until it is so; behind a minute it fails with what was waited for.
pub(crate) async fn eventually<F>(what: &str, mut look: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let begun = Instant::now();
    while !look().await? {
        if begun.elapsed() > PATIENCE {
            bail!("waited a minute in vain: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
