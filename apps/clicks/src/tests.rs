//! What every store keeps, and the service over HTTP on an engine in memory: bad input, links and
//! their invalidation, clicks counted once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use levada::{Broker, Reader, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::click::{Click, Ids};
use crate::client::Client;
use crate::enrich::Enricher;
use crate::links::Finder;
use crate::live::Live;
use crate::record::{Databases, Mode, Recorder};
use crate::store::sqlite::Sqlite;
use crate::store::{Counted, Counts, Links, Row, Rows};
use crate::visitor::Visitors;
use crate::web::{App, CLICK, CLICK_KEPT};
use crate::{groups, run, web};

/// No test depends on how fast the machine is.
const PATIENCE: Duration = Duration::from_mins(1);

/// Says loudly that a part is not installed; in CI that is a failure.
pub(crate) fn lacking(part: &str) {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!in_ci, "{part} is not installed: cargo xtask peers");
    eprintln!("NOT INSTALLED, so not tested: {part}");
}

pub(crate) async fn a_store_of_links(store: &dyn Links) {
    let (one, other) = ("https://example.org/1".to_owned(), "https://example.org/2");
    assert_eq!(store.address("aaaaaaa").await.unwrap(), None);
    assert_eq!(store.create("aaaaaaa", &one).await.unwrap(), (one.clone(), true));
    assert_eq!(store.create("aaaaaaa", other).await.unwrap(), (one.clone(), false));
    assert_eq!(store.address("aaaaaaa").await.unwrap(), Some(one));
    assert!(store.remove("aaaaaaa").await.unwrap());
    assert!(!store.remove("aaaaaaa").await.unwrap());
}

pub(crate) async fn a_store_of_counts(store: &dyn Counts) {
    let click = |id: &str, at_ms, weight| Counted {
        id: id.to_owned(),
        code: "counted".to_owned(),
        at_ms,
        weight,
    };
    let batch = vec![click("1", 60_000, 1), click("2", 120_000, 5), click("2", 120_000, 5)];
    assert_eq!(store.count(batch.clone()).await.unwrap(), 2, "one stands there twice");
    assert_eq!(store.count(batch).await.unwrap(), 0, "it comes again");
    let more = vec![click("2", 300_000, 5), click("3", 120_001, 1)];
    assert_eq!(store.count(more).await.unwrap(), 1, "one of them was counted");
    let clicks = store.clicks("counted").await.unwrap();
    assert_eq!((clicks.total, clicks.minutes), (7, vec![(2, 6), (1, 1)]));
    assert_eq!(store.totals().await.unwrap(), [("counted".to_owned(), 7)].into());
    assert_eq!(store.clicks("nothing").await.unwrap().total, 0);
    assert_eq!(store.forget(60_001).await.unwrap(), 1);
    assert_eq!(store.seen().await.unwrap().len(), 2);
    assert_eq!(store.clicks("counted").await.unwrap().total, 7, "counts stay");
    assert_eq!(store.count(Vec::new()).await.unwrap(), 0);
}

pub(crate) async fn a_store_of_rows(store: &dyn Rows) {
    let row = |id: &str, at, country: &str, browser: &str| Row {
        code: "a_row_1".to_owned(),
        id: id.to_owned(),
        at,
        weight: 2,
        country: country.to_owned(),
        browser: browser.to_owned(),
        os: String::new(),
        device: String::new(),
        referer: "it's \"quoted\" \\ \u{1f30a}".to_owned(),
    };
    let first = row("1", 1, "PT", "Firefox");
    store.write(vec![first.clone(), row("2", 2, "PT", "")]).await.unwrap();
    // The answer was lost, and meanwhile the entry stands in the stream once more, later.
    store.write(vec![Row { at: 9, ..first }, row("3", 3, "", "Firefox")]).await.unwrap();
    let audience = store.audience("a_row_1").await.unwrap();
    assert_eq!(audience.total, 6);
    assert_eq!(audience.countries, [("PT".to_owned(), 4)].into());
    assert_eq!(audience.browsers, [("Firefox".to_owned(), 4)].into());
    assert_eq!(store.totals().await.unwrap(), [("a_row_1".to_owned(), 6)].into());
    let mut ids: Vec<_> = store.seen().await.unwrap().into_iter().map(|it| it.id).collect();
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(store.audience("it's").await.unwrap().total, 0);
}

/// A service on an engine in memory.
struct Service {
    client: Client,
    address: SocketAddr,
    broker: Broker,
    store: Arc<Sqlite>,
    app: Arc<App>,
    directory: stage::Directory,
    stop: watch::Sender<bool>,
}

impl Service {
    async fn start(mode: Mode) -> Self {
        let directory = stage::Directory::new("clicks-test").unwrap();
        let store = Arc::new(Sqlite::open(&directory.path().join("db")).await.unwrap());
        let broker = connect("memory:").await.unwrap();
        let app = app(mode, &broker, &store);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let listening = Arc::clone(&app);
        tokio::spawn(async move { listening.finder.listen().await });
        tokio::spawn(run::run(listener, web::router(Arc::clone(&app)), stopped));
        Self { client: Client::new(address), address, broker, store, app, directory, stop }
    }

    async fn make(&mut self, url: &str) -> (StatusCode, String) {
        let body = serde_json::json!({ "url": url }).to_string();
        let answer = self.client.post("/links", body).await.unwrap();
        let made: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, made["code"].as_str().unwrap_or_default().to_owned())
    }

    async fn status(&mut self, path: &str) -> u16 {
        self.client.get(path, &[]).await.unwrap().status.as_u16()
    }

    fn end(self) {
        self.stop.send_replace(true);
        self.directory.remove().unwrap();
    }
}

fn app(mode: Mode, broker: &Broker, store: &Arc<Sqlite>) -> Arc<App> {
    let enricher = Arc::new(Enricher::default());
    let visitors = Arc::new(Visitors::new(Ids::new().unwrap(), true));
    let (counts, rows): (Arc<dyn Counts>, Arc<dyn Rows>) = (store.clone(), store.clone());
    let databases =
        Databases { counts: counts.clone(), rows: rows.clone(), enricher: enricher.clone() };
    let recorder = Recorder::start(mode, PATIENCE, broker, visitors.clone(), databases);
    let finder = Finder::new(store.clone(), broker, PATIENCE, vec!["clicks.test".to_owned()]);
    let live = Live::start(broker.clone(), enricher);
    Arc::new(App { finder, recorder, visitors, counts, rows, broker: broker.clone(), live })
}

#[tokio::test]
async fn a_link_is_made_once_followed_and_removed() {
    let mut service = Service::start(Mode::Durable).await;
    let url = "https://example.org/a?b=c";
    let (status, code) = service.make(url).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(service.make(url).await, (StatusCode::OK, code.clone()));
    let path = format!("/{code}");
    let answer = service.client.get(&path, &[("x-request-id", "r-1")]).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(answer.headers["location"], url);
    assert_eq!(answer.headers[CLICK], "r-1");
    assert_eq!(answer.headers[CLICK_KEPT], "durable");
    let removed = service.client.send("DELETE", &format!("/links{path}"), &[], String::new()).await;
    assert_eq!(removed.unwrap().status, StatusCode::NO_CONTENT);
    assert_eq!(service.status(&path).await, 404);
    service.end();
}

#[tokio::test]
async fn a_link_that_another_process_removes_is_gone_here() {
    let mut service = Service::start(Mode::Nothing).await;
    let (_, code) = service.make("https://example.org/").await;
    let path = format!("/{code}");
    assert_eq!(service.status(&path).await, 302);
    let other = app(Mode::Nothing, &service.broker, &service.store);
    assert!(other.finder.remove(&code).await.unwrap());
    // It is said over pub/sub, so it is so a moment later.
    while service.status(&path).await == 302 {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.status(&path).await, 404);
    service.end();
}

#[tokio::test]
async fn bad_input_is_answered_and_harms_nobody() {
    let mut service = Service::start(Mode::Durable).await;
    for url in ["javascript:alert(1)", "http://clicks.test/loop", "", "http://127.0.0.1/"] {
        assert_eq!(service.make(url).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{url}");
    }
    for (body, status) in [
        ("{}", 422),
        ("not JSON", 400),
        (r#"{"url":7}"#, 422),
        (&*format!(r#"{{"url":"https://example.org/{}"}}"#, "x".repeat(9000)), 413),
    ] {
        let answer = service.client.post("/links", body.to_owned()).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{body:.40}");
    }
    for path in
        ["/", "/nothere", "/..%2f..%2fetc", "/%00%00%00%00%00%00%00", "/a%20b", "/nothere/stats"]
    {
        assert_eq!(service.status(path).await, 404, "{path}");
    }
    assert_eq!(service.status("/links/nothere/stats").await, 404);
    assert_eq!(service.status("/links").await, 405);
    let bombs = [
        format!("GET /abcdefg HTTP/1.1\r\nhost: a\r\n{}\r\n", "x-a: b\r\n".repeat(1000)),
        format!("GET /abcdefg HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "b".repeat(1 << 20)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20)),
        "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
    ];
    for bomb in bombs {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        // The service may have answered and closed before all of it is written.
        let _ = stream.write_all(bomb.as_bytes()).await;
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said:.100}");
    }
    let mut reader = Reader::from_start::<Click>(&service.broker).await.unwrap();
    assert!(reader.replay().await.unwrap().is_empty(), "none of it was a click");
    service.end();
}

#[tokio::test]
async fn a_click_is_counted_once_by_both_groups() {
    let mut service = Service::start(Mode::Durable).await;
    let (_, code) = service.make("https://example.org/").await;
    for id in ["r-1", "r-2", "r-1", "r-1"] {
        let answer = service.client.get(&format!("/{code}"), &[("x-request-id", id)]).await;
        assert_eq!(answer.unwrap().headers[CLICK_KEPT], "durable");
    }
    let (stop, stopped) = watch::channel(false);
    let (counts, rows) = (service.app.counts.clone(), service.app.rows.clone());
    let enricher = Arc::new(Enricher::default());
    let work = [
        tokio::spawn(groups::analytics(service.broker.clone(), counts, stopped.clone())),
        tokio::spawn(groups::pipeline(service.broker.clone(), rows, enricher, stopped)),
    ];
    loop {
        let path = format!("/links/{code}/stats");
        let stats: serde_json::Value = service.client.json(&path).await.unwrap();
        let of = |part: &str| stats[part]["total"].as_u64().unwrap();
        assert!(of("clicks") <= 2 && of("audience") <= 2, "{stats}");
        if (of("clicks"), of("audience")) == (2, 2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send_replace(true);
    for ended in work {
        ended.await.unwrap();
    }
    service.end();
}

#[tokio::test]
async fn under_overload_clicks_are_folded_and_none_is_lost() {
    let mut service = Service::start(Mode::Enqueued).await;
    let (_, code) = service.make("https://example.org/").await;
    // Nothing is sent meanwhile: this test has one thread, and does not let go of it.
    let click = |number: usize| Click {
        id: format!("r-{number}"),
        code: code.clone(),
        weight: 1,
        ip: None,
        agent: None,
        referer: None,
    };
    let all = levada::BUFFER_EVENTS_MAX + 500;
    for number in 0..all {
        let recording = std::pin::pin!(service.app.recorder.record(click(number)));
        assert!(futures_util::FutureExt::now_or_never(recording).is_some(), "it never waits");
    }
    let tally = service.app.recorder.tally();
    assert_eq!((tally.folded, tally.shed), (500, 0));
    service.app.recorder.flush(Duration::from_mins(1)).await;
    let mut reader = Reader::from_start::<Click>(&service.broker).await.unwrap();
    let mut sum = 0;
    while sum < all {
        let (_, click) = reader.next_event::<Click>().await.unwrap();
        sum += usize::try_from(click.unwrap().weight).unwrap();
    }
    assert_eq!(sum, all);
    assert!(reader.replay().await.unwrap().is_empty());
    service.end();
}

#[tokio::test]
async fn redirects_go_on_without_the_database() {
    let mut service = Service::start(Mode::Durable).await;
    let (_, code) = service.make("https://example.org/").await;
    assert_eq!(service.status(&format!("/{code}")).await, 302);
    // Another process, which knows nothing yet, and whose database has nothing.
    let empty = Arc::new(Sqlite::open(&service.directory.path().join("other")).await.unwrap());
    let other = app(Mode::Durable, &service.broker, &empty);
    let found = other.finder.find(&code).await.unwrap();
    assert_eq!(found.as_deref(), Some("https://example.org/"), "the server's cache has it");
    service.end();
}

#[tokio::test]
async fn the_live_page_says_what_is_clicked() {
    let mut service = Service::start(Mode::Durable).await;
    let page = service.client.get("/live", &[]).await.unwrap();
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.headers["content-security-policy"].to_str().unwrap().contains("script-src 'self'")
    );
    assert_eq!(service.status("/live/page.js").await, 200);
    let (_, code) = service.make("https://example.org/").await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(b"GET /live/events HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut said = String::new();
    let mut bytes = [0; 4096];
    // The first scene comes before the click, so that the click is not before the watching.
    while !said.contains("\"total\":0") {
        let read = stream.read(&mut bytes).await.unwrap();
        said.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert_eq!(service.status(&format!("/{code}")).await, 302);
    while !said.contains(&format!("[\"{code}\",1]")) {
        let read = stream.read(&mut bytes).await.unwrap();
        said.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    service.end();
}
