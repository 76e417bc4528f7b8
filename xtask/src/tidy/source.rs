//! Rust source with everything but code blanked out: enough lexing to count braces and to find
//! calls, and no more.

/// `text` with comments and the contents of strings and characters replaced by blanks. Line
/// breaks stay, so that positions and line numbers do.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut output = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !follows_word(bytes, at) => raw_string_end(bytes, at),
            b'b' if !follows_word(bytes, at) && bytes.get(at + 1) == Some(&b'r') => {
                raw_string_end(bytes, at + 1)
            }
            b'\'' => character_end(bytes, at),
            _ => at,
        };
        for byte in &mut output[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&output).into_owned()
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| at + length)
}

/// Block comments nest.
fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'"' => return end + 1,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    bytes.len()
}

/// The end of `r"..."` or `r#"..."#` that starts at `at`, or `at` if none does.
fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return at;
    }
    let close = [b"\"".as_slice(), "#".repeat(hashes).as_bytes()].concat();
    let length = bytes[open + 1..].windows(close.len()).position(|window| window == close);
    length.map_or(bytes.len(), |length| open + 1 + length + close.len())
}

/// The end of a character literal, or `at` for a lifetime.
fn character_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().position(|&byte| byte == b'\'');
        return close.map_or(at, |length| at + 3 + length + 1);
    }
    // One character, which may have up to four bytes.
    let close = (at + 2..=at + 5).find(|&end| bytes.get(end) == Some(&b'\''));
    match close {
        Some(end) if std::str::from_utf8(&bytes[at + 1..end]).is_ok_and(is_one) => end + 1,
        _ => at,
    }
}

fn is_one(text: &str) -> bool {
    text.chars().count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        for (text, expect) in [
            ("a // {\nb", "a     \nb"),
            ("/* { /* { */ } */x", "                  x".trim_start_matches(' ')),
            ("\"{\\\"{\"x", "x"),
            ("r#\"{\"{\"#x", "x"),
            ("br\"{\"x", "x"),
            ("'{' '\\'' '\\u{7b}' x", "x"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("for r in s {}", "for r in s {}"),
        ] {
            assert_eq!(blank(text).trim_start(), expect, "{text}");
        }
    }
}
