//! `levada verify`: what is damaged in a data directory, told by stream and id range, and what can
//! be kept.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use levada_engine::disk::file::FileDisk;
use levada_engine::store::local::LocalSettings;
use levada_engine::store::local::verify::{Checked, Damage, Remedy, Report, Touched};
use levada_engine::store::local::verify::{repair, verify};

use crate::progress::{Progress, Unit};
use crate::watched::{self, Watched};

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  everything is whole, or was made so by --repair --accept-loss
  1  could not look: no data directory, in use by a server, a device that fails
  2  wrong arguments
  3  something is damaged; --repair --accept-loss can keep the rest
  4  something is damaged beyond repair: bring it back from a backup; nothing was changed";

#[derive(Args)]
pub(crate) struct Given {
    /// The data directory.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Say what would be done to keep everything that is whole.
    #[arg(long)]
    repair: bool,
    /// Do it: what is damaged is given up for good.
    #[arg(long, requires = "repair")]
    accept_loss: bool,
    /// Where a repair writes what was lost, as JSON. [default: DIR/lost.json]
    #[arg(long, value_name = "FILE", requires = "accept_loss")]
    report: Option<PathBuf>,
}

/// Looks, and repairs if asked to; the exit code is one of [`EXIT_CODES`].
pub(crate) fn run(given: &Given) -> ExitCode {
    let report = match look(given) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("levada: {error}");
            return ExitCode::FAILURE;
        }
    };
    match given.json {
        true => println!("{}", json(&report)),
        false => print!("{}", text(&report, given)),
    }
    let repaired = given.accept_loss && !report.is_beyond_repair();
    if report.is_sound() || repaired {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(if report.is_beyond_repair() { 4 } else { 3 })
    }
}

fn look(given: &Given) -> Result<Report, String> {
    let directory = given.directory.as_path();
    let shown = |error: levada_engine::Error| error.message;
    let disk = FileDisk::open_to_read(directory).map_err(shown)?;
    let progress = Progress::new(Unit::Bytes, given.json);
    progress.found(watched::bytes(directory));
    progress.at(&directory.display().to_string());
    let report = verify(Watched::new(disk, &progress)).map_err(shown)?;
    progress.end();
    if !given.accept_loss || report.is_sound() || report.is_beyond_repair() {
        return Ok(report);
    }
    // Written before anything is given up.
    write_report(given, directory, &report)?;
    let disk = FileDisk::open(directory).map_err(shown)?;
    repair(disk, &LocalSettings::default()).map(|(report, _)| report).map_err(shown)
}

fn write_report(given: &Given, directory: &Path, report: &Report) -> Result<(), String> {
    let path = given.report.clone().unwrap_or_else(|| directory.join("lost.json"));
    let written = std::fs::write(&path, json(report) + "\n");
    written.map_err(|error| format!("cannot write the report {}: {error}", path.display()))
}

fn text(report: &Report, given: &Given) -> String {
    let mut out = String::new();
    for damage in &report.damage {
        let Damage { place, what, touches, remedy } = damage;
        let _ = writeln!(out, "{}, byte {}: {what}", place.path, place.offset);
        for touched in touches {
            let _ = writeln!(out, "  {}", named(touched));
        }
        let _ = writeln!(out, "  {}", advice(*remedy, given.accept_loss));
    }
    let Checked { streams, strings, entries, groups, pending, .. } = report.checked;
    let Checked { checkpoint_bytes, batches, blocks, block_bytes, .. } = report.checked;
    let _ = writeln!(
        out,
        "{streams} streams ({entries} entries, {groups} groups, {pending} pending), {strings} \
         strings\nChecked a checkpoint of {checkpoint_bytes} bytes, {batches} batches of the log, \
         {blocks} blocks of {block_bytes} bytes"
    );
    out.push_str(match (report.is_sound(), report.is_beyond_repair(), given.accept_loss) {
        (true, _, _) => "Everything is whole\n",
        (_, true, _) => "Damaged beyond repair: nothing was changed\n",
        (_, _, true) => "Repaired: what was lost is named above\n",
        (_, _, false) => "Damaged: nothing was changed; `--repair --accept-loss` keeps the rest\n",
    });
    out
}

/// `database 0, stream orders, ids 1-0 to 2-0, 7 entries`.
fn named(touched: &Touched) -> String {
    let Touched { database, key, number, ids, entries } = touched;
    let mut out = match key {
        Some(key) => format!("database {database}, key {}", key.escape_ascii()),
        None => format!("a key without a name (number {number})"),
    };
    if let Some((first, last)) = ids {
        let _ = write!(out, ", ids {first} to {last}");
    }
    if let Some(entries) = entries {
        let _ = write!(out, ", {entries} entries");
    }
    out
}

fn advice(remedy: Remedy, done: bool) -> &'static str {
    match (remedy, done) {
        (Remedy::Copy, false) => "a second copy is whole; a repair writes the first anew",
        (Remedy::Copy, true) => "written anew from the second copy",
        (Remedy::Mend, false) => "a repair flips the bit back; nothing is lost then",
        (Remedy::Mend, true) => "the bit is flipped back; nothing is lost",
        (Remedy::Drop, false) => "a repair deletes these entries and keeps the others",
        (Remedy::Drop, true) => "these entries are deleted, the others kept",
        (Remedy::Cut, false) => "a repair ends the log before it",
        (Remedy::Cut, true) => "the log ends before it now",
        (Remedy::None, _) => "beyond repair: bring it back from another copy or a backup",
    }
}

fn json(report: &Report) -> String {
    let damage: Vec<String> = report.damage.iter().map(json_of).collect();
    let Checked { streams, strings, entries, groups, pending, .. } = report.checked;
    let Checked { checkpoint_bytes, batches, blocks, block_bytes, .. } = report.checked;
    format!(
        "{{\"sound\":{},\"beyond_repair\":{},\"damage\":[{}],\"checked\":{{\"streams\":{streams},\
         \"strings\":{strings},\"entries\":{entries},\"groups\":{groups},\"pending\":{pending},\
         \"checkpoint_bytes\":{checkpoint_bytes},\"batches\":{batches},\"blocks\":{blocks},\
         \"block_bytes\":{block_bytes}}}}}",
        report.is_sound(),
        report.is_beyond_repair(),
        damage.join(","),
    )
}

fn json_of(damage: &Damage) -> String {
    let touches = damage.touches.iter().map(|touched| {
        let key = touched
            .key
            .as_ref()
            .map_or("null".to_owned(), |key| quoted(&key.escape_ascii().to_string()));
        let (first, last) = touched.ids.map_or(("null".to_owned(), "null".to_owned()), |ids| {
            (quoted(&ids.0.to_string()), quoted(&ids.1.to_string()))
        });
        let entries = touched.entries.map_or("null".to_owned(), |entries| entries.to_string());
        format!(
            "{{\"database\":{},\"key\":{key},\"number\":{},\"first\":{first},\"last\":{last},\
             \"entries\":{entries}}}",
            touched.database, touched.number
        )
    });
    let touches: Vec<String> = touches.collect();
    let remedy = match damage.remedy {
        Remedy::Copy => "copy",
        Remedy::Mend => "mend",
        Remedy::Drop => "drop",
        Remedy::Cut => "cut",
        Remedy::None => "none",
    };
    format!(
        "{{\"file\":{},\"offset\":{},\"what\":{},\"remedy\":\"{remedy}\",\"touches\":[{}]}}",
        quoted(&damage.place.path),
        damage.place.offset,
        quoted(&damage.what),
        touches.join(",")
    )
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use levada_engine::{Place, StreamId};

    #[test]
    fn damage_is_told_in_json() {
        let ids = Some((StreamId::new(1, 0), StreamId::new(2, 5)));
        let key = Some(b"a\"b\n".to_vec());
        let touched = Touched { database: 3, key, number: 9, ids, entries: Some(7) };
        let damage = Damage {
            place: Place { path: "segments/x".into(), offset: 4096 },
            what: "it \"fails\"".into(),
            touches: vec![touched],
            remedy: Remedy::Drop,
        };
        let expected = concat!(
            r#"{"file":"segments/x","offset":4096,"what":"it \"fails\"","remedy":"drop","#,
            r#""touches":[{"database":3,"key":"a\\\"b\\n","number":9,"first":"1-0","last":"2-5","#,
            r#""entries":7}]}"#
        );
        assert_eq!(json_of(&damage), expected);
        assert_eq!(
            named(&damage.touches[0]),
            r#"database 3, key a\"b\n, ids 1-0 to 2-5, 7 entries"#
        );
    }
}
