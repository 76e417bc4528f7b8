//! What the fault disk must and must not do. A test of the form "may" looks for a seed where it
//! happens and one where it does not, so that it fails when a fault is never injected.

use std::{collections::BTreeSet, io::ErrorKind};

use levada_engine::disk::{Disk, FileId, Lane, Open, Operation};

use super::{Fault, FaultDisk, FaultPlan};
use crate::random::Random;

const OLD: u8 = 0x11;
const NEW: u8 = 0x22;

fn disk(seed: u64) -> FaultDisk {
    FaultDisk::new(Random::new(seed))
}

/// What comes out for each of 300 seeds.
fn outcomes<T: Ord>(run: impl Fn(FaultDisk) -> T) -> BTreeSet<T> {
    (0..300).map(|seed| run(disk(seed))).collect()
}

fn write(file: FileId, offset: u64, bytes: &[u8]) -> Operation {
    let bytes = bytes.into();
    Operation::Write { file, offset, bytes }
}

fn finish(disk: &mut FaultDisk) -> Vec<Result<Vec<u8>, ErrorKind>> {
    let mut all = Vec::new();
    loop {
        disk.wait_completed();
        let Some(done) = disk.poll_completed() else {
            return all;
        };
        all.push(done.result.map_err(|error| error.kind()));
    }
}

/// Does one thing inline, with nothing else under way.
fn run(disk: &mut FaultDisk, operation: Operation) -> Result<Vec<u8>, ErrorKind> {
    disk.submit(operation, Lane::Inline);
    finish(disk).pop().expect("one completion")
}

fn done(disk: &mut FaultDisk, operation: Operation) -> Vec<u8> {
    run(disk, operation).expect("a sound operation")
}

/// A file with durable content and name.
fn durable_file(disk: &mut FaultDisk, path: &str, bytes: &[u8]) -> FileId {
    let file = disk.open(path, Open::New).expect("new");
    done(disk, write(file, 0, bytes));
    done(disk, Operation::Sync { file });
    disk.sync_directory("").expect("synced");
    file
}

fn crashed(mut disk: FaultDisk, path: &str) -> Option<Vec<u8>> {
    disk.crash();
    disk.live(path).map(<[u8]>::to_vec)
}

#[test]
fn synced_data_survives_1000_seeds_and_the_rest_may_not() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..1_000 {
        let mut disk = disk(seed);
        let mut random = Random::new(seed ^ 0xABCD);
        let file = disk.open("log", Open::New).expect("new");
        disk.sync_directory("").expect("synced");
        let mut expected = Vec::new();
        let mut synced = 0;
        for _ in 0..30 {
            let bytes = {
                let len = 1 + random.index(1_500);
                random.bytes(len)
            };
            let mut offset = expected.len();
            expected.extend_from_slice(&bytes);
            let cut = random.index(bytes.len());
            for part in [&bytes[..cut], &bytes[cut..]] {
                disk.submit(write(file, offset as u64, part), Lane::Background);
                offset += part.len();
            }
            if random.chance(30) {
                finish(&mut disk);
                disk.submit(Operation::Sync { file }, Lane::Background);
                finish(&mut disk);
                synced = expected.len();
            }
        }
        if random.chance(50) {
            finish(&mut disk);
        }
        let image = crashed(disk, "log").expect("its name is durable");
        assert!(image.len() >= synced, "seed {seed}: {} of {synced} bytes", image.len());
        assert_eq!(image[..synced], expected[..synced], "seed {seed}");
        lost += u32::from(image != expected && synced < expected.len());
        kept += u32::from(image == expected && synced < expected.len());
    }
    assert!(lost > 300 && kept > 50, "lost {lost}, kept {kept}");
}

#[test]
fn a_sync_does_not_cover_what_was_under_way() {
    let survived = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 512]);
        disk.submit(write(file, 0, &[NEW; 512]), Lane::Background);
        disk.submit(Operation::Sync { file }, Lane::Background);
        finish(&mut disk);
        assert_eq!(disk.durable("f").expect("there")[0], OLD, "not sure to be there");
        crashed(disk, "f").expect("durable")[0]
    });
    assert_eq!(survived, [OLD, NEW].into());
}

#[test]
fn a_write_with_sync_is_durable_when_it_has_completed() {
    let survived = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 900]);
        done(&mut disk, write(file, 0, &[NEW; 10]));
        let bytes = vec![NEW; 10].into();
        let offset = 890;
        let both = Operation::WriteSync { file, offset, bytes };
        disk.submit(both, Lane::Background);
        finish(&mut disk);
        let image = crashed(disk, "f").expect("durable");
        (image[9], image[10], image[890])
    });
    assert_eq!(survived, [(NEW, OLD, NEW)].into());
}

#[test]
fn writes_tear_between_sectors_and_nowhere_else() {
    let torn = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 2_560]);
        done(&mut disk, write(file, 100, &[NEW; 2_000]));
        let image = crashed(disk, "f").expect("durable");
        assert!(image[..100].iter().chain(&image[2_100..]).all(|byte| *byte == OLD));
        let sectors = [100..512, 512..1_024, 1_024..1_536, 1_536..2_048, 2_048..2_100];
        sectors.map(|sector| {
            let first = image[sector.start];
            assert!(image[sector].iter().all(|byte| *byte == first), "torn inside a sector");
            first
        })
    });
    assert!(torn.contains(&[OLD; 5]) && torn.contains(&[NEW; 5]));
    assert!(torn.contains(&[NEW, NEW, OLD, OLD, OLD]), "a prefix");
    let holes = |torn: &&[u8; 5]| torn.windows(2).filter(|pair| pair[0] != pair[1]).count() > 2;
    assert!(torn.iter().any(|torn| holes(&torn)), "any subset");
}

#[test]
fn independent_writes_are_reordered_but_a_sector_never_goes_back() {
    let survived = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 1_024]);
        for offset in [0, 10, 600] {
            done(&mut disk, write(file, offset, &[NEW; 10]));
        }
        let image = crashed(disk, "f").expect("durable");
        (image[0], image[10], image[600])
    });
    let pairs: BTreeSet<_> = survived.iter().map(|(a, b, _)| (*a, *b)).collect();
    assert_eq!(pairs, [(OLD, OLD), (NEW, OLD), (NEW, NEW)].into());
    assert!(survived.contains(&(OLD, OLD, NEW)), "the last write before the first");
}

#[test]
fn a_file_may_grow_without_its_bytes() {
    let grown = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 100]);
        done(&mut disk, write(file, 512, &[NEW; 512]));
        let image = crashed(disk, "f").expect("durable");
        assert_eq!(image[..100], [OLD; 100]);
        assert!(image[100..].iter().take(412).all(|byte| *byte == 0));
        match image.get(512..) {
            None => "short",
            Some(bytes) if bytes == [NEW; 512] => "whole",
            Some(bytes) if bytes == [0; 512] => "zero",
            Some(_) => "garbage",
        }
    });
    assert_eq!(grown, ["short", "whole", "zero", "garbage"].into());
}

#[test]
fn an_unsynced_name_may_vanish_and_a_synced_one_never_does() {
    let with = |sync: bool| {
        outcomes(|mut disk| {
            let file = disk.open("f", Open::New).expect("new");
            done(&mut disk, write(file, 0, b"bytes"));
            done(&mut disk, Operation::Sync { file });
            if sync {
                disk.sync_directory("").expect("synced");
            }
            crashed(disk, "f")
        })
    };
    assert_eq!(with(false), [None, Some(b"bytes".to_vec())].into());
    assert_eq!(with(true), [Some(b"bytes".to_vec())].into());
}

#[test]
fn a_directory_must_be_synced_in_its_parent() {
    let with = |sync: bool| {
        outcomes(|mut disk| {
            assert_eq!(
                disk.open("log/1", Open::New).expect_err("no directory").kind(),
                ErrorKind::NotFound
            );
            assert!(disk.list("log").expect("made").is_empty());
            disk.open("log/1", Open::New).expect("new");
            disk.sync_directory("log").expect("synced");
            if sync {
                disk.sync_directory("").expect("synced");
            }
            crashed(disk, "log/1").is_some()
        })
    };
    assert_eq!(with(false), [false, true].into());
    assert_eq!(with(true), [true].into());
}

#[test]
fn a_rename_is_one_step() {
    let with = |sync: bool| {
        outcomes(|mut disk| {
            durable_file(&mut disk, "manifest", &[OLD]);
            let file = disk.open("new", Open::New).expect("new");
            done(&mut disk, write(file, 0, &[NEW]));
            done(&mut disk, Operation::Sync { file });
            disk.rename("new", "manifest").expect("renamed");
            if sync {
                disk.sync_directory("").expect("synced");
            }
            disk.crash();
            let byte = |path| disk.live(path).map(|bytes| bytes[0]);
            (byte("manifest"), byte("new"))
        })
    };
    let (old, new) = (Some(OLD), Some(NEW));
    assert_eq!(with(false), [(old, None), (old, new), (new, None)].into());
    assert_eq!(with(true), [(new, None)].into());
}

#[test]
fn a_name_does_not_go_back_in_time() {
    let left = outcomes(|mut disk| {
        durable_file(&mut disk, "a", &[NEW]);
        durable_file(&mut disk, "b", &[OLD]);
        disk.rename("a", "b").expect("renamed");
        disk.unlink("b").expect("removed");
        disk.crash();
        ["a", "b"].map(|path| disk.live(path).map(|bytes| bytes[0]))
    });
    let only = [[Some(NEW), Some(OLD)], [None, Some(NEW)], [None, None]];
    assert_eq!(left, only.into(), "the removal does not persist without the rename");
}

#[test]
fn a_removed_file_may_come_back_with_its_content() {
    let survived = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 3]);
        disk.unlink("f").expect("removed");
        disk.close(file);
        assert!(disk.live("f").is_none());
        crashed(disk, "f")
    });
    assert_eq!(survived, [None, Some(vec![OLD; 3])].into());
}

#[test]
fn the_background_completes_late_and_out_of_order() {
    let orders = outcomes(|mut disk| {
        let file = disk.open("f", Open::New).expect("new");
        let tickets = [0, 1, 2].map(|n| disk.submit(write(file, n, &[NEW]), Lane::Background));
        let late = disk.live("f").is_some_and(<[u8]>::is_empty);
        assert!(late, "carried out before anybody asked");
        let order = tickets.map(|_| {
            disk.wait_completed();
            let done = disk.poll_completed().expect("waited for it");
            tickets.iter().position(|ticket| *ticket == done.ticket).expect("submitted")
        });
        assert!(disk.poll_completed().is_none());
        order
    });
    assert_eq!(orders.len(), 6, "every order of three comes up");
    let ticket_is_pending = outcomes(|mut disk| {
        let file = disk.open("f", Open::New).expect("new");
        disk.submit(Operation::Sync { file }, Lane::Background);
        disk.poll_completed().is_none()
    });
    assert_eq!(ticket_is_pending, [false, true].into());
}

#[test]
fn a_failed_sync_loses_what_later_syncs_seem_to_cover() {
    let survived = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 1_024]);
        disk.set_plan(FaultPlan::new().at(1, Fault::SyncError));
        done(&mut disk, write(file, 0, &[NEW; 10]));
        assert!(run(&mut disk, Operation::Sync { file }).is_err());
        done(&mut disk, write(file, 600, &[NEW; 10]));
        done(&mut disk, Operation::Sync { file });
        assert_eq!(disk.struck()[0].fault, Fault::SyncError);
        assert_eq!(disk.live("f").expect("there")[0], NEW, "reads still show it");
        let image = crashed(disk, "f").expect("durable");
        assert_eq!(image[600], NEW, "what was written after the failure is synced");
        image[0]
    });
    assert_eq!(survived, [OLD, NEW].into());
}

#[test]
fn a_full_disk_refuses_new_sectors_only() {
    let mut disk = disk(1);
    let file = disk.open("f", Open::New).expect("new");
    disk.set_capacity(Some(2_048));
    disk.set_len(file, 4_096).expect("a length takes no space");
    assert_eq!(disk.free_space().expect("known"), 2_048);
    done(&mut disk, write(file, 500, &[NEW; 1_500]));
    assert_eq!(disk.free_space().expect("known"), 0);
    for offset in [2_048, 3_000, 5_000] {
        assert_eq!(run(&mut disk, write(file, offset, &[NEW])), Err(ErrorKind::StorageFull));
    }
    done(&mut disk, write(file, 0, &[NEW; 2_048]));
    let other = disk.open("g", Open::New).expect("a name takes no space");
    assert!(run(&mut disk, write(other, 0, &[NEW])).is_err());
    disk.unlink("f").expect("removed");
    assert!(run(&mut disk, write(other, 0, &[NEW])).is_err(), "still open");
    disk.close(file);
    done(&mut disk, write(other, 0, &[NEW]));
}

#[test]
fn errors_strike_where_the_plan_says() {
    let mut disk = disk(2);
    let file = durable_file(&mut disk, "f", &[OLD; 2_000]);
    let plan = FaultPlan::new().at(2, Fault::WriteError).at(3, Fault::ShortWrite);
    disk.set_plan(plan.at(1, Fault::ReadError).at(1, Fault::DirectorySyncError));
    done(&mut disk, write(file, 0, &[OLD]));
    assert!(run(&mut disk, write(file, 0, &[NEW; 2_000])).is_err());
    assert_eq!(disk.live("f"), Some(&[OLD; 2_000][..]));
    assert!(run(&mut disk, write(file, 0, &[NEW; 2_000])).is_err());
    let image = disk.live("f").expect("there");
    let written = image.iter().take_while(|byte| **byte == NEW).count();
    assert!(written > 0 && written < 2_000, "{written} bytes of a short write");
    assert!(image[written..].iter().all(|byte| *byte == OLD));
    let read = |len| Operation::Read { file, offset: 1_999, len };
    assert!(run(&mut disk, read(1)).is_err());
    assert_eq!(done(&mut disk, read(9)), [OLD]);
    assert!(disk.sync_directory("").is_err());
    disk.sync_directory("").expect("only the first fails");
    assert_eq!(disk.struck().len(), 4);
    disk.set_plan(FaultPlan::new().one_in(3, Fault::WriteError));
    let failed = (0..300).filter(|_| run(&mut disk, write(file, 0, &[NEW])).is_err()).count();
    assert!((60..140).contains(&failed), "{failed} of 300 failed, one in three was asked for");
}

#[test]
fn a_stop_at_an_operation_ends_everything_until_the_crash() {
    let survived = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 2]);
        disk.set_plan(FaultPlan::new().at(2, Fault::Stop));
        disk.submit(write(file, 0, &[NEW]), Lane::Background);
        disk.submit(write(file, 1, &[NEW]), Lane::Inline);
        assert!(disk.is_stopped());
        disk.submit(Operation::Sync { file }, Lane::Background);
        assert_eq!(finish(&mut disk), vec![Err(ErrorKind::Other); 3]);
        assert!(disk.open("f", Open::Existing).is_err() && disk.list("").is_err());
        assert!(disk.sync_directory("").is_err() && disk.unlink("f").is_err());
        disk.crash();
        disk.open("f", Open::Existing).expect("it runs again");
        assert!(disk.len(file).is_err(), "closed by the crash");
        disk.live("f").expect("durable").to_vec()
    });
    let all = [[OLD, OLD], [OLD, NEW], [NEW, OLD], [NEW, NEW]];
    assert_eq!(survived, all.map(|bytes| bytes.to_vec()).into());
}

#[test]
fn a_kill_loses_nothing_that_completed_but_makes_nothing_durable() {
    let after_both = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 1_024]);
        done(&mut disk, write(file, 0, &[NEW; 10]));
        disk.open("g", Open::New).expect("new");
        disk.submit(write(file, 100, &[NEW; 900]), Lane::Background);
        disk.kill();
        assert!(disk.live("g").is_some());
        assert!(disk.open("f", Open::New).is_err());
        let image = disk.live("f").expect("there");
        assert_eq!(image[0], NEW);
        let under_way = (image[100], image[512]);
        (under_way, crashed(disk, "f").expect("durable")[0])
    });
    let under_way: BTreeSet<_> = after_both.iter().map(|(pair, _)| *pair).collect();
    assert_eq!(under_way, [(OLD, OLD), (NEW, OLD), (NEW, NEW)].into());
    let later: BTreeSet<_> = after_both.iter().map(|(_, byte)| *byte).collect();
    assert_eq!(later, [OLD, NEW].into());
}

#[test]
fn a_flip_changes_one_durable_bit_of_a_file_that_was_asked_for() {
    let places = outcomes(|mut disk| {
        durable_file(&mut disk, "a", &[0; 9]);
        durable_file(&mut disk, "b1", &[0; 3]);
        durable_file(&mut disk, "b2", &[0; 3]);
        let flip = disk.flip("b").expect("there are bytes");
        disk.crash();
        let set: Vec<_> = disk.paths().map(|path| disk.durable(path).expect("there")).collect();
        assert_eq!(set.concat().iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        assert_eq!(disk.durable(&flip.path).expect("named")[flip.offset], 1 << flip.bit);
        assert!(disk.flip("c").is_none());
        (flip.path, flip.offset)
    });
    assert_eq!(places.len(), 6, "every byte is hit by some seed");
    assert!(places.iter().all(|(path, _)| path.starts_with('b')));
}

#[test]
fn a_misdirected_write_is_reported_as_done() {
    let hit_files = outcomes(|mut disk| {
        let file = durable_file(&mut disk, "f", &[OLD; 2_048]);
        durable_file(&mut disk, "g", &[OLD; 2_048]);
        disk.set_plan(FaultPlan::new().at(1, Fault::MisdirectedWrite));
        done(&mut disk, write(file, 512, &[NEW; 512]));
        assert_eq!(disk.struck().len(), 1);
        disk.crash();
        let hit = |path| disk.live(path).expect("durable").contains(&NEW);
        assert_eq!(disk.live("f").expect("durable")[512], OLD);
        (hit("f"), hit("g"))
    });
    assert!(hit_files.contains(&(true, false)) && hit_files.contains(&(false, true)));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut disk = disk(seed);
        disk.set_plan(FaultPlan::new().one_in(20, Fault::WriteError).one_in(9, Fault::SyncError));
        for round in 0..5_u8 {
            let path = format!("f{round}");
            let file = disk.open(&path, Open::New).expect("new");
            for n in 0..20 {
                disk.submit(write(file, u64::from(n) * 300, &[n; 700]), Lane::Background);
                disk.poll_completed();
            }
            disk.submit(Operation::Sync { file }, Lane::Background);
            disk.poll_completed();
            disk.crash();
        }
        let left: Vec<_> = disk.paths().map(|path| disk.live(path).map(<[u8]>::to_vec)).collect();
        (disk.trace_hash(), disk.counters(), left)
    };
    assert_eq!(trace(7), trace(7));
    let different: BTreeSet<_> = (0..100).map(|seed| trace(seed).0).collect();
    assert_eq!(different.len(), 100);
}
