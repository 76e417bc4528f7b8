//! Values of types that we do not have: their names, and how to pass over them.
//!
//! ```text
//!  1 list, 2 set        n, then n strings
//!  3 zset               n, then n * (string, score as text: u8 length, 253..255 are no text)
//!  4 hash               n, then n * (string, string)
//!  5 zset               n, then n * (string, f64 le)
//!  7 module             id, then (opcode, operand) *, 0; see `skip_module`
//!  9 hash (zipmap), 10 list (ziplist), 11 set (intset), 12 zset (ziplist), 13 hash (ziplist),
//! 16 hash (listpack), 17 zset (listpack), 20 set (listpack), 23 hash (listpack)     a string
//! 14 list               n, then n strings (ziplists)
//! 18 list               n, then n * (form, string)
//! 22 hash               n, then n * (expiry, string, string)
//! 24 hash               u64 le earliest expiry, then as 22
//! 25 hash               u64 le earliest expiry, string (listpack)
//! ```
//!
//! Source: `rdb.c` and `rdb.h` of Redis 8.6.3.

use crate::{
    error::{Error, Result},
    source::Source,
};

/// Passes over a value and answers the name of its type, as TYPE gives it.
pub(crate) fn skip(source: &mut impl Source, kind: u8) -> Result<&'static str> {
    match kind {
        1 | 2 | 14 => each(source, Source::skip_string)?,
        18 => each(source, |source| source.plain().and_then(|_| source.skip_string()))?,
        3 => each(source, |source| source.skip_string().and_then(|()| skip_score(source)))?,
        5 => each(source, |source| source.skip_string().and_then(|()| source.skip(8)))?,
        4 => each(source, |source| source.skip_string().and_then(|()| source.skip_string()))?,
        9..=13 | 16 | 17 | 20 | 23 => source.skip_string()?,
        22 => each(source, skip_expiring_field)?,
        24 => source.skip(8).and_then(|()| each(source, skip_expiring_field))?,
        25 => source.skip(8).and_then(|()| source.skip_string())?,
        7 => source.plain().and_then(|_| skip_module(source))?,
        _ => return Err(Error::UnknownType(kind)),
    }
    Ok(match kind {
        1 | 10 | 14 | 18 => "list",
        2 | 11 | 20 => "set",
        3 | 5 | 12 | 17 => "zset",
        7 => "module",
        _ => "hash",
    })
}

/// Passes over what a module wrote.
///
/// ```text
/// 0 end | 1 signed, 2 unsigned: a length | 3 f32 le | 4 f64 le | 5 string
/// ```
pub(crate) fn skip_module(source: &mut impl Source) -> Result<()> {
    loop {
        match source.plain()? {
            0 => return Ok(()),
            1 | 2 => source.plain().map(drop)?,
            3 => source.skip(4)?,
            4 => source.skip(8)?,
            5 => source.skip_string()?,
            _ => return Err(Error::Corrupt("a module has written an unknown opcode")),
        }
    }
}

fn each<S: Source>(source: &mut S, mut skip: impl FnMut(&mut S) -> Result<()>) -> Result<()> {
    for _ in 0..source.plain()? {
        skip(source)?;
    }
    Ok(())
}

/// A score as text; 253 is not a number, 254 and 255 are the infinities.
fn skip_score<S: Source>(source: &mut S) -> Result<()> {
    match source.u8()? {
        253..=255 => Ok(()),
        len => source.skip(u64::from(len)),
    }
}

fn skip_expiring_field<S: Source>(source: &mut S) -> Result<()> {
    source.plain()?;
    source.skip_string()?;
    source.skip_string()
}
