//! What is scheduled for a stream, what is due next, and how it is cancelled.

use axum::response::{IntoResponse, Redirect, Response};
use levada_core::schedule::{FIELD_PREFIX, target_of};
use maud::{Markup, html};

use crate::facts::{Entry, Fields, entries, number};
use crate::fault::Fault;
use crate::limits::{SCHEDULED, VALUE_BYTES};
use crate::overview::streams;
use crate::page::{self, Page, name, page};
use crate::query::link;
use crate::server::is_unknown;
use crate::text::{count, shown, time};
use crate::visit::{Form, Visit};

/// The field that says when an entry is due.
const DUE: &[u8] = b"x-sched-at";

/// `GET /schedules`: streams for which something is scheduled.
pub(crate) async fn list(visit: Visit) -> Result<Page, Fault> {
    let (names, next) = streams(&visit, b"*:sched").await?;
    let targets: Vec<_> = names.iter().filter_map(|name| target_of(name)).collect();
    let body = html! {
        h1 { "Schedules" }
        form.search action="/schedule" {
            label { "Of the stream " input name="key" required; }
            button { "Show" }
        }
        @if targets.is_empty() { p { "Nothing is scheduled in what was looked at." } }
        ul {
            @for key in targets {
                li { a href=(link("/schedule", &[("key", key)])) { (name(key)) } }
            }
        }
        @if let Some(cursor) = next {
            @let more = link("/schedules", &[("cursor", cursor.as_bytes())]);
            p { a rel="next" href=(more) { "More" } }
        }
    };
    Ok(page(&visit, "Schedules", &body))
}

/// `GET /schedule`: of `key`.
pub(crate) async fn show(visit: Visit) -> Result<Page, Fault> {
    let key = page::key(&visit, "key")?;
    let length = match visit.read(&[b"XSCHED", b"LEN", key]).await {
        Ok(length) => number(&length),
        Err(error) if is_unknown(&error) => {
            return Err(Fault::Missing("This server schedules nothing.".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let max = SCHEDULED.to_string();
    let listed = visit.read(&[b"XSCHED", b"LIST", key, b"COUNT", max.as_bytes()]).await?;
    let due = entries(listed);
    let body = html! {
        h1 { "Schedule of " (name(key)) }
        p { a href=(link("/stream", &[("key", key)])) { "The stream" } }
        (page::done(&visit, &["cancelled"]))
        p {
            (count(length)) " scheduled"
            @if due.len() == SCHEDULED { ", of which the next are shown" }
        }
        @if !due.is_empty() { (table(key, &due, visit.session.is_some())) }
        @if visit.session.is_none() { p { a href="/signin" { "Sign in" } " to cancel." } }
    };
    Ok(page(&visit, "Schedule", &body))
}

fn table(key: &[u8], due: &[Entry], signed_in: bool) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label="Scheduled entries" {
            table {
                thead {
                    tr {
                        th { "Due (UTC)" } th { "Handle" } th { "Fields" }
                        @if signed_in { th { "Change" } }
                    }
                }
                tbody {
                    @for entry in due {
                        @let pairs = [("key", key), ("handle", entry.id.as_bytes())];
                        tr {
                            td { (due_at(&entry.fields)) }
                            td { code { (entry.id) } }
                            td { (page::fields(&own(&entry.fields), VALUE_BYTES)) }
                            @if signed_in {
                                td {
                                    a href=(link("/schedule/confirm", &pairs))
                                        aria-label={ "Cancel " (entry.id) } { "Cancel" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// When an entry is due: what the server put behind is the last of its name.
fn due_at(fields: &Fields) -> String {
    let at = fields.iter().rev().find(|(name, _)| name == DUE).map(|(_, at)| &**at);
    let ms = at.and_then(|at| std::str::from_utf8(at).ok()).and_then(|at| at.parse().ok());
    ms.map(time).unwrap_or_default()
}

/// The fields of an entry without those behind them.
fn own(fields: &Fields) -> Fields {
    let is_own = |(name, _): &(Vec<u8>, Vec<u8>)| !name.starts_with(FIELD_PREFIX);
    let end = fields.iter().rposition(is_own).map_or(0, |last| last + 1);
    fields.get(..end).unwrap_or(fields).to_vec()
}

/// `GET /schedule/confirm`: whether the entry `handle` of `key` is to be cancelled.
pub(crate) async fn confirm(visit: Visit) -> Result<Page, Fault> {
    let (key, handle) = (page::key(&visit, "key")?, page::key(&visit, "handle")?);
    let what = html! {
        p {
            "Cancel the entry " code { (shown(handle)) } " that is scheduled for " (name(key))
            ". It is never appended, and is gone."
        }
    };
    let pairs = [("key", key), ("handle", handle)];
    let back = link("/schedule", &pairs[..1]);
    page::confirmation(&visit, &what, &link("/schedule/do", &pairs), &[], &back)
}

/// `POST /schedule/do`: cancels it.
pub(crate) async fn act(visit: Visit, form: Form) -> Result<Response, Fault> {
    let permit = visit.permit(&form)?;
    let (key, handle) = (page::key(&visit, "key")?, page::key(&visit, "handle")?);
    let went = visit.change(&permit, &[b"XSCHED", b"CANCEL", key, handle]).await?;
    let went = number(&went).unwrap_or(0).to_string();
    let pairs = [("key", key), ("done", &b"cancelled"[..]), ("n", went.as_bytes())];
    Ok(Redirect::to(&link("/schedule", &pairs)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_put_behind_is_not_the_entry() {
        let field = |name: &str, value: &str| (name.into(), value.into());
        let fields = vec![
            field("x-sched-at", "mine"),
            field("a", "b"),
            field("x-sched-pid", "p"),
            field("x-sched-at", "60000"),
        ];
        assert_eq!(own(&fields), fields[..2]);
        assert_eq!(due_at(&fields), "1970-01-01 00:01:00.000");
    }
}
