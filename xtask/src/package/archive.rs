//! Archives whose bytes depend on what is in them and on nothing else.

use std::io::{Cursor, Write as _};

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use ring::digest::{SHA256, digest};
use tar::{EntryType, Header};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::tree::Tree;

/// Compresses bytes without a name and a time.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut writer = GzBuilder::new().write(Vec::new(), Compression::default());
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}

/// A compressed tar file; all times are `epoch`, in seconds.
pub(super) fn tar_gz(tree: &Tree, epoch: u64) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, item) in &tree.0 {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(item.mode);
        header.set_mtime(epoch);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(item.bytes.len() as u64);
        tar.append_data(&mut header, path, item.bytes.as_slice())?;
    }
    gzip(&tar.into_inner()?)
}

/// A zip file. The format has local times from 1980 on: all are its first, so that no zone and no
/// clock matters.
pub(super) fn zip(tree: &Tree) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, item) in &tree.0 {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(item.mode);
        zip.start_file(path, options)?;
        zip.write_all(&item.bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The sum that SHA256SUMS has.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let digits: Vec<_> =
        digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_the_same_whenever_they_are_made() {
        let mut tree = Tree::default();
        tree.program("b/levada", "binary");
        tree.file("a", "text");
        let names = |bytes: &[u8]| {
            let gunzip = flate2::read::GzDecoder::new(bytes);
            let mut tar = tar::Archive::new(gunzip);
            let entries = tar.entries().unwrap().map(Result::unwrap);
            let told = |entry: tar::Entry<'_, _>| {
                let header = entry.header();
                let name = entry.path().unwrap().display().to_string();
                (name, header.mode().unwrap(), header.mtime().unwrap(), header.uid().unwrap())
            };
            entries.map(told).collect::<Vec<_>>()
        };
        let tar = tar_gz(&tree, 7).unwrap();
        let expect = [("a".to_owned(), 0o644, 7, 0), ("b/levada".to_owned(), 0o755, 7, 0)];
        assert_eq!(names(&tar), expect);
        assert_eq!(tar, tar_gz(&tree, 7).unwrap());
        assert_ne!(tar, tar_gz(&tree, 8).unwrap());
        assert_eq!(zip(&tree).unwrap(), zip(&tree).unwrap());
    }

    #[test]
    fn sums_are_those_of_sha256sum() {
        let expect = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expect);
    }
}
