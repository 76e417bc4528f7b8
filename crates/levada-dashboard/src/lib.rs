//! The dashboard: pages about streams, groups, dead letters and schedules, for people.
//!
//! It is a client like any other. What it shows it asks over a connection as the user who looks,
//! so that the rules of ACL hold here without a second set of rules; it works on a plain Redis too,
//! with what that tells. Whoever has not signed in is the user that the address names (`default`
//! without one) and is given nothing that changes anything ([`server`]). Every page, list, form,
//! session and watcher has a bound ([`limits`]).
//!
//! Names and payloads are other people's bytes: they reach a page as text only. The templates
//! escape, no script stands in a page, and what the one script shows it sets as text ([`guard`]).
//!
//! Where the bytes of HTTP come from, how many connections there may be and under which names is
//! the caller's affair: `levada-server` bounds all that.

mod events;
mod facts;
mod fault;
mod group;
mod guard;
mod letters;
mod limits;
mod overview;
mod page;
#[doc(hidden)]
pub mod property;
mod query;
mod schedule;
mod server;
mod session;
mod sign;
mod stream;
mod text;
mod visit;

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use axum::routing::{get, post};
use tower::ServiceExt as _;

/// The pages about one server.
#[derive(Clone, Debug)]
pub struct Dashboard {
    router: Router,
}

impl Dashboard {
    /// Of the server that a client leads to, which is reached when somebody looks.
    pub fn new(client: redis::Client) -> redis::RedisResult<Self> {
        let shared = visit::Shared::new(server::Server::new(client)?);
        let router = Router::new()
            .route("/", get(overview::show))
            .route("/events", get(events::show))
            .route("/stream", get(stream::show))
            .route("/entry", get(stream::show_entry))
            .route("/group", get(group::show))
            .route("/letters", get(letters::show))
            .route("/letters/confirm", get(letters::confirm))
            .route("/letters/do", post(letters::act))
            .route("/schedules", get(schedule::list))
            .route("/schedule", get(schedule::show))
            .route("/schedule/confirm", get(schedule::confirm))
            .route("/schedule/do", post(schedule::act))
            .route("/signin", get(sign::show).post(sign::sign_in))
            .route("/signout", post(sign::sign_out))
            .route("/dashboard.css", get(page::style))
            .route("/dashboard.svg", get(page::icon))
            .route("/dashboard.js", get(page::script))
            .fallback(page::nothing)
            .layer(axum::middleware::map_response(guard::headers))
            .with_state(shared);
        Ok(Self { router })
    }

    /// The pages as a router, to be served by whatever serves routers.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Answers one request. What fails is said on a page.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let answered: Result<_, Infallible> = self.router().oneshot(request.map(Body::new)).await;
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
