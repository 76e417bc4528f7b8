//! The checkpoint file: pieces of the state, appended as they change.
//!
//! A checkpoint appends frames; the manifest then names the new valid length and the checksum of
//! the last frame. Frames form a chain from the beginning of the file, each with the checksum of
//! the one before, without a gap: a lost, stale or foreign frame breaks it. A whole checkpoint
//! begins a new file.
//!
//! ```text
//!  0  u32  magic "LVC1"
//!  4  u32  version
//!  8  u32  crc32c over bytes 0..8, 12..48, the bytes, file number (u64), offset (u64)
//! 12  u32  crc of the frame before (0 in the first)
//! 16  u64  lsn of the checkpoint
//! 24  u64  object
//! 32  u64  part
//! 40  u32  length of the bytes
//! 44  u8   change: 0 put, 1 extend, 2 remove, 3 remove object, 255 filler
//! 45  u8   kind
//! 46  u16  zero
//! 48       bytes
//! ```
//!
//! A filler ends each checkpoint at a page, so that the next one does not write to a page that the
//! manifest already covers.

use std::collections::{BTreeMap, VecDeque};

use super::{
    format::{self, PAGE, VERSION, checksum, page_up, put, u32_at, u64_at},
    io::{Io, Purpose},
};
use crate::{
    disk::{Buffer, Disk, FileId, Open, Operation, PAGE_BYTES},
    error::{Error, ErrorKind},
    store::{Lsn, PieceChange, PieceId},
};

/// The directory of checkpoints.
pub(super) const DIRECTORY: &str = "checkpoint";
const MAGIC: u32 = u32::from_le_bytes(*b"LVC1");
/// Bytes before those of a piece.
pub(super) const HEADER: usize = 48;
/// Where their length stands.
pub(super) const LEN_AT: usize = 40;
/// Bytes gathered before they are written.
const CHUNK: usize = 256 << 10;
/// Persisted numbers of changes, never to be renumbered.
const PUT: u8 = 0;
const EXTEND: u8 = 1;
const REMOVE: u8 = 2;
const REMOVE_OBJECT: u8 = 3;
const FILLER: u8 = 255;

/// A checkpoint file as the manifest names it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct CheckpointFile {
    /// Its number; 0 for none.
    pub(super) number: u64,
    /// Bytes that are valid.
    pub(super) len: u64,
    /// Length after the last whole checkpoint.
    pub(super) whole_len: u64,
    /// Checksum of the last frame.
    pub(super) crc: u32,
}

/// Pieces by name, with everything that was said about them applied in order.
pub(super) type Pieces = BTreeMap<PieceId, Vec<u8>>;

/// The path of a checkpoint file.
pub(super) fn path(number: u64) -> String {
    format!("{DIRECTORY}/{number:016x}.ckp")
}

/// The number of a checkpoint file, from its name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".ckp").and_then(format::parse_number)
}

/// Frames on their way to the file.
#[derive(Debug)]
pub(super) struct Writer {
    file: FileId,
    /// The file as it will be.
    to: CheckpointFile,
    lsn: Lsn,
    /// What is not handed to the disk, from the beginning of a page on.
    chunk: Vec<u8>,
    /// What is, in the order in which it was.
    in_flight: VecDeque<Buffer>,
    /// Bytes that are written, for their memory.
    last: Option<Buffer>,
}

impl Writer {
    /// Begins a checkpoint at `lsn` behind what is valid in `base`, or in a new file `number`.
    pub(super) fn begin<D: Disk>(
        io: &mut Io<D>,
        base: CheckpointFile,
        whole: Option<u64>,
        lsn: Lsn,
    ) -> Result<Self, Error> {
        let (to, how) = match whole {
            None => (base, Open::Existing),
            Some(number) => {
                let to = CheckpointFile { number, ..CheckpointFile::default() };
                (to, Open::New)
            }
        };
        assert!(to.len.is_multiple_of(PAGE), "a checkpoint begins where one ended: at a page");
        Ok(Self {
            file: io.open(&path(to.number), how)?,
            to,
            lsn,
            chunk: Vec::new(),
            in_flight: VecDeque::new(),
            last: None,
        })
    }

    /// Appends a piece.
    pub(super) fn piece<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        id: PieceId,
        change: PieceChange,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let change = match change {
            PieceChange::Put => PUT,
            PieceChange::Extend => EXTEND,
            PieceChange::Remove => REMOVE,
            PieceChange::RemoveObject => REMOVE_OBJECT,
        };
        self.frame(id, change, bytes)?;
        if self.chunk.len() >= CHUNK {
            self.flush(io);
        }
        Ok(())
    }

    /// Bytes not yet written.
    pub(super) fn backlog_bytes(&self) -> usize {
        self.chunk.len() + self.in_flight.iter().map(Buffer::len).sum::<usize>()
    }

    /// All pieces are there: pads the file and begins the last write.
    pub(super) fn end<D: Disk>(&mut self, io: &mut Io<D>, whole: bool) -> Result<(), Error> {
        let at = self.to.len + self.chunk.len() as u64;
        let filler = page_up(at + HEADER as u64) - at - HEADER as u64;
        let filler = vec![0; usize::try_from(filler).expect("below a page")];
        let nobody = PieceId { object: 0, kind: 0, part: 0 };
        self.frame(nobody, FILLER, &filler)?;
        self.flush(io);
        if whole {
            self.to.whole_len = self.to.len;
        }
        Ok(())
    }

    /// A write has ended.
    pub(super) fn written(&mut self) {
        self.last = self.in_flight.pop_front();
    }

    /// The file, and as what the manifest will name it.
    pub(super) fn file(&self) -> (FileId, CheckpointFile) {
        (self.file, self.to)
    }

    fn frame(&mut self, id: PieceId, change: u8, bytes: &[u8]) -> Result<(), Error> {
        let len = u32::try_from(bytes.len()).map_err(|_| {
            Error::new(ErrorKind::Invalid, "a piece of a checkpoint must be below 4 GiB")
        })?;
        let mut header = [0; HEADER];
        put(&mut header, 0, &MAGIC.to_le_bytes());
        put(&mut header, 4, &VERSION.to_le_bytes());
        put(&mut header, 12, &self.to.crc.to_le_bytes());
        put(&mut header, 16, &self.lsn.to_le_bytes());
        put(&mut header, 24, &id.object.to_le_bytes());
        put(&mut header, 32, &id.part.to_le_bytes());
        put(&mut header, LEN_AT, &len.to_le_bytes());
        put(&mut header, 44, &[change, id.kind]);
        let offset = self.to.len + self.chunk.len() as u64;
        self.to.crc = crc_of(&header, bytes, self.to.number, offset);
        put(&mut header, 8, &self.to.crc.to_le_bytes());
        self.chunk.extend_from_slice(&header);
        self.chunk.extend_from_slice(bytes);
        Ok(())
    }

    /// Hands whole pages to the disk, which go past the system's cache: only a backup, and the next
    /// start, read them. The end of a checkpoint is the end of a page.
    fn flush<D: Disk>(&mut self, io: &mut Io<D>) {
        let len = self.chunk.len() / PAGE_BYTES * PAGE_BYTES;
        let mut bytes = Buffer::pages(len, self.last.take());
        let pages = self.chunk.drain(..len);
        bytes.get_mut().expect("nobody else has it yet").copy_from_slice(pages.as_slice());
        drop(pages);
        self.in_flight.push_back(bytes.clone());
        let write = Operation::Write { file: self.file, offset: self.to.len, bytes };
        self.to.len += len as u64;
        io.begin(write, Purpose::CheckpointWrite);
    }
}

/// Reads what the manifest names.
pub(super) fn read<D: Disk>(io: &mut Io<D>, named: CheckpointFile) -> Result<Pieces, Error> {
    let mut pieces = Pieces::new();
    if named.number == 0 {
        return Ok(pieces);
    }
    let path = path(named.number);
    let file = io.open(&path, Open::Existing)?;
    let mut reader =
        FrameReader { file, path: &path, named, at: 0, crc: 0, buffer: Vec::new(), buffer_at: 0 };
    let read = reader.all(io, &mut pieces);
    io.close(file);
    read.map(|()| pieces)
}

/// A cursor over the frames of a file.
struct FrameReader<'a> {
    file: FileId,
    path: &'a str,
    named: CheckpointFile,
    at: u64,
    crc: u32,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer.
    buffer_at: u64,
}

impl FrameReader<'_> {
    fn all<D: Disk>(&mut self, io: &mut Io<D>, pieces: &mut Pieces) -> Result<(), Error> {
        while self.at < self.named.len {
            self.next(io, pieces)?;
        }
        match self.crc == self.named.crc {
            true => Ok(()),
            false => Err(self.damaged("it does not end with the frame that the manifest names")),
        }
    }

    fn next<D: Disk>(&mut self, io: &mut Io<D>, pieces: &mut Pieces) -> Result<(), Error> {
        let wrong = "a frame fails its checksum";
        let header: [u8; HEADER] = self
            .bytes(io, self.at, HEADER)?
            .and_then(|bytes| bytes.first_chunk().copied())
            .ok_or_else(|| self.damaged(wrong))?;
        let read_u32 = |at| u32_at(&header, at).expect("the header is whole");
        let (number, at, previous) = (self.named.number, self.at, self.crc);
        let len = usize::try_from(read_u32(LEN_AT)).map_err(|_| self.damaged(wrong))?;
        if read_u32(0) != MAGIC || read_u32(12) != previous {
            return Err(self.damaged(wrong));
        }
        let Some(bytes) = self.bytes(io, at + HEADER as u64, len)? else {
            return Err(self.damaged(wrong));
        };
        if crc_of(&header, bytes, number, at) != read_u32(8) {
            return Err(self.damaged(wrong));
        }
        if read_u32(4) != VERSION {
            return Err(format::newer(self.path, read_u32(4)));
        }
        let id = id_in(&header);
        if !apply(pieces, id, header[44], bytes) {
            return Err(format::newer(self.path, VERSION + 1));
        }
        self.crc = read_u32(8);
        self.at += (HEADER + len) as u64;
        Ok(())
    }

    /// Bytes of the valid part of the file, or `None` where it ends before.
    fn bytes<D: Disk>(
        &mut self,
        io: &mut Io<D>,
        at: u64,
        len: usize,
    ) -> Result<Option<&[u8]>, Error> {
        if at + len as u64 > self.named.len {
            return Ok(None);
        }
        let end = self.buffer_at + self.buffer.len() as u64;
        if at < self.buffer_at || at + len as u64 > end {
            self.buffer.resize(len.max(4 * CHUNK), 0);
            let read = io.read(self.file, self.path, at, &mut self.buffer)?;
            self.buffer.truncate(read);
            self.buffer_at = at;
        }
        let from = usize::try_from(at - self.buffer_at).expect("the buffer is in memory");
        Ok(self.buffer.get(from..from + len))
    }

    fn damaged(&self, what: &str) -> Error {
        format::damaged(self.path, self.at, what)
    }
}

/// The piece that a frame is about by what its header says, unchecked; `None` for a filler.
pub(super) fn piece_of(header: &[u8]) -> Option<PieceId> {
    let header: &[u8; HEADER] = header.first_chunk()?;
    (header[44] != FILLER).then(|| id_in(header))
}

fn id_in(header: &[u8; HEADER]) -> PieceId {
    let read = |at| u64_at(header, at).expect("the header is whole");
    PieceId { object: read(24), kind: header[45], part: read(32) }
}

/// Applies a change; false where there is no such change.
fn apply(pieces: &mut Pieces, id: PieceId, change: u8, bytes: &[u8]) -> bool {
    match change {
        PUT => {
            pieces.insert(id, bytes.to_vec());
        }
        EXTEND => pieces.entry(id).or_default().extend_from_slice(bytes),
        REMOVE => {
            pieces.remove(&id);
        }
        REMOVE_OBJECT => {
            let of = |kind, part| PieceId { object: id.object, kind, part };
            let all = of(0, 0)..=of(u8::MAX, u64::MAX);
            let gone: Vec<PieceId> = pieces.range(all).map(|(id, _)| *id).collect();
            for id in gone {
                pieces.remove(&id);
            }
        }
        FILLER => {}
        _ => return false,
    }
    true
}

fn crc_of(header: &[u8; HEADER], bytes: &[u8], number: u64, offset: u64) -> u32 {
    checksum(&[&header[..8], &header[12..], bytes, &number.to_le_bytes(), &offset.to_le_bytes()])
}

const _: () = assert!((HEADER as u64) < PAGE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_about_the_piece_that_its_header_names_and_a_filler_about_none() {
        let mut header = [0; HEADER];
        (header[24], header[32], header[44], header[45]) = (7, 9, PUT, 3);
        assert_eq!(piece_of(&header), Some(PieceId { object: 7, kind: 3, part: 9 }));
        assert_eq!(piece_of(&header[1..]), None, "cut short");
        header[44] = FILLER;
        assert_eq!(piece_of(&header), None);
    }
}
