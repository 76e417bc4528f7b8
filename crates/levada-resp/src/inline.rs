//! Inline requests: a line typed by a person, split into words as Redis splits it.
//!
//! Words end at space, tab, CR or LF. `"..."` knows `\n \r \t \b \a \xHH`, and takes any other
//! byte after a backslash as itself; `'...'` knows `\'`. A quote may open in the middle of a
//! word, but a closing quote ends the word and needs white space or the end behind it. Vertical
//! tab and form feed separate words only where a word has not started yet: so does Redis.
//!
//! A NUL is a byte like any other here; Redis would wait for ever for the end of such a line.

use std::ops::Range;

use crate::ProtocolError;

/// Appends the words of `line` (without its end) to `bytes`, and their ranges in it to `args`.
/// Never appends more than `line.len()` bytes. Fails on unbalanced quotes only.
pub(crate) fn split(
    line: &[u8],
    bytes: &mut Vec<u8>,
    args: &mut Vec<Range<usize>>,
) -> Result<(), ProtocolError> {
    bytes.reserve(line.len());
    let mut rest = line;
    loop {
        rest = skip_space(rest);
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = word(rest, bytes)?;
        args.push(start..bytes.len());
    }
}

/// Appends the word at the head of `rest` and returns what is behind it.
fn word<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok(rest),
            [b'"', tail @ ..] => return double_quoted(tail, bytes),
            [b'\'', tail @ ..] => return single_quoted(tail, bytes),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

/// As `word`, from behind an opening double quote.
fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', tail @ ..] => return closed(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescaped(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
}

/// As `word`, from behind an opening single quote.
fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', tail @ ..] => return closed(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
}

/// What is behind a closing quote, if that may stand there.
fn closed(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn skip_space(rest: &[u8]) -> &[u8] {
    let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
    rest.get(spaces..).unwrap_or_default()
}

/// C's `isspace` in the C locale; Rust's ASCII white space lacks the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// The value of a hexadecimal digit, which the caller has checked.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::split;
    use crate::ProtocolError;

    /// `None` stands for unbalanced quotes.
    fn check(line: &[u8], expect: Option<&[&[u8]]>) {
        let (mut bytes, mut args) = (Vec::new(), Vec::new());
        let result = split(line, &mut bytes, &mut args);
        let words: Vec<&[u8]> = args.iter().map(|range| &bytes[range.clone()]).collect();
        match expect {
            Some(expect) => assert_eq!((result, words.as_slice()), (Ok(()), expect), "{line:?}"),
            None => assert_eq!(result, Err(ProtocolError::UnbalancedQuotes), "{line:?}"),
        }
    }

    // Each line below was sent to redis-server 7.0.15 as the argument of ECHO or alone.
    #[test]
    fn words_as_redis_splits_them() {
        check(b"  PING  ", Some(&[b"PING"]));
        check(b"\rPING", Some(&[b"PING"]));
        check(b"PING\r", Some(&[b"PING"]));
        check(b"\x0bPING", Some(&[b"PING"]));
        check(b"ECHO\x0bab", Some(&[b"ECHO\x0bab"]));
        check(b"ECHO\x0cab", Some(&[b"ECHO\x0cab"]));
        check(b"ECHO\rab", Some(&[b"ECHO", b"ab"]));
        check(b"ECHO a\tb", Some(&[b"ECHO", b"a", b"b"]));
        check(b"a\\x41", Some(&[b"a\\x41"]));
        check(b" \t ", Some(&[]));
        check(b"", Some(&[]));
    }

    #[test]
    fn quotes_as_redis_reads_them() {
        check(br#""a\x41b\n\r\t\b\a\q\"""#, Some(&[b"aAb\n\r\t\x08\x07q\""]));
        check(br"'a\'b\n'", Some(&[br"a'b\n"]));
        check(br#""" ''"#, Some(&[b"", b""]));
        check(br#""\xZZ""#, Some(&[b"xZZ"]));
        check(br#""\x4""#, Some(&[b"x4"]));
        check(br#""\xfF""#, Some(&[b"\xff"]));
        check(br#"x"abc""#, Some(&[b"xabc"]));
        check(b"\"a\rb\"", Some(&[b"a\rb"]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#""abc"#, "'abc", r#""abc"x"#, "'abc'x", r#"x"a b"y"#, r#""\""#, r"'\'"] {
            check(line.as_bytes(), None);
        }
        check(b"\"\\", None);
    }

    #[test]
    fn nul_is_a_byte_like_any_other() {
        check(b"a\0b \"c\0\"", Some(&[b"a\0b", b"c\0"]));
        check(b"\"c\"\0", None);
    }
}
