//! Every error text that Redis has, in one place: facts in, words out.
//!
//! The texts are part of the protocol, clients compare them; they were taken from replies of
//! redis-server 8.6.3. An error always means that nothing has changed.

use std::borrow::Cow;

use levada_core::dedup::ID_BYTES;
use levada_core::error::{Error as CoreError, Limit};
use levada_core::id::StreamId;
use levada_core::policy::TIME_MS_MAX;

use crate::acl::Reason;

/// Bytes of the name and of the arguments that an unknown command is quoted with.
const QUOTED_BYTES_MAX: usize = 128;

/// What a client is told. `Display` is not implemented: names in it are bytes, not text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum WireError {
    /// A text that depends on nothing.
    Fixed(&'static str),
    /// A text that was put together where it was found wrong.
    Text(Vec<u8>),
    /// What a connection that listens may not do in RESP2; the full name of the command.
    Listening(&'static str),
    /// The number of arguments; the full name of the command.
    Arity(&'static str),
    /// What the core says, to the command of this full name.
    Core(CoreError, &'static str),
    /// Damaged entries of a stream.
    Corrupt(StreamId, StreamId),
}

impl WireError {
    pub(crate) const SYNTAX: Self = Self::Fixed("ERR syntax error");
    pub(crate) const NOT_INTEGER: Self = Self::Fixed("ERR value is not an integer or out of range");
    pub(crate) const NOT_32_BITS: Self =
        Self::Fixed("ERR value is out of range, value must between -2147483648 and 2147483647");
    pub(crate) const INVALID_ID: Self =
        Self::Fixed("ERR Invalid stream ID specified as stream command argument");
    pub(crate) const INVALID_START: Self = Self::Fixed("ERR invalid start ID for the interval");
    pub(crate) const INVALID_END: Self = Self::Fixed("ERR invalid end ID for the interval");
    pub(crate) const ID_ZERO: Self =
        Self::Fixed("ERR The ID specified in XADD must be greater than 0-0");
    pub(crate) const LIMIT_WITHOUT_TILDE: Self =
        Self::Fixed("ERR syntax error, LIMIT cannot be used without the special ~ option");
    pub(crate) const LIMIT_WITHOUT_TRIM: Self = Self::Fixed(
        "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
    );
    pub(crate) const TRIM_MISSING: Self =
        Self::Fixed("ERR syntax error, XTRIM must be called with a trimming strategy");
    pub(crate) const LIMIT_NEGATIVE: Self = Self::Fixed("ERR The LIMIT argument must be >= 0.");
    pub(crate) const MAXLEN_NEGATIVE: Self = Self::Fixed("ERR The MAXLEN argument must be >= 0.");
    pub(crate) const TRIM_TWICE: Self = Self::Fixed(
        "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
    );
    pub(crate) const IDMP_TWICE: Self =
        Self::Fixed("ERR syntax error, IDMP/IDMPAUTO specified multiple times");
    pub(crate) const IDMP_PID_EMPTY: Self =
        Self::Fixed("ERR syntax error, IDMP requires a non-empty producer ID");
    pub(crate) const IDMPAUTO_PID_EMPTY: Self =
        Self::Fixed("ERR syntax error, IDMPAUTO requires a non-empty producer ID");
    pub(crate) const IDMP_IID_EMPTY: Self =
        Self::Fixed("ERR syntax error, IDMP requires a non-empty idempotent ID");
    pub(crate) const IDMP_EXPLICIT_ID: Self =
        Self::Fixed("ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs");
    pub(crate) const PID_EMPTY: Self = Self::Fixed("ERR producer ID must be non-empty");
    pub(crate) const IID_EMPTY: Self = Self::Fixed("ERR idempotent ID must be non-empty");
    pub(crate) const IDMP_DURATION_TWICE: Self =
        Self::Fixed("ERR IDMP-DURATION specified multiple times");
    pub(crate) const IDMP_MAXSIZE_TWICE: Self =
        Self::Fixed("ERR IDMP-MAXSIZE specified multiple times");
    pub(crate) const IDMP_DURATION_RANGE: Self =
        Self::Fixed("ERR IDMP-DURATION must be between 1 and 86400 seconds");
    pub(crate) const IDMP_MAXSIZE_RANGE: Self =
        Self::Fixed("ERR IDMP-MAXSIZE must be between 1 and 10000 entries");
    pub(crate) const NOTHING_SET: Self =
        Self::Fixed("ERR At least one parameter must be specified");
    pub(crate) const IDS_MISSING: Self = Self::Fixed("ERR IDS option is required");
    pub(crate) const IDS_NOT_POSITIVE: Self =
        Self::Fixed("ERR Number of IDs must be a positive integer");
    pub(crate) const IDS_MISCOUNTED: Self =
        Self::Fixed("ERR The `numids` parameter must match the number of arguments");
    pub(crate) const ENTRIES_ADDED_NEGATIVE: Self =
        Self::Fixed("ERR entries_added must be positive");
    pub(crate) const SETID_BELOW_DELETED: Self = Self::Fixed(
        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
    );
    pub(crate) const ENTRIES_READ_NEGATIVE: Self =
        Self::Fixed("ERR value for ENTRIESREAD must be positive or -1");
    pub(crate) const COUNT_NOT_POSITIVE: Self = Self::Fixed("ERR COUNT must be > 0");
    pub(crate) const TIMEOUT_NOT_INTEGER: Self =
        Self::Fixed("ERR timeout is not an integer or out of range");
    pub(crate) const TIMEOUT_NEGATIVE: Self = Self::Fixed("ERR timeout is negative");
    pub(crate) const TIMEOUT_TOO_LONG: Self = Self::Fixed("ERR timeout is out of range");
    pub(crate) const GROUP_MISSING: Self = Self::Fixed("ERR Missing GROUP option for XREADGROUP");
    pub(crate) const NEW_ONLY_IN_GROUP: Self = Self::Fixed(
        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
         <consumer> option.",
    );
    pub(crate) const UNBALANCED_XREAD: Self = Self::Fixed(
        "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be \
         specified.",
    );
    pub(crate) const UNBALANCED_XREADGROUP: Self = Self::Fixed(
        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be \
         specified.",
    );
    pub(crate) const MIN_IDLE_NOT_INTEGER: Self =
        Self::Fixed("ERR min-idle-time is not an integer or out of range");
    pub(crate) const MIN_IDLE_NEGATIVE: Self =
        Self::Fixed("ERR min-idle-time must be a positive integer");
    pub(crate) const MAXCOUNT_NOT_POSITIVE: Self =
        Self::Fixed("ERR MAXCOUNT must be a positive integer");
    pub(crate) const MAXSIZE_NOT_POSITIVE: Self =
        Self::Fixed("ERR MAXSIZE must be a positive integer");
    pub(crate) const MAXCOUNT_BELOW_COUNT: Self =
        Self::Fixed("ERR MAXCOUNT must be greater than or equal to COUNT");
    pub(crate) const WRONG_TYPE: Self =
        Self::Fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub(crate) const NO_AUTH: Self = Self::Fixed("NOAUTH Authentication required.");
    pub(crate) const NO_AUTH_HELLO: Self = Self::Fixed(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
         <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
         RESP protocol version at the same time",
    );
    pub(crate) const WRONG_PASSWORD: Self =
        Self::Fixed("WRONGPASS invalid username-password pair or user is disabled.");
    pub(crate) const NO_PASSWORD: Self = Self::Fixed(
        "ERR AUTH <password> called without any password configured for the default user. Are \
         you sure your configuration is correct?",
    );
    pub(crate) const PROTOCOL_UNKNOWN: Self = Self::Fixed("NOPROTO unsupported protocol version");
    pub(crate) const PROTOCOL_NOT_INTEGER: Self =
        Self::Fixed("ERR Protocol version is not an integer or out of range");
    pub(crate) const SAME_OBJECT: Self =
        Self::Fixed("ERR source and destination objects are the same");
    pub(crate) const DATABASE_OUT_OF_RANGE: Self = Self::Fixed("ERR DB index is out of range");
    pub(crate) const EXEC_WITHOUT_MULTI: Self = Self::Fixed("ERR EXEC without MULTI");
    pub(crate) const DISCARD_WITHOUT_MULTI: Self = Self::Fixed("ERR DISCARD without MULTI");
    pub(crate) const MULTI_NESTED: Self = Self::Fixed("ERR MULTI calls can not be nested");
    pub(crate) const WATCH_INSIDE_MULTI: Self =
        Self::Fixed("ERR WATCH inside MULTI is not allowed");
    pub(crate) const NOT_IN_TRANSACTION: Self =
        Self::Fixed("ERR Command not allowed inside a transaction");
    pub(crate) const EXEC_ABORTED: Self =
        Self::Fixed("EXECABORT Transaction discarded because of previous errors.");
    /// Ours: Redis queues without a bound.
    pub(crate) const TRANSACTION_TOO_LARGE: Self =
        Self::Fixed("ERR a transaction may hold at most 16 MiB of arguments");
    /// Ours: Redis bounds the memory of all clients together.
    pub(crate) const TOO_MANY_SUBSCRIPTIONS: Self =
        Self::Fixed("ERR a connection may listen to at most 16 MiB of names");
    pub(crate) const MONITORS: Self = Self::Fixed("ERR Replica can't interact with the keyspace");
    pub(crate) const UNBLOCKED: Self = Self::Fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    pub(crate) const NO_SUCH_CLIENT: Self = Self::Fixed("ERR No such client");
    /// The words that clients know; the remedies are ours.
    pub(crate) const PROTECTED: Self = Self::Fixed(
        "DENIED Redis is running in protected mode because protected mode is enabled and no \
         password is set for the default user. In this mode connections are only accepted from \
         the loopback interface. Set a password (requirepass, or ACL SETUSER default), or, where \
         nobody else can reach this server, say CONFIG SET protected-mode no from its own machine",
    );
    pub(crate) const MAX_CLIENTS: Self = Self::Fixed("ERR max number of clients reached");
    pub(crate) const MAX_CLIENTS_OF_ADDRESS: Self =
        Self::Fixed("ERR max number of clients reached for this address (maxclients-per-address)");
    pub(crate) const MAX_CLIENTS_OF_USER: Self =
        Self::Fixed("ERR max number of clients reached for this user (maxclients-per-user)");
    pub(crate) const CLUSTER_DISABLED: Self =
        Self::Fixed("ERR This instance has cluster support disabled");
    pub(crate) const NOT_FLOAT: Self = Self::Fixed("ERR value is not a valid float");
    pub(crate) const OFFSET_OUT_OF_RANGE: Self = Self::Fixed("ERR offset is out of range");
    pub(crate) const NUMKEYS: Self = Self::Fixed("ERR invalid numkeys value");
    pub(crate) const PAIRS_MISCOUNTED: Self = Self::Fixed("ERR wrong number of key-value pairs");
    pub(crate) const INVALID_CURSOR: Self = Self::Fixed("ERR invalid cursor");
    pub(crate) const DECREMENT_OVERFLOW: Self = Self::Fixed("ERR decrement would overflow");
    pub(crate) const EXPIRE_NX_AND_OTHERS: Self =
        Self::Fixed("ERR NX and XX, GT or LT options at the same time are not compatible");
    pub(crate) const EXPIRE_GT_AND_LT: Self =
        Self::Fixed("ERR GT and LT options at the same time are not compatible");
    pub(crate) const INVALID_TTL: Self = Self::Fixed("ERR Invalid TTL value, must be >= 0");
    pub(crate) const INVALID_IDLETIME: Self =
        Self::Fixed("ERR Invalid IDLETIME value, must be >= 0");
    pub(crate) const INVALID_FREQUENCY: Self =
        Self::Fixed("ERR Invalid FREQ value, must be >= 0 and <= 255");
    pub(crate) const WRONG_PAYLOAD: Self =
        Self::Fixed("ERR DUMP payload version or checksum are wrong");
    pub(crate) const BAD_DATA: Self = Self::Fixed("ERR Bad data format");
    pub(crate) const NO_FREQUENCY: Self = Self::Fixed(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
         that when switching between policies at runtime LRU and LFU data will take some time \
         to adjust.",
    );

    /// `READ` of a stream that takes an option of the other read only.
    pub(crate) fn only_xreadgroup(option: &str) -> Self {
        Self::Text(
            format!(
                "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
            )
            .into_bytes(),
        )
    }

    /// `$` or `+` as the id of an XREADGROUP.
    pub(crate) fn meaningless_id(id: char) -> Self {
        Self::Text(
            format!(
                "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read \
                 the history of this consumer by specifying a proper ID, or use the > ID to get \
                 new messages. The {id} ID would just return an empty result set."
            )
            .into_bytes(),
        )
    }

    /// A text with something of the client's in the middle.
    pub(crate) fn quoting(before: &str, quoted: &[u8], after: &str) -> Self {
        let mut text = Vec::with_capacity(before.len() + quoted.len() + after.len());
        text.extend_from_slice(before.as_bytes());
        text.extend_from_slice(shown(quoted));
        text.extend_from_slice(after.as_bytes());
        Self::Text(text)
    }

    /// A time that is not in the future, or too far in it.
    pub(crate) fn invalid_expire(command: &str) -> Self {
        Self::quoting("ERR invalid expire time in '", command.as_bytes(), "' command")
    }

    /// EXEC itself was wrong.
    pub(crate) fn exec_aborted_by(error: &Self) -> Self {
        let text = error.text();
        let text = text.strip_prefix(b"ERR ").unwrap_or(&text);
        Self::quoting("EXECABORT Transaction discarded because of: ", text, "")
    }

    /// Nobody knows this command.
    pub(crate) fn unknown_command(args: &[&[u8]]) -> Self {
        let cut = |text, max: usize| shown(text).get(..max).unwrap_or(shown(text)).to_vec();
        let name = args.first().copied().unwrap_or_default();
        let mut text = b"ERR unknown command '".to_vec();
        text.extend(cut(name, QUOTED_BYTES_MAX));
        text.push(b'\'');
        if args.len() > 1 {
            text.extend_from_slice(b", with args beginning with: ");
        }
        let mut quoted = 0;
        for argument in args.iter().skip(1) {
            if quoted >= QUOTED_BYTES_MAX {
                break;
            }
            let argument = cut(argument, QUOTED_BYTES_MAX - quoted);
            text.push(b'\'');
            text.extend_from_slice(&argument);
            text.extend_from_slice(b"' ");
            quoted += argument.len() + 3;
        }
        Self::Text(text)
    }

    /// The command is known, its subcommand is not.
    pub(crate) fn unknown_subcommand(container: &str, name: &[u8]) -> Self {
        let name = name.get(..QUOTED_BYTES_MAX).unwrap_or(name);
        let after = format!("'. Try {} HELP.", container.to_ascii_uppercase());
        Self::quoting("ERR unknown subcommand '", name, &after)
    }

    /// The subcommand is known, something behind it is not.
    pub(crate) fn subcommand_syntax(container: &str, name: &[u8]) -> Self {
        let after = format!("'. Try {container} HELP.");
        Self::quoting("ERR unknown subcommand or wrong number of arguments for '", name, &after)
    }

    /// The user may not run this command, or not with this key, channel or group.
    pub(crate) fn no_permission(reason: Reason, user: &[u8], command: &str) -> Self {
        match reason {
            Reason::Command => {
                let after = format!(" has no permissions to run the '{command}' command");
                Self::quoting("NOPERM User ", user, &after)
            }
            Reason::Key => Self::Fixed("NOPERM No permissions to access a key"),
            Reason::Channel => Self::Fixed("NOPERM No permissions to access a channel"),
            Reason::Group => Self::Fixed("NOPERM No permissions to access a group"),
        }
    }

    /// The user may no longer run what was queued.
    pub(crate) fn rights_changed(reason: Reason) -> Self {
        let why = match reason {
            Reason::Command => "execute the command or subcommand",
            Reason::Key => "touch the specified keys",
            Reason::Channel => "access one of the channels used as arguments",
            Reason::Group => "access the group used as an argument",
        };
        Self::Text(
            format!(
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and \
                 the EXEC call. This command is no longer allowed for the following reason: no \
                 permission to {why}"
            )
            .into_bytes(),
        )
    }

    /// A setting that nobody knows.
    pub(crate) fn unknown_setting(name: &[u8]) -> Self {
        Self::quoting("ERR Unknown option or number of arguments for CONFIG SET - '", name, "'")
    }

    /// A setting that cannot have this value.
    pub(crate) fn setting(name: &str, why: &str) -> Self {
        Self::Text(
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
                .into_bytes(),
        )
    }

    /// The line that follows the `-`.
    pub(crate) fn text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Fixed(text) => Cow::Borrowed(text.as_bytes()),
            Self::Text(text) => Cow::Borrowed(text),
            Self::Arity(name) => Cow::Owned(
                format!("ERR wrong number of arguments for '{name}' command").into_bytes(),
            ),
            Self::Listening(name) => Cow::Owned(
                format!(
                    "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                     QUIT / RESET are allowed in this context"
                )
                .into_bytes(),
            ),
            Self::Core(error, command) => core_text(error, command),
            Self::Corrupt(first, last) => {
                Cow::Owned(format!("CORRUPT stream {first}..{last}").into_bytes())
            }
        }
    }

    /// The word before the first space, by which INFO counts errors.
    pub(crate) fn code(text: &[u8]) -> &[u8] {
        text.split(|byte| *byte == b' ').next().unwrap_or_default()
    }
}

fn core_text(error: &CoreError, command: &str) -> Cow<'static, [u8]> {
    Cow::Borrowed(match error {
        CoreError::NoGroup { key, group } => {
            return Cow::Owned(no_group_text(key, group, command));
        }
        CoreError::WrongType => return WireError::WRONG_TYPE.text().into_owned().into(),
        CoreError::NoSuchKey if !command.starts_with("xgroup|") => b"ERR no such key",
        CoreError::NoSuchKey | CoreError::KeyRequired => {
            b"ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may \
              want to use the MKSTREAM option to create an empty stream automatically."
        }
        CoreError::GroupExists => b"BUSYGROUP Consumer Group name already exists",
        CoreError::IdTooSmall => {
            b"ERR The ID specified in XADD is equal or smaller than the target stream top item"
        }
        CoreError::IdsExhausted => {
            b"ERR The stream has exhausted the last possible ID, unable to add more items"
        }
        CoreError::SetidBelowTop => {
            b"ERR The ID specified in XSETID is smaller than the target stream top item"
        }
        CoreError::SetidBelowDeleted => {
            b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
        }
        CoreError::EntriesAddedBelowLength => {
            b"ERR The entries_added specified in XSETID is smaller than the target stream length"
        }
        CoreError::NoSuchEntry => b"ERR No such message in stream",
        CoreError::IidTaken => {
            b"ERR IID already exists for this producer with a different stream ID"
        }
        CoreError::NotInteger => b"ERR value is not an integer or out of range",
        CoreError::IncrementOverflow => b"ERR increment or decrement would overflow",
        CoreError::Limit(limit) => return limit_text(limit),
        CoreError::NotFloat => return WireError::NOT_FLOAT.text().into_owned().into(),
        CoreError::SumNotFinite => b"ERR increment would produce NaN or Infinity",
        CoreError::NotString => b"ERR Key should be of string type if conditions are specified",
        CoreError::DigestLength => b"ERR must be exactly 16 hexadecimal characters",
        CoreError::ConditionUnknown => b"ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
        CoreError::TooLarge => {
            b"ERR too many changes for one record of the log, use less at a time"
        }
        CoreError::CopyTooLarge => {
            b"ERR COPY of more than 16 MiB of sealed entries is refused, because a copy is one \
              record of the log: read the stream with XRANGE and add its entries to another"
        }
        CoreError::KeyExists => b"BUSYKEY Target key name already exists.",
        CoreError::RestoreTooLarge => {
            b"ERR RESTORE of more than 16 MiB of entries is refused, because a restored stream is \
              one record of the log: use levada import"
        }
        CoreError::DumpTooLarge => {
            b"ERR DUMP of more than 64 MiB is refused, because a payload is in memory at once: use \
              levada export"
        }
        CoreError::StringTooLong => b"ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        CoreError::Corrupt { first, last, .. } => {
            return WireError::Corrupt(*first, *last).text().into_owned().into();
        }
        CoreError::OutOfMemory => b"OOM command not allowed when used memory > 'maxmemory'.",
        own => return own_text(own),
    })
}

/// Errors that Redis has not.
fn own_text(error: &CoreError) -> Cow<'static, [u8]> {
    Cow::Borrowed(match error {
        CoreError::LimitBelowNeeded(limit) => return limit_below_text(limit),
        CoreError::TimeTooLong(option) => return time_text(option),
        CoreError::DedupTooLarge { ids, others, bytes_max } => {
            return dedup_text(*ids, *others, *bytes_max);
        }
        CoreError::DeadLettersToSource => {
            b"ERR DLQ names the stream itself: dead letters need another key"
        }
        CoreError::DeadLettersNoStream => {
            b"ERR DLQ names a key that holds no stream: name another one, or delete it"
        }
        CoreError::TooManyLetters { counted, last } => return letters_text(*counted, *last),
        CoreError::OrderChanges => b"ERR the group goes by another field: set ORDER-BY \"\" first",
        CoreError::OrderTooLate => {
            b"ERR ORDER-BY cannot begin with more than 100000 pending entries, nor with some in \
              more than 1024 blocks of the stream: acknowledge some first"
        }
        CoreError::TooManyRedriven => {
            b"ERR the stream holds 100000 redriven entries already: acknowledge and trim it first"
        }
        CoreError::RetainsWhatIsKept => {
            b"ERR RETAIN-ACKED is for RETENTION ACKED: with RETENTION KEEP nothing goes; set it to \
              0"
        }
        CoreError::ScheduleOfTag => {
            b"ERR the key is nothing but a hash tag, and its schedule would be that of the key \
              within the braces: use another key"
        }
        CoreError::ScheduleField => {
            b"ERR names of fields that begin with x-sched- are the server's: use another name"
        }
        CoreError::HandoverToSelf => b"ERR TO names the consumer that goes",
        CoreError::DiskFull => {
            b"OOMDISK the disk is full: the command was refused and nothing changed. Free space on \
              it, or delete and trim (DEL, XDEL, XTRIM): reading and acknowledging go on"
        }
        _ => unreachable!("core_text() keeps what Redis has"),
    })
}

fn time_text(option: &str) -> Cow<'static, [u8]> {
    format!("ERR {option} takes at most {TIME_MS_MAX} ms, which are 100 years").into_bytes().into()
}

/// Which limit, its value, what it holds, and what to do.
fn limit_text(limit: &Limit) -> Cow<'static, [u8]> {
    let (option, max, held, unit) = match limit {
        Limit::Len { max, held } => ("MAX-LEN", max, held, "entries"),
        Limit::Bytes { max, held } => ("MAX-BYTES", max, held, "bytes"),
    };
    format!(
        "LIMIT {option} of the stream is {max} and it holds {held} {unit} that a group still \
         needs: acknowledge or delete some, raise the limit, or set ON-LIMIT TRIM"
    )
    .into_bytes()
    .into()
}

/// Which limit would refuse every append, and what to do.
fn limit_below_text(limit: &Limit) -> Cow<'static, [u8]> {
    let (option, max, held, unit) = match limit {
        Limit::Len { max, held } => ("MAX-LEN", max, held, "entries"),
        Limit::Bytes { max, held } => ("MAX-BYTES", max, held, "bytes"),
    };
    format!(
        "ERR {option} {max} is below the {held} {unit} that a group still needs, so that every \
         append would be refused: acknowledge some first, or set ON-LIMIT TRIM with it"
    )
    .into_bytes()
    .into()
}

/// How much memory is asked for, what there is, and what to do.
fn dedup_text(ids: u64, others: u64, bytes_max: u64) -> Cow<'static, [u8]> {
    let bytes = ids.saturating_mul(ID_BYTES);
    format!(
        "ERR DEDUP-MAX {ids} may take {bytes} bytes ({ID_BYTES} for an id), other streams may take \
         {others}, and dedup-bytes-max is {bytes_max}: ask for fewer, or raise that setting"
    )
    .into_bytes()
    .into()
}

fn letters_text(counted: u64, last: StreamId) -> Cow<'static, [u8]> {
    format!(
        "ERR the dead-letter stream is longer than one call looks through: {counted} letters of \
         the group up to {last}, go on with AFTER {last}"
    )
    .into_bytes()
    .into()
}

/// What Redis shows of a word in a text: it takes the word for a string of C.
fn shown(word: &[u8]) -> &[u8] {
    word.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn no_group_text(key: &[u8], group: &[u8], command: &str) -> Vec<u8> {
    let (key, group) = (shown(key), shown(group));
    let parts: [&[u8]; 5] = match command {
        "xreadgroup" => [
            b"NOGROUP No such key '",
            key,
            b"' or consumer group '",
            group,
            b"' in XREADGROUP with GROUP option",
        ],
        name if name.starts_with("xgroup|") || name.starts_with("xinfo|") => {
            [b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"]
        }
        _ => [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"],
    };
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_redis() {
        let check = |error: WireError, expect: &str| {
            assert_eq!(String::from_utf8_lossy(&error.text()), expect);
        };
        check(WireError::unknown_command(&[b"FOO"]), "ERR unknown command 'FOO'");
        check(
            WireError::unknown_command(&[b"FOO", b"bar", b"baz"]),
            "ERR unknown command 'FOO', with args beginning with: 'bar' 'baz' ",
        );
        check(
            WireError::unknown_command(&[b"F\0O", b"\0r", b"baz"]),
            "ERR unknown command 'F', with args beginning with: '' 'baz' ",
        );
        check(
            WireError::unknown_subcommand("client", b"MAINT_NOTIFICATIONS"),
            "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.",
        );
        check(
            WireError::Arity("xgroup|create"),
            "ERR wrong number of arguments for 'xgroup|create' command",
        );
        let no_group = |command| {
            let (key, group) = (b"s".to_vec(), b"g".to_vec());
            WireError::Core(CoreError::NoGroup { key, group }, command)
        };
        check(no_group("xclaim"), "NOGROUP No such key 's' or consumer group 'g'");
        check(no_group("xgroup|setid"), "NOGROUP No such consumer group 'g' for key name 's'");
        assert_eq!(WireError::code(b"NOGROUP No such"), b"NOGROUP");
    }

    #[test]
    fn what_is_quoted_is_bounded() {
        let long = vec![b'x'; 1000];
        let text = WireError::unknown_command(&[&long, &long, &long]).text().into_owned();
        assert!(text.len() < 400, "{}", text.len());
    }
}
