//! Splits a request line into arguments with the quoting of `redis-cli`.
//!
//! Words are separated by blanks. `"..."` knows `\n \r \t \a \b \xHH`, any other escaped character
//! stands for itself; `'...'` knows only `\'`. A closing quote must end the word. `<=name>`,
//! quoted or not, is replaced by what the transcript captured under that name.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// What a transcript has captured so far: name -> text.
pub(crate) type Captures = BTreeMap<String, Vec<u8>>;

/// The arguments of one request line, captures not yet replaced. Fails on unbalanced quotes.
pub(crate) fn split(line: &str) -> Result<Vec<Vec<u8>>> {
    let bytes = line.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(start) = (at..bytes.len()).find(|&i| !bytes[i].is_ascii_whitespace()) {
        let mut word = Vec::new();
        at = start;
        while at < bytes.len() && !bytes[at].is_ascii_whitespace() {
            at = match bytes[at] {
                b'"' => double_quoted(bytes, at + 1, &mut word)?,
                b'\'' => single_quoted(bytes, at + 1, &mut word)?,
                plain => {
                    word.push(plain);
                    at + 1
                }
            };
        }
        words.push(word);
    }
    Ok(words)
}

/// Reads what stands after an opening `"`; returns the position behind the closing one.
pub(crate) fn double_quoted(bytes: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize> {
    loop {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'"'), _) => return Ok(at + 1),
            (Some(b'\\'), Some(b'x')) => {
                let digits = bytes.get(at + 2..at + 4).and_then(|d| std::str::from_utf8(d).ok());
                let Some(Ok(byte)) = digits.map(|digits| u8::from_str_radix(digits, 16)) else {
                    bail!("\\x needs two hexadecimal digits");
                };
                word.push(byte);
                at += 4;
            }
            (Some(b'\\'), Some(&escaped)) => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'a' => 0x07,
                    b'b' => 0x08,
                    other => other,
                });
                at += 2;
            }
            (Some(&plain), _) => {
                word.push(plain);
                at += 1;
            }
            (None, _) => bail!("a double quote is not closed"),
        }
    }
}

fn single_quoted(bytes: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize> {
    loop {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'\''), _) => return Ok(at + 1),
            (Some(b'\\'), Some(b'\'')) => {
                word.push(b'\'');
                at += 2;
            }
            (Some(&plain), _) => {
                word.push(plain);
                at += 1;
            }
            (None, _) => bail!("a single quote is not closed"),
        }
    }
}

/// Replaces each `<=name>` in one argument. Fails if nothing was captured under the name.
pub(crate) fn substitute(word: &[u8], captures: &Captures) -> Result<Vec<u8>> {
    let mut output = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some(start) = rest.windows(2).position(|pair| pair == b"<=") {
        let Some(length) = rest[start..].iter().position(|&byte| byte == b'>') else {
            break;
        };
        let name = String::from_utf8_lossy(&rest[start + 2..start + length]).into_owned();
        let Some(value) = captures.get(&name) else { bail!("nothing was captured as <{name}>") };
        output.extend_from_slice(&rest[..start]);
        output.extend_from_slice(value);
        rest = &rest[start + length + 1..];
    }
    output.extend_from_slice(rest);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: &[&[u8]]) {
        assert_eq!(split(line).unwrap(), expect, "{line}");
    }

    #[test]
    fn quoting_follows_redis_cli() {
        check("XADD s * f v", &[b"XADD", b"s", b"*", b"f", b"v"]);
        check(r#"SET k "" '' "a b" 'it\'s'"#, &[b"SET", b"k", b"", b"", b"a b", b"it's"]);
        check(r#"SET k "\x00\xff\r\n\"\\""#, &[b"SET", b"k", b"\x00\xff\r\n\"\\"]);
        check("  ", &[]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["SET \"a", "SET 'a", r#"SET "\x1""#] {
            assert!(split(line).is_err(), "{line}");
        }
    }

    #[test]
    fn captures_are_replaced_inside_words() {
        let captures = Captures::from([("a".to_owned(), b"1-1".to_vec())]);
        assert_eq!(substitute(b"(<=a>", &captures).unwrap(), b"(1-1");
        assert_eq!(substitute(b"<", &captures).unwrap(), b"<");
        assert!(substitute(b"<=b>", &captures).is_err());
    }
}
