//! Bounds of the state machine, each with its unit.

/// Databases that SELECT knows.
pub const DATABASES: u8 = 16;
/// Encoded bytes at which a tail is sealed.
pub const BLOCK_BYTES: usize = 64 << 10;
/// Rows at which a tail is sealed.
pub const BLOCK_ROWS: u32 = 4096;
/// Longest string value.
pub const STRING_BYTES_MAX: usize = 16 << 20;
/// Most entries that one XREADGROUP hands out of one stream, COUNT or not: its record has a bound.
/// A trim with DELREF or ACKED ends in the block in which it has so many to name.
pub const DELIVER_MAX: u64 = 1_000_000;
/// Most entries that a group with ORDER-BY has pending: their keys are in memory.
pub const ORDERED_PENDING_MAX: u64 = 100_000;
/// Most blocks in which pending entries of a group may stand when ORDER-BY is set: each is looked
/// into, and they are all in memory at once.
pub const ORDERED_START_BLOCKS: usize = 1024;
/// Sealed bytes up to which COPY copies a stream: they stand in one record of the log.
pub const COPY_BYTES_MAX: usize = 16 << 20;
/// Encoded entries up to which RESTORE takes a stream: they stand in one record of the log.
pub const RESTORE_BYTES_MAX: usize = 16 << 20;
/// Encoded entries up to which DUMP gives a stream: they are all in memory at once.
pub const DUMP_BYTES_MAX: usize = 64 << 20;
/// Most blocks that one `Need` names; a larger need is asked for in turns.
pub const NEED_BLOCKS_MAX: usize = 64;

const _: () = assert!(BLOCK_ROWS as usize <= u16::MAX as usize);
