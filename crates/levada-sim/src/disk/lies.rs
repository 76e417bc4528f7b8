//! Writes that are reported as done and were not, or not there.

use super::FaultDisk;
use super::image::SECTOR;
use super::plan::Fault;

impl FaultDisk {
    /// Puts the bytes over something that is there: in this file or another one.
    pub(super) fn misdirect(&mut self, file: u32, offset: usize, bytes: &[u8]) {
        let mut victims: Vec<u32> = self.names.files().map(|(_, file)| file).collect();
        victims.push(file);
        let victim = *self.random.pick(&victims);
        let sectors = self.image(victim).live().len().div_ceil(SECTOR);
        let mut at = self.random.index(sectors.max(1)) * SECTOR + offset % SECTOR;
        if victim == file && at == offset {
            at += SECTOR;
        }
        self.image(victim).overwrite(at, bytes);
        let detail = format!("at {at} of file {victim}, not at {offset} of file {file}");
        self.strike(Fault::MisdirectedWrite, detail);
    }

    /// Forgets the bytes.
    pub(super) fn lose(&mut self, file: u32, offset: usize, bytes: &[u8]) {
        let detail = format!("{} bytes at {offset} of file {file}", bytes.len());
        self.strike(Fault::LostWrite, detail);
    }
}
