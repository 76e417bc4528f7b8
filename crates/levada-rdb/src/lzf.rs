//! Unpacks LZF, in which Redis writes strings of more than 20 bytes unless told not to.
//!
//! ```text
//! 000lllll  bytes * (l + 1)                as they are
//! llloffff offfffff                        l + 2 bytes (l of 1 to 6) from o + 1 bytes back
//! 111ooooo llllllll oooooooo               l + 9 bytes from o + 1 bytes back
//! ```
//!
//! Source: the description of the format in `lzf_d.c` of `LibLZF`.

/// How long a string that is packed into `packed` bytes can be: three bytes name 264 at most.
pub(crate) fn len_max(packed: u64) -> u64 {
    packed.saturating_mul(264 / 3)
}

/// The string of `len` bytes that was packed, if it is that. `len` was bounded by the caller.
pub(crate) fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(len);
    let mut left = packed;
    while let Some((&control, rest)) = left.split_first() {
        let (high, low) = (usize::from(control >> 5), usize::from(control & 0x1F));
        if high == 0 {
            let (literal, rest) = rest.split_at_checked(low + 1)?;
            out.extend_from_slice(literal);
            left = rest;
        } else {
            let (run, rest) = match high {
                7 => rest.split_first().map(|(more, rest)| (usize::from(*more) + 9, rest))?,
                short => (short + 2, rest),
            };
            let (&offset, rest) = rest.split_first()?;
            let start = out.len().checked_sub((low << 8 | usize::from(offset)) + 1)?;
            if out.len() + run > len {
                return None;
            }
            // What is repeated may itself be part of what is being written.
            (start..start + run).for_each(|at| out.push(out[at]));
            left = rest;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_literals_short_and_long_repeats() {
        assert_eq!(unpack(b"\x02abc", 3), Some(b"abc".to_vec()));
        assert_eq!(unpack(b"\x02abc\x20\x02", 6), Some(b"abcabc".to_vec()));
        assert_eq!(unpack(b"\x00a\xE0\xFF\x00", 265), Some(vec![b'a'; 265]));
        assert_eq!(len_max(5), 440);
    }

    #[test]
    fn refuses_what_points_outside_or_has_another_length() {
        for (packed, len) in [
            (&b"\x02ab"[..], 3),
            (b"\x02abc", 2),
            (b"\x02abc", 4),
            (b"\x20\x00", 3),
            (b"\x02abc\x20\x03", 6),
            (b"\x00a\xE0\xFF", 265),
            (b"\x00a\xE0\xFF\x00", 200),
        ] {
            assert_eq!(unpack(packed, len), None, "{packed:?}");
        }
    }
}
