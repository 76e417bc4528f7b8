//! A directory of a run: it goes when the run went well, and stays to be looked at otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

/// Directories of one process have different names.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A directory that nobody else uses, below the system's one for temporary files. Dropped, it is
/// kept, and says so; [`Directory::remove`] is for the end of a run that went well.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    is_removed: bool,
}

impl Directory {
    /// Makes one, whose name begins with that of the application.
    pub fn new(application: &str) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{application}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, is_removed: false })
    }

    /// Runs something in one, which goes when the answer is that all was well.
    pub fn during(application: &str, run: impl FnOnce(&Path) -> Result<bool>) -> Result<bool> {
        let directory = Self::new(application)?;
        let is_well = run(directory.path())?;
        if is_well {
            directory.remove()?;
        }
        Ok(is_well)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it.
    pub fn remove(mut self) -> Result<()> {
        self.is_removed = true;
        fs::remove_dir_all(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.is_removed {
            eprintln!("{} keeps data and logs of this run", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_unless_it_is_removed() {
        let kept = Directory::new("stage-test").unwrap();
        let path = kept.path().to_owned();
        drop(kept);
        assert!(path.is_dir());
        fs::remove_dir_all(path).unwrap();
        let removed = Directory::new("stage-test").unwrap();
        let path = removed.path().to_owned();
        removed.remove().unwrap();
        assert!(!path.exists());
    }
}
