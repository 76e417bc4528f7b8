//! Files of a package before it is one: path, bytes, and whether they are a program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Result;

/// A file of a package.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// Files by their paths, in that order.
#[derive(Debug, Default, Clone)]
pub(super) struct Tree(pub(super) BTreeMap<String, Item>);

impl Tree {
    /// Adds a file that is read.
    pub(super) fn file(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Item { bytes: bytes.into(), mode: 0o644 });
    }

    /// Adds a file that is run.
    pub(super) fn program(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Item { bytes: bytes.into(), mode: 0o755 });
    }

    /// Writes everything below a directory, whatever the umask is.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let open = fs::Permissions::from_mode(0o755);
        for (path, item) in &self.0 {
            let path = root.join(path);
            let mut missing: Vec<_> = path.ancestors().skip(1).collect();
            missing.retain(|directory| directory.starts_with(root) && !directory.exists());
            for directory in missing.into_iter().rev() {
                fs::create_dir(directory)?;
                fs::set_permissions(directory, open.clone())?;
            }
            fs::write(&path, &item.bytes)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(item.mode))?;
        }
        Ok(())
    }
}
