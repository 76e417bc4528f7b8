//! Decision records are numbered without gaps and listed in ARCHITECTURE.md.

use super::files::File;

const RECORDS: &str = "docs/adr";
const LIST: &str = "ARCHITECTURE.md";

/// Complains about gaps, double numbers and records that are not listed.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let list = files.iter().find(|file| file.path == LIST).map_or("", File::text);
    let mut names: Vec<&str> =
        files.iter().filter_map(|file| file.stem_in(RECORDS, "md")).collect();
    names.sort_unstable();
    let mut all = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let number = format!("{:04}-", index + 1);
        if !name.starts_with(&number) {
            all.push(format!("{RECORDS}/{name}.md: the next number is {number}"));
        }
        if !list.contains(&format!("{name}.md")) {
            all.push(format!("{RECORDS}/{name}.md: not listed in {LIST}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(names: &[&str], list: &str) -> usize {
        let record = |name: &&str| File::new(&format!("{RECORDS}/{name}.md"), "");
        let mut files: Vec<File> = names.iter().map(record).collect();
        files.push(File::new(LIST, list));
        check(&files).len()
    }

    #[test]
    fn gaps_doubles_and_orphans_are_found() {
        assert_eq!(complaints(&[], ""), 0);
        assert_eq!(complaints(&["0001-a", "0002-b"], "0001-a.md 0002-b.md"), 0);
        assert_eq!(complaints(&["0001-a", "0003-b"], "0001-a.md 0003-b.md"), 1);
        assert_eq!(complaints(&["0001-a", "0001-b"], "0001-a.md 0001-b.md"), 1);
        assert_eq!(complaints(&["0001-a"], ""), 1);
    }
}
