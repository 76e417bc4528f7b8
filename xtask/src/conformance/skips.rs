//! The tests that are left out, each under its reason.

use anyhow::{Context as _, Result, bail, ensure};

/// What `skip.txt` says.
#[derive(Debug)]
pub(super) struct Skips {
    /// Reason and name of the test.
    entries: Vec<(String, String)>,
}

impl Skips {
    /// Reads the file: comments, lines `because REASON`, and the indented names of tests.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut entries: Vec<(String, String)> = Vec::new();
        let mut reason = None;
        for (number, line) in text.lines().enumerate() {
            let at = number + 1;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("    ") {
                let reason: &String = reason
                    .as_ref()
                    .with_context(|| format!("skip.txt:{at}: {name:?} stands under no reason"))?;
                ensure!(!name.starts_with('/'), "skip.txt:{at}: the suite would take a pattern");
                let is_new = entries.iter().all(|(_, known)| known != name);
                ensure!(is_new, "skip.txt:{at}: {name:?} is listed twice");
                entries.push((reason.clone(), name.to_owned()));
            } else if let Some(given) = line.strip_prefix("because ") {
                ensure!(!given.trim().is_empty(), "skip.txt:{at}: an empty reason");
                reason = Some(given.to_owned());
            } else {
                bail!("skip.txt:{at}: neither a reason nor the indented name of a test: {line:?}");
            }
        }
        Ok(Self { entries })
    }

    /// The names, to the letter.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Skips;

    #[test]
    fn names_stand_under_reasons() {
        let skips = Skips::parse("# why\nbecause of that\n    One: a test\n    two (x)\n");
        let skips = skips.expect("well formed");
        assert_eq!(skips.names().collect::<Vec<_>>(), ["One: a test", "two (x)"]);
    }

    #[test]
    fn what_has_no_reason_is_refused() {
        let check = |text: &str, complaint: &str| {
            let error = Skips::parse(text).expect_err(text).to_string();
            assert!(error.contains(complaint), "{error}");
        };
        check("    a test\n", "under no reason");
        check("because \n    a test\n", "empty reason");
        check("a test\n", "neither a reason");
        check("because x\n    a\n    a\n", "twice");
        check("because x\n    /a\n", "pattern");
    }
}
