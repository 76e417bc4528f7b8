//! What can go wrong with a page, and how it is said.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::page::bare;
use crate::server::words_of;
use crate::text::shown;

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server refused, or could not be reached.
    Server(RedisError),
    /// The request makes no sense.
    Bad(String),
    /// It is not let through.
    Refused(&'static str),
    /// There is nothing of this name.
    Missing(String),
    /// Too many watch already.
    Busy,
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        Self::Server(error)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::Server(error) if error.code() == Some("NOAUTH") => {
                return Redirect::to("/signin").into_response();
            }
            Self::Server(error) => {
                let (status, title) = match error.kind() {
                    ErrorKind::Server(ServerErrorKind::NoPerm) => {
                        (StatusCode::FORBIDDEN, "Not allowed")
                    }
                    _ if error.code().is_some() => (StatusCode::BAD_REQUEST, "The server refused"),
                    _ => (StatusCode::BAD_GATEWAY, "The server cannot be reached"),
                };
                (status, title, words_of(&error))
            }
            Self::Bad(text) => (StatusCode::BAD_REQUEST, "This makes no sense", text),
            Self::Refused(text) => (StatusCode::FORBIDDEN, "Refused", text.to_owned()),
            Self::Missing(text) => (StatusCode::NOT_FOUND, "Nothing here", text),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many watch",
                "Close a page of the dashboard elsewhere.".to_owned(),
            ),
        };
        let text = shown(text.as_bytes());
        let body = html! {
            h1 { (title) }
            p.error role="alert" { (text) }
            p { a href="/" { "To all streams" } " " a href="/signin" { "Sign in" } }
        };
        (status, bare(title, &body)).into_response()
    }
}
