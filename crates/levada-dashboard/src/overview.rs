//! The first page: what the server does now, as charts, and its streams.

use maud::{Markup, html};

use crate::facts::{self, Facts, info, list, number, scanned};
use crate::fault::Fault;
use crate::limits::{SCAN_COUNT, SCAN_ROUNDS, SEARCH_BYTES, STREAMS};
use crate::page::{Page, name, page};
use crate::query::link;
use crate::text::{age, count};
use crate::visit::Visit;

/// What a table of streams says of one.
struct Row {
    key: Vec<u8>,
    length: Option<i64>,
    /// Why nothing more can be said.
    error: Option<String>,
    groups: usize,
    /// Of all groups together; unknown where one's is.
    lag: Option<i64>,
    pending: i64,
}

/// `GET /`: `match` is a pattern of names, `cursor` where SCAN goes on.
pub(crate) async fn show(visit: Visit) -> Result<Page, Fault> {
    let info = facts::string(&visit.read(&[b"INFO"]).await?);
    let mut pattern = visit.query.get("match").to_vec();
    pattern.truncate(SEARCH_BYTES);
    let shown_pattern = String::from_utf8_lossy(&pattern).into_owned();
    let pattern = if pattern.is_empty() { b"*".to_vec() } else { pattern };
    let (names, next) = streams(&visit, &pattern).await?;
    let rows = rows(&visit, names).await?;
    let body = html! {
        h1 { "Overview" }
        (figures(&info))
        (charts())
        h2 { "Streams" }
        form.search action="/" {
            label { "Name " input name="match" value=(shown_pattern) placeholder="orders*"; }
            button { "Search" }
        }
        (table(&rows))
        @if let Some(cursor) = next {
            @let pairs = [("match", &*pattern), ("cursor", cursor.as_bytes())];
            p { a rel="next" href=(link("/", &pairs)) { "More streams" } }
        }
    };
    Ok(page(&visit, "Overview", &body))
}

/// Names of streams from the cursor of the query on, and where SCAN goes on, if it does.
pub(crate) async fn streams(
    visit: &Visit,
    pattern: &[u8],
) -> Result<(Vec<Vec<u8>>, Option<String>), Fault> {
    let mut cursor = match visit.query.text("cursor") {
        empty if empty.is_empty() => "0".to_owned(),
        cursor => cursor,
    };
    let (mut names, count) = (Vec::new(), SCAN_COUNT.to_string());
    for _ in 0..SCAN_ROUNDS {
        let (cursor_now, count) = (cursor.as_bytes(), count.as_bytes());
        let words: &[&[u8]] =
            &[b"SCAN", cursor_now, b"MATCH", pattern, b"COUNT", count, b"TYPE", b"stream"];
        let (found, next) = scanned(visit.read(words).await?);
        names.extend(found);
        cursor = next;
        if cursor == "0" || names.len() >= STREAMS {
            break;
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok((names, (cursor != "0").then_some(cursor)))
}

async fn rows(visit: &Visit, names: Vec<Vec<u8>>) -> Result<Vec<Row>, Fault> {
    let questions: Vec<Vec<&[u8]>> = names
        .iter()
        .flat_map(|name| [vec![&b"XLEN"[..], name], vec![&b"XINFO"[..], b"GROUPS", name]])
        .collect();
    let mut answers = visit.read_all(&questions).await?.into_iter();
    let mut rows = Vec::new();
    for key in names {
        let (Some(length), Some(groups)) = (answers.next(), answers.next()) else {
            break;
        };
        let error = length.as_ref().err().or(groups.as_ref().err()).map(crate::server::words_of);
        let groups: Vec<_> = list(groups.unwrap_or_default()).into_iter().map(Facts::new).collect();
        rows.push(Row {
            key,
            length: length.ok().as_ref().and_then(number),
            error,
            lag: groups.iter().map(|group| group.number("lag")).sum(),
            pending: groups.iter().filter_map(|group| group.number("pending")).sum(),
            groups: groups.len(),
        });
    }
    Ok(rows)
}

fn table(rows: &[Row]) -> Markup {
    html! {
        @if rows.is_empty() { p { "No stream of this name among those looked at." } }
        @else {
            div.wide tabindex="0" role="region" aria-label="Streams" {
                table {
                    thead {
                        tr {
                            th { "Stream" } th.n { "Entries" } th.n { "Groups" }
                            th.n { "Lag" } th.n { "Pending" }
                        }
                    }
                    tbody { @for row in rows { tr { (cells(row)) } } }
                }
            }
        }
    }
}

fn cells(row: &Row) -> Markup {
    html! {
        td { a href=(link("/stream", &[("key", &row.key)])) { (name(&row.key)) } }
        @match &row.error {
            Some(error) => td.error colspan="4" { (error) },
            None => {
                td.n { (count(row.length)) }
                td.n { (row.groups) }
                td.n { (count(row.lag)) }
                td.n { (count(Some(row.pending))) }
            }
        }
    }
}

/// What INFO tells of the server.
fn figures(text: &str) -> Markup {
    let (levada, redis) = (info(text, "levada_version"), info(text, "redis_version"));
    let is = |name| info(text, name).and_then(|value| value.parse::<i64>().ok());
    html! {
        dl.figures {
            dt { "Server" }
            dd {
                @match (levada, redis) {
                    (Some(levada), _) => { "Levada " (levada) }
                    (None, Some(redis)) => { "Redis " (redis) ", without policies" }
                    (None, None) => "unknown",
                }
            }
            @if let Some(uptime) = is("uptime_in_seconds") {
                dt { "Up for" } dd { (age(uptime * 1_000)) }
            }
            dt { "Connections" } dd { (count(is("connected_clients"))) }
            dt { "Memory" } dd { (info(text, "used_memory_human").unwrap_or("unknown")) }
            @if let Some(is_full) = is("levada_disk_full") {
                dt { "Disk" }
                dd {
                    @if is_full == 0 { "has room" }
                    @else { strong { "FULL: appends are refused" } }
                }
            }
        }
    }
}

/// Drawn by the script from `/events`; without it the tables still tell all.
fn charts() -> Markup {
    let charts = [
        ("appends", "Appends a second", "XADD"),
        ("commands", "Commands a second", "all kinds"),
        ("lag", "Lag", "entries that groups were not given yet"),
        ("commit", "Commit", "milliseconds of a sync, averaged"),
    ];
    html! {
        section #charts data-events="/events" aria-label="Live charts" {
            @for (id, title, unit) in charts {
                figure data-chart=(id) {
                    figcaption {
                        strong { (title) } " " small { (unit) } " " output aria-live="off" {}
                    }
                    svg viewBox="0 0 300 80" preserveAspectRatio="none" role="img"
                        aria-label=(title) { polyline points="" {} }
                }
            }
            noscript { p { "Charts need the script of this page; all else works without." } }
        }
    }
}
