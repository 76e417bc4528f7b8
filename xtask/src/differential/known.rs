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
pub(crate) const KNOWN: &[Known] = &[];

/// The entry that explains why a step was answered otherwise, by its place in [`KNOWN`].
pub(crate) fn explain(
    peer: &Capability,
    step: &Step,
    theirs: &Reply,
    ours: &Reply,
) -> Option<usize> {
    KNOWN.iter().position(|known| (known.is_for)(peer) && (known.matches)(step, theirs, ours))
}
