//! `GET /status`: how far everything is, for people and for the demo.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use levada::Event as _;
use serde::{Deserialize, Serialize};

use crate::click::Click;
use crate::record::Tally;
use crate::web::{App, unavailable};

/// How far a group is.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Group {
    /// Its name.
    pub(crate) name: String,
    /// Clicks that it was not handed yet; none where the server does not know.
    pub(crate) lag: Option<u64>,
    /// Clicks that it was handed and has not done.
    pub(crate) pending: u64,
}

#[derive(Serialize)]
struct Status {
    /// What holds the stream.
    server: String,
    groups: Vec<Group>,
    clicks: Tally,
}

/// Answers it.
pub(crate) async fn status(State(app): State<Arc<App>>) -> Response {
    let groups = match app.broker.backend().groups(Click::STREAM).await {
        Ok(groups) => groups,
        Err(error) => return unavailable(&error.into()),
    };
    let group =
        |it: levada::backend::GroupFacts| Group { name: it.name, lag: it.lag, pending: it.pending };
    Json(Status {
        server: app.broker.capabilities().server.clone(),
        groups: groups.into_iter().map(group).collect(),
        clicks: app.recorder.tally(),
    })
    .into_response()
}
