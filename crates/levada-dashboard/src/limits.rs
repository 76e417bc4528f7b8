//! Every bound of the dashboard, with its unit.

use std::time::Duration;

/// Streams after which a page of names ends; it may have those of one more round of SCAN.
pub(crate) const STREAMS: usize = 50;
/// Rounds of SCAN for one page, and names that each looks at.
pub(crate) const SCAN_ROUNDS: usize = 50;
pub(crate) const SCAN_COUNT: usize = 100;
/// Bytes of a pattern or another word that is searched for.
pub(crate) const SEARCH_BYTES: usize = 256;
/// Entries of one page.
pub(crate) const ENTRIES: usize = 50;
/// Fields of an entry that a page shows.
pub(crate) const FIELDS: usize = 100;
/// Bytes of a value, or of a name, that a list shows, and the page of one entry.
pub(crate) const VALUE_BYTES: usize = 512;
pub(crate) const ENTRY_VALUE_BYTES: usize = 64 << 10;
/// Groups of a stream that its page shows, and consumers of a group.
pub(crate) const GROUPS: usize = 100;
pub(crate) const CONSUMERS: usize = 200;
/// Pending entries of one page.
pub(crate) const PENDING: usize = 50;
/// Dead letters of one page, and the most that one step of "all" takes; the server's own bound.
pub(crate) const LETTERS: usize = 50;
pub(crate) const LETTERS_AT_ONCE: i64 = 1_000;
/// Entries of a schedule that its page shows.
pub(crate) const SCHEDULED: usize = 100;
/// Streams whose groups are summed up in one sample of the charts.
pub(crate) const SAMPLED_STREAMS: usize = 100;
/// Time between two samples, and how long one watcher is served until it must come again.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_secs(2);
pub(crate) const WATCH_MAX: Duration = Duration::from_mins(10);
/// Watchers at once: a quarter of the connections that the port has.
pub(crate) const WATCHERS: usize = 8;
/// Bytes of a form, and the time for it to come.
pub(crate) const FORM_BYTES: usize = 64 << 10;
pub(crate) const FORM_TIME: Duration = Duration::from_secs(10);
/// People signed in at once; the one that was quiet longest gives way.
pub(crate) const SESSIONS: usize = 64;
/// How long a session lasts without being used, and at all.
pub(crate) const SESSION_IDLE: Duration = Duration::from_mins(30);
pub(crate) const SESSION_MAX: Duration = Duration::from_hours(12);
/// Longest waits for a connection to the server, and for a reply.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(5);
pub(crate) const REPLY_TIME: Duration = Duration::from_secs(20);

const _: () = assert!(LETTERS < 1_000 && PENDING > 0);
