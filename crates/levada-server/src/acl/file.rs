//! Users in a file, a line each: `user name rule ...`, as Redis writes and reads it.
//!
//! A file is loaded whole or not at all. It is replaced by a rename, behind a sync: a crash leaves
//! the old one or the new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::selector::Fault;
use super::user::{User, is_name, merge};
use crate::registry::Registry;

/// Reads the users of a file. An error is all that is wrong, in one line.
pub(crate) fn load(
    registry: &Registry,
    path: &Path,
    all_channels: bool,
) -> Result<Vec<User>, String> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| format!("Error loading ACLs, opening file '{shown}': {error}"))?;
    let (mut users, mut errors) = (Vec::<User>::new(), String::new());
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let place = format!("{shown}:{}", at + 1);
        match parse_line(registry, line, all_channels, &place) {
            Ok(Some(user)) if users.iter().any(|known| known.name == user.name) => {
                let name = String::from_utf8_lossy(&user.name).into_owned();
                let line = at + 1;
                let wrong = format!("WARNING: Duplicate user '{name}' found on line {line}. ");
                errors += &wrong;
            }
            Ok(user) => users.extend(user),
            Err(error) => errors += &error,
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors += "WARNING: ACL errors detected, no change to the previously active ACL rules was \
               performed";
    Err(errors)
}

/// The user of a line; `None` of an empty one.
pub(crate) fn parse_line(
    registry: &Registry,
    line: &[u8],
    all_channels: bool,
    place: &str,
) -> Result<Option<User>, String> {
    let words: Vec<&[u8]> =
        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let (name, rules) = match words.as_slice() {
        [] => return Ok(None),
        [b"user", name, rules @ ..] => (*name, rules),
        _ => {
            return Err(format!(
                "{place} should start with user keyword followed by the username. "
            ));
        }
    };
    parse(registry, name, rules, all_channels)
        .map(Some)
        .map_err(|error| format!("{place}: {error}. "))
}

/// A user from its name and rules. An error says what is wrong, and nothing of a password.
pub(crate) fn parse(
    registry: &Registry,
    name: &[u8],
    rules: &[&[u8]],
    all_channels: bool,
) -> Result<User, String> {
    if !is_name(name) {
        return Err("Spaces not allowed in ACL usernames".to_owned());
    }
    let rules =
        merge(rules).map_err(|_| "Unmatched parenthesis in selector definition".to_owned())?;
    let mut user = User::new(name, all_channels);
    match user.apply_all(registry, &rules, all_channels) {
        Ok(()) => Ok(user),
        Err((rule, fault @ Fault::Unknown)) => {
            let rule = String::from_utf8_lossy(&rule).into_owned();
            Err(format!("Error in applying operation '{rule}': {}", fault.text()))
        }
        Err((_, fault)) => Err(fault.text().to_owned()),
    }
}

/// Replaces a file by these users. The new one is on disk when this returns.
pub(crate) fn save<'a>(path: &Path, users: impl Iterator<Item = &'a User>) -> io::Result<()> {
    let mut text = Vec::new();
    for user in users {
        text.extend(user.line());
        text.push(b'\n');
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = replace(path, &temporary, &text);
    if written.is_err() {
        // What is left of it is nobody's.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn replace(path: &Path, temporary: &Path, text: &[u8]) -> io::Result<()> {
    // Hashes are not for everybody's eyes.
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(temporary, path)?;
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
