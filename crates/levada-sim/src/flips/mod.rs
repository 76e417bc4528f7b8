//! One bit flips at rest, anywhere in any file of a data directory: is it ever served in silence?
//!
//! A directory is filled with streams, groups, strings, sealed blocks, a checkpoint and a log
//! behind it, and read through commands. Then, as often as asked for, one bit of a copy is flipped,
//! and the copy is verified, opened and read again. What is read must be what was there before, or
//! be refused, and refused only where the damage is; what is refused must be told by file, stream
//! and ids; a repair must bring back everything but the ids that it names. Bits of which nothing
//! depends (padding, files in waiting, what a checkpoint has made obsolete) are counted apart.

mod read;
mod rig;

use std::fmt;

use levada_engine::ErrorKind;
use levada_engine::disk::memory::MemoryDisk;
use levada_engine::store::local::verify::{self, Remedy, Report as Verified};

use self::read::{Found, State};
use crate::random::Random;

/// What became of the flips in files of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Bits flipped.
    pub flips: u64,
    /// Nothing depends on the bit: everything is read as before, and nothing is told.
    pub unused: u64,
    /// Everything is read as before although the bit mattered: a second copy stood in.
    pub masked: u64,
    /// The start was refused.
    pub refused: u64,
    /// The store opened, and reads of the damaged block, and no others, were refused.
    pub contained: u64,
    /// Told by file, and by stream and id range or as touching no stream.
    pub located: u64,
    /// After a repair everything was there again.
    pub restored: u64,
    /// After a repair everything was there but the ids that it named.
    pub bounded: u64,
    /// Beyond repair.
    pub beyond: u64,
}

/// What a run came to, by kind of file.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// The kinds, as in [`KINDS`].
    pub kinds: [Tally; KINDS.len()],
    /// What was served wrongly or in silence, in words.
    pub violations: Vec<String>,
}

/// Kinds of files, by the beginning of their paths.
pub const KINDS: [&str; 5] = ["manifest", "checkpoint/", "log/0", "log/spare", "segments/"];
/// Violations that are kept in words.
const TOLD_MAX: usize = 20;

/// Flips so many bits, each in a fresh copy.
pub fn run(count: u64, seed: u64) -> Report {
    let mut random = Random::new(seed);
    let image = rig::filled(&mut random);
    let known = State::read(image.clone()).expect("nothing is damaged yet");
    let sound = verify::verify(image.clone()).expect("a data directory");
    assert!(sound.is_sound(), "nothing is damaged yet: {sound:?}");
    let paths: Vec<String> = image.paths().map(str::to_owned).collect();
    let paths: Vec<String> =
        paths.into_iter().filter(|path| KINDS.iter().any(|kind| path.starts_with(kind))).collect();
    let mut report = Report::default();
    for _ in 0..count {
        let path = random.pick(&paths).clone();
        let bits = image.bytes(&path).map_or(0, |bytes| bytes.len() as u64 * 8);
        let flip = Flip { path, bit: random.below(bits.max(1)) };
        let mut damaged = image.clone();
        flip.strike(&mut damaged);
        let tally = &mut report.kinds[flip.kind()];
        tally.flips += 1;
        if let Err(what) = flip.judge(&damaged, &known, tally)
            && report.violations.len() < TOLD_MAX
        {
            report.violations.push(format!("{flip}: {what}"));
        }
    }
    report
}

/// A bit of a file.
struct Flip {
    path: String,
    bit: u64,
}

impl Flip {
    fn strike(&self, disk: &mut MemoryDisk) {
        let byte = usize::try_from(self.bit / 8).expect("in memory");
        let bytes = disk.bytes_mut(&self.path).expect("it is there");
        bytes[byte] ^= 1 << (self.bit % 8);
    }

    fn kind(&self) -> usize {
        let kind = KINDS.iter().position(|kind| self.path.starts_with(kind));
        kind.expect("only files of these kinds are hit")
    }

    /// What comes of it; an error is a violation.
    fn judge(&self, damaged: &MemoryDisk, known: &State, tally: &mut Tally) -> Result<(), String> {
        let told = verify::verify(damaged.clone()).map_err(|error| format!("verify: {error}"))?;
        match State::read(damaged.clone()) {
            Ok(state) => match known.compare(&state)? {
                Found::Same if told.is_sound() => {
                    tally.unused += 1;
                    return Ok(());
                }
                Found::Same => tally.masked += 1,
                Found::Refused(refused) => {
                    check_contained(&refused, &told)?;
                    tally.contained += 1;
                }
            },
            Err(error) if error.kind == ErrorKind::Corrupt => tally.refused += 1,
            Err(error) => return Err(format!("the start fails: {error}")),
        }
        if told.is_sound() {
            return Err("verify finds nothing".to_owned());
        }
        if self.is_located(&told) {
            tally.located += 1;
        }
        check_repair(damaged, known, &told, tally)
    }

    /// Whether the report names the structure that holds the bit, and what it touches.
    fn is_located(&self, told: &Verified) -> bool {
        told.damage.iter().any(|damage| {
            damage.place.path == self.path
                && damage.place.offset <= self.bit / 8
                && damage.touches.iter().all(|touched| touched.key.is_some())
                && damage.remedy != Remedy::None
        })
    }
}

/// A repair brings back everything but what it names, and leaves a sound directory.
fn check_repair(
    damaged: &MemoryDisk,
    known: &State,
    told: &Verified,
    tally: &mut Tally,
) -> Result<(), String> {
    let settings = rig::settings();
    let (report, disk) = verify::repair(damaged.clone(), &settings)
        .map_err(|error| format!("the repair fails: {error}"))?;
    if report != *told {
        return Err(format!("verify says {told:?}, repair {report:?}"));
    }
    if report.is_beyond_repair() {
        tally.beyond += 1;
        return Ok(());
    }
    let again = verify::verify(disk.clone()).map_err(|error| format!("verify: {error}"))?;
    if !again.is_sound() {
        return Err(format!("still damaged after a repair: {again:?}"));
    }
    let state = State::read(disk).map_err(|error| format!("after a repair: {error}"))?;
    if *known == state {
        tally.restored += 1;
        return Ok(());
    }
    known.without(&report).check_same(&state)?;
    tally.bounded += 1;
    Ok(())
}

/// Reads that were refused lie within what the report names.
fn check_contained(refused: &[read::Refusal], told: &Verified) -> Result<(), String> {
    let touched: Vec<_> = told.damage.iter().flat_map(|damage| &damage.touches).collect();
    for refusal in refused {
        let named = touched.iter().any(|touched| {
            let name = (touched.database, touched.key.as_deref());
            let within = touched
                .ids
                .is_some_and(|(first, last)| first <= refusal.first && refusal.last <= last);
            name == (refusal.database, Some(refusal.key.as_slice())) && within
        });
        if !named {
            return Err(format!("{refusal:?} is not among {told:?}"));
        }
    }
    Ok(())
}

impl Report {
    /// The sum over all kinds of files.
    pub fn total(&self) -> Tally {
        self.kinds.iter().fold(Tally::default(), |sum, kind| Tally {
            flips: sum.flips + kind.flips,
            unused: sum.unused + kind.unused,
            masked: sum.masked + kind.masked,
            refused: sum.refused + kind.refused,
            contained: sum.contained + kind.contained,
            located: sum.located + kind.located,
            restored: sum.restored + kind.restored,
            bounded: sum.bounded + kind.bounded,
            beyond: sum.beyond + kind.beyond,
        })
    }

    /// Whether nothing was served wrongly and at least 99 of 100 flips that matter are located.
    pub fn is_good(&self) -> bool {
        let Tally { flips, unused, located, .. } = self.total();
        self.violations.is_empty() && located * 100 >= (flips - unused) * 99
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}, bit {}", self.path, self.bit / 8, self.bit % 8)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12}{:>8}{:>8}{:>8}{:>9}{:>11}{:>9}{:>10}{:>9}{:>8}",
            "file",
            "flips",
            "unused",
            "masked",
            "refused",
            "contained",
            "located",
            "restored",
            "bounded",
            "beyond"
        )?;
        let rows = KINDS.iter().copied().zip(self.kinds).chain([("all", self.total())]);
        for (name, tally) in rows {
            let Tally { flips, unused, masked, refused, contained, .. } = tally;
            let Tally { located, restored, bounded, beyond, .. } = tally;
            writeln!(
                f,
                "{name:<12}{flips:>8}{unused:>8}{masked:>8}{refused:>9}{contained:>11}{located:>9}\
                 {restored:>10}{bounded:>9}{beyond:>8}"
            )?;
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATION: {violation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_is_served_in_silence() {
        let report = run(150, 7);
        assert!(report.is_good(), "{report}");
        assert!(report.total().contained > 0 && report.total().refused > 0, "{report}");
        assert_eq!(run(20, 3), run(20, 3), "a seed is a run");
    }
}
