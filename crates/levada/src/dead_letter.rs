//! Entries that failed for good: how they are written, listed, given back and thrown away.

use crate::backend::{Failed, Seat};
use crate::message::Fields;

/// Before the name of each field that says where a dead letter comes from.
pub(crate) const PREFIX: &str = "x-dlq-";

/// The entry that a dead letter is: what it held, and where it comes from, in the fields that
/// Levada writes.
#[cfg_attr(not(feature = "redis"), expect(dead_code))]
pub(crate) fn fields(seat: &Seat, failed: &Failed, now_ms: u64) -> Fields {
    let mut fields = failed.fields.clone();
    let facts = [
        ("source", seat.stream.to_string()),
        ("id", failed.id.to_string()),
        ("group", seat.group.to_string()),
        ("consumer", seat.consumer.to_string()),
        ("deliveries", failed.attempt.to_string()),
        ("reason", failed.reason.clone()),
        ("first-ms", failed.id.ms.to_string()),
        ("last-ms", now_ms.to_string()),
    ];
    for (name, value) in facts {
        fields.push(format!("{PREFIX}{name}"), value);
    }
    fields
}
