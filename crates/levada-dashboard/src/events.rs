//! `GET /events`: a sample every two seconds, for the charts. Each watcher is served over the
//! connection of who watches, and so is told what that user may see; there is room for a few, and
//! each comes again after a while, so that nobody who has gone keeps a place.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::response::sse::{Event, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::OwnedSemaphorePermit;

use crate::facts::{self, Facts, info, list, scanned};
use crate::fault::Fault;
use crate::limits::{SAMPLE_EVERY, SAMPLED_STREAMS, WATCH_MAX};
use crate::visit::Visit;

/// Where a watcher stands.
struct Watch {
    visit: Visit,
    begun: Instant,
    is_first: bool,
    /// Given back when the watcher goes.
    _place: OwnedSemaphorePermit,
}

/// Serves samples until the watcher goes, their session ends, or the time is over.
pub(crate) async fn show(
    visit: Visit,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Fault> {
    let place = Arc::clone(&visit.shared.watchers).try_acquire_owned().map_err(|_| Fault::Busy)?;
    // What is refused is refused before anything is promised.
    sample(&visit).await?;
    let watch = Watch { visit, begun: Instant::now(), is_first: true, _place: place };
    Ok(Sse::new(unfold(watch, |mut watch| async move {
        if !watch.is_first {
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
        watch.is_first = false;
        if watch.begun.elapsed() >= WATCH_MAX || !watch.visit.is_current() {
            return None;
        }
        let sample = sample(&watch.visit).await.ok()?;
        Some((Ok(Event::default().data(sample)), watch))
    })))
}

/// Numbers as JSON; null for what the server does not tell.
async fn sample(visit: &Visit) -> Result<String, Fault> {
    let text = facts::string(&visit.read(&[b"INFO", b"everything"]).await?);
    let is = |name: &str| info(&text, name).and_then(|value| value.parse::<i64>().ok());
    let calls = |line: &str| -> Option<i64> {
        line.strip_prefix("calls=")?.split(',').next()?.parse().ok()
    };
    let appends = info(&text, "cmdstat_xadd").map_or(Some(0), calls);
    let (lag, pending) = behind(visit).await?;
    let json = |number: Option<i64>| number.map_or("null".to_owned(), |number| number.to_string());
    Ok(format!(
        "{{\"commands\":{},\"appends\":{},\"commit_us\":{},\"lag\":{},\"pending\":{}}}",
        json(is("total_commands_processed")),
        json(appends),
        json(is("levada_commit_usec_average")),
        json(lag),
        json(Some(pending))
    ))
}

/// Lag and pending of the groups of the first streams that SCAN gives; the lag is unknown where
/// that of one is.
async fn behind(visit: &Visit) -> Result<(Option<i64>, i64), Fault> {
    let max = SAMPLED_STREAMS.to_string();
    let words: &[&[u8]] = &[b"SCAN", b"0", b"COUNT", max.as_bytes(), b"TYPE", b"stream"];
    let (names, _) = scanned(visit.read(words).await?);
    let names = names.iter().take(SAMPLED_STREAMS);
    let questions: Vec<Vec<&[u8]>> =
        names.map(|name| vec![&b"XINFO"[..], b"GROUPS", name]).collect();
    let answers = visit.read_all(&questions).await?;
    // A stream that went meanwhile, or is hidden from the user, counts for nothing.
    let groups = answers.into_iter().flatten().flat_map(list).map(Facts::new);
    let groups: Vec<_> = groups.collect();
    let lag = groups.iter().map(|group| group.number("lag")).sum();
    Ok((lag, groups.iter().filter_map(|group| group.number("pending")).sum()))
}
