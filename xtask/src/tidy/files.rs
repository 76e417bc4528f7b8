//! The files that tidy looks at: what git tracks or would track, else everything but build output.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Directories that hold no source.
const IGNORED: &[&str] = &["target", ".git", "node_modules", "__pycache__", "levada-data"];

/// One file, path relative to the root, with `/`.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    bytes: Vec<u8>,
}

impl File {
    /// A file that need not exist.
    #[cfg(test)]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), bytes: text.as_bytes().to_vec() }
    }

    /// Its text; empty when it is not text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }

    /// Its length in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the path ends in `.extension`.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }

    /// The name without directories and extension, if the file lies directly in `directory`.
    pub(crate) fn stem_in(&self, directory: &str, extension: &str) -> Option<&str> {
        let name = self.path.strip_prefix(directory)?.strip_prefix('/')?;
        let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
        (!stem.contains('/')).then_some(stem)
    }
}

/// All files below `root`, in the order of their paths.
pub(crate) fn load(root: &Path) -> Result<Vec<File>> {
    let mut paths = match tracked(root) {
        Some(paths) => paths,
        None => walked(root, "")?,
    };
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        // A tracked file may have been deleted from the tree.
        if let Ok(bytes) = std::fs::read(root.join(&path)) {
            files.push(File { path, bytes });
        }
    }
    Ok(files)
}

/// What git knows or would add; `None` where there is no git or no repository.
fn tracked(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

fn walked(root: &Path, below: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(root.join(below)).with_context(|| below.to_owned())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if !entry.file_type()?.is_dir() {
            paths.push(path);
        } else if !IGNORED.contains(&name.as_str()) {
            paths.extend(walked(root, &path)?);
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walking_finds_this_file() {
        let paths = walked(&crate::workspace::root(), "").unwrap();
        assert!(paths.iter().any(|path| path == "xtask/src/tidy/files.rs"));
        assert!(!paths.iter().any(|path| path.starts_with("target/")));
    }
}
