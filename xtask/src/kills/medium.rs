//! A file system of its own in a file, whose power can be cut.
//!
//! An ext4 in an image is mounted through a loop device. The cut is the ioctl `FS_IOC_SHUTDOWN`
//! with `NOLOGFLUSH` (the value 2): from that moment nothing reaches the image, its journal
//! included, whatever the kernel still holds of it. Mounting it again replays the journal, as
//! after a real cut. Perl issues the ioctl: it is part of every Debian, and ours needs no `unsafe`.
//! Checked of the rig itself by [`Medium::check`]: synced bytes stay, unsynced bytes go.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::mount::{Mount, run, unable};

/// Size of the image: some log files, and room for what a run keeps.
const IMAGE_MIB: u64 = 2048;
/// Longest wait for the old file system to be gone.
const RESTORE_MAX: Duration = Duration::from_secs(20);
/// Between two looks.
const POLL: Duration = Duration::from_millis(50);
/// The ioctl, for 32 bits of argument (`linux/fs.h`).
const CUT: &str = "open(my $f, '<', $ARGV[0]) or die; my $how = pack('L', 2);
    ioctl($f, 0x8004587d, $how) or die;";

/// See the module.
#[derive(Debug)]
pub(crate) struct Medium(Mount);

impl Medium {
    /// Makes one in this directory. Fails with [`xtask::ci::Unable`], saying what is missing, where
    /// there is no root, no loop device, no mkfs or no perl.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let mut medium = Self(Mount::ext4(directory, IMAGE_MIB)?);
        medium.check().map_err(|error| unable(&error))?;
        Ok(medium)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Cuts the power. Processes on it get errors from now on.
    pub(crate) fn cut(&self) -> Result<()> {
        run(Command::new("perl").args(["-e", CUT]).arg(self.path()))
    }

    /// Brings the power back; nobody may use it any more.
    pub(crate) fn restore(&mut self) -> Result<()> {
        let deadline = Instant::now() + RESTORE_MAX;
        loop {
            self.0.remount()?;
            // A process with mounts of its own may hold the old one for a moment: then it is the
            // one that comes back, as dead as it was.
            let alive = self.path().join("alive");
            match std::fs::write(&alive, b"").and_then(|()| std::fs::remove_file(&alive)) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    /// Shows that a cut does what it says.
    fn check(&mut self) -> Result<()> {
        let (synced, unsynced) = (self.path().join("synced"), self.path().join("unsynced"));
        let mut file = std::fs::File::create(&synced)?;
        file.write_all(b"synced")?;
        file.sync_all()?;
        std::fs::File::open(self.path())?.sync_all()?;
        std::fs::write(&unsynced, b"unsynced")?;
        drop(file);
        self.cut()?;
        self.restore()?;
        ensure!(std::fs::read(&synced)? == b"synced", "a cut takes what was synced");
        ensure!(!unsynced.exists(), "a cut leaves what was never synced");
        Ok(std::fs::remove_file(&synced)?)
    }
}
