//! What can be wrong with bytes that claim to be RDB.

use std::{fmt, io};

/// Why bytes could not be read as RDB.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// They end in the middle of something.
    Truncated,
    /// They break the format or an invariant of a stream: what, in a few words.
    Corrupt(&'static str),
    /// A payload whose trailer is of a later version, or whose checksum is another.
    Trailer,
    /// A file that does not begin as RDB files do.
    Magic,
    /// A file of a version that this codec does not know.
    Version(u32),
    /// A file whose checksum is another.
    Checksum,
    /// A type or opcode byte that this codec does not know, and so cannot skip.
    UnknownType(u8),
    /// Something is longer, once unpacked, than the caller allows: bytes, and the bound.
    TooLarge {
        /// How long it says it is.
        bytes: u64,
        /// How long it may be.
        bytes_max: u64,
    },
    /// The reader of a file failed.
    Io(io::Error),
}

/// What this crate's functions answer.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the data ends too early"),
            Self::Corrupt(what) => write!(f, "the data is damaged: {what}"),
            Self::Trailer => f.write_str("the version or the checksum of the payload is wrong"),
            Self::Magic => f.write_str("this is no RDB file"),
            Self::Version(version) => write!(f, "RDB version {version} is not known"),
            Self::Checksum => f.write_str("the checksum of the file is wrong"),
            Self::UnknownType(byte) => write!(f, "the type or opcode {byte} is not known"),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "a value of {bytes} bytes is longer than the {bytes_max} allowed")
            }
            Self::Io(error) => write!(f, "reading failed: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}
