//! The dead letters of a group: looked at, given back, thrown away. What changes something asks
//! first, and takes exactly those letters that it asked about.

use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use crate::facts::{Entry, entries, number};
use crate::fault::Fault;
use crate::limits::{LETTERS, LETTERS_AT_ONCE, VALUE_BYTES};
use crate::page::{self, Page, entry_link, name, page};
use crate::query::{Pairs, link};
use crate::server::is_unknown;
use crate::text::{count, shown, time};
use crate::visit::{Form, Visit};

/// What can be done with letters: the word of XDLQ, how it is called when it is done, what it
/// means.
const VERBS: &[(&str, &str, &str)] = &[
    ("REDRIVE", "redriven", "They go back to the group that failed, and to no other."),
    ("PURGE", "purged", "They are deleted for good."),
];
/// Fields that the server put behind those of the entry.
const PUT_BEHIND: &str = "x-dlq-";

/// `GET /letters`: of `key` and `group`, behind the id `after`.
pub(crate) async fn show(visit: Visit) -> Result<Page, Fault> {
    let (key, group) = (page::key(&visit, "key")?, page::key(&visit, "group")?);
    let pairs = [("key", key), ("group", group)];
    let (after, count) = (visit.query.text("after"), (LETTERS + 1).to_string());
    let mut words: Vec<&[u8]> = vec![b"XDLQ", b"RANGE", key, group];
    if !after.is_empty() {
        words.extend([&b"AFTER"[..], after.as_bytes()]);
    }
    words.extend([&b"COUNT"[..], count.as_bytes()]);
    let letters = match visit.read(&words).await {
        Ok(letters) => entries(letters),
        Err(error) if is_unknown(&error) => {
            let text = "This server keeps no dead letters itself. Those of the toolkit are shown \
                        by `levada dlq`.";
            return Err(Fault::Missing(text.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let more = letters.get(LETTERS - 1).filter(|_| letters.len() > LETTERS);
    let verbs: Vec<_> = VERBS.iter().map(|(_, done, _)| *done).collect();
    let body = html! {
        h1 { "Dead letters of " (name(group)) }
        p {
            "of " a href=(link("/stream", &pairs[..1])) { (name(key)) }
            ", group " a href=(link("/group", &pairs)) { (name(group)) }
        }
        (page::done(&visit, &verbs))
        @if letters.is_empty() { p { "No dead letters." } }
        @else {
            form action="/letters/confirm" {
                (page::at(&pairs))
                (table(key, letters.get(..LETTERS).unwrap_or(&letters), visit.session.is_some()))
                (buttons(visit.session.is_some()))
            }
        }
        @if let Some(last) = more {
            @let pairs = [pairs[0], pairs[1], ("after", last.id.as_bytes())];
            p { a rel="next" href=(link("/letters", &pairs)) { "Newer letters" } }
        }
    };
    Ok(page(&visit, "Dead letters", &body))
}

fn buttons(signed_in: bool) -> Markup {
    html! {
        @if signed_in {
            p.buttons {
                button name="verb" value="REDRIVE" { "Redrive those ticked" }
                button name="verb" value="PURGE" { "Purge those ticked" }
                button name="all" value="REDRIVE" { "Redrive all" }
                button name="all" value="PURGE" { "Purge all" }
            }
        } @else {
            p { a href="/signin" { "Sign in" } " to redrive or purge." }
        }
    }
}

fn table(key: &[u8], letters: &[Entry], signed_in: bool) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label="Dead letters" {
            table {
                thead {
                    tr {
                        @if signed_in { th { "Pick" } }
                        th { "Letter" } th { "Was" } th { "Reason" } th.n { "Deliveries" }
                        th { "Last consumer" } th { "Failed (UTC)" } th { "Fields" }
                    }
                }
                tbody { @for letter in letters { tr { (row(key, letter, signed_in)) } } }
            }
        }
    }
}

fn row(key: &[u8], letter: &Entry, signed_in: bool) -> Markup {
    // The last of a name is the server's: a payload may have fields that are called like them.
    let put = |name: &str| {
        let wanted = format!("{PUT_BEHIND}{name}");
        let found = letter.fields.iter().rev().find(|(name, _)| name == wanted.as_bytes());
        found.map_or(&b""[..], |(_, value)| &**value)
    };
    let number = |name| std::str::from_utf8(put(name)).ok().and_then(|text| text.parse().ok());
    let source = String::from_utf8_lossy(put("id")).into_owned();
    let own = letter.fields.len().saturating_sub(8);
    let fields = letter.fields.get(..own).unwrap_or_default().to_vec();
    html! {
        @if signed_in {
            td {
                input type="checkbox" name="id" value=(letter.id)
                    aria-label={ "Pick " (letter.id) };
            }
        }
        td { code { (letter.id) } }
        td { a href=(entry_link(key, &source)) { code { (shown(source.as_bytes())) } } }
        td { (name(put("reason"))) }
        td.n { (count(number("deliveries"))) }
        td { (name(put("consumer"))) }
        td { (number("last-ms").map(time).unwrap_or_default()) }
        td { (page::fields(&fields, VALUE_BYTES)) }
    }
}

/// `GET /letters/confirm`: of `key` and `group`, `verb` with each `id`, or `all` with a verb.
pub(crate) async fn confirm(visit: Visit) -> Result<Page, Fault> {
    let (key, group) = (page::key(&visit, "key")?, page::key(&visit, "group")?);
    visit.session()?;
    let all = visit.query.text("all");
    let given = if all.is_empty() { visit.query.text("verb") } else { all.clone() };
    let (verb, _, means) = verb(&given)?;
    let mut hidden = Vec::new();
    let taken = if all.is_empty() {
        let ids = ids(&visit.query)?;
        hidden.extend(ids.iter().map(|id| ("id", id.clone())));
        i64::try_from(ids.len()).unwrap_or(i64::MAX)
    } else {
        let there = number(&visit.read(&[b"XDLQ", b"LEN", key, group]).await?).unwrap_or(0);
        let taken = there.min(LETTERS_AT_ONCE);
        hidden.push(("count", taken.to_string()));
        taken
    };
    let what = html! {
        p {
            strong { (verb) " " (count(Some(taken))) }
            @if all.is_empty() { " picked" } @else { " (the oldest)" }
            " dead letters of the group " (name(group)) " of " (name(key)) "."
        }
        p { (means) }
    };
    let pairs = [("key", key), ("group", group)];
    let act = link("/letters/do", &[pairs[0], pairs[1], ("verb", verb.as_bytes())]);
    page::confirmation(&visit, &what, &act, &hidden, &link("/letters", &pairs))
}

/// `POST /letters/do`: what was confirmed.
pub(crate) async fn act(visit: Visit, form: Form) -> Result<Response, Fault> {
    let permit = visit.permit(&form)?;
    let (key, group) = (page::key(&visit, "key")?, page::key(&visit, "group")?);
    let (verb, done, _) = verb(&visit.query.text("verb"))?;
    let count = form.0.text("count");
    let ids = if count.is_empty() { ids(&form.0)? } else { Vec::new() };
    let how_many = ids.len().to_string();
    let mut words: Vec<&[u8]> = vec![b"XDLQ", verb.as_bytes(), key, group];
    if ids.is_empty() {
        words.extend([&b"COUNT"[..], count.as_bytes()]);
    } else {
        words.extend([&b"IDS"[..], how_many.as_bytes()]);
        words.extend(ids.iter().map(String::as_bytes));
    }
    let went = number(&visit.change(&permit, &words).await?).unwrap_or(0).to_string();
    let pairs = [("key", key), ("group", group), ("done", done.as_bytes()), ("n", went.as_bytes())];
    Ok(Redirect::to(&link("/letters", &pairs)).into_response())
}

fn verb(given: &str) -> Result<(&'static str, &'static str, &'static str), Fault> {
    let known = VERBS.iter().find(|(verb, ..)| *verb == given);
    known.copied().ok_or_else(|| Fault::Bad("The address names no verb.".to_owned()))
}

/// The letters that were picked, at least one; how many it takes the server says.
fn ids(pairs: &Pairs) -> Result<Vec<String>, Fault> {
    let ids: Vec<_> = pairs.all("id").map(|id| String::from_utf8_lossy(id).into_owned()).collect();
    match ids.is_empty() {
        true => Err(Fault::Bad("Pick at least one letter.".to_owned())),
        false => Ok(ids),
    }
}
