//! What was refused lately, for ACL LOG: equal refusals within a minute are one entry.

use std::collections::VecDeque;

use super::selector::Reason;

/// Time within which equal refusals are counted together, in milliseconds.
const TOGETHER_MS: u64 = 60_000;
/// Entries that are looked at for an equal one.
const LOOKED_AT_MAX: usize = 10;
/// Bytes kept of a name that a client chose.
const NAME_BYTES_MAX: usize = 1 << 10;

/// What was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// A request.
    Denied(Reason),
    /// A password.
    Auth,
    /// To be the user whom a certificate names.
    Certificate,
}

impl Refusal {
    /// As Redis says it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Denied(Reason::Command) => "command",
            Self::Denied(Reason::Key) => "key",
            Self::Denied(Reason::Channel) => "channel",
            Self::Denied(Reason::Group) => "group",
            Self::Auth => "auth",
            Self::Certificate => "tls-cert",
        }
    }
}

/// A refusal, or several equal ones.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) count: u64,
    pub(crate) refusal: Refusal,
    pub(crate) in_transaction: bool,
    /// The command, the key, the channel or the group.
    pub(crate) object: Vec<u8>,
    pub(crate) user: Vec<u8>,
    /// Of the last one.
    pub(crate) client: String,
    pub(crate) created_ms: u64,
    pub(crate) updated_ms: u64,
}

/// How often what was refused.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub(crate) auth: u64,
    pub(crate) command: u64,
    pub(crate) key: u64,
    pub(crate) channel: u64,
    pub(crate) group: u64,
    pub(crate) certificate: u64,
}

/// See the module.
#[derive(Default, Debug)]
pub(crate) struct Log {
    /// Newest first.
    entries: VecDeque<Entry>,
    next: u64,
    pub(crate) counts: Counts,
}

impl Log {
    /// Adds a refusal and keeps at most `len_max` entries. `id`, `count` and `updated_ms` of
    /// `entry` are filled in here.
    pub(crate) fn note(&mut self, mut entry: Entry, len_max: usize) {
        *match entry.refusal {
            Refusal::Auth => &mut self.counts.auth,
            Refusal::Certificate => &mut self.counts.certificate,
            Refusal::Denied(Reason::Command) => &mut self.counts.command,
            Refusal::Denied(Reason::Key) => &mut self.counts.key,
            Refusal::Denied(Reason::Channel) => &mut self.counts.channel,
            Refusal::Denied(Reason::Group) => &mut self.counts.group,
        } += 1;
        entry.object.truncate(NAME_BYTES_MAX);
        entry.user.truncate(NAME_BYTES_MAX);
        let is_equal = |known: &Entry| {
            known.refusal == entry.refusal
                && known.in_transaction == entry.in_transaction
                && known.updated_ms.abs_diff(entry.created_ms) <= TOGETHER_MS
                && known.object == entry.object
                && known.user == entry.user
        };
        let known = self.entries.iter().take(LOOKED_AT_MAX).position(is_equal);
        if let Some(mut known) = known.and_then(|at| self.entries.remove(at)) {
            known.count += 1;
            known.updated_ms = entry.created_ms;
            known.client = entry.client;
            self.entries.push_front(known);
        } else if len_max > 0 {
            (entry.id, entry.count, entry.updated_ms) = (self.next, 1, entry.created_ms);
            self.next += 1;
            self.entries.push_front(entry);
        }
        self.entries.truncate(len_max);
    }

    /// Newest first.
    pub(crate) fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    /// Forgets the entries.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
