//! A small file system of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

/// A mounted file system; unmounted when it is dropped.
pub(super) struct Mount {
    directory: PathBuf,
    is_mounted: bool,
}

impl Mount {
    /// A tmpfs of so many MiB below a directory, or an ext4 in a file there; `Ok(None)` where it
    /// cannot be had.
    pub(super) fn new(below: &Path, kind: &str, mib: u64) -> Result<Option<Self>> {
        let mut mount = Self { directory: below.join(kind), is_mounted: false };
        std::fs::create_dir_all(mount.path())?;
        let point = mount.path().display().to_string();
        mount.is_mounted = if kind == "tmpfs" {
            succeeds("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", &point])
        } else {
            let image = mount.directory.join("image").display().to_string();
            succeeds("truncate", &["-s", &format!("{mib}M"), &image])
                && succeeds("mkfs.ext4", &["-q", "-F", "-m", "0", &image])
                && succeeds("mount", &["-o", "loop", &image, &point])
        };
        Ok(mount.is_mounted.then_some(mount))
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("data")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let point = self.path().display().to_string();
        // What cannot be unmounted is not removed either.
        if !self.is_mounted || succeeds("umount", &[&point]) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
