//! The inspection: everything is read in the order of an opening, and goes on behind damage as far
//! as what is whole allows.

use std::collections::BTreeSet;

use levada_core::{
    block::Block,
    effect,
    group::{Group, NOBODY},
    id::StreamId,
    keyspace::{KeyNumber, Value},
    machine::{Applied, At, Machine},
    snapshot,
    stream::Stream,
};

use super::{
    super::{
        blocks::{BlockKey, Blocks, Unsound},
        checkpoint,
        io::Io,
        log::{
            batch,
            files::path as log_path,
            recovery::{Cut, Listing, Tail},
        },
        manifest::{self, Manifest},
    },
    Damage, Remedy, Report,
    mend::{Mend, mend, mend_length},
    touch::About,
};
use crate::{
    disk::{Disk, Open},
    error::{Error, ErrorKind, Place},
    store::Lsn,
};

/// What was found, and what a repair needs of it.
pub(super) struct Inspection<D> {
    pub(super) io: Io<D>,
    pub(super) report: Report,
    /// The manifest, where one copy is whole.
    pub(super) manifest: Option<Manifest>,
    /// The state, as far as it could be read.
    pub(super) machine: Option<Machine>,
    /// Bytes to be written.
    pub(super) mends: Vec<(Place, u8)>,
    /// Blocks whose entries are lost.
    pub(super) dropped: Vec<BlockKey>,
    /// Where the log is cut: the last batch that is kept, and the places of those behind.
    pub(super) cut: Option<(Lsn, Vec<batch::Place>)>,
    /// Damage whose streams are not named yet.
    found: Vec<(Place, String, About, Remedy)>,
}

impl<D: Disk> Inspection<D> {
    /// Reads everything.
    pub(super) fn of(disk: D) -> Result<Self, Error> {
        let mut inspection = Self {
            io: Io::new(disk),
            report: Report::default(),
            manifest: None,
            machine: None,
            mends: Vec::new(),
            dropped: Vec::new(),
            cut: None,
            found: Vec::new(),
        };
        inspection.everything()?;
        inspection.name_what_is_touched();
        Ok(inspection)
    }

    fn everything(&mut self) -> Result<(), Error> {
        let Some(manifest) = self.manifest()? else {
            return Ok(());
        };
        self.manifest = Some(manifest);
        let Some(mut pieces) = self.checkpoint(&manifest)? else {
            return Ok(());
        };
        let settings = super::LocalSettings { shard: manifest.shard, ..Default::default() };
        let place = checkpoint::path(manifest.checkpoint.number);
        let beyond = |what: String| (Place { path: place, offset: 0 }, what);
        let loaded = Blocks::load(&mut self.io, &settings, manifest.next_segment, &mut pieces);
        let mut blocks = match loaded {
            Ok(blocks) => blocks,
            Err(error) if error.kind == ErrorKind::Corrupt => {
                let (place, what) = beyond(error.message);
                self.note(place, what, About::Nothing, Remedy::None);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let pieces = pieces.into_iter();
        let pieces = pieces.map(|(id, bytes)| ((id.object, id.kind, id.part), bytes)).collect();
        let Some(mut machine) = snapshot::load(&pieces, 0) else {
            let (place, what) = beyond("its pieces make no sense together".to_owned());
            self.note(place, what, About::Nothing, Remedy::None);
            return Ok(());
        };
        drop(pieces);
        let replayed = self.log(&manifest, &mut machine)?;
        self.streams(&mut blocks, &machine, &replayed)?;
        self.machine = Some(machine);
        Ok(())
    }

    fn note(&mut self, place: Place, what: String, about: About, remedy: Remedy) {
        self.found.push((place, what, about, remedy));
    }

    fn name_what_is_touched(&mut self) {
        for (place, what, about, remedy) in std::mem::take(&mut self.found) {
            let touches = about.touches(self.machine.as_ref());
            self.report.damage.push(Damage { place, what, touches, remedy });
        }
    }

    /// The manifest: one of two copies has to be whole.
    fn manifest(&mut self) -> Result<Option<Manifest>, Error> {
        let Some(copies) = Manifest::copies(&mut self.io)? else {
            let holds_data = [super::super::blocks::DIRECTORY, checkpoint::DIRECTORY, "log"]
                .iter()
                .try_fold(false, |any, name| Ok(any || !self.io.list(name)?.is_empty()))?;
            if !holds_data {
                let what = "there is no manifest: this is no data directory";
                return Err(Error::new(ErrorKind::NotFound, what));
            }
            let place = Place { path: manifest::PATH.to_owned(), offset: 0 };
            self.note(place, "it is missing".to_owned(), About::Nothing, Remedy::None);
            return Ok(None);
        };
        let sound = copies.iter().find_map(|copy| copy.as_ref().ok()).copied();
        for error in copies.into_iter().filter_map(Result::err) {
            let place = error.place.unwrap_or(Place { path: manifest::PATH.to_owned(), offset: 0 });
            let remedy = if sound.is_some() { Remedy::Copy } else { Remedy::None };
            let what = "a copy of the manifest fails its checksum, or is not there".to_owned();
            self.note(place, what, About::Nothing, remedy);
        }
        Ok(sound)
    }

    /// The checkpoint, mended where that is possible.
    fn checkpoint(&mut self, manifest: &Manifest) -> Result<Option<checkpoint::Pieces>, Error> {
        let named = manifest.checkpoint;
        self.report.checked.checkpoint_bytes = named.len;
        loop {
            let error = match checkpoint::read(&mut self.io, named) {
                Ok(pieces) => return Ok(Some(pieces)),
                Err(error) if error.kind == ErrorKind::Corrupt => error,
                Err(error) if self.is_missing(&checkpoint::path(named.number))? => {
                    Error::new(ErrorKind::Corrupt, error.message)
                }
                Err(error) => return Err(error),
            };
            let unplaced = Place { path: checkpoint::path(named.number), offset: 0 };
            let place = error.place.clone().unwrap_or(unplaced);
            let bytes = self.bytes(&place, named.len)?;
            let at = [named.number.to_le_bytes(), place.offset.to_le_bytes()].concat();
            let found = mend_structure(&bytes, checkpoint::HEADER, checkpoint::LEN_AT, &at);
            let mut frame = bytes.get(..checkpoint::HEADER).unwrap_or_default().to_vec();
            let Some(mend) = found.filter(|_| !self.has_mended(&place)) else {
                let about = checkpoint::piece_of(&frame).map_or(About::Nothing, About::Piece);
                self.note(place, "the checkpoint is damaged".to_owned(), about, Remedy::None);
                return Ok(None);
            };
            if let Some(byte) = frame.get_mut(mend.at) {
                *byte = mend.byte;
            }
            let about = checkpoint::piece_of(&frame).map_or(About::Nothing, About::Piece);
            let what = "a frame of the checkpoint has a flipped bit".to_owned();
            self.mend(place, mend, what, about);
        }
    }

    /// The log behind the checkpoint, mended where that is possible; replays it and returns the
    /// blocks that come from it.
    fn log(
        &mut self,
        manifest: &Manifest,
        machine: &mut Machine,
    ) -> Result<BTreeSet<(KeyNumber, u64)>, Error> {
        let mut replayed = BTreeSet::new();
        let Some(tail) = self.tail(manifest)? else {
            return Ok(replayed);
        };
        for batch in tail.into_batches() {
            self.report.checked.batches += 1;
            let at = At { position: batch.lsn, now_ms: batch.now_ms };
            for effect in effect::decode_batch(&batch.effects) {
                let Some(effect) = effect else {
                    let place = Place { path: log_path(manifest.position.file), offset: 0 };
                    let what = format!("batch {} holds an unknown effect", batch.lsn);
                    self.note(
                        place,
                        what,
                        About::Effects(vec![batch.effects.clone()]),
                        Remedy::None,
                    );
                    return Ok(replayed);
                };
                match machine.apply(&effect, at) {
                    Applied::Sealed(key, number, _) => {
                        replayed.insert((key, number));
                    }
                    Applied::Filled(key, blocks) => {
                        replayed.extend(blocks.iter().map(|(number, _)| (key, *number)));
                    }
                    _ => {}
                }
            }
        }
        Ok(replayed)
    }

    fn tail(&mut self, manifest: &Manifest) -> Result<Option<Tail>, Error> {
        let from = manifest.log();
        let listing = Listing::read(&mut self.io)?;
        loop {
            let cut = match Tail::read_whole(&mut self.io, from, manifest.shard, &listing) {
                Ok(Ok(tail)) => return Ok(Some(tail)),
                Ok(Err(cut)) => cut,
                Err(error) if error.kind == ErrorKind::Corrupt => {
                    let place = error.place.clone().unwrap_or(Place {
                        path: log_path(manifest.position.file),
                        offset: manifest.position.offset,
                    });
                    self.note(place, error.message, About::Nothing, Remedy::None);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if !self.mend_batch(&cut, manifest.position.lsn, &listing)? {
                return Ok(Some(self.cut(*cut)));
            }
        }
    }

    /// Mends the batch that should follow the end of what is whole: it stands there, or at the
    /// beginning of a later file.
    fn mend_batch(&mut self, cut: &Cut, floor: Lsn, listing: &Listing) -> Result<bool, Error> {
        let next = cut.tail.end() + 1;
        let starts = listing.logs.range(cut.end.file + 1..);
        let starts = starts.map(|file| batch::Place { file: *file, offset: 0 });
        for at in std::iter::once(cut.end).chain(starts) {
            let place = Place { path: log_path(at.file), offset: at.offset };
            if self.has_mended(&place) {
                continue;
            }
            let mut bytes = self.bytes(&place, u64::MAX)?;
            let key = [at.file.to_le_bytes(), at.offset.to_le_bytes()].concat();
            let Some(mend) = mend_structure(&bytes, batch::HEADER, batch::LEN_AT, &key) else {
                continue;
            };
            if let Some(byte) = bytes.get_mut(mend.at) {
                *byte = mend.byte;
            }
            if let batch::Decoded::Valid { header, effects, .. } = batch::decode(&bytes, at, floor)
                && header.lsn == next
            {
                let about = About::Effects(vec![effects.to_vec()]);
                let what = format!("batch {next} of the log has a flipped bit");
                self.mend(place, mend, what, about);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the log before the damage.
    fn cut(&mut self, cut: Cut) -> Tail {
        let place = Place { path: log_path(cut.end.file), offset: cut.end.offset };
        let kept = cut.tail.end();
        let (places, effects) = cut.lost.into_iter().map(|(at, batch)| (at, batch.effects)).unzip();
        let what = format!(
            "batch {} of the log is damaged; it and what follows, up to batch {} and of any \
             stream, are lost. Of the streams named this is known",
            kept + 1,
            cut.durable
        );
        self.note(place, what, About::Effects(effects), Remedy::Cut);
        self.cut = Some((kept, places));
        cut.tail
    }

    fn streams(
        &mut self,
        blocks: &mut Blocks,
        machine: &Machine,
        replayed: &BTreeSet<(KeyNumber, u64)>,
    ) -> Result<(), Error> {
        let of = |database| machine.keys.iter_from(database, KeyNumber(0));
        for (key, _) in (0..levada_core::limits::DATABASES).flat_map(of) {
            match machine.keys.get(key).map(|object| &object.value) {
                Some(Value::Stream(stream)) => {
                    self.stream(blocks, key, stream, replayed)?;
                }
                _ => self.report.checked.strings += 1,
            }
        }
        Ok(())
    }

    fn stream(
        &mut self,
        blocks: &mut Blocks,
        key: KeyNumber,
        stream: &Stream,
        replayed: &BTreeSet<(KeyNumber, u64)>,
    ) -> Result<(), Error> {
        let checked = &mut self.report.checked;
        checked.streams += 1;
        checked.entries += stream.len();
        checked.groups += stream.groups.len() as u64;
        let pending = stream.groups.iter().map(|(_, _, group)| group.pending.len());
        checked.pending += pending.sum::<u64>();
        for what in contradictions(stream) {
            let place = Place { path: checkpoint::DIRECTORY.to_owned(), offset: 0 };
            let about = About::Piece(crate::store::PieceId { object: key.0, kind: 4, part: 0 });
            self.note(place, what, about, Remedy::None);
        }
        for number in stream.first_block()..stream.tail_number() {
            // Of a block of which nothing lives nothing can be lost.
            let lives = stream.meta(number).is_some_and(|meta| meta.live > 0);
            if lives && !replayed.contains(&(key, number)) {
                self.block(blocks, key, number, stream)?;
            }
        }
        Ok(())
    }

    fn block(
        &mut self,
        blocks: &mut Blocks,
        key: KeyNumber,
        number: u64,
        stream: &Stream,
    ) -> Result<(), Error> {
        let at = BlockKey { object: key.0, number };
        let about = About::Block(key, number);
        self.report.checked.blocks += 1;
        let Unsound { place, what, bytes, key } = match blocks.examine(&mut self.io, at) {
            Ok(block) => {
                self.report.checked.block_bytes += block.bytes().len() as u64;
                if let Some(what) = disagreement(&block, stream, number) {
                    let place = blocks.place(at);
                    self.note(place, what, about, Remedy::Drop);
                    self.dropped.push(at);
                }
                return Ok(());
            }
            Err(unsound) => unsound,
        };
        if let Some(mend) = mend(&bytes, &key).filter(|_| !self.has_mended(&place)) {
            self.mend(place, mend, "a block has a flipped bit".to_owned(), about);
            self.report.checked.blocks -= 1;
            return self.block(blocks, KeyNumber(at.object), number, stream);
        }
        self.note(place, what, about, Remedy::Drop);
        self.dropped.push(at);
        Ok(())
    }

    fn mend(&mut self, place: Place, mend: Mend, what: String, about: About) {
        let byte = Place { path: place.path.clone(), offset: place.offset + mend.at as u64 };
        self.io.patch(byte.clone(), mend.byte);
        self.mends.push((byte, mend.byte));
        self.note(place, what, about, Remedy::Mend);
    }

    /// Whether the structure at a place was mended already: a mend that did not help is none.
    fn has_mended(&self, place: &Place) -> bool {
        let mended = |(at, _, _, remedy): &&(Place, String, About, Remedy)| {
            at == place && *remedy == Remedy::Mend
        };
        self.found.iter().any(|found| mended(&found))
    }

    fn is_missing(&mut self, path: &str) -> Result<bool, Error> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(!self.io.list(directory)?.iter().any(|there| there == name))
    }

    /// The bytes of a file from a place on, up to `end`.
    fn bytes(&mut self, place: &Place, end: u64) -> Result<Vec<u8>, Error> {
        if self.is_missing(&place.path)? {
            return Ok(Vec::new());
        }
        let file = self.io.open(&place.path, Open::Existing)?;
        let len = self.io.len(file, &place.path).map(|len| len.min(end));
        let read = len.and_then(|len| {
            let len = usize::try_from(len.saturating_sub(place.offset)).unwrap_or(0);
            let mut bytes = vec![0; len];
            let read = self.io.read(file, &place.path, place.offset, &mut bytes)?;
            bytes.truncate(read);
            Ok(bytes)
        });
        self.io.close(file);
        read
    }
}

/// The bit that has flipped in the structure at the beginning of `bytes`.
fn mend_structure(bytes: &[u8], header: usize, len_at: usize, place: &[u8]) -> Option<Mend> {
    let whole = |len: usize| bytes.get(..header.checked_add(len)?);
    let len = super::super::format::u32_at(bytes, len_at)?;
    let announced = usize::try_from(len).ok().and_then(whole);
    announced
        .and_then(|bytes| mend(bytes, place))
        .or_else(|| mend_length(bytes.get(..header)?, len_at, place, whole))
}

/// What facts of a stream do not agree with each other.
fn contradictions(stream: &Stream) -> Vec<String> {
    let mut wrong = Vec::new();
    let numbers = stream.first_block()..=stream.tail_number();
    let live: u64 =
        numbers.filter_map(|number| stream.meta(number)).map(|meta| u64::from(meta.live)).sum();
    if live != stream.len() {
        wrong.push(format!("{live} rows live, but the length is {}", stream.len()));
    }
    if let Some(last) = last_live(stream.tail(), stream, stream.tail_number())
        && last > stream.last_id
    {
        wrong.push(format!("the entry {last} is above the last id {}", stream.last_id));
    }
    for (name, _, group) in stream.groups.iter() {
        wrong.extend(
            contradiction_of(group).map(|what| format!("group {}: {what}", name.escape_ascii())),
        );
    }
    wrong
}

fn contradiction_of(group: &Group) -> Option<String> {
    let mut held = std::collections::BTreeMap::<u32, u64>::new();
    let mut last = None;
    for entry in group.pending.iter_from(StreamId::MIN) {
        *held.entry(entry.consumer).or_default() += 1;
        if last.replace(entry.id).is_some_and(|last| last >= entry.id) {
            return Some(format!("pending ids do not increase at {}", entry.id));
        }
    }
    held.remove(&NOBODY);
    for (name, number, consumer) in group.consumers.iter() {
        let found = held.remove(&number).unwrap_or(0);
        if found != consumer.pending {
            let name = name.escape_ascii();
            return Some(format!("{found} are pending for {name}, not {}", consumer.pending));
        }
    }
    held.first_key_value().map(|(number, _)| format!("consumer {number} does not exist"))
}

/// What a block says otherwise than the index does.
fn disagreement(block: &Block, stream: &Stream, number: u64) -> Option<String> {
    let meta = stream.meta(number)?;
    let (_, last) = stream.id_range(number);
    if block.base() != meta.base || block.count() != meta.count {
        return Some(format!(
            "the index names {} rows from {}, the block holds {} from {}",
            meta.count,
            meta.base,
            block.count(),
            block.base()
        ));
    }
    let live = last_live(block, stream, number).filter(|live| *live > last)?;
    Some(format!("the block ends at {live}, above {last}"))
}

/// The last live entry of a block. Behind it deleted ones may stand whose ids were given out anew.
fn last_live(block: &Block, stream: &Stream, number: u64) -> Option<StreamId> {
    let meta = stream.meta(number)?;
    let row = (meta.first_row..meta.count).rev().find(|row| meta.is_live(*row))?;
    block.row(row).map(|row| row.id)
}
