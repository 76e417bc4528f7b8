//! Every way in which a power cut or a kill may turn out, to be counted and chosen from outside
//! instead of drawn: so a short run can be searched whole.
//!
//! A sector holds what any of its unsynced writes left or what was durable; lengths persist in
//! order; a change of a name persists or does not. Writes under way are taken as carried out, in
//! the order in which they were submitted: what of them persists is then among the ways.

use super::FaultDisk;
use super::image::SECTOR;
use crate::random::Random;

/// In how many ways each undecided piece may turn out; a choice is a number below each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ways(Vec<usize>);

impl Ways {
    /// Pieces that are undecided.
    pub fn pieces(&self) -> usize {
        self.0.len()
    }

    /// All choices if there are no more than `most`, with true; else `samples` of them, the two
    /// extremes among them, with false.
    pub fn choices(
        &self,
        most: usize,
        samples: usize,
        random: &mut Random,
    ) -> (Vec<Vec<usize>>, bool) {
        let count = self.0.iter().try_fold(1_usize, |count, ways| count.checked_mul(*ways));
        if let Some(count) = count.filter(|count| *count <= most) {
            return ((0..count).map(|number| self.numbered(number)).collect(), true);
        }
        let last = self.0.iter().map(|ways| ways - 1).collect();
        let extremes = [vec![0; self.0.len()], last];
        let drawn = (2..samples).map(|_| self.drawn(random));
        (extremes.into_iter().chain(drawn).collect(), false)
    }

    fn numbered(&self, mut number: usize) -> Vec<usize> {
        let digit = |ways: &usize| {
            let digit = number % ways;
            number /= ways;
            digit
        };
        self.0.iter().map(digit).collect()
    }

    /// A choice in which few, some or most pieces persist.
    fn drawn(&self, random: &mut Random) -> Vec<usize> {
        let percent = *random.pick(&[3, 50, 97]);
        let mut way = |ways: &usize| match random.chance(percent) {
            true => 1 + random.index(ways - 1),
            false => 0,
        };
        self.0.iter().map(&mut way).collect()
    }
}

impl FaultDisk {
    /// In which ways a power cut may turn out now. Carries out what is under way.
    pub fn cuts(&mut self) -> Ways {
        for begun in std::mem::take(&mut self.under_way) {
            if let Some((file, offset, bytes)) = begun.write() {
                self.put(file, offset, bytes, bytes.len());
            }
        }
        let files = self.images.values().flat_map(super::image::Image::outcomes);
        Ways(std::iter::repeat_n(2, self.names.unsynced()).chain(files).collect())
    }

    /// The power cut in one of the ways of [`FaultDisk::cuts`], which was just asked.
    pub fn cut_to(&mut self, choice: &[usize]) {
        let (names, mut files) = choice.split_at(self.names.unsynced());
        let names: Vec<bool> = names.iter().map(|way| *way == 1).collect();
        for image in self.images.values_mut() {
            let (of_this, rest) = files.split_at(image.outcomes().len());
            image.crash_to(of_this);
            files = rest;
        }
        self.names.crash_to(&names);
        self.restart("power cut");
    }

    /// In which ways a kill may turn out now: how many sectors of each write under way are there.
    pub fn kills(&self) -> Ways {
        let writes = self.under_way.iter().filter_map(super::device::Begun::write);
        Ways(writes.map(|(_, offset, bytes)| stops(offset, bytes.len()).len()).collect())
    }

    /// The kill in one of the ways of [`FaultDisk::kills`].
    pub fn kill_to(&mut self, choice: &[usize]) {
        let mut choice = choice.iter();
        for begun in std::mem::take(&mut self.under_way) {
            if let Some((file, offset, bytes)) = begun.write() {
                let way = *choice.next().unwrap_or(&0);
                self.put(file, offset, bytes, stops(offset, bytes.len())[way]);
            }
        }
        self.restart("kill");
    }

    /// A number that stands for all that is durable, by names and bytes.
    pub fn durable_hash(&self) -> u64 {
        let mut trace = super::trace::Trace::default();
        for (path, file) in self.names.files() {
            trace.bytes(path.as_bytes());
            trace.bytes(self.images.get(&file).map_or(&[], |image| image.durable()));
        }
        trace.hash()
    }
}

/// Lengths at which a write may stop: at each end of a sector, and none of it.
fn stops(offset: usize, len: usize) -> Vec<usize> {
    let ends = (offset / SECTOR + 1..(offset + len).div_ceil(SECTOR)).map(|n| n * SECTOR - offset);
    [0].into_iter().chain(ends).chain([len]).collect()
}
