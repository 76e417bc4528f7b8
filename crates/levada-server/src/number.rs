//! Numbers in arguments, as strict as Redis reads them: no sign but `-`, no spaces, no zeros in
//! front, so that one number has one spelling.

/// A signed decimal number.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    digits.iter().try_fold(0_i64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        let sum = sum.checked_mul(10)?;
        // Summed on the negative side, where the smallest number has room.
        if negative { sum.checked_sub(i64::from(digit)) } else { sum.checked_add(i64::from(digit)) }
    })
}

/// A number of bytes with an optional unit: `4096`, `4kb`, `1g`; `k` is 1000, `kb` is 1024.
pub(crate) fn parse_bytes(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = text.split_at(digits);
    let unit = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" | b"kib" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" | b"mib" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" | b"gib" => 1_u64 << 30,
        _ => return None,
    };
    levada_core::id::parse_u64(digits)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        let check = |text: &str, expect: Option<i64>| {
            assert_eq!(parse_i64(text.as_bytes()), expect, "{text}");
        };
        check("0", Some(0));
        check("-1", Some(-1));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        check("9223372036854775808", None);
        for bad in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1a", "99999999999999999999"] {
            check(bad, None);
        }
    }

    #[test]
    fn bytes_have_units() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(parse_bytes(text.as_bytes()), expect, "{text}");
        };
        check("4096", Some(4096));
        check("4k", Some(4000));
        check("4KB", Some(4096));
        check("128MiB", Some(128 << 20));
        check("1gb", Some(1 << 30));
        for bad in ["", "x", "-1", "1tb", "99999999999gb"] {
            check(bad, None);
        }
    }
}
