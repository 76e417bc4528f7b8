//! The package for Debian in a system that systemd runs: installed, started, watched, ended.
//!
//! The system is made of namespaces above the files of this machine (`systemd/setup.sh`): what it
//! writes goes into memory, it has a network of its own, and nothing of it stays. What must be seen
//! in it is in `systemd/observe.sh`. It needs root, systemd, cgroup2 and overlayfs; where one
//! lacks, that is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::ci::Outcome;
use crate::peers;

/// Seconds after which all of it is killed.
const SECONDS_MAX: &str = "120";
/// The last line of what was seen.
const ALL: &str = "all was seen";
/// What makes the system, and what is done in it.
const SCRIPTS: [(&str, &str); 2] = [
    ("setup.sh", include_str!("systemd/setup.sh")),
    ("observe.sh", include_str!("systemd/observe.sh")),
];

/// Installs a package in such a system.
pub(super) fn check(package: &Path) -> Result<Outcome> {
    for program in ["/lib/systemd/systemd", "unshare", "pivot_root", "ip", "bash"] {
        if !peers::has(program) {
            return Ok(Outcome::Skipped(format!("{program} is not installed")));
        }
    }
    let work = stage::Directory::new("levada-systemd")?;
    for name in ["out", "disk", "root"] {
        fs::create_dir(work.path().join(name))?;
    }
    for (name, text) in SCRIPTS {
        fs::write(work.path().join(name), text)?;
    }
    fs::copy(package, work.path().join("levada.deb"))?;
    let group = match ControlGroup::new() {
        Ok(group) => group,
        Err(error) => return Ok(Outcome::Skipped(format!("no control group: {error}"))),
    };
    let output = Command::new("sh")
        .arg("-c")
        .arg(
            "echo $$ > \"$1/cgroup.procs\" && exec timeout --signal=KILL \"$2\" unshare --fork \
             --kill-child --pid --mount --uts --ipc --net --cgroup sh \"$3/setup.sh\" \"$3\"",
        )
        .arg("sh")
        .args([group.0.as_os_str(), SECONDS_MAX.as_ref(), work.path().as_os_str()])
        .output()?;
    let out = work.path().join("out");
    if !out.join("began").exists() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Ok(Outcome::Skipped(format!("no system of its own: {why}")));
    }
    let said = fs::read_to_string(out.join("said")).context("systemd ran nothing")?;
    work.remove()?;
    ensure!(said.trim_end().ends_with(ALL), "under systemd: {said}");
    let seen = said.lines().filter_map(|line| line.strip_prefix("seen: "));
    seen.for_each(|line| println!("systemd: {line}"));
    Ok(Outcome::Passed)
}

/// Where systemd counts its processes; removed when dropped.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mut lines = mounts.lines().map(|line| line.split(' '));
        let place = lines.find_map(|mut words| {
            let place = words.nth(1)?;
            (words.next() == Some("cgroup2")).then(|| PathBuf::from(place))
        });
        let place = place.context("cgroup2 is not mounted")?;
        let place = place.join(format!("levada-{}", std::process::id()));
        fs::create_dir(&place)?;
        Ok(Self(place))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Removes a group and those below it. The kernel does not let go of one with processes: what is
/// left then goes with the machine.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
