//! Every file of every corpus, in the ordinary test run.

use std::path::Path;

use levada_fuzz::{TARGETS, seed};

/// Most files of a corpus, and most bytes: it is replayed by everybody, always.
const FILES_MAX: usize = 50;
const BYTES_MAX: usize = 200 << 10;

#[test]
fn whatever_was_found_once_does_no_harm() {
    for (name, target) in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let (mut files, mut bytes) = (0, 0);
        for entry in std::fs::read_dir(&directory).expect("every target has a corpus") {
            let path = entry.expect("it can be listed").path();
            let input = std::fs::read(&path).expect("it can be read");
            println!("{name}: {}", path.display());
            target(&input);
            (files, bytes) = (files + 1, bytes + input.len());
        }
        assert!((1..=FILES_MAX).contains(&files), "{name} has {files} files");
        assert!(bytes <= BYTES_MAX, "{name} has {bytes} bytes");
    }
}

#[test]
fn real_files_do_no_harm_and_neither_do_flips_of_them() {
    for (name, target) in TARGETS {
        target(b"");
        let Some(file) = seed(name) else { continue };
        target(&file);
        for at in (0..file.len() * 8).step_by(97) {
            let mut flipped = file.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            target(&flipped);
        }
    }
}
