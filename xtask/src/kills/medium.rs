//! A file system of its own in a file, whose power can be cut.
//!
//! An ext4 in an image is mounted through a loop device. The cut is the ioctl `FS_IOC_SHUTDOWN`
//! with `NOLOGFLUSH` (the value 2): from that moment nothing reaches the image, its journal
//! included, whatever the kernel still holds of it. Mounting it again replays the journal, as
//! after a real cut. Perl issues the ioctl: it is part of every Debian, and ours needs no `unsafe`.
//! Checked of the rig itself by [`Medium::check`]: synced bytes stay, unsynced bytes go.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use xtask::ci::Unable;

/// Size of the image: some log files, and room for what a run keeps.
const IMAGE_BYTES: u64 = 768 << 20;
/// The ioctl, for 32 bits of argument (`linux/fs.h`).
const CUT: &str = "open(my $f, '<', $ARGV[0]) or die; my $how = pack('L', 2);
    ioctl($f, 0x8004587d, $how) or die;";

/// See the module. Dropping it unmounts and removes all.
#[derive(Debug)]
pub(crate) struct Medium {
    image: PathBuf,
    mounted_at: PathBuf,
    is_mounted: bool,
}

impl Medium {
    /// Makes one in this directory. Fails with [`Unable`], saying what is missing, where there is
    /// no root, no loop device, no mkfs or no perl.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        Self::make(directory).map_err(|error| anyhow::Error::new(Unable(format!("{error:#}"))))
    }

    fn make(directory: &Path) -> Result<Self> {
        let (image, mounted_at) = (directory.join("image"), directory.join("medium"));
        std::fs::create_dir_all(&mounted_at)?;
        std::fs::File::create(&image)?.set_len(IMAGE_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let mut medium = Self { image, mounted_at, is_mounted: false };
        medium.mount()?;
        medium.check()?;
        Ok(medium)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted_at
    }

    /// Cuts the power. Processes on it get errors from now on.
    pub(crate) fn cut(&self) -> Result<()> {
        run(Command::new("perl").args(["-e", CUT]).arg(&self.mounted_at))
    }

    /// Brings the power back; nobody may use it any more.
    pub(crate) fn restore(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// Shows that a cut does what it says.
    fn check(&mut self) -> Result<()> {
        let (synced, unsynced) = (self.mounted_at.join("synced"), self.mounted_at.join("unsynced"));
        let mut file = std::fs::File::create(&synced)?;
        file.write_all(b"synced")?;
        file.sync_all()?;
        std::fs::File::open(&self.mounted_at)?.sync_all()?;
        std::fs::write(&unsynced, b"unsynced")?;
        drop(file);
        self.cut()?;
        self.restore()?;
        ensure!(std::fs::read(&synced)? == b"synced", "a cut takes what was synced");
        ensure!(!unsynced.exists(), "a cut leaves what was never synced");
        Ok(std::fs::remove_file(&synced)?)
    }

    fn mount(&mut self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mounted_at))?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<()> {
        run(Command::new("umount").arg(&self.mounted_at))?;
        self.is_mounted = false;
        Ok(())
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        if self.is_mounted {
            // An error has nowhere to go; a lazy unmount ends with its last user.
            let _ = Command::new("umount").arg("--lazy").arg(&self.mounted_at).status();
        }
        let _ = std::fs::remove_file(&self.image);
        let _ = std::fs::remove_dir(&self.mounted_at);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?}: {}{}", output.status, String::from_utf8_lossy(&output.stderr))
}
