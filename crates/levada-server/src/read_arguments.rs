//! What XREAD and XREADGROUP share: options before STREAMS, then keys and as many ids.

use levada_core::command::ReadMost;

use crate::number::parse_i64;
use crate::spec::Request;
use crate::wire_error::WireError;

/// The request up to the ids, which the two read differently.
#[derive(Debug)]
pub(crate) struct Read<'a> {
    pub(crate) count: Option<u64>,
    pub(crate) most: ReadMost,
    pub(crate) claim_idle_ms: Option<u64>,
    pub(crate) block_ms: Option<u64>,
    /// GROUP: group and consumer.
    pub(crate) group: Option<(&'a [u8], &'a [u8])>,
    pub(crate) no_ack: bool,
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) ids: &'a [&'a [u8]],
}

/// Which of the two is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reader {
    Xread,
    Xreadgroup,
}

impl<'a> Read<'a> {
    /// Reads everything but the ids.
    pub(crate) fn parse(request: &Request<'a>, reader: Reader) -> Result<Self, WireError> {
        let mut read = Self {
            count: None,
            most: ReadMost::default(),
            claim_idle_ms: None,
            block_ms: None,
            group: None,
            no_ack: false,
            keys: &[],
            ids: &[],
        };
        let group_only = |option| match reader {
            Reader::Xread => Err(WireError::only_xreadgroup(option)),
            Reader::Xreadgroup => Ok(()),
        };
        let mut at = 1;
        while at < request.args.len() {
            let more = request.args.len() - at - 1;
            let is = |name: &[u8]| request.arg(at).eq_ignore_ascii_case(name);
            if is(b"BLOCK") && more > 0 {
                read.block_ms = Some(timeout_ms(request.arg(at + 1), request.now.monotonic_ms())?);
                at += 2;
            } else if is(b"COUNT") && more > 0 {
                let count = parse_i64(request.arg(at + 1)).ok_or(WireError::NOT_INTEGER)?;
                // Zero and less is no limit.
                read.count = u64::try_from(count).ok().filter(|count| *count > 0);
                at += 2;
            } else if is(b"CLAIM") && more > 0 {
                group_only("CLAIM")?;
                let idle = parse_i64(request.arg(at + 1));
                let idle = idle.ok_or(WireError::MIN_IDLE_NOT_INTEGER)?;
                let idle = idle.try_into().map_err(|_| WireError::MIN_IDLE_NEGATIVE)?;
                read.claim_idle_ms = Some(idle);
                at += 2;
            } else if is(b"MAXCOUNT") && more > 0 {
                let most = positive(request.arg(at + 1)).ok_or(WireError::MAXCOUNT_NOT_POSITIVE)?;
                read.most.entries = Some(most);
                at += 2;
            } else if is(b"MAXSIZE") && more > 0 {
                let most = positive(request.arg(at + 1)).ok_or(WireError::MAXSIZE_NOT_POSITIVE)?;
                read.most.bytes = Some(most);
                at += 2;
            } else if is(b"STREAMS") && more > 0 {
                (read.keys, read.ids) = halves(request.rest(at + 1), reader)?;
                break;
            } else if is(b"GROUP") && more >= 2 {
                group_only("GROUP")?;
                read.group = Some((request.arg(at + 1), request.arg(at + 2)));
                at += 3;
            } else if is(b"NOACK") {
                group_only("NOACK")?;
                read.no_ack = true;
                at += 1;
            } else {
                return Err(WireError::SYNTAX);
            }
        }
        if read.keys.is_empty() {
            return Err(WireError::SYNTAX);
        }
        if read.most.entries.is_some_and(|most| read.count.is_some_and(|count| most < count)) {
            return Err(WireError::MAXCOUNT_BELOW_COUNT);
        }
        Ok(read)
    }
}

fn positive(text: &[u8]) -> Option<u64> {
    parse_i64(text).and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

/// Some of the arguments.
type Args<'a> = &'a [&'a [u8]];

fn halves(args: Args<'_>, reader: Reader) -> Result<(Args<'_>, Args<'_>), WireError> {
    if !args.len().is_multiple_of(2) {
        return Err(match reader {
            Reader::Xread => WireError::UNBALANCED_XREAD,
            Reader::Xreadgroup => WireError::UNBALANCED_XREADGROUP,
        });
    }
    Ok(args.split_at(args.len() / 2))
}

/// A time to wait, in milliseconds; 0 is for ever.
pub(crate) fn timeout_ms(text: &[u8], now_ms: u64) -> Result<u64, WireError> {
    let timeout = parse_i64(text).ok_or(WireError::TIMEOUT_NOT_INTEGER)?;
    let timeout = u64::try_from(timeout).map_err(|_| WireError::TIMEOUT_NEGATIVE)?;
    // Redis adds it to the wall clock, which then must fit.
    if timeout > i64::MAX as u64 - now_ms.max(1 << 42) {
        return Err(WireError::TIMEOUT_TOO_LONG);
    }
    Ok(timeout)
}
