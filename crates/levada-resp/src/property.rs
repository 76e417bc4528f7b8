//! What must hold for any bytes at all. The fuzz targets and the property tests both call these
//! functions, so that a finding of the one is a test of the other.

use std::ops::Range;

use crate::encode::request;
use crate::{Decoder, Limits, Progress, ProtocolError, Reply};

/// What a stream of bytes means: its requests, the error that ended it, and how many bytes of it
/// were consumed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meaning {
    /// The arguments of each request; those without arguments are left out.
    pub requests: Vec<Vec<Vec<u8>>>,
    /// The error behind the last request.
    pub error: Option<ProtocolError>,
    /// Bytes of all requests, empty ones included.
    pub consumed: usize,
}

/// Decodes `stream` as it would arrive in reads that end at `cuts` (any order, any values).
///
/// # Panics
///
/// If the decoder breaks its contract: ranges outside of the request, a `want` that is zero or
/// that a complete request contradicts, or more memory for ranges than the bytes received justify.
pub fn meaning(stream: &[u8], cuts: &[usize], limits: Limits) -> Meaning {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| (*cut).min(stream.len())).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut decoder = Decoder::new(limits);
    let mut args = Vec::new();
    let mut meaning = Meaning::default();
    let mut end_wanted = 0;
    for end in ends {
        // The shared vector may serve other connections in between.
        args.push(usize::MAX..usize::MAX);
        loop {
            let input = stream.get(meaning.consumed..end).expect("consumed ends before the cut");
            match decoder.decode(input, &mut args) {
                Err(error) => {
                    assert_eq!(decoder.decode(input, &mut args), Err(error), "errors are final");
                    meaning.error = Some(error);
                    return meaning;
                }
                Ok(Progress::Incomplete { want }) => {
                    assert!(want > 0, "nothing is missing");
                    assert!(args.is_empty(), "the ranges of a partial request leaked");
                    end_wanted = end + want;
                    break;
                }
                Ok(progress) => {
                    assert!(end >= end_wanted, "the request was complete without its bytes");
                    take(&mut meaning, progress, input, &decoder, &args);
                }
            }
        }
    }
    meaning
}

/// Checks that `bytes` mean the same whole, byte by byte and cut at a few places drawn from them,
/// and that what was understood is understood again when written the common way.
///
/// # Panics
///
/// If one of these does not hold.
pub fn decode_any(bytes: &[u8]) {
    for limits in [Limits::unauthenticated(), Limits::authenticated()] {
        let whole = meaning(bytes, &[], limits);
        let each: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(meaning(bytes, &each, limits), whole, "byte by byte");
        let some: Vec<usize> =
            bytes.iter().take(8).map(|byte| usize::from(*byte) * bytes.len() / 256).collect();
        assert_eq!(meaning(bytes, &some, limits), whole, "cut at {some:?}");

        // Inline requests may have more and longer arguments than others.
        let written: Vec<u8> = whole.requests.iter().flat_map(|args| request(args)).collect();
        let again = meaning(&written, &[], Limits::authenticated());
        assert_eq!(again.requests, whole.requests, "written and read again");
        assert_eq!(again.consumed, written.len(), "written and read to the end");
    }
}

/// Checks that parsing `bytes` as replies stays inside them, that no proper prefix of a complete
/// reply is complete or wrong, and that the error of a prefix is the error of the whole.
///
/// # Panics
///
/// If one of these does not hold.
pub fn reply_any(bytes: &[u8]) {
    let prefix = |len: usize| bytes.get(..len).unwrap_or_default();
    match Reply::parse(bytes) {
        Ok(Some((_, consumed))) => {
            assert!((1..=bytes.len()).contains(&consumed), "consumed {consumed}");
            assert!(matches!(Reply::parse(prefix(consumed)), Ok(Some(_))));
            for len in sample(consumed) {
                assert_eq!(Reply::parse(prefix(len)), Ok(None), "prefix of {len}");
            }
        }
        Ok(None) => {
            for len in sample(bytes.len()) {
                assert_eq!(Reply::parse(prefix(len)), Ok(None), "prefix of {len}");
            }
        }
        Err(error) => {
            for len in sample(bytes.len()) {
                let result = Reply::parse(prefix(len));
                assert!(result == Ok(None) || result == Err(error), "prefix of {len}");
            }
        }
    }
}

/// Adds one complete request to `meaning`.
fn take(
    meaning: &mut Meaning,
    progress: Progress,
    input: &[u8],
    decoder: &Decoder,
    args: &[Range<usize>],
) {
    let (source, consumed) = match progress {
        Progress::Request { consumed } => (input.get(..consumed), consumed),
        Progress::Inline { consumed } => (Some(decoder.inline_bytes()), consumed),
        Progress::Empty { consumed } => (None, consumed),
        Progress::Incomplete { .. } => unreachable!("the caller has sorted these out"),
    };
    assert!((1..=input.len()).contains(&consumed), "consumed {consumed} of {}", input.len());
    assert!(args.len() <= consumed, "more arguments than bytes");
    meaning.consumed += consumed;
    if let Some(source) = source {
        assert!(source.len() <= consumed, "more words than bytes");
        assert!(!args.is_empty(), "a request has arguments");
        let bytes = |range: &Range<usize>| {
            source.get(range.clone()).expect("arguments stand inside of their request").to_vec()
        };
        meaning.requests.push(args.iter().map(bytes).collect());
    } else {
        assert!(args.is_empty(), "an empty request has no arguments");
    }
}

/// All lengths below `len` if these are few, else some of them: keeps the work linear enough.
fn sample(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len / 256 + 1)
}
