//! The page of a stream: entries with search by id and time, the policy, the groups; and the page
//! of one entry.

use levada_core::schedule::target_of;
use maud::{Markup, html};
use redis::{RedisResult, Value};

use crate::facts::{Entry, Facts, entries as parse, list, number, string};
use crate::fault::Fault;
use crate::limits::{ENTRIES, ENTRY_VALUE_BYTES, GROUPS, SEARCH_BYTES};
use crate::page::{self, Page, name, page};
use crate::query::link;
use crate::server::{is_unknown, words_of};
use crate::text::{age, beginning, count, parse_time, time_of_id};
use crate::visit::Visit;

/// A group with what XLAG says beyond XINFO, where the server has it.
struct Group {
    facts: Facts,
    exact: Option<Facts>,
}

/// `GET /stream`: of `key`, from `from` (an id or a time) on, or the newest before `before`.
pub(crate) async fn show(visit: Visit) -> Result<Page, Fault> {
    let key = page::key(&visit, "key")?;
    let length = visit.read(&[b"XLEN", key]).await?;
    let entries = entries(&visit, key).await?;
    let facts = Facts::new(visit.read(&[b"XINFO", b"STREAM", key]).await?);
    let policy = visit.read(&[b"XCFGGET", key]).await;
    let groups = groups(&visit, key).await?;
    let body = html! {
        h1 { "Stream " (name(key)) }
        dl.figures {
            dt { "Entries" } dd { (count(number(&length))) }
            @if let Some(added) = facts.number("entries-added") {
                dt { "Ever added" } dd { (count(Some(added))) }
            }
            dt { "Last id" } dd { code { (facts.string("last-generated-id")) } }
        }
        p {
            a href=(link("/schedule", &[("key", key)])) { "Schedule" }
            @if let Some(target) = target_of(key) {
                " This holds the schedule of "
                a href=(link("/schedule", &[("key", target)])) { (name(target)) }
            }
        }
        (self::policy("Policy", policy))
        (table(key, &groups))
        h2 #entries { "Entries" }
        (search(&visit, key))
        (list_of(&visit, key, &entries))
    };
    Ok(page(&visit, "Stream", &body))
}

/// Entries of the page, in the order in which it shows them, one more than it shows if there are
/// more.
async fn entries(visit: &Visit, key: &[u8]) -> Result<Vec<Entry>, Fault> {
    let count = (ENTRIES + 1).to_string();
    let count = count.as_bytes();
    let from = visit.query.text("from");
    if from.is_empty() {
        let before = visit.query.text("before");
        let end = if before.is_empty() { "+".to_owned() } else { format!("({before}") };
        let words: &[&[u8]] = &[b"XREVRANGE", key, end.as_bytes(), b"-", b"COUNT", count];
        return Ok(parse(visit.read(words).await?));
    }
    let begin = start(&from)?;
    let words: &[&[u8]] = &[b"XRANGE", key, begin.as_bytes(), b"+", b"COUNT", count];
    Ok(parse(visit.read(words).await?))
}

/// Where a search begins: an id, or the first id of a time.
fn start(from: &str) -> Result<String, Fault> {
    let id = from.strip_prefix('(').unwrap_or(from);
    let is_id = id.splitn(2, '-').all(|part| part.parse::<u64>().is_ok());
    match parse_time(from) {
        _ if is_id => Ok(from.to_owned()),
        Some(ms) => Ok(ms.to_string()),
        None => Err(Fault::Bad(
            "Search for an id such as 1700000000000-0, or a time such as 2026-11-21T20:05 in UTC."
                .to_owned(),
        )),
    }
}

fn search(visit: &Visit, key: &[u8]) -> Markup {
    let (from, _) = beginning(visit.query.get("from"), SEARCH_BYTES);
    html! {
        form.search action="/stream" {
            (page::at(&[("key", key)]))
            label {
                "From id or time (UTC) "
                input name="from" value=(from) placeholder="2026-11-21T20:05";
            }
            button { "Search" }
            a href=(link("/stream", &[("key", key)])) { "Newest" }
        }
    }
}

fn list_of(visit: &Visit, key: &[u8], entries: &[Entry]) -> Markup {
    let shown = entries.get(..ENTRIES).unwrap_or(entries);
    let last = shown.last().filter(|_| entries.len() > ENTRIES);
    let is_search = !visit.query.text("from").is_empty();
    html! {
        @if shown.is_empty() { p { "No entries here." } } @else { (page::entries(key, shown)) }
        @if let Some(last) = last {
            @if is_search {
                @let behind = format!("({}", last.id);
                @let next = link("/stream", &[("key", key), ("from", behind.as_bytes())]);
                p { a rel="next" href=(next) { "Newer" } }
            } @else {
                @let next = link("/stream", &[("key", key), ("before", last.id.as_bytes())]);
                p { a rel="next" href=(next) { "Older" } }
            }
        }
    }
}

/// Options of a policy and their values; nothing on a server that has none.
pub(crate) fn policy(title: &str, options: RedisResult<Value>) -> Markup {
    let value = |value: &Value| match value {
        Value::Array(items) => items.iter().map(string).collect::<Vec<_>>().join(" "),
        other => string(other),
    };
    html! {
        @match options {
            Ok(options) => {
                h2 { (title) }
                dl.figures {
                    @for (option, is) in Facts::new(options).iter() {
                        dt { (option.to_uppercase()) }
                        dd {
                            @match value(is) {
                                text if text.is_empty() || text == "0" => span.off { "off" },
                                text => bdi { (crate::text::shown(text.as_bytes())) },
                            }
                        }
                    }
                }
            }
            Err(error) if is_unknown(&error) => {}
            Err(error) => { h2 { (title) } p.error { (words_of(&error)) } }
        }
    }
}

async fn groups(visit: &Visit, key: &[u8]) -> Result<Vec<Group>, Fault> {
    let groups = list(visit.read(&[b"XINFO", b"GROUPS", key]).await?).into_iter();
    let facts: Vec<_> = groups.map(Facts::new).collect();
    let names: Vec<_> = facts.iter().take(GROUPS).map(|group| group.bytes("name")).collect();
    let questions: Vec<Vec<&[u8]>> =
        names.iter().map(|group| vec![&b"XLAG"[..], key, group]).collect();
    let mut exact = visit.read_all(&questions).await?.into_iter();
    let group = |facts| Group { facts, exact: exact.next().and_then(Result::ok).map(Facts::new) };
    Ok(facts.into_iter().map(group).collect())
}

fn table(key: &[u8], groups: &[Group]) -> Markup {
    html! {
        h2 { "Groups" }
        @if groups.is_empty() { p { "No group reads this stream." } }
        @else {
            div.wide tabindex="0" role="region" aria-label="Groups" {
                table {
                    thead {
                        tr {
                            th { "Group" } th.n { "Lag" } th.n { "Oldest" } th.n { "Pending" }
                            th.n { "Oldest" } th.n { "Consumers" } th.n { "Dead letters" }
                        }
                    }
                    tbody { @for group in groups.iter().take(GROUPS) { tr { (row(key, group)) } } }
                }
            }
            @if groups.len() > GROUPS { p { "and " (groups.len() - GROUPS) " more groups" } }
        }
    }
}

fn row(key: &[u8], group: &Group) -> Markup {
    let exact = |name| group.exact.as_ref().and_then(|exact| exact.number(name));
    let span = |ms: Option<i64>| ms.map_or("-".to_owned(), age);
    let group_name = group.facts.bytes("name");
    let pairs = [("key", key), ("group", &*group_name)];
    html! {
        td { a href=(link("/group", &pairs)) { (name(&group_name)) } }
        td.n { (count(exact("entries").or(group.facts.number("lag")))) }
        td.n { (span(exact("oldest-undelivered-ms"))) }
        td.n { (count(group.facts.number("pending"))) }
        td.n { (span(exact("oldest-pending-ms"))) }
        td.n { (count(group.facts.number("consumers"))) }
        td.n {
            @match exact("dead-letters") {
                Some(letters) => a href=(link("/letters", &pairs)) { (count(Some(letters))) },
                None => "-",
            }
        }
    }
}

/// `GET /entry`: of `key`, the one with this `id`.
pub(crate) async fn show_entry(visit: Visit) -> Result<Page, Fault> {
    let (key, id) = (page::key(&visit, "key")?, page::key(&visit, "id")?);
    let words: &[&[u8]] = &[b"XRANGE", key, id, id, b"COUNT", b"1"];
    let entries = parse(visit.read(words).await?);
    let Some(entry) = entries.first() else {
        return Err(Fault::Missing("This entry is not in the stream, or not any more.".to_owned()));
    };
    let body = html! {
        h1 { "Entry " code { (entry.id) } }
        p {
            "of " a href=(link("/stream", &[("key", key)])) { (name(key)) }
            " " (time_of_id(&entry.id))
        }
        (page::fields(&entry.fields, ENTRY_VALUE_BYTES))
    };
    Ok(page(&visit, "Entry", &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_begins_at_an_id_or_a_time() {
        let check = |from: &str, expect: Option<&str>| {
            assert_eq!(start(from).ok().as_deref(), expect, "{from}");
        };
        check("1700000000000-0", Some("1700000000000-0"));
        check("(1700000000000-0", Some("(1700000000000-0"));
        check("5", Some("5"));
        check("1970-01-01T00:01", Some("60000"));
        check("+", None);
        check("a-b", None);
        check("1-2-3", None);
    }
}
