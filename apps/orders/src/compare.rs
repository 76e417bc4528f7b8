//! What should have become of the orders, by a plain loop over their numbers, beside what did.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;
use levada::{Broker, DeadLetter, DeadLetters};
use stage::Table;

use crate::event::{Step, partitions};
use crate::flow::Flow;
use crate::outside::Books;
use crate::plan::{self, Fate};
use crate::{analytics, deadline, inventory, payment, shipping, shop};

/// Dead letters that are looked at.
const LETTERS_MAX: usize = 100_000;
const GROUPS: [&str; 5] =
    [payment::GROUP, deadline::GROUP, shipping::GROUP, inventory::GROUP, analytics::GROUP];

/// The dead letters of a group, over all partitions.
pub(crate) async fn letters(
    broker: &Broker,
    group: &str,
) -> Result<Vec<(DeadLetters, Vec<DeadLetter>)>> {
    let mut all = Vec::new();
    for stream in partitions(broker) {
        let letters = DeadLetters::of_stream(broker, &stream, group);
        let found = letters.list(LETTERS_MAX).await?;
        all.push((letters, found));
    }
    Ok(all)
}

/// Which orders' payments have to be dead letters while the broken issuer is, each as often as it
/// was sent.
pub(crate) fn poison(count: u64) -> Vec<String> {
    let poison = (1..=count).filter(|number| plan::fate(*number) == Fate::Poison);
    let times = |number| 1 + usize::from(plan::is_sent_by_two(number));
    poison.flat_map(|number| vec![plan::name(number); times(number)]).collect()
}

/// Compares everything; whether all is equal.
pub(crate) async fn everything(broker: &Broker, books: &Books, count: u64) -> Result<bool> {
    let mut flow = Flow::open(broker).await?;
    flow.look().await?;
    let seen = &flow.seen;
    let mut table = Table::default();
    let all: BTreeSet<String> = (1..=count).map(plan::name).collect();
    let mut acknowledged = names(books, "shop", "")?;
    acknowledged.remove(shop::NONSENSE);
    table.row("orders acknowledged, and in the stream", all.len(), acknowledged.len());
    table.row("  the same ones", true, acknowledged == all && seen.placed == all);
    let by_two = (1..=count).filter(|number| plan::is_sent_by_two(*number)).count();
    // What a server gives back by itself stands at the end of the stream, for one group alone.
    let given = if broker.capabilities().redrive { poison(count).len() } else { 0 };
    let what = "  a second time, by another shop or given back";
    table.row(what, by_two + given, seen.repeated[0]);
    table.row("  paid or cancelled a second time", 0, seen.repeated[1] + seen.repeated[2]);
    let ends = Ends::read(books)?;
    let end = |number: u64| {
        let name = plan::name(number);
        (seen.paid.contains(&name), seen.cancelled.contains(&name))
    };
    fates(&mut table, count, end);
    effects(&mut table, &ends, &seen.paid, &seen.cancelled);
    sums(&mut table, books, &ends, count, &seen.paid)?;
    for group in GROUPS {
        let found = letters(broker, group).await?;
        let found: Vec<&DeadLetter> = found.iter().flat_map(|(_, letters)| letters).collect();
        let steps = found.iter().filter(|letter| letter.event::<Step>().is_ok()).count();
        let text = format!("{} + {steps}", found.len() - steps);
        table.row(&format!("dead letters of {group}: nonsense + orders"), "1 + 0", text);
    }
    print!("{}", table.text());
    Ok(table.is_equal())
}

/// What each order came to, which is known before but for money that may be late.
fn fates(table: &mut Table, count: u64, end: impl Fn(u64) -> (bool, bool)) {
    let of = |fate: Fate| (1..=count).filter(move |number| plan::fate(*number) == fate);
    for (what, fate, expected) in [
        ("paid by card", Fate::Card, (true, false)),
        ("dead letters that were given back and paid", Fate::Poison, (true, false)),
        ("never paid, and cancelled", Fate::Never, (false, true)),
    ] {
        let as_expected = of(fate).filter(|number| end(*number) == expected).count();
        table.row(what, of(fate).count(), as_expected);
    }
    let either = |number: &u64| matches!(end(*number), (true, false) | (false, true));
    let what = "paid by transfer, or cancelled, never both";
    table.row(what, of(Fate::Transfer).count(), of(Fate::Transfer).filter(either).count());
    let late = of(Fate::Transfer).filter(|number| end(*number).1).count();
    println!("{late} transfers came too late and went back");
}

/// What the systems outside did.
struct Ends {
    captured: BTreeMap<String, u64>,
    refunded: BTreeSet<String>,
    labelled: BTreeSet<String>,
    shipped: BTreeSet<String>,
    discarded: BTreeSet<String>,
    /// Parcels of which a later step stands before an earlier one.
    disordered: usize,
}

impl Ends {
    fn read(books: &Books) -> Result<Self> {
        let mut place = HashMap::new();
        for (line, (key, _)) in books.lines("carrier")?.into_iter().enumerate() {
            place.insert(key, line);
        }
        let label = |key: &String| {
            let (step, order) = key.split_once(' ')?;
            let before = place.get(&format!("label {order}"))?;
            Some(step == "label" || *before < place[key])
        };
        let disordered = place.keys().filter(|key| label(key) != Some(true)).count();
        let captured = amounts(books, "bank", "capture ")?;
        Ok(Self {
            captured,
            refunded: names(books, "bank", "refund ")?,
            labelled: names(books, "carrier", "label ")?,
            shipped: names(books, "carrier", "ship ")?,
            discarded: names(books, "carrier", "discard ")?,
            disordered,
        })
    }
}

fn effects(table: &mut Table, ends: &Ends, paid: &BTreeSet<String>, cancelled: &BTreeSet<String>) {
    let captured: BTreeSet<String> = ends.captured.keys().cloned().collect();
    table.row("paid orders that were shipped, each once", paid.len(), ends.shipped.len());
    table.row("  the same ones", true, *paid == ends.shipped && *paid == captured);
    table.row("cancelled orders, labels in the bin", cancelled.len(), ends.discarded.len());
    table.row("  the same ones", true, *cancelled == ends.discarded);
    let labels = paid.len() + cancelled.len();
    table.row("labels, one for each order", labels, ends.labelled.len());
    table.row("parcels out of order", 0, ends.disordered);
    let transfer = |name: &&String| plan::number(name).map(plan::fate) == Some(Fate::Transfer);
    let late: BTreeSet<String> = cancelled.iter().filter(transfer).cloned().collect();
    table.row("late money that went back", late.len(), ends.refunded.len());
    table.row("  the same", true, late == ends.refunded);
}

fn sums(
    table: &mut Table,
    books: &Books,
    ends: &Ends,
    count: u64,
    paid: &BTreeSet<String>,
) -> Result<()> {
    let (mut ordered, mut earned) = (0, 0);
    let mut sold: BTreeMap<String, u64> = BTreeMap::new();
    for number in 1..=count {
        let placed = plan::placed(number, 0);
        ordered += placed.cents;
        if paid.contains(&plan::name(number)) {
            earned += placed.cents;
            *sold.entry(placed.item).or_default() += placed.pieces;
        }
    }
    table.row("cents at the bank", earned, ends.captured.values().sum::<u64>());
    let figures =
        |what: &str| Ok::<u64, anyhow::Error>(amounts(books, "figures", what)?.values().sum());
    table.row("cents ordered, by the figures", ordered, figures("ordered ")?);
    table.row("cents earned, by the figures", earned, figures("earned ")?);
    let mut gone: BTreeMap<String, u64> = BTreeMap::new();
    for (verb, back) in [("take ", false), ("put back ", true)] {
        for (key, text) in books.lines("warehouse")? {
            let Some((pieces, item)) = text.split_once(' ').filter(|_| key.starts_with(verb))
            else {
                continue;
            };
            let (all, pieces) = (gone.entry(item.to_owned()).or_default(), pieces.parse::<u64>()?);
            *all = if back { *all - pieces } else { *all + pieces };
        }
    }
    let text = |all: &BTreeMap<String, u64>| {
        let item = |(_, pieces): (&String, &u64)| pieces.to_string();
        all.iter().filter(|(_, pieces)| **pieces > 0).map(item).collect::<Vec<_>>().join("/")
    };
    table.row("pieces gone (chairs/kettles/lamps)", text(&sold), text(&gone));
    Ok(())
}

/// What stands behind a word in the keys of a book.
fn names(books: &Books, book: &str, word: &str) -> Result<BTreeSet<String>> {
    let lines = books.lines(book)?;
    Ok(lines.iter().filter_map(|(key, _)| key.strip_prefix(word).map(str::to_owned)).collect())
}

/// The same, with the numbers that stand there.
fn amounts(books: &Books, book: &str, word: &str) -> Result<BTreeMap<String, u64>> {
    let lines = books.lines(book)?;
    let lines = lines.iter().filter_map(|(key, text)| Some((key.strip_prefix(word)?, text)));
    lines.map(|(name, text)| Ok((name.to_owned(), text.parse()?))).collect()
}
