//! Keeping what is whole: the remedies of a report, carried out.
//!
//! Bytes are flipped back; what stands behind a cut of the log is made unreadable, so that no mark
//! in it says that the rest was durable; the manifest is written anew where a copy of it is damaged
//! or says so too. Then the store opens as after a crash, and the entries of blocks that are lost
//! are deleted by an effect in the log, as XDEL would have done: their ids stay in pending lists,
//! and nobody is told that they never were.

use std::sync::Arc;

use levada_core::{effect::Effect, keyspace::KeyNumber, machine::Machine};

use super::{
    super::{
        blocks::BlockKey,
        io::Io,
        log::{batch, files::path as log_path},
        manifest::{self, Manifest},
        settings::LocalSettings,
        store::LocalStore,
    },
    Remedy, Report,
    inspect::Inspection,
};
use crate::{
    disk::{Disk, Open, Operation},
    error::Error,
    store::{Store, Urgency},
};

/// Does what the report says, and gives it back with the disk.
pub(super) fn carry_out<D: Disk>(
    mut inspection: Inspection<D>,
    settings: &LocalSettings,
) -> Result<(Report, D), Error> {
    let io = &mut inspection.io;
    for (place, byte) in &inspection.mends {
        overwrite(io, &place.path, place.offset, Arc::from([*byte]))?;
    }
    if let Some((_, places)) = &inspection.cut {
        for place in places {
            let header = vec![0; batch::HEADER];
            overwrite(io, &log_path(place.file), place.offset, Arc::from(header))?;
        }
    }
    rewrite_manifest(&mut inspection)?;
    let Inspection { io, report, manifest, machine, dropped, .. } = inspection;
    let deletions = machine.map(|machine| deletions(&machine, &dropped)).unwrap_or_default();
    let shard = manifest.map_or(0, |manifest| manifest.shard);
    let (mut store, recovered) =
        LocalStore::open(io.into_disk(), LocalSettings { shard, ..settings.clone() })?;
    for effects in deletions {
        store.commit(recovered.now_ms, &effects, Urgency::Durable)?;
    }
    store.idle(recovered.now_ms)?;
    Ok((report, store.into_disk()))
}

/// Writes the manifest anew where a copy is damaged, or where it says that batches are durable
/// which are lost.
fn rewrite_manifest<D: Disk>(inspection: &mut Inspection<D>) -> Result<(), Error> {
    let Some(mut manifest) = inspection.manifest else {
        return Ok(());
    };
    let damaged = inspection.report.damage.iter().any(|damage| damage.remedy == Remedy::Copy);
    let cut = inspection.cut.as_ref().map(|(kept, _)| *kept);
    let overstated = cut.filter(|kept| manifest.durable > *kept);
    if !damaged && overstated.is_none() {
        return Ok(());
    }
    manifest.durable = overstated.unwrap_or(manifest.durable);
    let io = &mut inspection.io;
    let (file, write) = manifest.begin(io)?;
    io.run("cannot write", manifest::TEMPORARY, write)?;
    Manifest::switch(io, file)
}

/// For each block the effect that deletes what lives in it.
fn deletions(machine: &Machine, dropped: &[BlockKey]) -> Vec<Vec<u8>> {
    let deletion = |at: &BlockKey| {
        let key = KeyNumber(at.object);
        let stream = machine.stream_of(key)?;
        let meta = stream.meta(at.number)?;
        let rows = (meta.first_row..meta.count).filter(|row| meta.is_live(*row));
        let rows = rows.map(|row| (at.number, row)).collect();
        let max_deleted_id = stream.max_deleted_id.max(stream.id_range(at.number).1);
        let mut effects = Vec::new();
        Effect::Deleted { key, max_deleted_id, rows }.encode(&mut effects);
        Some(effects)
    };
    dropped.iter().filter_map(deletion).collect()
}

fn overwrite<D: Disk>(
    io: &mut Io<D>,
    path: &str,
    offset: u64,
    bytes: Arc<[u8]>,
) -> Result<(), Error> {
    let file = io.open(path, Open::Existing)?;
    let done =
        io.run("cannot mend", path, Operation::WriteSync { file, offset, bytes: bytes.into() });
    io.close(file);
    done.map(drop)
}
