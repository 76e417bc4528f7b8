//! Where bytes come from: a slice in memory, or a reader of a file. Both check every length that is
//! announced before they set memory aside for it.

use std::io::{self, BufRead, BufReader, Read};

use crate::{
    checksum,
    error::{Error, Result},
    lzf,
    number::Text,
};

/// Memory that a file's string gets before its bytes were seen.
const TRUST_BYTES: u64 = 1 << 20;

/// A length, or what stands in its place.
pub(crate) enum Length {
    /// So many.
    Plain(u64),
    /// A string in a special form: its number.
    Special(u8),
}

/// Bytes in order.
pub(crate) trait Source {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]) -> Result<()>;

    /// The next `len` bytes.
    fn take(&mut self, len: u64) -> Result<Vec<u8>>;

    /// Passes over `len` bytes.
    fn skip(&mut self, len: u64) -> Result<()>;

    /// Says that `len` bytes would be unpacked; an error where that is too much.
    fn admit(&mut self, len: u64) -> Result<()>;

    /// One byte.
    fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Some bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    /// A length or a special form.
    ///
    /// ```text
    /// 00llllll                length, 6 bits
    /// 01llllll llllllll       length, 14 bits
    /// 10000000 u32 be         length
    /// 10000001 u64 be         length
    /// 11nnnnnn                special form n
    /// ```
    fn length(&mut self) -> Result<Length> {
        let first = self.u8()?;
        Ok(Length::Plain(match first {
            0x00..=0x3F => u64::from(first),
            0x40..=0x7F => u64::from(first & 0x3F) << 8 | u64::from(self.u8()?),
            0x80 => u64::from(u32::from_be_bytes(self.array()?)),
            0x81 => u64::from_be_bytes(self.array()?),
            0xC0.. => return Ok(Length::Special(first & 0x3F)),
            _ => return Err(Error::Corrupt("a length has an unknown form")),
        }))
    }

    /// A length, which may not be a special form.
    fn plain(&mut self) -> Result<u64> {
        match self.length()? {
            Length::Plain(length) => Ok(length),
            Length::Special(_) => Err(Error::Corrupt("a string stands for a length")),
        }
    }

    /// A string.
    ///
    /// ```text
    /// length bytes | 11000000 i8 | 11000001 i16 le | 11000010 i32 le
    /// 11000011 length packed, length unpacked, bytes packed with LZF
    /// ```
    fn string(&mut self) -> Result<Vec<u8>> {
        match self.length()? {
            Length::Plain(len) => self.take(len),
            Length::Special(0) => Ok(digits(i64::from(i8::from_le_bytes(self.array()?)))),
            Length::Special(1) => Ok(digits(i64::from(i16::from_le_bytes(self.array()?)))),
            Length::Special(2) => Ok(digits(i64::from(i32::from_le_bytes(self.array()?)))),
            Length::Special(3) => {
                let (packed, len) = (self.plain()?, self.plain()?);
                if len > lzf::len_max(packed) {
                    return Err(Error::Corrupt("a packed string cannot be as long as it says"));
                }
                self.admit(len)?;
                let packed = self.take(packed)?;
                let len = usize::try_from(len).map_err(|_| Error::Truncated)?;
                lzf::unpack(&packed, len).ok_or(Error::Corrupt("a packed string is malformed"))
            }
            Length::Special(_) => Err(Error::Corrupt("a string has an unknown form")),
        }
    }

    /// Passes over a string.
    fn skip_string(&mut self) -> Result<()> {
        match self.length()? {
            Length::Plain(len) => self.skip(len),
            Length::Special(form @ 0..=2) => self.skip(1 << form),
            Length::Special(3) => {
                let packed = self.plain()?;
                self.plain()?;
                self.skip(packed)
            }
            Length::Special(_) => Err(Error::Corrupt("a string has an unknown form")),
        }
    }

    /// Unix milliseconds, which do not go below 0.
    fn time_ms(&mut self) -> Result<u64> {
        Ok(u64::try_from(i64::from_le_bytes(self.array()?)).unwrap_or(0))
    }
}

fn digits(number: i64) -> Vec<u8> {
    Text::of(number).to_vec()
}

/// Bytes in memory.
pub(crate) struct Slice<'a> {
    left: &'a [u8],
    /// Bytes that may yet be unpacked.
    unpack_left: u64,
    unpack_max: u64,
}

impl<'a> Slice<'a> {
    /// Reads `bytes`, of which at most `unpack_max` are unpacked in all.
    pub(crate) fn new(bytes: &'a [u8], unpack_max: u64) -> Self {
        Self { left: bytes, unpack_left: unpack_max, unpack_max }
    }

    /// Whether all was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }

    fn advance(&mut self, len: u64) -> Result<&'a [u8]> {
        let len = usize::try_from(len).map_err(|_| Error::Truncated)?;
        let (taken, left) = self.left.split_at_checked(len).ok_or(Error::Truncated)?;
        self.left = left;
        Ok(taken)
    }
}

impl Source for Slice<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        out.copy_from_slice(self.advance(out.len() as u64)?);
        Ok(())
    }

    fn take(&mut self, len: u64) -> Result<Vec<u8>> {
        Ok(self.advance(len)?.to_vec())
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        self.advance(len).map(drop)
    }

    fn admit(&mut self, len: u64) -> Result<()> {
        let too_large = Error::TooLarge { bytes: len, bytes_max: self.unpack_max };
        self.unpack_left = self.unpack_left.checked_sub(len).ok_or(too_large)?;
        Ok(())
    }
}

/// Bytes of a file, summed as they pass.
pub(crate) struct Stream<R> {
    input: BufReader<R>,
    sum: checksum::Running,
    /// Longest string, packed or not.
    string_bytes_max: u64,
}

impl<R: Read> Stream<R> {
    /// Reads `input` with a buffer of 64 KiB.
    pub(crate) fn new(input: R, string_bytes_max: u64) -> Self {
        let input = BufReader::with_capacity(64 << 10, input);
        Self { input, sum: checksum::Running::default(), string_bytes_max }
    }

    /// The checksum of all that was read.
    pub(crate) fn checksum(&self) -> u64 {
        self.sum.value()
    }
}

impl<R: Read> Source for Stream<R> {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self.input.read_exact(out)?;
        self.sum.add(out);
        Ok(())
    }

    fn take(&mut self, len: u64) -> Result<Vec<u8>> {
        self.admit(len)?;
        let trust = usize::try_from(len.min(TRUST_BYTES)).unwrap_or(0);
        let mut out = Vec::with_capacity(trust);
        let read = (&mut self.input).take(len).read_to_end(&mut out)?;
        if (read as u64) < len {
            return Err(Error::Truncated);
        }
        self.sum.add(&out);
        Ok(out)
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        let mut left = len;
        while left > 0 {
            let held = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                held => held?,
            };
            if held.is_empty() {
                return Err(Error::Truncated);
            }
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(held.len());
            self.sum.add(&held[..step]);
            self.input.consume(step);
            left -= step as u64;
        }
        Ok(())
    }

    fn admit(&mut self, len: u64) -> Result<()> {
        let bytes_max = self.string_bytes_max;
        (len <= bytes_max).then_some(()).ok_or(Error::TooLarge { bytes: len, bytes_max })
    }
}
