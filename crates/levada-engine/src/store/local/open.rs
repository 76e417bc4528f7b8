//! Opening a store: a new one, or what the last run or crash left.
//!
//! First everything is read and judged, and nothing is changed; an error leaves the directory as
//! it was. Then the log begins a new epoch, and files that nothing names are removed. Both can be
//! interrupted at any point and repeated.

use super::{
    blocks::{self, Blocks},
    checkpoint,
    format::VERSION,
    io::Io,
    log::{
        files,
        recovery::{self, Listing, Tail},
        writer::{Log, Position},
    },
    manifest::{self, Manifest},
    settings::LocalSettings,
};
use crate::{
    disk::Disk,
    error::{Error, ErrorKind},
    store::{Recovered, Urgency},
};

/// The parts of an opened store.
pub(super) struct Opened {
    pub(super) log: Log,
    pub(super) blocks: Blocks,
    pub(super) manifest: Manifest,
    pub(super) recovered: Recovered,
}

/// Opens what is there, or creates it where nothing is.
pub(super) fn open<D: Disk>(io: &mut Io<D>, settings: &LocalSettings) -> Result<Opened, Error> {
    settings.validate()?;
    let listing = Listing::read(io)?;
    match Manifest::read(io)? {
        None => create(io, settings, &listing),
        Some(manifest) if manifest.shard != settings.shard => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "the data directory belongs to shard {}, not {}",
                manifest.shard, settings.shard
            ),
        )),
        Some(manifest) => recover(io, settings, &listing, manifest),
    }
}

fn create<D: Disk>(
    io: &mut Io<D>,
    settings: &LocalSettings,
    listing: &Listing,
) -> Result<Opened, Error> {
    let used = !io.list(blocks::DIRECTORY)?.is_empty()
        || !io.list(checkpoint::DIRECTORY)?.is_empty()
        || !listing.spares.is_empty()
        || listing.holds_batches(io)?;
    if used {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{} is missing, but the data directory holds data (format {VERSION}): nothing was \
                 changed. Bring the file back, or restore the directory from a backup",
                manifest::PATH
            ),
        ));
    }
    // The directories themselves.
    io.sync_directory("")?;
    let mut log = recovery::create(io, settings, listing)?;
    let manifest = Manifest {
        shard: settings.shard,
        position: log.position(),
        next_log: log.files.next_number(),
        next_segment: 1,
        next_checkpoint: 1,
        ..Manifest::default()
    };
    let (file, write) = manifest.begin(io)?;
    io.run("cannot write", manifest::TEMPORARY, write)?;
    Manifest::switch(io, file)?;
    log.append(io, 0, &[], Urgency::Durable)?;
    let mut pieces = checkpoint::Pieces::new();
    Ok(Opened {
        log,
        blocks: Blocks::load(io, settings, manifest.next_segment, &mut pieces)?,
        manifest,
        recovered: Recovered {
            pieces,
            lsn: 0,
            batches: Vec::new(),
            now_ms: 0,
            created: true,
            discarded_batches: 0,
        },
    })
}

fn recover<D: Disk>(
    io: &mut Io<D>,
    settings: &LocalSettings,
    listing: &Listing,
    manifest: Manifest,
) -> Result<Opened, Error> {
    let mut pieces = checkpoint::read(io, manifest.checkpoint)?;
    let mut blocks = Blocks::load(io, settings, manifest.next_segment, &mut pieces)?;
    blocks.prepare_to_put(io)?;
    let tail = Tail::read(io, manifest.log(), settings.shard, listing)?;
    // Everything is read and sound: from here on files change. First this manifest becomes the
    // durable one: after a kill its rename may not be, and the one before names other files.
    io.sync_directory("")?;
    let log = tail.begin_epoch(io, settings, listing)?;
    sweep(io, &blocks, &manifest)?;
    let Position { now_ms, .. } = log.position();
    Ok(Opened {
        log,
        blocks,
        manifest,
        recovered: Recovered {
            pieces,
            lsn: manifest.position.lsn,
            now_ms,
            created: false,
            discarded_batches: tail.discarded,
            batches: tail.into_batches().collect(),
        },
    })
}

/// Removes what a crash left and nothing names.
fn sweep<D: Disk>(io: &mut Io<D>, blocks: &Blocks, manifest: &Manifest) -> Result<(), Error> {
    blocks.sweep(io)?;
    for name in io.list(checkpoint::DIRECTORY)? {
        if checkpoint::number_of(&name) != Some(manifest.checkpoint.number) {
            io.unlink(&format!("{}/{name}", checkpoint::DIRECTORY))?;
        }
    }
    if io.list("")?.iter().any(|name| name == manifest::TEMPORARY) {
        io.unlink(manifest::TEMPORARY)?;
    }
    io.sync_directory(files::DIRECTORY)
}
