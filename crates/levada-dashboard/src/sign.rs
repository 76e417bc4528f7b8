//! Signing in and out. The server judges the password, by AUTH on a fresh connection; that
//! connection is then the session's.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use crate::fault::Fault;
use crate::limits::SESSION_MAX;
use crate::page::{Page, page};
use crate::server::words_of;
use crate::session::{COOKIE, Session, random};
use crate::text::shown;
use crate::visit::{Form, Shared, Visit};

/// `GET /signin`.
pub(crate) async fn show(visit: Visit) -> Page {
    form(&visit, None)
}

fn form(visit: &Visit, refusal: Option<&str>) -> Page {
    let body = html! {
        h1 { "Sign in" }
        p {
            "With a user and password of the server. What you may see and do is what its ACL "
            "rules say. Without signing in you read as the user " code { "default" }
            " and change nothing."
        }
        @if let Some(refusal) = refusal { p.error role="alert" { (shown(refusal.as_bytes())) } }
        form.sign method="post" action="/signin" {
            label { "User " input name="user" value="default" autocomplete="username" required; }
            label {
                "Password "
                input type="password" name="password" autocomplete="current-password";
            }
            button { "Sign in" }
        }
    };
    page(visit, "Sign in", &body)
}

/// `POST /signin`: `user` and `password`.
pub(crate) async fn sign_in(
    State(shared): State<Arc<Shared>>,
    visit: Visit,
    Form(given): Form,
) -> Result<Response, Fault> {
    let (user, password) = (given.get("user"), given.get("password"));
    let asker = match shared.server.sign_in(user, password).await {
        Ok(asker) => asker,
        Err(error) if error.is_io_error() => return Err(error.into()),
        Err(error) => {
            let page = form(&visit, Some(&words_of(&error)));
            return Ok((StatusCode::FORBIDDEN, page).into_response());
        }
    };
    // A token that somebody planted before is never the one of a session.
    if let Some(old) = &visit.token {
        shared.sessions.close(old);
    }
    let session = Session { user: user.to_vec(), csrf: random(), asker };
    let token = shared.sessions.open(session, Instant::now());
    Ok((cookie(&token, SESSION_MAX.as_secs()), Redirect::to("/")).into_response())
}

/// `POST /signout`.
pub(crate) async fn sign_out(visit: Visit, form: Form) -> Result<Response, Fault> {
    visit.permit(&form)?;
    if let Some(token) = &visit.token {
        visit.shared.sessions.close(token);
    }
    Ok((cookie("", 0), Redirect::to("/")).into_response())
}

/// Not for scripts, and sent with nothing that another site begins.
fn cookie(token: &str, seconds: u64) -> [(axum::http::HeaderName, String); 1] {
    let attributes = format!("Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    [(SET_COOKIE, format!("{COOKIE}={token}; {attributes}"))]
}
