//! Who orders what: a rule, so that the comparison at the end can be a plain loop over numbers.

use crate::event::{Method, Placed};

/// The issuer that never answers until it is mended: its orders become dead letters.
pub(crate) const BROKEN_ISSUER: &str = "lagoon";
/// The issuer whose line is busy for the first two calls of each order.
pub(crate) const BUSY_ISSUER: &str = "cove";

/// What becomes of an order when everything goes right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Paid by card, at once or behind some failures.
    Card,
    /// Paid by card when the broken issuer is mended, and a dead letter before.
    Poison,
    /// The money is transferred; if it comes too late it goes back.
    Transfer,
    /// Nobody ever pays.
    Never,
}

/// The name of an order, by its number from 1.
pub(crate) fn name(number: u64) -> String {
    format!("order-{number:06}")
}

pub(crate) fn fate(number: u64) -> Fate {
    match number % 10 {
        7 => Fate::Poison,
        4 => Fate::Transfer,
        9 => Fate::Never,
        _ => Fate::Card,
    }
}

/// What is ordered.
pub(crate) fn placed(number: u64, now_ms: u64) -> Placed {
    const HOUR_MS: u64 = 3_600_000;
    let items = ["lamp", "chair", "kettle"];
    let item = usize::try_from(number % 3).expect("below three");
    let issuer = |name: &str| Method::Card { issuer: name.to_owned() };
    let method = match fate(number) {
        Fate::Poison => issuer(BROKEN_ISSUER),
        Fate::Card if number % 10 == 3 => issuer(BUSY_ISSUER),
        Fate::Card => issuer("harbour"),
        Fate::Transfer | Fate::Never => Method::Transfer,
    };
    let clock_ms = match number % 4 {
        1 => now_ms + HOUR_MS,
        2 => now_ms.saturating_sub(HOUR_MS),
        _ => now_ms,
    };
    let pieces = 1 + number % 5;
    Placed {
        item: items[item].to_owned(),
        pieces,
        cents: pieces * 1_250 + number,
        method,
        clock_ms,
    }
}

/// Whether the customer clicks twice: the same request comes a second time.
pub(crate) fn is_clicked_twice(number: u64) -> bool {
    number.is_multiple_of(5)
}

/// Whether a second program, which knows nothing of the first, sends the same order too: this time
/// a second entry stands in the stream.
pub(crate) fn is_sent_by_two(number: u64) -> bool {
    number.is_multiple_of(11)
}

/// Whether the carrier's line is busy for the first call.
pub(crate) fn is_busy_at_the_carrier(number: u64) -> bool {
    number.is_multiple_of(6)
}

/// The number of an order.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("order-")?.parse().ok()
}
