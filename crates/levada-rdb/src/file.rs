//! RDB files, key by key.
//!
//! ```text
//! "REDIS" and four digits: the version
//! then *:
//!   243 n, n * (u32 le class, module data)    key metadata, before the type of a key
//!   244 slot, keys, expiring keys             sizes
//!   245 string                                a function library
//!   247 module, 2, when, module data          module data beside the keys
//!   248 idle in s     249 u8 frequency        of the next key
//!   250 string string                         a fact about the file
//!   251 keys, expiring keys                   sizes
//!   252 i64 le ms     253 i32 le s            when the next key expires
//!   254 database                              of the next keys
//!   type, string: the key's name, value       a key
//! 255, and from version 5 on u64 le           checksum of all before, 0 where there is none
//! ```
//!
//! Source: `rdb.c` of Redis 8.6.3.

use std::io::Read;

use crate::{
    error::{Error, Result},
    kinds,
    model::{Group, Idmp, StreamIds},
    node::Node,
    payload,
    source::{Source, Stream},
    stream::{Part, Parts, kind},
};

/// The default of [`File::with_string_bytes_max`]: what Redis takes as a string unless told
/// otherwise.
pub const STRING_BYTES_MAX: u64 = 512 << 20;

mod opcode {
    pub(super) const KEY_META: u8 = 243;
    pub(super) const SLOT_INFO: u8 = 244;
    pub(super) const FUNCTION: u8 = 245;
    pub(super) const MODULE_AUX: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQ: u8 = 249;
    pub(super) const AUX: u8 = 250;
    pub(super) const RESIZE: u8 = 251;
    pub(super) const EXPIRES_MS: u8 = 252;
    pub(super) const EXPIRES_S: u8 = 253;
    pub(super) const SELECT: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// A key of a file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct FileKey {
    /// Its database.
    pub database: u64,
    /// Its name.
    pub name: Vec<u8>,
    /// When it expires, in unix milliseconds; perhaps in the past.
    pub expires_at_ms: Option<i64>,
}

/// What stands in a file. A stream comes in parts: [`Item::StreamBegin`], its nodes, its ids, its
/// groups, [`Item::StreamEnd`], in this order and with nothing else in between.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A string.
    Text(FileKey, Vec<u8>),
    /// A key whose type we do not have: its name as TYPE gives it, `module` for those. Its value
    /// was passed over.
    Unsupported(FileKey, &'static str),
    /// A stream begins.
    StreamBegin(FileKey),
    /// The next entries of the stream, about a hundred.
    Entries(Node),
    /// All entries were there: ids and counters of the stream.
    Ids(StreamIds),
    /// A group of the stream.
    Group(Group),
    /// The stream ends; what idempotent producers left with it, `None` in types before 26.
    StreamEnd(Option<Idmp>),
}

/// Reads a file: an iterator of [`Item`]s that ends behind the checksum or the first error.
///
/// Memory: a buffer of 64 KiB and what the last item holds: a string, a node of a stream (4 KiB
/// unless its server was set up otherwise), or a group (40 bytes for each pending entry). Bytes
/// behind the end of the file's data are left alone.
pub struct File<R> {
    source: Stream<R>,
    version: u32,
    database: u64,
    expires_at_ms: Option<i64>,
    stream: Option<Parts>,
    is_over: bool,
}

impl<R: Read> File<R> {
    /// Begins a file; fails where it is none, or of a version later than that of Redis 8.6.
    pub fn open(input: R) -> Result<Self> {
        Self::with_string_bytes_max(input, STRING_BYTES_MAX)
    }

    /// The same with another bound on the bytes of one string, name or node, unpacked.
    pub fn with_string_bytes_max(input: R, string_bytes_max: u64) -> Result<Self> {
        let mut source = Stream::new(input, string_bytes_max);
        let magic: [u8; 9] = source.array().map_err(|error| match error {
            Error::Truncated => Error::Magic,
            error => error,
        })?;
        let digits = magic.strip_prefix(b"REDIS").ok_or(Error::Magic)?;
        let version = digits.iter().try_fold(0, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
        });
        let version = version.ok_or(Error::Magic)?;
        if !(1..=u32::from(payload::VERSION)).contains(&version) {
            return Err(Error::Version(version));
        }
        let (database, expires_at_ms, stream, is_over) = (0, None, None, false);
        Ok(Self { source, version, database, expires_at_ms, stream, is_over })
    }

    /// The RDB version of the file.
    pub fn version(&self) -> u32 {
        self.version
    }

    fn read(&mut self) -> Result<Option<Item>> {
        if let Some(parts) = &mut self.stream {
            return Ok(Some(match parts.next(&mut self.source)? {
                Part::Node(node) => Item::Entries(node),
                Part::Ids(ids) => Item::Ids(ids),
                Part::Group(group) => Item::Group(group),
                Part::End(idmp) => {
                    self.stream = None;
                    Item::StreamEnd(idmp)
                }
            }));
        }
        loop {
            let code = self.source.u8()?;
            if code == opcode::END {
                return self.check_sum().map(|()| None);
            }
            if code < opcode::KEY_META {
                return self.key(code).map(Some);
            }
            self.opcode(code)?;
        }
    }

    /// What stands between keys.
    fn opcode(&mut self, code: u8) -> Result<()> {
        let source = &mut self.source;
        match code {
            opcode::SELECT => self.database = source.plain()?,
            opcode::EXPIRES_MS => self.expires_at_ms = Some(i64::from_le_bytes(source.array()?)),
            opcode::EXPIRES_S => {
                let seconds = i32::from_le_bytes(source.array()?);
                self.expires_at_ms = Some(i64::from(seconds) * 1000);
            }
            opcode::IDLE => source.plain().map(drop)?,
            opcode::FREQ => source.skip(1)?,
            opcode::AUX => {
                source.skip_string()?;
                source.skip_string()?;
            }
            opcode::RESIZE => {
                source.plain()?;
                source.plain()?;
            }
            opcode::SLOT_INFO => {
                source.plain()?;
                source.plain()?;
                source.plain()?;
            }
            opcode::FUNCTION => source.skip_string()?,
            opcode::MODULE_AUX => {
                source.plain()?;
                kinds::skip_module(source)?;
            }
            opcode::KEY_META => {
                for _ in 0..source.plain()? {
                    source.skip(4)?;
                    kinds::skip_module(source)?;
                }
            }
            unknown => return Err(Error::UnknownType(unknown)),
        }
        Ok(())
    }

    fn key(&mut self, code: u8) -> Result<Item> {
        let name = self.source.string()?;
        let expires_at_ms = self.expires_at_ms.take();
        let key = FileKey { database: self.database, name, expires_at_ms };
        Ok(match code {
            0 => Item::Text(key, self.source.string()?),
            code if kind::is_stream(code) => {
                self.stream = Some(Parts::new(code));
                Item::StreamBegin(key)
            }
            code => Item::Unsupported(key, kinds::skip(&mut self.source, code)?),
        })
    }

    fn check_sum(&mut self) -> Result<()> {
        if self.version < 5 {
            return Ok(());
        }
        let sum = self.source.checksum();
        let expected = u64::from_le_bytes(self.source.array()?);
        if expected == 0 || expected == sum { Ok(()) } else { Err(Error::Checksum) }
    }
}

impl<R: Read> Iterator for File<R> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        if self.is_over {
            return None;
        }
        let item = self.read().transpose();
        self.is_over = !matches!(item, Some(Ok(_)));
        item
    }
}
