//! The shape of the guide: `docs/SUMMARY.md` names every chapter and nothing that is not there, no
//! link between files, or into a heading of one, is dead, commands are run or say why not, and
//! examples in Rust and Go stand in files that compile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};

use super::page;

/// The file of chapters.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Languages whose examples compile because they stand word for word, but for the indent, in files
/// that do, and those files.
const COMPILED: [(&str, &[&str]); 2] = [
    ("rust", &["crates/levada/tests/it/guide.rs", "tests/clients/redis-rs/src/guide.rs"]),
    ("go", &["tests/clients/redigo/guide.go"]),
];

/// Fails with all that is wrong.
pub fn check(root: &Path) -> Result<()> {
    let mut texts = BTreeMap::new();
    for page in pages(root)? {
        let text = fs::read_to_string(root.join(&page))?;
        texts.insert(page, text);
    }
    let exists = |path: &str| root.join(path).exists();
    let mut wrong = complaints(&texts, &exists);
    for (page, text) in &texts {
        let is_of_guide = page.starts_with("docs/") || page == "README.md";
        if is_of_guide {
            wrong.extend(page::unexplained(page, text));
        }
        for (language, files) in COMPILED.iter().filter(|_| is_of_guide) {
            let read = |file: &&str| fs::read_to_string(root.join(file));
            let sources = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            wrong.extend(page::uncompiled(page, text, language, &sources));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The pages that people read, relative to the root: those of the guide, and those at the root.
pub fn pages(root: &Path) -> Result<Vec<String>> {
    let mut pages = Vec::new();
    let mut open = vec![PathBuf::from("docs")];
    for entry in fs::read_dir(root)? {
        open.push(PathBuf::from(entry?.file_name()));
    }
    while let Some(path) = open.pop() {
        let full = root.join(&path);
        // Parts of BENCHMARKS.md, whose links are those of that page.
        if path == Path::new("docs/bench") {
            continue;
        }
        if path.extension().is_some_and(|it| it == "md") {
            pages.push(path.to_string_lossy().into_owned());
        } else if path.starts_with("docs") && full.is_dir() {
            for entry in fs::read_dir(&full)? {
                open.push(path.join(entry?.file_name()));
            }
        }
    }
    pages.sort();
    pages.dedup();
    Ok(pages)
}

fn complaints(texts: &BTreeMap<String, String>, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let anchors: BTreeMap<_, _> = texts.iter().map(|(page, it)| (page, anchors(it))).collect();
    for (page, text) in texts {
        for link in links(text) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => resolved(page, path),
            };
            if !exists(&target) && !texts.contains_key(&target) {
                wrong.push(format!("{page}: {link}: there is no {target}"));
            } else if !anchor.is_empty()
                && anchors.get(&target).is_some_and(|known| !known.contains(anchor))
            {
                wrong.push(format!("{page}: {link}: {target} has no such heading"));
            }
        }
    }
    let summary = texts.get(SUMMARY).map(String::as_str).unwrap_or_default();
    let chapters: Vec<_> = links(summary).iter().map(|it| resolved(SUMMARY, it)).collect();
    let named: BTreeSet<_> = chapters.iter().collect();
    for page in texts.keys().filter(|page| page.starts_with("docs/") && *page != SUMMARY) {
        if !named.contains(page) {
            wrong.push(format!("{page} is not in {SUMMARY}"));
        }
    }
    if named.len() != chapters.len() {
        wrong.push(format!("{SUMMARY} names a chapter twice"));
    }
    wrong
}

/// Where a link leads from a page, relative to the root.
fn resolved(page: &str, link: &str) -> String {
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name.to_str().unwrap_or_default()),
            _ => {}
        }
    }
    parts.join("/")
}

/// Lines outside of fences, without what stands in backquotes.
fn prose(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push(line.split('`').step_by(2).collect());
        }
    }
    lines
}

/// Relative links of a page.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // A link may go over the end of a line.
    let text = prose(text).join("\n");
    for part in text.split("](").skip(1) {
        let link = part.split(')').next().unwrap_or_default();
        let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
        if !is_elsewhere && !link.contains(char::is_whitespace) {
            found.push(link.to_owned());
        }
    }
    found
}

/// Anchors of the headings of a page, as forges and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let title = line.trim_start_matches('#');
        if is_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
        let slug: String = title.trim().to_lowercase().chars().filter(kept).collect();
        let slug = slug.replace(' ', "-");
        let mut name = slug.clone();
        for number in 1.. {
            if known.insert(name) {
                break;
            }
            name = format!("{slug}-{number}");
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_is_whole() {
        if let Err(error) = check(&crate::workspace::root()) {
            panic!("{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_found() {
        let check = |pages: &[(&str, &str)], expect: &[&str]| {
            let texts = pages.iter().map(|(page, text)| ((*page).to_owned(), (*text).to_owned()));
            let wrong = complaints(&texts.collect(), &|path| path == "docs/a.png");
            let is_told = |word: &&str| wrong.iter().any(|line| line.contains(word));
            assert!(expect.iter().all(is_told) && wrong.len() == expect.len(), "{wrong:?}");
        };
        let summary = ("docs/SUMMARY.md", "[a](a.md)");
        check(&[summary, ("docs/a.md", "# A b, c\n[x](#a-b-c) ![p](a.png) [w](https://b.c)")], &[]);
        check(&[summary, ("docs/a.md", "# A\n[x](#b)")], &["docs/a.md: #b"]);
        check(&[summary, ("docs/a.md", "[x](../gone.md)")], &["there is no gone.md"]);
        check(&[summary, ("docs/a.md", "`[x](gone.md)`\n```\n[y](gone.md)\n```\n")], &[]);
        check(&[("docs/SUMMARY.md", ""), ("docs/a.md", "")], &["docs/a.md is not in"]);
        check(&[summary], &["there is no docs/a.md"]);
        let twice = ("docs/SUMMARY.md", "[a](a.md) [b](a.md)");
        check(&[twice, ("docs/a.md", "")], &["twice"]);
    }

    #[test]
    fn headings_that_are_the_same_are_numbered() {
        let expect = ["a-b", "a-b-1", "c"].map(str::to_owned);
        assert_eq!(anchors("# A `b`\n## A b\n```\n# no\n```\n### C.\n#no\n"), expect.into());
    }
}
