//! Rules about a file and its lines: size, width, header, marks of unfinished work.

use super::files::File;
use super::source::blank;

/// Widest line of Rust source, in characters.
const COLUMNS_MAX: usize = 100;
/// Largest file, in bytes.
const SIZE_BYTES_MAX: usize = 100 << 10;
/// Files, and directories of files, that may be larger: they are written by tools.
const SIZE_EXEMPT: &[&str] = &["Cargo.lock", "packaging/pgo/"];
/// Words that mean "not done". Spelled in two parts, for this file is checked too.
const MARKS: &[&str] = &[concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")];

/// No blobs.
pub(crate) fn size(file: &File) -> Option<String> {
    let is_exempt = SIZE_EXEMPT.iter().any(|exempt| match exempt.ends_with('/') {
        true => file.path.starts_with(exempt),
        false => file.path == *exempt,
    });
    (file.size_bytes() > SIZE_BYTES_MAX && !is_exempt).then(|| {
        format!("{}: {} KiB; keep blobs out of the repository", file.path, file.size_bytes() >> 10)
    })
}

/// No line of Rust is too wide.
pub(crate) fn columns(file: &File) -> Vec<String> {
    let wide = |(_, line): &(usize, &str)| line.chars().count() > COLUMNS_MAX;
    let complain = |(index, _)| format!("{}:{}: over {COLUMNS_MAX} columns", file.path, index + 1);
    file.text().lines().enumerate().filter(wide).map(complain).collect()
}

/// Every Rust file starts by saying why it exists.
pub(crate) fn header(file: &File) -> Option<String> {
    (!file.text().starts_with("//! "))
        .then(|| format!("{}:1: no `//!` header that says why the file exists", file.path))
}

/// Nothing is left to be done later.
pub(crate) fn marks(file: &File) -> Vec<String> {
    let mut all = Vec::new();
    for (index, line) in file.text().lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if let Some(mark) = words.find(|word| MARKS.contains(word)) {
            all.push(format!("{}:{}: {mark}; do it, or open an issue", file.path, index + 1));
        }
    }
    all
}

/// No `dbg!`.
pub(crate) fn debug_calls(file: &File) -> Vec<String> {
    let call = concat!("dbg", "!");
    let code = blank(file.text());
    let lines = code.lines().enumerate().filter(|(_, line)| line.contains(call));
    lines.map(|(index, _)| format!("{}:{}: {call} is left over", file.path, index + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File::new("a.rs", text)
    }

    #[test]
    fn width_counts_characters() {
        assert!(columns(&file(&"ä".repeat(100))).is_empty());
        assert_eq!(columns(&file(&format!("\n{}", "x".repeat(101)))), ["a.rs:2: over 100 columns"]);
    }

    #[test]
    fn a_header_is_asked_for() {
        assert!(header(&file("//! Why.\n")).is_none());
        assert!(header(&file("// Why.\n")).is_some());
        assert!(header(&file("//!\n")).is_some());
    }

    #[test]
    fn marks_are_whole_words() {
        assert_eq!(marks(&file(concat!("\n// TO", "DO: x"))).len(), 1);
        assert_eq!(marks(&file(concat!("// FIX", "ME"))).len(), 1);
        assert!(marks(&file(concat!("TO", "DOS FIX", "MEE"))).is_empty());
    }

    #[test]
    fn debug_calls_are_found_in_code_only() {
        assert_eq!(debug_calls(&file(concat!("dbg", "!(x);"))).len(), 1);
        assert!(debug_calls(&file(concat!("// dbg", "!(x);"))).is_empty());
    }

    #[test]
    fn blobs_are_refused_but_the_lock_file_is_not() {
        let text = "x".repeat(SIZE_BYTES_MAX + 1);
        assert!(size(&File::new("a.bin", &text)).is_some());
        assert!(size(&File::new("Cargo.lock.bin", &text)).is_some());
        assert!(size(&File::new("Cargo.lock", &text)).is_none());
        assert!(size(&File::new("packaging/pgo/a.profdata", &text)).is_none());
    }
}
