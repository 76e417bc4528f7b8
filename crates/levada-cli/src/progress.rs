//! Says how far the work is: a bar on stderr where that is a terminal, or lines of JSON on stdout.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

/// How often a bar moves while nothing comes in.
const TICK: Duration = Duration::from_millis(200);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// Entries of streams, of so many that were found.
    Entries,
    /// Bytes read, of about so many.
    Bytes,
    /// Dead letters; nobody knows how many come.
    Letters,
}

impl Unit {
    fn template(self) -> &'static str {
        match self {
            Self::Entries => {
                "{spinner} {human_pos}/{human_len} entries, {per_sec}, {elapsed}: {wide_msg}"
            }
            Self::Bytes => {
                "{spinner} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {elapsed}: \
                 {wide_msg}"
            }
            Self::Letters => "{spinner} {human_pos} dead letters, {per_sec}, {elapsed}: {wide_msg}",
        }
    }
}

/// What is shown of the work. Shared by the threads that do it; the bar goes with it.
pub(crate) struct Progress {
    bar: ProgressBar,
    json: bool,
    entries: AtomicU64,
}

impl Progress {
    /// A bar if somebody may be looking; with `json` none, and lines for those who write some.
    pub(crate) fn new(unit: Unit, json: bool) -> Self {
        if json || !std::io::stderr().is_terminal() {
            return Self::on(ProgressDrawTarget::hidden(), unit, json);
        }
        let progress = Self::on(ProgressDrawTarget::stderr(), unit, json);
        progress.bar.enable_steady_tick(TICK);
        progress
    }

    fn on(target: ProgressDrawTarget, unit: Unit, json: bool) -> Self {
        let style = ProgressStyle::with_template(unit.template());
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(0), target).with_style(style);
        Self { bar, json, entries: AtomicU64::new(0) }
    }

    /// So much more is to be done: a stream of so many entries was found, say.
    pub(crate) fn found(&self, more: u64) {
        self.bar.inc_length(more);
    }

    /// This is what is worked on.
    pub(crate) fn at(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// So much more was done; no line tells of it.
    pub(crate) fn advanced(&self, more: u64) {
        self.bar.inc(more);
    }

    /// So many entries of this stream are in the target.
    pub(crate) fn moved(&self, key: &str, entries: u64) {
        // Only a sum to show: nothing else is ordered by it.
        let sum = self.entries.fetch_add(entries, Ordering::Relaxed) + entries;
        self.at(key);
        self.bar.set_position(sum);
        self.line(|| json!({"event": "progress", "key": key, "entries": sum}));
    }

    /// Both sides of this stream are compared.
    pub(crate) fn comparing(&self, key: &str) {
        self.at(&format!("comparing {key}"));
        self.line(|| json!({"event": "comparing", "key": key}));
    }

    /// Writes a line of JSON, if lines are wanted.
    pub(crate) fn line(&self, value: impl FnOnce() -> Value) {
        if self.json {
            // Who does not read does not stop the work.
            let _ = writeln!(std::io::stdout().lock(), "{}", value());
        }
    }

    /// How much was done.
    #[cfg(test)]
    pub(crate) fn done(&self) -> u64 {
        self.bar.position()
    }

    /// Takes the bar away, so that something else can be said.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    /// Also where an error ends the work.
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps what it is told to show, wherever it is told to.
    #[derive(Clone, Default, Debug)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        fn shown(&self) -> String {
            std::mem::take(&mut *self.0.lock().expect("nobody panics with it"))
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("nobody panics with it").push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_unit_is_shown_as_people_read_it() {
        let check = |unit, found, done, expect: &str| {
            let screen = Screen::default();
            let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
            let progress = Progress::on(target, unit, false);
            progress.found(found);
            progress.advanced(done);
            progress.at("orders");
            let shown = screen.shown();
            assert!(shown.contains(expect) && shown.contains(": orders"), "{unit:?}: {shown:?}");
            drop(progress);
            assert!(!screen.shown().contains("orders"), "it is left behind");
        };
        check(Unit::Entries, 2_000_000, 1_234, "1,234/2,000,000 entries");
        check(Unit::Bytes, 3 << 20, 3 << 19, "1.50 MiB/3.00 MiB");
        check(Unit::Letters, 0, 1_500, "1,500 dead letters");
    }

    #[test]
    fn what_threads_have_moved_adds_up() {
        let progress = Progress::on(ProgressDrawTarget::hidden(), Unit::Entries, false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    progress.found(100);
                    (0..10).for_each(|_| progress.moved("s", 10));
                });
            }
        });
        assert_eq!(progress.entries.load(Ordering::Relaxed), 400);
        assert_eq!((progress.bar.length(), progress.bar.message().as_str()), (Some(400), "s"));
        progress.moved("t", 5);
        progress.comparing("t");
        assert_eq!(
            (progress.bar.position(), progress.bar.message().as_str()),
            (405, "comparing t")
        );
    }
}
