//! Which faults strike, and when: at counted operations, by chance, or by a full disk.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Random;

/// Something that goes wrong with one operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// A write fails; nothing was written.
    WriteError,
    /// A write finds the device full, because a plan says so or for want of capacity.
    NoSpace,
    /// A write fails after its first part was written.
    ShortWrite,
    /// A write is reported as done but landed elsewhere: at another place of this file or in
    /// another one. Breaks the contract of the disk.
    MisdirectedWrite,
    /// A write is reported as done and never was. Breaks the contract of the disk.
    LostWrite,
    /// The sync of a file fails; what it should have written counts as clean from then on.
    SyncError,
    /// The sync of a directory fails; its entries are not durable.
    DirectorySyncError,
    /// A read fails.
    ReadError,
    /// The device stops as an operation that changes something is begun: a write may be carried
    /// out in part. Every later call fails, until [`crash`](super::FaultDisk::crash) or
    /// [`kill`](super::FaultDisk::kill) says what it was that ended the process here.
    Stop,
}

/// A fault that has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Struck {
    /// Which.
    pub fault: Fault,
    /// What it did, in words, with file and place.
    pub detail: String,
}

/// When which faults happen. The empty plan is a sound disk without limit.
#[derive(Clone, Default, Debug)]
pub struct FaultPlan {
    scripted: BTreeSet<(Fault, u64)>,
    /// Each with its `n` of "one in n".
    seeded: Vec<(Fault, u64)>,
    seen: BTreeMap<Target, u64>,
}

/// What a fault can strike, counted apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Target {
    /// A write, or the first half of a write with sync.
    Write,
    /// A sync, or the second half of a write with sync.
    Sync,
    DirectorySync,
    Read,
    /// Everything that changes something: writes, syncs, lengths, names, directories' syncs.
    Change,
}

impl FaultPlan {
    /// No fault.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `fault` strike the `n`th operation that it can strike, from 1, counted from when the
    /// plan was given to the disk. Background operations count when they are carried out, except
    /// for [`Fault::Stop`], which counts what is submitted.
    #[must_use]
    pub fn at(mut self, n: u64, fault: Fault) -> Self {
        assert!(n > 0, "the first operation is number 1");
        self.scripted.insert((fault, n));
        self
    }

    /// Has `fault` strike one in `n` of the operations that it can strike, by the seed.
    #[must_use]
    pub fn one_in(mut self, n: u64, fault: Fault) -> Self {
        assert!(n > 0, "one in 0 has no meaning");
        self.seeded.push((fault, n));
        self
    }

    /// Counts an operation and says what strikes it: scripted faults first, then those by chance.
    pub(super) fn strike(&mut self, target: Target, random: &mut Random) -> Option<Fault> {
        let seen = self.seen.entry(target).or_default();
        *seen += 1;
        let seen = *seen;
        let scripted =
            self.scripted.iter().find(|(fault, n)| fault.target() == target && *n == seen);
        if let Some((fault, _)) = scripted {
            return Some(*fault);
        }
        let mut by_chance = self.seeded.iter().filter(|(fault, _)| fault.target() == target);
        by_chance.find(|(_, n)| random.below(*n) == 0).map(|(fault, _)| *fault)
    }
}

impl Fault {
    fn target(self) -> Target {
        match self {
            Self::WriteError
            | Self::NoSpace
            | Self::ShortWrite
            | Self::MisdirectedWrite
            | Self::LostWrite => Target::Write,
            Self::SyncError => Target::Sync,
            Self::DirectorySyncError => Target::DirectorySync,
            Self::ReadError => Target::Read,
            Self::Stop => Target::Change,
        }
    }
}
