//! The page of a group: how far it is behind, its policy, its consumers, what is pending.

use maud::{Markup, html};

use crate::facts::{Facts, bytes, list, number, string};
use crate::fault::Fault;
use crate::limits::{CONSUMERS, PENDING};
use crate::page::{self, Page, entry_link, name, page};
use crate::query::link;
use crate::server::is_unknown;
use crate::stream::policy;
use crate::text::{age, count, time_of_id};
use crate::visit::Visit;

/// An entry that was delivered and not acknowledged.
struct Pending {
    id: String,
    consumer: Vec<u8>,
    idle_ms: Option<i64>,
    deliveries: Option<i64>,
}

/// `GET /group`: of `key`, `group`; pending entries behind the id `after`.
pub(crate) async fn show(visit: Visit) -> Result<Page, Fault> {
    let (key, group) = (page::key(&visit, "key")?, page::key(&visit, "group")?);
    let consumers = list(visit.read(&[b"XINFO", b"CONSUMERS", key, group]).await?);
    let consumers: Vec<_> = consumers.into_iter().map(Facts::new).collect();
    let lag = match visit.read(&[b"XLAG", key, group]).await {
        Ok(lag) => Some(Facts::new(lag)),
        Err(error) if is_unknown(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let options = visit.read(&[b"XGROUP", b"CFGGET", key, group]).await;
    let pending = pending(&visit, key, group).await?;
    let body = html! {
        h1 { "Group " (name(group)) }
        p { "of " a href=(link("/stream", &[("key", key)])) { (name(key)) } }
        @if let Some(lag) = &lag {
            h2 { "How far behind" }
            (behind(lag))
            p { a href=(link("/letters", &[("key", key), ("group", group)])) { "Dead letters" } }
        }
        (policy("Policy", options))
        (table_of_consumers(&consumers))
        h2 #pending { "Pending" }
        (table_of_pending(key, group, &pending))
    };
    Ok(page(&visit, "Group", &body))
}

fn behind(lag: &Facts) -> Markup {
    html! {
        dl.figures {
            @for (fact, value) in lag.iter() {
                dt { (fact.trim_end_matches("-ms")) }
                dd {
                    @match number(value) {
                        Some(ms) if fact.ends_with("-ms") => (age(ms)),
                        Some(number) => (count(Some(number))),
                        None if *value == redis::Value::Nil => "-",
                        None => (string(value)),
                    }
                }
            }
        }
    }
}

fn table_of_consumers(consumers: &[Facts]) -> Markup {
    let span = |ms: Option<i64>| ms.filter(|ms| *ms >= 0).map_or("never".to_owned(), age);
    html! {
        h2 { "Consumers" }
        @if consumers.is_empty() { p { "No consumer has come yet." } }
        @else {
            div.wide tabindex="0" role="region" aria-label="Consumers" {
                table {
                    thead {
                        tr {
                            th { "Consumer" } th.n { "Pending" } th.n { "Seen before" }
                            th.n { "Active before" }
                        }
                    }
                    tbody {
                        @for consumer in consumers.iter().take(CONSUMERS) {
                            tr {
                                td { (name(&consumer.bytes("name"))) }
                                td.n { (count(consumer.number("pending"))) }
                                td.n { (span(consumer.number("idle"))) }
                                td.n { (span(consumer.number("inactive"))) }
                            }
                        }
                    }
                }
            }
            @if consumers.len() > CONSUMERS {
                p { "and " (consumers.len() - CONSUMERS) " more consumers" }
            }
        }
    }
}

/// One more than the page shows if there are more.
async fn pending(visit: &Visit, key: &[u8], group: &[u8]) -> Result<Vec<Pending>, Fault> {
    let after = visit.query.text("after");
    let begin = if after.is_empty() { "-".to_owned() } else { format!("({after}") };
    let count = (PENDING + 1).to_string();
    let words: &[&[u8]] = &[b"XPENDING", key, group, begin.as_bytes(), b"+", count.as_bytes()];
    let pending = |value| {
        let parts = list(value);
        let part = |at: usize| parts.get(at);
        Pending {
            id: part(0).map(string).unwrap_or_default(),
            consumer: part(1).map(bytes).unwrap_or_default(),
            idle_ms: part(2).and_then(number),
            deliveries: part(3).and_then(number),
        }
    };
    Ok(list(visit.read(words).await?).into_iter().map(pending).collect())
}

fn table_of_pending(key: &[u8], group: &[u8], pending: &[Pending]) -> Markup {
    let more = pending.get(PENDING - 1).filter(|_| pending.len() > PENDING);
    html! {
        @if pending.is_empty() { p { "Nothing is pending." } }
        @else {
            div.wide tabindex="0" role="region" aria-label="Pending entries" {
                table {
                    thead {
                        tr {
                            th { "Id" } th { "Added (UTC)" } th { "Consumer" }
                            th.n { "Delivered before" } th.n { "Deliveries" }
                        }
                    }
                    tbody {
                        @for entry in pending.iter().take(PENDING) { tr { (row(key, entry)) } }
                    }
                }
            }
        }
        @if let Some(last) = more {
            @let pairs = [("key", key), ("group", group), ("after", last.id.as_bytes())];
            p { a rel="next" href=(link("/group", &pairs)) { "More pending entries" } }
        }
    }
}

fn row(key: &[u8], entry: &Pending) -> Markup {
    // An entry that waits to be delivered again is nobody's and has no age.
    let idle_ms = entry.idle_ms.filter(|ms| *ms >= 0);
    html! {
        td { a href=(entry_link(key, &entry.id)) { code { (entry.id) } } }
        td { (time_of_id(&entry.id)) }
        td { @if entry.consumer.is_empty() { "nobody" } @else { (name(&entry.consumer)) } }
        td.n { (idle_ms.map_or("-".to_owned(), age)) }
        td.n { (count(entry.deliveries)) }
    }
}
