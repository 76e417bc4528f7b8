//! Says how far the work is: a bar on stderr where that is a terminal, or lines of JSON on stdout.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::peer::readable;

/// How often a bar moves while nothing comes in.
const TICK: Duration = Duration::from_millis(200);

/// What is shown of the work. Shared by the threads that do it.
pub(crate) struct Progress {
    bar: ProgressBar,
    json: bool,
    entries: AtomicU64,
}

impl Progress {
    /// Lines of JSON, or a bar if somebody may be looking.
    pub(crate) fn new(json: bool) -> Self {
        let bar = if json || !std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        } else {
            let style =
                "{spinner} {human_pos}/{human_len} entries, {per_sec}, {elapsed}: {wide_msg}";
            let style = ProgressStyle::with_template(style);
            let bar = ProgressBar::new(0)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(TICK);
            bar
        };
        Self { bar, json, entries: AtomicU64::new(0) }
    }

    /// A stream of so many entries was found.
    pub(crate) fn found(&self, entries: u64) {
        self.bar.inc_length(entries);
    }

    /// So many entries of this stream are in the target.
    pub(crate) fn moved(&self, key: &[u8], entries: u64) {
        // Only a sum to show: nothing else is ordered by it.
        let sum = self.entries.fetch_add(entries, Ordering::Relaxed) + entries;
        self.bar.set_message(readable(key));
        self.bar.set_position(sum);
        self.line(|| json!({"event": "progress", "key": readable(key), "entries": sum}));
    }

    /// Both sides of this stream are compared.
    pub(crate) fn comparing(&self, key: &[u8]) {
        self.bar.set_message(format!("comparing {}", readable(key)));
        self.line(|| json!({"event": "comparing", "key": readable(key)}));
    }

    /// Writes a line of JSON, if lines are wanted.
    pub(crate) fn line(&self, value: impl FnOnce() -> Value) {
        if self.json {
            // Who does not read does not stop the work.
            let _ = writeln!(std::io::stdout().lock(), "{}", value());
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
