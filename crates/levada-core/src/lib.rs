//! What a stream means: ids, entries, blocks, groups, pending lists; decide and apply.
