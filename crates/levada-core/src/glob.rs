//! Redis' glob patterns, as KEYS, SCAN, CONFIG GET and PSUBSCRIBE take them.
//!
//! `*` any bytes, `?` one byte, `[abc]`, `[a-z]`, `[^a]` one byte of a set, `\` the next byte as it
//! is. Time is at most pattern times text, space is constant: after a mismatch only the last `*` is
//! tried again, which is enough (CVE-2022-36021 and CVE-2024-31228 are about matchers that
//! recurse).

/// Whether the whole text matches.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: behind the last `*`, one byte further into the text.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(_), Some(byte)) => {
                if let Some(width) = matches_one(pattern.get(p..).unwrap_or_default(), *byte) {
                    p += width;
                    t += 1;
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((star, from)) if from < text.len() => {
                retry = Some((star, from + 1));
                (p, t) = (star, from + 1);
            }
            _ => return false,
        }
    }
}

/// How long the first element of a pattern is, if it matches a byte.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', set @ ..] => matches_set(set, byte).map(|width| width + 1),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// The same for what follows a `[`; an unclosed set ends with the pattern.
fn matches_set(set: &[u8], byte: u8) -> Option<usize> {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match set.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_redis_does() {
        let check = |pattern: &str, text: &str, expect: bool| {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} {text}");
        };
        for (pattern, text) in [
            ("*", ""),
            ("", ""),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h*llo*", "hllo"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("a*b*c", "aXXbYYbZc"),
            ("[a", "a"),
        ] {
            check(pattern, text, true);
        }
        for (pattern, text) in [
            ("", "a"),
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("a*b", "ac"),
            ("\\*", "a"),
            ("?", ""),
        ] {
            check(pattern, text, false);
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let text = [b'a'; 2000];
        let mut pattern = alloc::vec![];
        for _ in 0..500 {
            pattern.extend_from_slice(b"*a");
        }
        pattern.push(b'b');
        assert!(!matches(&pattern, &text));
    }
}
