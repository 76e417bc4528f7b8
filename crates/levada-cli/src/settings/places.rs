//! Where in a file a policy stands, so that an error names its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use levada_server::Fault;
use serde::Deserialize;
use toml::Spanned;

/// Lines of the file on which policies stand, for messages.
#[derive(Default)]
pub(super) struct Places {
    file: PathBuf,
    pub(super) lines: BTreeMap<&'static str, Vec<usize>>,
}

/// The lists alone, each item with its place.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Spans {
    stream_policy: Vec<Spanned<String>>,
    group_policy: Vec<Spanned<String>>,
}

impl Places {
    /// Of a file that was understood.
    pub(super) fn of(file: &Path, text: &str) -> Self {
        let spans: Spans = toml::from_str(text).unwrap_or_default();
        let line = |item: &Spanned<String>| {
            let before = text.get(..item.span().start).unwrap_or_default();
            1 + before.bytes().filter(|byte| *byte == b'\n').count()
        };
        let lines = |items: &[Spanned<String>]| items.iter().map(line).collect();
        let lines = BTreeMap::from([
            ("stream-policy", lines(&spans.stream_policy)),
            ("group-policy", lines(&spans.group_policy)),
        ]);
        Self { file: file.to_owned(), lines }
    }

    /// What is wrong with a policy, and where it stands.
    pub(super) fn error(&self, fault: &Fault) -> anyhow::Error {
        let Fault { setting, index, why } = fault;
        match self.lines.get(setting).and_then(|lines| lines.get(*index)) {
            Some(line) => anyhow!("{}, line {line}: {setting}: {why}", self.file.display()),
            None => anyhow!("{setting}, number {}: {why}", index + 1),
        }
    }
}
