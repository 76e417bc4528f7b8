//! The manifest: the one small file that says where everything else begins.
//!
//! It is replaced whole: written and synced under another name, renamed, the directory synced.
//! What it names is durable before, so that a crash at any point leaves one whole manifest. It
//! stands in the file twice, at byte 0 and at byte 4096: everything depends on these bytes, and one
//! damaged page must not take all streams with it.
//!
//! ```text
//!   0  u32  magic "LVM1"             64  u64  checkpoint file (0: none)
//!   4  u32  version                  72  u64  its valid length
//!   8  u32  crc32c over all else     80  u64  its length after the last whole checkpoint
//!  12  u32  length (136)             88  u32  crc of its last frame
//!  16  u32  shard                    92  u32  crc of batch L
//!  20  u32  zero                     96  u64  durable lsn when it was written
//!  24  u64  epoch                   104  u64  now_ms of batch L
//!  32  u64  L: the checkpoint's lsn 112  u64  next log file
//!  40  u64  log file behind L       120  u64  next segment file
//!  48  u64  offset behind L in it   128  u64  next checkpoint file
//!  56  u64  zero
//! ```

use std::sync::Arc;

use super::{
    checkpoint::CheckpointFile,
    format::{self, PAGE, VERSION, checksum, put, u32_at, u64_at},
    io::Io,
    log::{recovery::From, writer::Position},
};
use crate::{
    disk::{Disk, FileId, Open, Operation},
    error::Error,
    store::Lsn,
};

/// Its name in the data directory.
pub(super) const PATH: &str = "manifest";
/// Its name until it is whole.
pub(super) const TEMPORARY: &str = "manifest.tmp";
const MAGIC: u32 = u32::from_le_bytes(*b"LVM1");
const LEN: u32 = 136;
const LEN_BYTES: usize = LEN as usize;
/// Where the second copy begins.
const PAGE_BYTES: usize = 4096;
const _: () = assert!(PAGE_BYTES as u64 == PAGE);

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Manifest {
    pub(super) shard: u32,
    pub(super) epoch: u64,
    /// The end of the log at the checkpoint; its counters are not kept.
    pub(super) position: Position,
    pub(super) durable: Lsn,
    pub(super) checkpoint: CheckpointFile,
    pub(super) next_log: u64,
    pub(super) next_segment: u64,
    pub(super) next_checkpoint: u64,
}

impl Manifest {
    /// The bytes of a copy.
    pub(super) fn encode(&self) -> Arc<[u8]> {
        let mut out = [0; LEN_BYTES];
        put(&mut out, 0, &MAGIC.to_le_bytes());
        put(&mut out, 4, &VERSION.to_le_bytes());
        put(&mut out, 12, &LEN.to_le_bytes());
        put(&mut out, 16, &self.shard.to_le_bytes());
        put(&mut out, 24, &self.epoch.to_le_bytes());
        put(&mut out, 32, &self.position.lsn.to_le_bytes());
        put(&mut out, 40, &self.position.file.to_le_bytes());
        put(&mut out, 48, &self.position.offset.to_le_bytes());
        put(&mut out, 64, &self.checkpoint.number.to_le_bytes());
        put(&mut out, 72, &self.checkpoint.len.to_le_bytes());
        put(&mut out, 80, &self.checkpoint.whole_len.to_le_bytes());
        put(&mut out, 88, &self.checkpoint.crc.to_le_bytes());
        put(&mut out, 92, &self.position.crc.to_le_bytes());
        put(&mut out, 96, &self.durable.to_le_bytes());
        put(&mut out, 104, &self.position.now_ms.to_le_bytes());
        put(&mut out, 112, &self.next_log.to_le_bytes());
        put(&mut out, 120, &self.next_segment.to_le_bytes());
        put(&mut out, 128, &self.next_checkpoint.to_le_bytes());
        let crc = checksum(&[&out[..8], &out[12..]]);
        put(&mut out, 8, &crc.to_le_bytes());
        Arc::from(&out[..])
    }

    /// Reads what [`Manifest::encode`] wrote; something else may stand behind.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let damaged = || format::damaged(PATH, 0, "its checksum does not fit");
        let len = u32_at(bytes, 12).and_then(|len| usize::try_from(len).ok());
        let bytes = len.and_then(|len| bytes.get(..len)).ok_or_else(damaged)?;
        let sound = bytes.len() >= 16
            && u32_at(bytes, 0) == Some(MAGIC)
            && u32_at(bytes, 8) == Some(checksum(&[&bytes[..8], &bytes[12..]]));
        match u32_at(bytes, 4) {
            Some(VERSION) if sound => parse(bytes).ok_or_else(damaged),
            Some(version) if sound => Err(format::newer(PATH, version)),
            _ => Err(damaged()),
        }
    }

    /// Where reading the log begins.
    pub(super) fn log(&self) -> From {
        From {
            position: self.position,
            durable: self.durable,
            epoch: self.epoch,
            next_file: self.next_log,
        }
    }

    /// The manifest of a data directory, if it has one.
    pub(super) fn read<D: Disk>(io: &mut Io<D>) -> Result<Option<Self>, Error> {
        match Self::copies(io)? {
            None => Ok(None),
            Some([Ok(manifest), _] | [_, Ok(manifest)]) => Ok(Some(manifest)),
            Some([Err(error), _]) => Err(error),
        }
    }

    /// Both copies of the manifest, if there is one.
    pub(super) fn copies<D: Disk>(
        io: &mut Io<D>,
    ) -> Result<Option<[Result<Self, Error>; 2]>, Error> {
        if !io.list("")?.iter().any(|name| name == PATH) {
            return Ok(None);
        }
        let file = io.open(PATH, Open::Existing)?;
        let mut copy = |offset| {
            let mut bytes = vec![0; PAGE_BYTES];
            let read = io.read(file, PATH, offset, &mut bytes)?;
            Ok(Self::decode(&bytes[..read]).map_err(|error| error.at(PATH, offset)))
        };
        let copies = [copy(0), copy(PAGE)];
        io.close(file);
        let [first, second] = copies;
        Ok(Some([first?, second?]))
    }

    /// The write of the new manifest under its temporary name, and that file.
    pub(super) fn begin<D: Disk>(&self, io: &mut Io<D>) -> Result<(FileId, Operation), Error> {
        io.unlink(TEMPORARY)?;
        let file = io.open(TEMPORARY, Open::New)?;
        let copy = self.encode();
        let mut both = vec![0; PAGE_BYTES];
        both[..copy.len()].copy_from_slice(&copy);
        both.extend_from_slice(&copy);
        let write = Operation::WriteSync { file, offset: 0, bytes: both.into() };
        Ok((file, write))
    }

    /// Puts the new manifest, which is written and synced, in the place of the old one.
    pub(super) fn switch<D: Disk>(io: &mut Io<D>, file: FileId) -> Result<(), Error> {
        io.close(file);
        io.rename(TEMPORARY, PATH)?;
        io.sync_directory("")
    }
}

fn parse(bytes: &[u8]) -> Option<Manifest> {
    if bytes.len() != LEN_BYTES {
        return None;
    }
    Some(Manifest {
        shard: u32_at(bytes, 16)?,
        epoch: u64_at(bytes, 24)?,
        position: Position {
            lsn: u64_at(bytes, 32)?,
            file: u64_at(bytes, 40)?,
            offset: u64_at(bytes, 48)?,
            crc: u32_at(bytes, 92)?,
            now_ms: u64_at(bytes, 104)?,
            payload: 0,
            bytes: 0,
        },
        durable: u64_at(bytes, 96)?,
        checkpoint: CheckpointFile {
            number: u64_at(bytes, 64)?,
            len: u64_at(bytes, 72)?,
            whole_len: u64_at(bytes, 80)?,
            crc: u32_at(bytes, 88)?,
        },
        next_log: u64_at(bytes, 112)?,
        next_segment: u64_at(bytes, 120)?,
        next_checkpoint: u64_at(bytes, 128)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_noticed() {
        let manifest =
            Manifest { shard: 1, epoch: 2, durable: 99, next_segment: 7, ..Manifest::default() };
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes).expect("its own bytes"), manifest);
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {at}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = Manifest::default().encode().to_vec();
        put(&mut bytes, 4, &9u32.to_le_bytes());
        let crc = checksum(&[&bytes[..8], &bytes[12..]]);
        put(&mut bytes, 8, &crc.to_le_bytes());
        let error = Manifest::decode(&bytes).expect_err("not ours");
        assert!(error.message.contains("newer version"), "{error}");
    }
}
