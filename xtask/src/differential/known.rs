//! Differences that are known and explained. Whatever matches no entry fails the run; an entry
//! that a full run never meets is reported, because then it may go.

use super::capability::Capability;
use super::episode::Step;
use crate::transcript::reply::Reply;

/// One explained difference.
pub(crate) struct Known {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// Why it is as it is.
    pub(crate) why: &'static str,
    /// Whether what follows may differ too, so that the episode ends here.
    pub(crate) ends: bool,
    /// For which peers, as [`Capability`] tells them apart.
    is_for: fn(&Capability) -> bool,
    /// Whether these replies, of the peer and of Levada, are this difference.
    matches: fn(&Step, &Reply, &Reply) -> bool,
}

/// All of them.
pub(crate) const KNOWN: &[Known] = &[
    Known {
        name: "modules",
        why: "MODULE LIST of Redis 8 names a module that is built in; Levada has none",
        ends: false,
        is_for: |_| true,
        matches: |step, _, ours| step.lower(0) == b"module" && *ours == Reply::Array(Vec::new()),
    },
    Known {
        name: "count too high",
        why: "XAUTOCLAIM of Redis allocates COUNT places at once and may fail; Levada does not",
        ends: true,
        is_for: |_| true,
        matches: |step, theirs, _| {
            step.lower(0) == b"xautoclaim"
                && theirs.is_error("ERR Insufficient memory, failed allocating transient memory")
        },
    },
    Known {
        name: "help",
        why: "OBJECT HELP says the same in other words",
        ends: false,
        is_for: |_| true,
        matches: |step, _, _| step.lower(0) == b"object" && step.lower(1) == b"help",
    },
    Known {
        name: EVENTS,
        why: "how often Redis says keymiss of a command that it refuses, and of XREAD, follows \
              how often it happens to look",
        ends: false,
        is_for: |_| true,
        matches: |step, _, _| step.words.is_empty(),
    },
];

/// See [`missed`].
const EVENTS: &str = "keymiss";

/// The entry for events that are equal but for `keymiss`.
pub(crate) fn missed() -> usize {
    KNOWN.iter().position(|known| known.name == EVENTS).expect("it is in the table")
}

/// The entry that explains why a step was answered otherwise, by its place in [`KNOWN`].
pub(crate) fn explain(
    peer: &Capability,
    step: &Step,
    theirs: &Reply,
    ours: &Reply,
) -> Option<usize> {
    KNOWN.iter().position(|known| (known.is_for)(peer) && (known.matches)(step, theirs, ours))
}
