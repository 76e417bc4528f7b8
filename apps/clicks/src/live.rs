//! The live page: what is clicked now.
//!
//! One task follows the stream while somebody watches, whoever recorded the clicks, and says a
//! few times a second how things stand. Watchers get the latest of that: one that is slow misses
//! some, and nothing waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use levada::{Broker, MessageId, Reader};
use serde::Serialize;
use tokio::sync::watch;

use crate::click::Click;
use crate::enrich::Enricher;
use crate::store::Row;
use crate::web::App;

/// Watchers at the same time.
const WATCHERS_MAX: usize = 200;
/// How often it is said how things stand.
const EVERY: Duration = Duration::from_millis(250);
/// Clicks that are shown one by one.
const LAST_MAX: usize = 12;
/// Links that are shown with their counts, and links whose counts are held at most.
const TOP_MAX: usize = 8;
const LINKS_MAX: usize = 10_000;
/// Seconds that the rate is shown for.
const SECONDS: usize = 60;
/// Rest before following again.
const REST: Duration = Duration::from_secs(1);

const PAGE: &str = include_str!("live.html");
const SCRIPT: &str = include_str!("live.js");
/// The page runs its own script and nothing else, whatever a click brings.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
                      style-src 'unsafe-inline'";

/// Tells watchers how things stand.
#[derive(Clone)]
pub(crate) struct Live(Arc<watch::Sender<String>>);

/// How things stand.
#[derive(Serialize, Default)]
struct Scene {
    /// Clicks since somebody watches.
    total: u64,
    /// Clicks in each of the last seconds, the latest last.
    seconds: VecDeque<u64>,
    /// The last clicks, the latest first.
    last: VecDeque<Row>,
    /// The links with the most clicks since somebody watches.
    top: Vec<(String, u64)>,
    #[serde(skip)]
    counts: BTreeMap<String, u64>,
    #[serde(skip)]
    second: u64,
}

impl Live {
    /// Follows the stream from now on, while somebody watches.
    pub(crate) fn start(broker: Broker, enricher: Arc<Enricher>) -> Self {
        let live = Self(Arc::new(watch::Sender::new(String::new())));
        let told = Arc::clone(&live.0);
        tokio::spawn(async move {
            loop {
                watched(&told).await;
                if let Err(error) = follow(&broker, &enricher, &told).await {
                    eprintln!("live: {error}");
                }
                tokio::time::sleep(REST).await;
            }
        });
        live
    }
}

/// Returns when somebody watches.
async fn watched(told: &watch::Sender<String>) {
    let mut every = tokio::time::interval(EVERY);
    while told.receiver_count() == 0 {
        every.tick().await;
    }
}

/// Says how things stand until nobody watches.
async fn follow(
    broker: &Broker,
    enricher: &Enricher,
    told: &watch::Sender<String>,
) -> levada::Result<()> {
    let now = std::time::SystemTime::now();
    let mut reader = Reader::from_time::<Click>(broker, now).await?;
    let mut scene = Scene::default();
    let mut every = tokio::time::interval(EVERY);
    while told.receiver_count() > 0 {
        tokio::select! {
            _ = every.tick() => {
                scene.pass(unix_second());
                scene.sort();
                // A scene is numbers and text: it has a JSON.
                told.send_replace(serde_json::to_string(&scene).unwrap_or_default());
            }
            read = reader.next_event::<Click>() => {
                let (id, click) = read?;
                if let Ok(click) = click {
                    scene.add(click, id, enricher);
                }
            }
        }
    }
    Ok(())
}

fn unix_second() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}

impl Scene {
    fn add(&mut self, click: Click, id: MessageId, enricher: &Enricher) {
        let weight = u64::from(click.weight);
        self.pass(unix_second());
        self.total += weight;
        if let Some(second) = self.seconds.back_mut() {
            *second += weight;
        }
        if self.counts.len() < LINKS_MAX || self.counts.contains_key(&click.code) {
            *self.counts.entry(click.code.clone()).or_default() += weight;
        }
        self.last.push_front(enricher.row(click, id.ms));
        self.last.truncate(LAST_MAX);
    }

    /// Goes on to a second.
    fn pass(&mut self, second: u64) {
        let gone = match self.second {
            0 => 1,
            before => usize::try_from(second.saturating_sub(before)).unwrap_or(SECONDS),
        };
        if gone == 0 {
            return;
        }
        self.second = second;
        self.seconds.extend(std::iter::repeat_n(0, gone.min(SECONDS)));
        let over = self.seconds.len().saturating_sub(SECONDS);
        self.seconds.drain(..over);
    }

    fn sort(&mut self) {
        let mut all: Vec<_> =
            self.counts.iter().map(|(code, count)| (code.clone(), *count)).collect();
        all.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        all.truncate(TOP_MAX);
        self.top = all;
    }
}

/// `GET /live`.
pub(crate) async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE).into_response()
}

/// `GET /live/page.js`.
pub(crate) async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "no-cache")], SCRIPT)
        .into_response()
}

/// `GET /live/events`: server-sent events, each how things stand, as JSON.
pub(crate) async fn events(State(app): State<Arc<App>>) -> Response {
    let told = app.live.0.subscribe();
    if app.live.0.receiver_count() > WATCHERS_MAX {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many watch\n").into_response();
    }
    let events = stream::unfold(told, |mut told| async move {
        told.changed().await.ok()?;
        let scene = told.borrow_and_update().clone();
        Some((Ok::<_, std::convert::Infallible>(Event::default().data(scene)), told))
    });
    ([(CACHE_CONTROL, "no-store")], Sse::new(events)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn click(code: &str, weight: u32) -> Click {
        let (id, code) = (String::new(), code.to_owned());
        Click { id, code, weight, ip: None, agent: None, referer: None }
    }

    #[test]
    fn a_scene_is_bounded_and_counts_everything() {
        let mut scene = Scene::default();
        for number in 0..40 {
            let code = if number % 4 == 0 { "often" } else { "seldom" };
            scene.add(
                click(code, if number % 4 == 0 { 10 } else { 1 }),
                MessageId::MIN,
                &Enricher::default(),
            );
        }
        scene.sort();
        assert_eq!((scene.total, scene.last.len()), (130, LAST_MAX));
        assert_eq!(scene.top, [("often".to_owned(), 100), ("seldom".to_owned(), 30)]);
        assert_eq!(scene.seconds.iter().sum::<u64>(), 130);
    }

    #[test]
    fn seconds_without_clicks_are_seconds() {
        let mut scene = Scene::default();
        scene.pass(1000);
        scene.pass(1003);
        assert_eq!(scene.seconds, [0; 4]);
        scene.pass(9000);
        assert_eq!(scene.seconds.len(), SECONDS);
        scene.pass(8000);
        assert_eq!(scene.seconds.len(), SECONDS, "a clock may go back");
    }
}
