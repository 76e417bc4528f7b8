//! The verdict: the ledgers of the workers against a plain loop over the file.

use anyhow::Result;

use crate::aggregate::{ByBand, Totals, band_of, total};
use crate::ledger::Merged;
use crate::records::Record;

/// Prints both sides band by band and returns whether they are equal, record for record.
pub(crate) fn compare(records: &[Record], merged: &Merged) -> Result<bool> {
    let plain = total(records.iter().map(|record| (band_of(record.distance), record.delay)));
    let streamed = total(merged.flights.values().copied());
    println!("                  plain loop over the file         through the stream");
    println!("       miles     count        sum    mean     count        sum    mean");
    for &bound in plain.keys().chain(streamed.keys().filter(|b| !plain.contains_key(b))) {
        print_band(bound, &plain, &streamed);
    }
    let missing = (1u64..).zip(records).filter(|(n, _)| !merged.flights.contains_key(n)).count();
    let expected = merged.flights.len() + missing;
    let unknown = expected.saturating_sub(records.len());
    let again = merged.lines - u64::try_from(merged.flights.len())?;
    println!(
        "{} records, {missing} missing, {unknown} unknown, {again} delivered again and counted \
         once, {} torn lines",
        merged.flights.len(),
        merged.torn,
    );
    Ok(plain == streamed && missing == 0 && unknown == 0)
}

fn print_band(bound: u64, plain: &ByBand, streamed: &ByBand) {
    let of = |bands: &ByBand| bands.get(&bound).copied().unwrap_or_default();
    let (plain, streamed) = (of(plain), of(streamed));
    let columns = |totals: Totals| {
        format!("{:9} {:10} {:7.3}", totals.count, totals.delay_sum, totals.mean())
    };
    let verdict = if plain == streamed { "equal" } else { "DIFFERENT" };
    println!("{bound:>8} up {} {} {verdict}", columns(plain), columns(streamed));
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: [Record; 3] = [
        Record { delay: 5, distance: 100, time: 0.0 },
        Record { delay: -5, distance: 100, time: 0.5 },
        Record { delay: 7, distance: 3000, time: 1.0 },
    ];

    fn verdict(flights: &[(u64, (u64, i64))]) -> Result<bool> {
        let flights = flights.iter().copied().collect();
        compare(&RECORDS, &Merged { flights, lines: 9, torn: 0 })
    }

    #[test]
    fn equal_only_when_every_record_was_counted_as_the_file_has_it() -> Result<()> {
        assert!(verdict(&[(1, (0, 5)), (2, (0, -5)), (3, (2000, 7))])?);
        assert!(!verdict(&[(1, (0, 5)), (2, (0, -5))])?, "one is missing");
        assert!(!verdict(&[(1, (0, 5)), (2, (0, -5)), (3, (2000, 8))])?, "another delay");
        assert!(!verdict(&[(1, (0, 5)), (2, (250, -5)), (3, (2000, 7))])?, "another band");
        assert!(!verdict(&[(1, (0, 5)), (2, (0, -5)), (4, (2000, 7))])?, "another id, same sums");
        Ok(())
    }
}
