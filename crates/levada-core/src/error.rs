//! What can be wrong with a command: facts, no text. The server turns them into Redis' words.

use alloc::vec::Vec;

use crate::id::StreamId;

/// Why a command changed nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The key holds another type of value.
    WrongType,
    /// The key must exist and does not (`ERR no such key`).
    NoSuchKey,
    /// XGROUP needs the key to exist.
    KeyRequired,
    /// No such key, or no such group in it.
    NoGroup {
        /// The key asked for.
        key: Vec<u8>,
        /// The group asked for.
        group: Vec<u8>,
    },
    /// XGROUP CREATE of a group that is there.
    GroupExists,
    /// XADD with an id equal to or below the last.
    IdTooSmall,
    /// The stream's last id is the largest id.
    IdsExhausted,
    /// XSETID below the last entry.
    SetidBelowTop,
    /// XSETID below the largest deleted id.
    SetidBelowDeleted,
    /// XSETID ENTRIESADDED below the length.
    EntriesAddedBelowLength,
    /// XIDMPRECORD of an entry that is not in the stream.
    NoSuchEntry,
    /// XIDMPRECORD of an iid that is tracked with another entry.
    IidTaken,
    /// The value of a string is not an integer, or out of range.
    NotInteger,
    /// An increment would overflow.
    IncrementOverflow,
    /// The value of a string is not a floating point number.
    NotFloat,
    /// INCRBYFLOAT would end in no finite number.
    SumNotFinite,
    /// DELEX with a condition of what is no string.
    NotString,
    /// IFDEQ, IFDNE with anything but 16 characters.
    DigestLength,
    /// DELEX with a condition that nobody knows.
    ConditionUnknown,
    /// COPY of a stream beyond [`crate::limits::COPY_BYTES_MAX`].
    CopyTooLarge,
    /// RESTORE of a key that is there, without REPLACE.
    KeyExists,
    /// RESTORE of a stream beyond [`crate::limits::RESTORE_BYTES_MAX`].
    RestoreTooLarge,
    /// DUMP of a stream beyond [`crate::limits::DUMP_BYTES_MAX`].
    DumpTooLarge,
    /// A string would exceed [`crate::limits::STRING_BYTES_MAX`].
    StringTooLong,
    /// Strings would exceed their memory; nothing could be evicted.
    OutOfMemory,
    /// A limit of the stream, with ON-LIMIT REJECT.
    Limit(Limit),
    /// DLQ names the stream itself.
    DeadLettersToSource,
    /// DLQ names a key that holds no stream.
    DeadLettersNoStream,
    /// RETAIN-ACKED without RETENTION ACKED.
    RetainsWhatIsKept,
    /// A time of the option of this name beyond [`crate::policy::TIME_MS_MAX`].
    TimeTooLong(&'static str),
    /// A limit below what some group still needs, with ON-LIMIT REJECT.
    LimitBelowNeeded(Limit),
    /// DEDUP-MAX beyond the memory for idempotent ids.
    DedupTooLarge {
        /// What DEDUP-MAX would be.
        ids: u64,
        /// Bytes that other streams may take.
        others: u64,
        /// Bytes that all may take (`dedup-bytes-max`).
        bytes_max: u64,
    },
    /// XDLQ has looked into as many blocks as a call may, and was not done.
    TooManyLetters {
        /// Letters that LEN has counted, 0 for the others.
        counted: u64,
        /// The last id that was looked at: AFTER goes on behind it.
        last: StreamId,
    },
    /// XDLQ REDRIVE into a stream with [`crate::redriven::REDRIVEN_MAX`] redriven entries.
    TooManyRedriven,
    /// ORDER-BY of a group that goes by another field.
    OrderChanges,
    /// ORDER-BY of a group with more than [`crate::limits::ORDERED_PENDING_MAX`] pending entries,
    /// or with some in more than [`crate::limits::ORDERED_START_BLOCKS`] blocks.
    OrderTooLate,
    /// XSCHED of a key that is nothing but a hash tag.
    ScheduleOfTag,
    /// XSCHED ADD with a field whose name is the server's.
    ScheduleField,
    /// XGROUP HANDOVER to the consumer that goes.
    HandoverToSelf,
    /// The disk is full, and the command would need more of it.
    DiskFull,
    /// The changes do not fit in one record of the log.
    TooLarge,
    /// A block of the stream failed its check on disk: it is never served and never skipped.
    Corrupt {
        /// The stream.
        key: Vec<u8>,
        /// First id that may be affected.
        first: StreamId,
        /// Last id that may be affected.
        last: StreamId,
    },
}

/// A limit that an append would exceed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// MAX-LEN.
    Len {
        /// Its value, in entries.
        max: u64,
        /// What is there.
        held: u64,
    },
    /// MAX-BYTES.
    Bytes {
        /// Its value.
        max: u64,
        /// What is there.
        held: u64,
    },
}
