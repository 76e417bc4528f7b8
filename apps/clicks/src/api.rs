//! Links and their numbers, for whoever manages them. Put a login of your own in front of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::links::Made;
use crate::store::{Audience, Clicks};
use crate::target;
use crate::web::{App, unavailable};

/// What `POST /links` takes.
#[derive(Deserialize)]
pub(crate) struct Asked {
    url: String,
}

/// What it answers.
#[derive(Serialize)]
struct Answer {
    code: String,
}

/// What `GET /links/{code}/stats` answers.
#[derive(Serialize)]
struct Stats {
    code: String,
    /// What the group `analytics` counted.
    clicks: Clicks,
    /// What the group `pipeline` found out.
    audience: Audience,
}

/// `POST /links` with `{"url": "https://..."}`: 201, or 200 where the address has a link.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let asked = match asked {
        Ok(Json(asked)) => asked,
        Err(rejection) => return (rejection.status(), rejection.body_text()).into_response(),
    };
    match app.finder.make(&asked.url).await {
        Ok(Ok(Made::New(code))) => (StatusCode::CREATED, Json(Answer { code })).into_response(),
        Ok(Ok(Made::There(code))) => Json(Answer { code }).into_response(),
        Ok(Err(why)) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")).into_response(),
        Err(error) => unavailable(&error),
    }
}

/// `DELETE /links/{code}`: 204.
pub(crate) async fn remove(State(app): State<Arc<App>>, Path(code): Path<String>) -> Response {
    match app.finder.remove(&code).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => unavailable(&error),
    }
}

/// `GET /links/{code}/stats`; 404 where nothing is known of the code.
pub(crate) async fn stats(State(app): State<Arc<App>>, Path(code): Path<String>) -> Response {
    if !target::is_code(&code) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let both = async {
        let (clicks, audience) =
            tokio::try_join!(app.counts.clicks(&code), app.rows.audience(&code))?;
        let is_known = clicks.total > 0 || app.finder.find(&code).await?.is_some();
        anyhow::Ok(is_known.then_some(Stats { code, clicks, audience }))
    };
    match both.await {
        Ok(Some(stats)) => Json(stats).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => unavailable(&error),
    }
}
