//! What schedules came to, in numbers.

use crate::disk::{Fault, Struck};
use std::collections::BTreeMap;
use std::fmt;

/// What a schedule, or many, came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// A hash over everything that the disk was asked and everything that was answered; of one
    /// schedule.
    pub trace_hash: u64,
    /// Lives that ended in a power cut.
    pub cuts: u64,
    /// Lives that ended in a kill.
    pub kills: u64,
    /// Recoveries that did not get to their end; their ends are cuts or kills too.
    pub interrupted: u64,
    /// Faults of the device that struck, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Answers released.
    pub released: u64,
    /// Readers that waited and were answered.
    pub served: u64,
    /// Checkpoints finished.
    pub checkpoints: u64,
    /// Bits flipped at rest.
    pub flips: u64,
}

impl Report {
    /// Ends of a process, each with a recovery behind it.
    pub fn cycles(&self) -> u64 {
        self.cuts + self.kills
    }

    /// Adds what another one came to.
    pub fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.interrupted += other.interrupted;
        self.released += other.released;
        self.served += other.served;
        self.checkpoints += other.checkpoints;
        self.flips += other.flips;
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }

    pub(super) fn count_faults(&mut self, struck: &[Struck]) {
        for Struck { fault, .. } in struck {
            *self.faults.entry(*fault).or_default() += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cuts, kills, interrupted, released, served, checkpoints, flips, .. } = self;
        write!(
            f,
            "{} crash-recover cycles ({cuts} power cuts, {kills} kills, {interrupted} of them \
             within a recovery), {released} answers released, {served} waiting readers served, \
             {checkpoints} checkpoints, faults:",
            self.cycles()
        )?;
        for (fault, count) in &self.faults {
            write!(f, " {fault:?} {count},")?;
        }
        write!(f, " BitFlip {flips}")
    }
}
