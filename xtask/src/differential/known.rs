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
    pub(crate) is_for: fn(&Capability) -> bool,
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
        name: "settings",
        why: "CONFIG GET with a pattern names the settings that there are, which are not the same",
        ends: false,
        is_for: |_| true,
        matches: |step, theirs, ours| {
            let is_map = |reply: &Reply| matches!(reply, Reply::Array(_) | Reply::Map(_));
            step.lower(0) == b"config"
                && step.lower(1) == b"get"
                && (2..step.words.len())
                    .any(|at| step.lower(at).iter().any(|byte| b"*?[".contains(byte)))
                && is_map(theirs)
                && is_map(ours)
        },
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
        why: "OBJECT HELP says the same in other words, and XGROUP HELP names our subcommands, too",
        ends: false,
        is_for: |_| true,
        matches: |step, _, _| {
            [&b"object"[..], b"xgroup"].contains(&&*step.lower(0)) && step.lower(1) == b"help"
        },
    },
    Known {
        name: "encoding",
        why: "OBJECT ENCODING of a string that grew by APPEND is raw in Redis; Levada has one form \
              and names it by the length",
        ends: false,
        is_for: |_| true,
        matches: |step, theirs, ours| {
            step.lower(0) == b"object"
                && *theirs == Reply::Bulk(b"raw".to_vec())
                && [&b"embstr"[..], b"int"].contains(&ours.text().unwrap_or_default())
        },
    },
    Known {
        name: "same millisecond",
        why: "entries delivered in the same millisecond are claimed by XREADGROUP CLAIM in the \
              order of their ids; by Redis in that of the deliveries, which it keeps in a list",
        ends: true,
        is_for: |_| true,
        matches: |step, theirs, ours| {
            step.lower(0) == b"xreadgroup"
                && step.find("claim").is_some()
                && idle_times(theirs).is_some_and(|theirs| Some(theirs) == idle_times(ours))
        },
    },
    Known {
        name: "older words",
        why: "before 8.6, and in Valkey, many errors are worded otherwise",
        ends: true,
        is_for: |peer| !peer.is_newest(),
        matches: |_, theirs, ours| theirs.is_error("") && ours.is_error(""),
    },
    Known {
        name: "older facts",
        why: "before 8.6, and in Valkey, XINFO STREAM knows nothing of idempotent producers",
        ends: false,
        is_for: |peer| !peer.is_newest(),
        matches: |step, theirs, ours| {
            let is_error = theirs.is_error("") || ours.is_error("");
            step.lower(0) == b"xinfo" && step.lower(1) == b"stream" && !is_error
        },
    },
    Known {
        name: "two replies",
        why: "SET GET IFDEQ with a bad digest gets two replies from Redis, the value and an error",
        ends: true,
        is_for: |_| true,
        matches: |step, _, ours| {
            step.lower(0) == b"set" && ours.is_error("ERR must be exactly 16 hexadecimal")
        },
    },
    Known {
        name: "tracked in vain",
        why: "an XADD IDMP that is refused leaves its producer in Redis; in Levada an error means \
              that nothing changed",
        ends: true,
        is_for: |_| true,
        matches: |step, theirs, ours| {
            step.lower(0) == b"xinfo" && differing(theirs, ours) == Some(b"pids-tracked".to_vec())
        },
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

/// The name of the only value that differs in two replies of XINFO, if it is one.
fn differing(theirs: &Reply, ours: &Reply) -> Option<Vec<u8>> {
    let flat = |reply: &Reply| match reply {
        Reply::Array(values) => values.clone(),
        Reply::Map(pairs) => pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect(),
        _ => Vec::new(),
    };
    let (theirs, ours) = (flat(theirs), flat(ours));
    let names = |at: &usize| {
        let name = theirs.get(at.checked_sub(1)?)?.text()?;
        // What means nothing does not count.
        (!name.starts_with(b"radix-tree-")).then(|| name.to_vec())
    };
    let places = (0..theirs.len().max(ours.len())).filter(|at| theirs.get(*at) != ours.get(*at));
    let mut differing = places.filter_map(|at| names(&at));
    differing.next().filter(|_| differing.next().is_none())
}

/// How long the entries of a read were idle, in their order and in units far above any delay;
/// `None` if it is no reply of XREADGROUP CLAIM.
fn idle_times(reply: &Reply) -> Option<Vec<i64>> {
    let streams: Vec<&Reply> = match reply {
        Reply::Array(streams) => streams.iter().map(second).collect::<Option<_>>()?,
        Reply::Map(streams) => streams.iter().map(|(_, entries)| entries).collect(),
        _ => return None,
    };
    let mut times = Vec::new();
    for entries in streams {
        let Reply::Array(entries) = entries else { return None };
        for entry in entries {
            let Reply::Array(parts) = entry else { return None };
            let [_, _, Reply::Integer(idle), Reply::Integer(_)] = &parts[..] else { return None };
            times.push(idle / 1_000_000);
        }
    }
    Some(times)
}

fn second(pair: &Reply) -> Option<&Reply> {
    match pair {
        Reply::Array(values) => values.get(1),
        _ => None,
    }
}
