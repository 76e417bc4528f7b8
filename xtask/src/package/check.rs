//! Whether packages are what they should be: the same bytes when made again, and a levada that
//! serves from where each of them puts it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::parts::{VERSION, output};
use super::{Batch, KINDS, container, make, manifests, schemas, systemd};
use crate::ci::{self, Outcome};
use crate::peer::Peer;
use crate::{peers, workspace};

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// What may lack under `CI=true` too: the image of Debian that CI runs in is one without systemd.
const MAY_LACK: [&str; 1] = ["systemd-analyze"];

/// Checks packages of every kind that were made of these batches.
pub(super) fn run(batches: &[Batch], made: &[PathBuf]) -> Result<Outcome> {
    let work = stage::Directory::new("levada-installed")?;
    let again = make(batches, &work.path().join("again"))?;
    same_bytes(made, &again)?;
    let find = |end: &str| -> Result<&Path> {
        let is_meant = |path: &&PathBuf| path.to_string_lossy().ends_with(end);
        Ok(made.iter().find(is_meant).with_context(|| format!("no package {end}"))?)
    };
    let mut lacking = Vec::new();
    let root = debian(find(".deb")?, &work.path().join("deb"))?;
    manifests::check(&root.join("usr/bin/levada"))?;
    if let Outcome::Skipped(why) = schemas::check()? {
        println!("SKIPPED: the schemas of Kubernetes: {why}");
        lacking.push("kubernetes-validate");
    }
    unit(&root, &mut lacking)?;
    scripts(&root, &mut lacking)?;
    if let Outcome::Skipped(why) = systemd::check(find(".deb")?)? {
        println!("SKIPPED: the service under systemd: {why}");
    }
    wheel(find(".whl")?, &work.path().join("venv"), &mut lacking)?;
    npm(find(".tgz")?, &work.path().join("npm"), &mut lacking)?;
    let unpacked = installer(find(".tar.gz")?, &work.path().join("tar"))?;
    let is_static = |batch: &Batch| workspace::is_static(&batch.parts.target);
    let container = match batches.iter().any(is_static) {
        true => container::check(&unpacked)?,
        false => Outcome::Skipped("there is no static binary".to_owned()),
    };
    if let Outcome::Skipped(why) = container {
        println!("SKIPPED: the container: {why}");
    }
    work.remove()?;
    lacking.iter().for_each(|program| println!("SKIPPED: {program} is not installed"));
    match lacking.iter().find(|program| !MAY_LACK.contains(program)) {
        Some(program) => ci::lacking(&format!("{program} is not installed")),
        None => Ok(Outcome::Passed),
    }
}

/// Whether a program is there; what is not is noted.
fn has(program: &'static str, lacking: &mut Vec<&'static str>) -> bool {
    let is_there = peers::has(program);
    if !is_there {
        lacking.push(program);
    }
    is_there
}

fn same_bytes(made: &[PathBuf], again: &[PathBuf]) -> Result<()> {
    ensure!(made.len() >= KINDS.len() && again.len() == made.len(), "{made:?}, {again:?}");
    for (one, other) in made.iter().zip(again) {
        ensure!(one.file_name() == other.file_name(), "{} is no pair", one.display());
        let is_same = fs::read(one)? == fs::read(other)?;
        ensure!(is_same, "{} differs when it is made again", one.display());
    }
    println!("made twice: the same bytes");
    Ok(())
}

/// Unpacks the package for Debian; answers its root.
fn debian(package: &Path, root: &Path) -> Result<PathBuf> {
    output(Command::new("dpkg-deb").arg("--extract").args([package, root]))?;
    let control = root.join("DEBIAN");
    output(Command::new("dpkg-deb").arg("--control").args([package, &control]))?;
    let listed = output(Command::new("dpkg-deb").arg("--contents").arg(package))?;
    for line in String::from_utf8_lossy(&listed).lines() {
        ensure!(line.contains(" root/root "), "{line}");
    }
    for path in ["usr/share/man/man1/levada-serve.1.gz", "usr/share/doc/levada/copyright"] {
        ensure!(root.join(path).is_file(), "the package lacks {path}");
    }
    let levada = root.join("usr/bin/levada");
    let settings = root.join("etc/levada/levada.toml");
    output(Command::new(&levada).args(["config", "--config"]).arg(settings))?;
    serves("deb", &levada)?;
    Ok(root.to_owned())
}

/// What the unit starts is understood by the binary, and systemd understands the unit.
fn unit(root: &Path, lacking: &mut Vec<&'static str>) -> Result<()> {
    let file = "lib/systemd/system/levada.service";
    let text = fs::read_to_string(root.join(file))?;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/levada serve "));
    let arguments = line.context("ExecStart runs levada serve")?;
    let settings = root.join("etc/levada/levada.toml");
    let shown = settings.to_str().context("a path that is text")?;
    let arguments = arguments.replace("/etc/levada/levada.toml", shown);
    let levada = root.join("usr/bin/levada");
    output(Command::new(&levada).arg("config").args(arguments.split_whitespace()))?;
    ensure!(text.contains("\nType=notify\n") && text.contains("\nWatchdogSec="), "{file}");
    if has("systemd-analyze", lacking) {
        // The program stands where the package was unpacked.
        let unit = root.join("levada.service");
        let here = format!("ExecStart={} ", levada.display());
        fs::write(&unit, text.replace("ExecStart=/usr/bin/levada ", &here))?;
        let mut verify = Command::new("systemd-analyze");
        let said = verify.args(["verify", "--man=no", "--generators=no"]).arg(&unit).output()?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let ours: Vec<_> = said.lines().filter(|line| line.contains("levada")).collect();
        ensure!(ours.is_empty(), "systemd-analyze verify says {ours:#?}");
        println!("unit: systemd-analyze verify has nothing to say");
    }
    Ok(())
}

/// The scripts that run as root are scripts.
fn scripts(root: &Path, lacking: &mut Vec<&'static str>) -> Result<()> {
    let ours = ["postinst", "prerm", "postrm"].map(|name| root.join("DEBIAN").join(name));
    let installer = workspace::root().join("packaging/install.sh");
    for script in ours.iter().chain([&installer]) {
        output(Command::new("sh").arg("-n").arg(script))?;
    }
    if has("shellcheck", lacking) {
        output(Command::new("shellcheck").arg("--shell=sh").args(&ours).arg(&installer))?;
    }
    Ok(())
}

fn wheel(package: &Path, environment: &Path, lacking: &mut Vec<&'static str>) -> Result<()> {
    if !has("python3", lacking) {
        return Ok(());
    }
    output(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]);
    pip.args(["--disable-pip-version-check"]);
    output(pip.arg(package))?;
    serves("pip", &environment.join("bin/levada"))
}

fn npm(package: &Path, prefix: &Path, lacking: &mut Vec<&'static str>) -> Result<()> {
    if !has("npm", lacking) {
        return Ok(());
    }
    fs::create_dir_all(prefix)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--offline", "--no-audit", "--no-fund", "--no-update-notifier"]);
    npm.arg("--cache").arg(prefix.join("cache")).arg("--prefix").args([prefix, package]);
    output(&mut npm)?;
    serves("npm", &prefix.join("node_modules/.bin/levada"))
}

/// The installer puts into place what has its sum, and nothing else. Answers the program.
fn installer(package: &Path, place: &Path) -> Result<PathBuf> {
    let (from, to) = (place.join("from"), place.join("to"));
    fs::create_dir_all(&from)?;
    let name = package.file_name().context("a file")?.to_string_lossy().into_owned();
    let sums = package.with_file_name("SHA256SUMS");
    fs::copy(package, from.join(&name))?;
    fs::copy(sums, from.join("SHA256SUMS"))?;
    let target = name.strip_prefix(&format!("levada-{VERSION}-"));
    let target = target.and_then(|rest| rest.strip_suffix(".tar.gz")).context("a target")?;
    let install = |to: &Path| {
        let mut sh = Command::new("sh");
        sh.arg(workspace::root().join("packaging/install.sh"));
        sh.args(["--version", VERSION, "--target", target, "--from"]).arg(&from);
        sh.arg("--to").arg(to).output()
    };
    let said = install(&to)?;
    ensure!(said.status.success(), "install.sh: {}", String::from_utf8_lossy(&said.stderr));
    let levada = to.join("bin/levada");
    serves("tar", &levada)?;
    let mut bytes = fs::read(from.join(&name))?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(from.join(&name), bytes)?;
    let other = place.join("other");
    ensure!(!install(&other)?.status.success(), "install.sh takes an archive that was changed");
    ensure!(!other.exists(), "install.sh leaves something of an archive that was changed");
    Ok(levada)
}

/// Starts the levada that was installed, and uses it.
fn serves(kind: &str, levada: &Path) -> Result<()> {
    let said = output(Command::new(levada).arg("--version"))?;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    ensure!(said == format!("levada {VERSION}"), "{kind}: {said}");
    let peer = Peer::program(levada).with_context(|| format!("{kind}: {}", levada.display()))?;
    answers(kind, peer.address, &[])?;
    println!("{kind}: installed, serves");
    Ok(())
}

/// Says what is to be said first, appends an entry to a server, and reads it back.
pub(super) fn answers(kind: &str, address: SocketAddr, first: &[(&str, &str)]) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let use_it = [
        ("XADD installed 1-1 by package", "$3\r\n1-1\r\n"),
        ("XRANGE installed - +", "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$2\r\nby\r\n$7\r\npackage\r\n"),
    ];
    for (request, expect) in first.iter().chain(&use_it) {
        write!(stream, "{request}\r\n")?;
        let mut answer = vec![0; expect.len()];
        stream.read_exact(&mut answer).with_context(|| format!("{kind}: {request}"))?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer == *expect, "{kind}: {request} answers {answer:?}");
    }
    Ok(())
}
