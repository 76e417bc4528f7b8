//! What the connections of the kill loop work on. They record a history in memory, for the rig is
//! not killed; [`levada_sim::history`] judges it.

pub(crate) use levada_sim::history::{
    Add, Counter, How, Id, Journal, Kind, Ledger, Pending, Removal, Rules, Span, State, Take,
    Unseen, Violation, show_id,
};

/// The streams of the loop. The last one, and only that, is trimmed under load.
pub(crate) const STREAMS: [&str; 3] = ["a", "b", "c"];
/// The index of the stream that is trimmed under load.
pub(crate) const TRIMMED: usize = 2;
/// The group, of the same name on each stream.
pub(crate) const GROUP: &str = "g";
/// The consumers; each is one connection.
pub(crate) const CONSUMERS: [&str; 3] = ["c0", "c1", "c2"];

/// Reads `ms-seq`.
pub(crate) fn parse_id(text: &[u8]) -> Result<Id, String> {
    let parse = || {
        let (time, sequence) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some((time.parse().ok()?, sequence.parse().ok()?))
    };
    parse().ok_or_else(|| format!("{:?} is no id", String::from_utf8_lossy(text)))
}
