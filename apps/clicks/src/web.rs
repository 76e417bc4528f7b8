//! What the service answers, and the redirect first of all.
//!
//! A redirect goes whether or not its click could be recorded; its header `x-click` says which
//! id the click has and `x-click-kept` what is known of it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use levada::Broker;

use crate::links::Finder;
use crate::live::Live;
use crate::record::Recorder;
use crate::store::{Counts, Rows};
use crate::visitor::Visitors;
use crate::{api, live, status};

/// The id of the click that a redirect was.
pub(crate) const CLICK: HeaderName = HeaderName::from_static("x-click");
/// What is known of it: [`crate::record::Kept::word`].
pub(crate) const CLICK_KEPT: HeaderName = HeaderName::from_static("x-click-kept");

/// Longest body of a request: an address in JSON, and room for a mistake.
const BODY_BYTES_MAX: usize = 8 << 10;

/// What handlers need.
pub(crate) struct App {
    pub(crate) finder: Finder,
    pub(crate) recorder: Recorder,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) counts: Arc<dyn Counts>,
    pub(crate) rows: Arc<dyn Rows>,
    pub(crate) broker: Broker,
    pub(crate) live: Live,
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// All there is to ask for.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/{code}", get(follow))
        .route("/links", post(api::create))
        .route("/links/{code}", delete(api::remove))
        .route("/links/{code}/stats", get(api::stats))
        .route("/live", get(live::page))
        .route("/live/page.js", get(live::script))
        .route("/live/events", get(live::events))
        .route("/status", get(status::status))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

/// The redirect: look up, record, answer.
async fn follow(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Response {
    let address = match app.finder.find(&code).await {
        Ok(Some(address)) => address,
        Ok(None) => return (StatusCode::NOT_FOUND, "there is no such link\n").into_response(),
        Err(error) => return unavailable(&error),
    };
    let click = app.visitors.click(&code, &headers, peer);
    let id = click.id.clone();
    let kept = app.recorder.record(click).await;
    let headers = [
        (LOCATION, &*address),
        // A browser that remembers where the link leads would not click again.
        (CACHE_CONTROL, "no-store"),
        (CLICK, &*id),
        (CLICK_KEPT, kept.word()),
    ];
    (StatusCode::FOUND, headers).into_response()
}

/// The answer where a database that is needed is away.
pub(crate) fn unavailable(error: &anyhow::Error) -> Response {
    eprintln!("web: {error:#}");
    let text = "a database is away; please try again\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
}
