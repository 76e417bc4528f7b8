//! The frame of every page, the parts that several have, and the two files that they name.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use maud::{DOCTYPE, Markup, html};

use crate::facts::{Entry, Fields};
use crate::fault::Fault;
use crate::limits::{ENTRY_VALUE_BYTES, FIELDS, VALUE_BYTES};
use crate::query::{joined, link};
use crate::session::Session;
use crate::text::{beginning, shown, time_of_id};
use crate::visit::Visit;

/// A page as it is sent.
pub(crate) type Page = Html<String>;

/// A page for this visitor.
pub(crate) fn page(visit: &Visit, title: &str, body: &Markup) -> Page {
    frame(title, visit.session.as_deref(), body)
}

/// A page for nobody in particular.
pub(crate) fn bare(title: &str, body: &Markup) -> Page {
    frame(title, None, body)
}

fn frame(title: &str, session: Option<&Session>, body: &Markup) -> Page {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " - Levada" }
                link rel="stylesheet" href="/dashboard.css";
                link rel="icon" type="image/svg+xml" href="/dashboard.svg";
                script src="/dashboard.js" defer {}
            }
            body {
                a.skip href="#main" { "To the content" }
                header {
                    nav aria-label="Pages" {
                        a.brand href="/" { "Levada" }
                        a href="/" { "Streams" }
                        a href="/schedules" { "Schedules" }
                    }
                    @match session {
                        Some(session) => form method="post" action="/signout" {
                            span { "Signed in as " bdi { (shown(&session.user)) } }
                            (csrf(session))
                            button { "Sign out" }
                        },
                        None => a href="/signin" { "Sign in" },
                    }
                }
                main #main tabindex="-1" { (body) }
            }
        }
    };
    Html(page.into_string())
}

/// What makes a form one of this session.
pub(crate) fn csrf(session: &Session) -> Markup {
    html! { input type="hidden" name="csrf" value=(session.csrf); }
}

/// What a form that asks is about.
pub(crate) fn at(pairs: &[(&str, &[u8])]) -> Markup {
    html! { input type="hidden" name="at" value=(joined(pairs)); }
}

/// A name of somebody else's, shortened.
pub(crate) fn name(bytes: &[u8]) -> Markup {
    let (text, more) = beginning(bytes, VALUE_BYTES);
    html! { bdi.name { (text) @if more > 0 { "..." } } }
}

/// Entries with their times and fields; each leads to a page of its own.
pub(crate) fn entries(key: &[u8], entries: &[Entry]) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label="Entries" {
            table {
                thead { tr { th { "Id" } th { "Time (UTC)" } th { "Fields" } } }
                tbody {
                    @for entry in entries {
                        tr {
                            td { a href=(entry_link(key, &entry.id)) { code { (entry.id) } } }
                            td { (time_of_id(&entry.id)) }
                            td { (fields(&entry.fields, VALUE_BYTES)) }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) fn entry_link(key: &[u8], id: &str) -> String {
    link("/entry", &[("key", key), ("id", id.as_bytes())])
}

/// Fields of an entry, each value up to so many bytes.
pub(crate) fn fields(fields: &Fields, max: usize) -> Markup {
    let max = max.min(ENTRY_VALUE_BYTES);
    html! {
        dl {
            @for (name, value) in fields.iter().take(FIELDS) {
                @let (text, more) = beginning(value, max);
                dt { (self::name(name)) }
                dd {
                    bdi.value { (text) }
                    @if more > 0 { em { " and " (more) " more bytes" } }
                }
            }
        }
        @if fields.len() > FIELDS { em { "and " (fields.len() - FIELDS) " more fields" } }
    }
}

/// The page on which somebody confirms a change: what happens, and the form that does it.
pub(crate) fn confirmation(
    visit: &Visit,
    what: &Markup,
    act: &str,
    hidden: &[(&str, String)],
    back: &str,
) -> Result<Page, Fault> {
    let session = visit.session()?;
    let body = html! {
        h1 { "Are you sure?" }
        (what)
        form method="post" action=(act) {
            (csrf(session))
            @for (name, value) in hidden { input type="hidden" name=(name) value=(value); }
            button.danger { "Yes, do it" }
            " " a href=(back) { "No, go back" }
        }
    };
    Ok(page(visit, "Are you sure?", &body))
}

/// What a change has done, as the address says behind it.
pub(crate) fn done(visit: &Visit, verbs: &[&str]) -> Markup {
    let (verb, number) = (visit.query.text("done"), visit.query.text("n"));
    let verb = verbs.iter().find(|known| **known == verb);
    html! {
        @if let (Some(verb), Ok(number)) = (verb, number.parse::<u64>()) {
            p.done role="status" { (number) " " (verb) }
        }
    }
}

/// A key that a page must name.
pub(crate) fn key<'a>(visit: &'a Visit, name: &str) -> Result<&'a [u8], Fault> {
    match visit.query.get(name) {
        b"" => Err(Fault::Bad(format!("The address names no {name}."))),
        key => Ok(key),
    }
}

/// The style.
pub(crate) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("../assets/dashboard.css"))
}

/// The script.
pub(crate) async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../assets/dashboard.js"))
}

/// The sign of its tab.
pub(crate) async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml")], include_str!("../assets/dashboard.svg"))
}

/// There is no such page.
pub(crate) async fn nothing() -> impl IntoResponse {
    (StatusCode::NOT_FOUND, Fault::Missing("There is no such page.".to_owned()))
}
