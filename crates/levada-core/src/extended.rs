//! Sums of INCRBYFLOAT: the 80-bit floating point numbers that Redis adds with, in integers.
//!
//! Redis computes in the `long double` of x86: 64 bits of mantissa, 15 of exponent. Its replies
//! show 17 decimals of the sum, so a sum in 64-bit floats would differ. Here everything is
//! integers, rounded to nearest, ties to even: the same on every machine, as replay asks.

use core::fmt::Write as _;

use alloc::{format, string::String, vec, vec::Vec};

/// Longest text that is read as a number, in bytes.
const TEXT_BYTES_MAX: usize = 5119;
/// Exponent of the last bit of the smallest number, and of the largest ones.
const EXPONENT_MIN: i32 = -16_445;
const EXPONENT_MAX: i32 = 16_320;
/// Powers of ten beyond which every number with so few digits is too large, or nothing.
const POWER_MAX: i64 = 10_200;

/// A number, or an infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extended {
    negative: bool,
    size: Size,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Size {
    Infinite,
    /// This many times two to the power of that.
    Finite(u64, i32),
}

impl Extended {
    /// Zero.
    pub const ZERO: Self = Self { negative: false, size: Size::Finite(0, EXPONENT_MIN) };

    /// Reads what `strtold` reads whole: decimal or hexadecimal with or without exponent, `inf`.
    /// `None` where it is anything else, too large, or too small to be told from zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest.strip_prefix(b"+").unwrap_or(rest)),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, size: Size::Infinite });
        }
        let hexadecimal = text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"0x"));
        let digits = match hexadecimal {
            true => Digits::parse(&text[2..], 16, b'p')?,
            false => Digits::parse(text, 10, b'e')?,
        };
        let is_zero = digits.number.is_empty();
        let size = digits.size(hexadecimal);
        let lost = size == Size::Finite(0, EXPONENT_MIN) && !is_zero;
        (size != Size::Infinite && !lost).then_some(Self { negative, size })
    }

    /// The sum; `None` where there is no finite one.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (Size::Finite(a, a_exponent), Size::Finite(b, b_exponent)) = (self.size, other.size)
        else {
            return None;
        };
        // The larger exponent first, and its bits as far up as leaves room for a carry.
        let (large, small) = if (a_exponent, a) >= (b_exponent, b) {
            ((self.negative, a, a_exponent), (other.negative, b, b_exponent))
        } else {
            ((other.negative, b, b_exponent), (self.negative, a, a_exponent))
        };
        let apart = large.2.abs_diff(small.2);
        let up = apart.min(62);
        let left = u128::from(large.1) << up;
        let right = shift_right_sticky(u128::from(small.1), apart - up);
        let exponent = large.2 - i32::try_from(up).expect("at most 62");
        let (negative, sum) = match large.0 == small.0 {
            true => (large.0, left + right),
            false if left >= right => (large.0, left - right),
            false => (small.0, right - left),
        };
        let size = round(sum, exponent);
        (size != Size::Infinite).then_some(Self { negative, size })
    }

    /// Decimal digits, at most 17 behind the point, without zeros at the end.
    pub fn to_decimal(self) -> Vec<u8> {
        let Size::Finite(mantissa, exponent) = self.size else {
            return if self.negative { b"-inf".to_vec() } else { b"inf".to_vec() };
        };
        let mut digits = if exponent > 0 {
            let mut digits = decimal_shifted(mantissa, exponent.unsigned_abs());
            digits.extend_from_slice(&[b'0'; DECIMALS]);
            digits
        } else {
            let scaled = u128::from(mantissa) * 10_u128.pow(17);
            let scaled = shift_right_to_even(scaled, exponent.unsigned_abs());
            format!("{scaled:018}").into_bytes()
        };
        let point = digits.len() - DECIMALS;
        digits.insert(point, b'.');
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.last() == Some(&b'.') {
            digits.pop();
        }
        if self.negative && digits != b"0" {
            digits.insert(0, b'-');
        }
        digits
    }
}

/// Digits behind the point.
const DECIMALS: usize = 17;

/// A whole number without bound, in words, lowest first; none of them for zero.
type Big = Vec<u32>;

/// A number as it is spelled: a whole number times a power.
struct Digits {
    number: Big,
    /// Of ten, or of two where the digits are hexadecimal.
    power: i64,
}

impl Digits {
    fn parse(text: &[u8], base: u32, mark: u8) -> Option<Self> {
        let per_digit = if base == 16 { 4 } else { 1 };
        let (mut number, mut power, mut seen, mut point) = (Big::new(), 0, false, false);
        let mut rest = text;
        while let [byte, more @ ..] = rest {
            match char::from(*byte).to_digit(base) {
                Some(digit) => {
                    multiply_add(&mut number, base, digit);
                    power -= if point { per_digit } else { 0 };
                    seen = true;
                }
                None if *byte == b'.' && !point => point = true,
                None => break,
            }
            rest = more;
        }
        if let [byte, exponent @ ..] = rest {
            let (sign, digits) = match exponent {
                [b'-', digits @ ..] => (-1, digits),
                digits => (1, digits.strip_prefix(b"+").unwrap_or(digits)),
            };
            if !byte.eq_ignore_ascii_case(&mark) || digits.is_empty() {
                return None;
            }
            let add = |sum: i64, byte: &u8| {
                let digit = char::from(*byte).to_digit(10)?;
                Some(sum.saturating_mul(10).saturating_add(digit.into()).min(1 << 30))
            };
            power += sign * digits.iter().try_fold(0, add)?;
        }
        seen.then_some(Self { number, power })
    }

    fn size(self, hexadecimal: bool) -> Size {
        let limit = if hexadecimal { 1 << 17 } else { POWER_MAX };
        let power = i32::try_from(self.power.clamp(-limit, limit)).expect("clamped");
        if self.number.is_empty() {
            Size::Finite(0, EXPONENT_MIN)
        } else if hexadecimal {
            quotient(self.number, vec![1], power)
        } else if power > 0 {
            quotient(times_ten(self.number, power.unsigned_abs()), vec![1], 0)
        } else {
            quotient(self.number, times_ten(vec![1], power.unsigned_abs()), 0)
        }
    }
}

/// Rounds `number / divisor * 2^power`; neither is zero.
fn quotient(mut number: Big, mut divisor: Big, power: i32) -> Size {
    // With as many bits in both, 67 bits of the quotient follow from comparing and doubling.
    let (bits, divisor_bits) = (bit_length(&number), bit_length(&divisor));
    if bits < divisor_bits {
        shift_left(&mut number, divisor_bits - bits);
    } else {
        shift_left(&mut divisor, bits - divisor_bits);
    }
    let mut result = 0_u128;
    for _ in 0..68 {
        result <<= 1;
        if !is_less(&number, &divisor) {
            subtract(&mut number, &divisor);
            result |= 1;
        }
        shift_left(&mut number, 1);
    }
    let inexact = number.iter().any(|word| *word > 0);
    let apart = i64::from(bits) - i64::from(divisor_bits);
    let exponent = i32::try_from(apart - 68).expect("bits of a short text") + power;
    round(result << 1 | u128::from(inexact), exponent)
}

/// The nearest number to `value * 2^exponent`; of two, the even one.
fn round(value: u128, exponent: i32) -> Size {
    let bits = i64::from(u128::BITS - value.leading_zeros());
    let below = i64::from(EXPONENT_MIN) - i64::from(exponent);
    // Bits to drop; of a short number none, it moves up as far as there are exponents.
    let drop = (bits - 64).max(below);
    let rounded = match u32::try_from(drop) {
        Ok(drop) => shift_right_to_even(value, drop),
        Err(_) => value << drop.unsigned_abs(),
    };
    let exponent = i64::from(exponent) + drop;
    let (mantissa, exponent) = match u64::try_from(rounded) {
        Ok(mantissa) => (mantissa, exponent),
        Err(_) => (1 << 63, exponent + 1),
    };
    match i32::try_from(exponent) {
        _ if mantissa == 0 => Size::Finite(0, EXPONENT_MIN),
        Ok(exponent) if exponent <= EXPONENT_MAX => Size::Finite(mantissa, exponent),
        _ => Size::Infinite,
    }
}

fn shift_right_to_even(value: u128, by: u32) -> u128 {
    if by == 0 {
        return value;
    }
    let (kept, half) = (value.checked_shr(by).unwrap_or(0), value.checked_shr(by - 1).unwrap_or(0));
    let exact_half = value.trailing_zeros() == by - 1;
    kept + u128::from(half & 1 == 1 && (!exact_half || kept & 1 == 1))
}

/// What is shifted out leaves its trace in the last bit.
fn shift_right_sticky(value: u128, by: u32) -> u128 {
    let kept = value.checked_shr(by).unwrap_or(0);
    kept | u128::from(value.trailing_zeros() < by && value > 0)
}

/// Decimal digits of `mantissa * 2^power`.
fn decimal_shifted(mantissa: u64, power: u32) -> Vec<u8> {
    const BASE: u64 = 1_000_000_000;
    let mut words = Vec::new();
    let mut rest = mantissa;
    while rest > 0 {
        words.push(rest % BASE);
        rest /= BASE;
    }
    let mut left = power;
    while left > 0 {
        let step = left.min(29);
        let mut carry = 0;
        for word in &mut words {
            carry += *word << step;
            *word = carry % BASE;
            carry /= BASE;
        }
        words.extend((carry > 0).then_some(carry));
        left -= step;
    }
    let mut digits = String::new();
    for (at, word) in words.iter().rev().enumerate() {
        let width = if at == 0 { 0 } else { 9 };
        let _ = write!(digits, "{word:0width$}");
    }
    digits.into_bytes()
}

fn times_ten(mut number: Big, times: u32) -> Big {
    (0..times / 9).for_each(|_| multiply_add(&mut number, 1_000_000_000, 0));
    (0..times % 9).for_each(|_| multiply_add(&mut number, 10, 0));
    number
}

fn multiply_add(number: &mut Big, factor: u32, addend: u32) {
    let mut carry = u64::from(addend);
    for word in number.iter_mut() {
        carry += u64::from(*word) * u64::from(factor);
        *word = low(carry);
        carry >>= 32;
    }
    number.extend((carry > 0).then(|| low(carry)));
}

fn low(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).expect("32 bits")
}

fn bit_length(number: &Big) -> u32 {
    let words = u32::try_from(number.len()).expect("from a short text");
    words * 32 - number.last().map_or(0, |word| word.leading_zeros())
}

fn shift_left(number: &mut Big, by: u32) {
    if !by.is_multiple_of(32) {
        multiply_add(number, 1 << (by % 32), 0);
    }
    let words = vec![0; (by / 32) as usize];
    number.splice(..0, words);
}

fn is_less(number: &Big, other: &Big) -> bool {
    let length = number.len().max(other.len());
    let word = |number: &Big, at: usize| number.get(at).copied().unwrap_or(0);
    let differs = (0..length).rev().find(|at| word(number, *at) != word(other, *at));
    differs.is_some_and(|at| word(number, at) < word(other, at))
}

/// Takes a number away that is not larger.
fn subtract(number: &mut Big, other: &Big) {
    let mut borrow = false;
    for (at, word) in number.iter_mut().enumerate() {
        let (less, first) = word.overflowing_sub(other.get(at).copied().unwrap_or(0));
        let (less, second) = less.overflowing_sub(u32::from(borrow));
        (*word, borrow) = (less, first || second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn sum(a: &str, b: &str) -> Option<String> {
        let sum = Extended::parse(a.as_bytes())?.checked_add(Extended::parse(b.as_bytes())?)?;
        Some(String::from_utf8(sum.to_decimal()).expect("digits"))
    }

    #[test]
    fn adds_as_an_x86_does() {
        let check = |a: &str, b: &str, expect: &str| {
            assert_eq!(sum(a, b).as_deref(), Some(expect), "{a} + {b}");
            assert_eq!(sum(b, a).as_deref(), Some(expect), "{b} + {a}");
        };
        check("0", "10.5", "10.5");
        check("10.5", "0.1", "10.6");
        check("5.0e3", "2.0e2", "5200");
        check("0.1", "0.2", "0.3");
        check("3", "-3.0", "0");
        check("-0", "-1e-20", "0");
        check("1", "1.1e-17", "1.00000000000000001");
        check("9223372036854775807", "1", "9223372036854775808");
        check("18446744073709551615", "1", "18446744073709551616");
        check("18446744073709551616", "1", "18446744073709551616");
        check("18446744073709551618", "1", "18446744073709551620");
        // A half is a tie only if nothing stands behind it, however far behind.
        check("18446744073709551616", "0x1.0000000000000002p0", "18446744073709551618");
        check("0x1.8p1", "-.5", "2.5");
        check("1e30", "-1", "1000000000000000000024696061952");
        check("1e4932", "-1e4932", "0");
    }

    #[test]
    fn knows_its_bounds() {
        let check = |a: &str, b: &str, expect: Option<&str>| {
            assert_eq!(sum(a, b).as_deref(), expect, "{a} + {b}");
        };
        check("inf", "1", None);
        check("1.1e4932", "1e4932", None);
        check("1e4933", "1", None);
        check("3e-4951", "0", Some("0"));
        check("1e-4951", "0", None);
        check("1e-4970", "0", None);
        check("0e99999999999999999999", "1", Some("1"));
        for bad in
            ["", "-", ".", "1 ", " 1", "1e", "1e+", "1e+-1", "nan", "0x", "0xp1", "1x", "--1"]
        {
            check(bad, "1", None);
        }
        let long = "1".repeat(TEXT_BYTES_MAX + 1);
        check(&long, "1", None);
        check(&long[1..], "1", None);
        let zeros = ["0".repeat(5000), "1".to_string()].concat();
        check(&zeros, "1", Some("2"));
        let longest = ["0".repeat(TEXT_BYTES_MAX - 1), "1".to_string()].concat();
        check(&longest, "1", Some("2"));
    }
}
