//! Numbers as Redis reads them: one spelling per value. No sign for zero, no plus, no leading
//! zero, no space, nothing beyond 64 bits.

/// The value of `text`, or `None` if it is not the one spelling of a 64-bit integer.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // Accumulated below zero, where there is room for i64::MIN.
    let mut value: i64 = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(byte - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn reads_one_spelling_per_value() {
        for value in [0, 1, -1, 9, 10, 1_048_576, i64::MAX, i64::MIN] {
            assert_eq!(integer(value.to_string().as_bytes()), Some(value));
        }
        let refused = [
            "",
            "-",
            "-0",
            "00",
            "01",
            "-01",
            "+1",
            " 1",
            "1 ",
            "1x",
            "x",
            "--1",
            "1\n",
            "1\0",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
        ];
        for text in refused {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
