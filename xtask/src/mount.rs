//! A small file system of its own, for rigs that cut its power or fill it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use xtask::ci::Unable;

/// A mounted file system; dropping it unmounts and removes all of it.
#[derive(Debug)]
pub(crate) struct Mount {
    point: PathBuf,
    /// What of `mount` follows the program's name and stands before the mount point.
    how: Vec<String>,
    /// Where an ext4 lies.
    image: Option<PathBuf>,
    is_mounted: bool,
}

impl Mount {
    /// A tmpfs of so many MiB in this directory. Fails with [`Unable`] where it cannot be had.
    pub(crate) fn tmpfs(directory: &Path, mib: u64) -> Result<Self> {
        let size = format!("size={mib}m");
        let how = ["-t", "tmpfs", "-o", &size, "tmpfs"].map(str::to_owned);
        Self::new(directory.join("tmpfs"), how.to_vec(), None).map_err(|error| unable(&error))
    }

    /// An ext4 of so many MiB, in an image in this directory. Fails with [`Unable`], saying what is
    /// missing, where there is no root, no loop device or no mkfs.
    pub(crate) fn ext4(directory: &Path, mib: u64) -> Result<Self> {
        Self::new_ext4(directory, mib).map_err(|error| unable(&error))
    }

    fn new_ext4(directory: &Path, mib: u64) -> Result<Self> {
        let image = directory.join("image");
        std::fs::File::create(&image)?.set_len(mib << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        let how = vec!["-o".to_owned(), "loop".to_owned(), image.display().to_string()];
        Self::new(directory.join("ext4"), how, Some(image))
    }

    fn new(point: PathBuf, how: Vec<String>, image: Option<PathBuf>) -> Result<Self> {
        std::fs::create_dir_all(&point)?;
        let mut mount = Self { point, how, image, is_mounted: false };
        mount.mount()?;
        Ok(mount)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.point
    }

    /// Unmounts it and mounts it again; nobody may use it any more.
    pub(crate) fn remount(&mut self) -> Result<()> {
        run(Command::new("umount").arg(&self.point))?;
        self.is_mounted = false;
        self.mount()
    }

    fn mount(&mut self) -> Result<()> {
        run(Command::new("mount").args(&self.how).arg(&self.point))?;
        self.is_mounted = true;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Errors have nowhere to go; a lazy unmount ends with its last user.
        if self.is_mounted {
            let _ = Command::new("umount").arg("--lazy").arg(&self.point).status();
        }
        if let Some(image) = &self.image {
            let _ = std::fs::remove_file(image);
        }
        let _ = std::fs::remove_dir(&self.point);
    }
}

/// Runs a program that says nothing where all is well.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?}: {}{}", output.status, String::from_utf8_lossy(&output.stderr))
}

/// What went wrong as something that this machine cannot do.
pub(crate) fn unable(error: &anyhow::Error) -> anyhow::Error {
    anyhow::Error::new(Unable(format!("{error:#}")))
}
