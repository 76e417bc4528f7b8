//! A Postgres of one's own: its data in a directory beside nothing else, on a unix socket in it,
//! run by somebody who is not root, ended by its process number.
//!
//! It lives as long as its value: dropping it ends the server and removes the directory.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// Longest wait for it to answer.
const START_WAIT_MAX: Duration = Duration::from_mins(1);
/// Longest wait for it to end when it was asked to.
const END_WAIT_MAX: Duration = Duration::from_secs(20);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);
/// Who runs it where this process is root: whom the package makes for it.
const USER: &str = "postgres";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    /// User and group to run as, where this process is root.
    owner: Option<(u32, u32)>,
    child: Option<Child>,
}

impl Postgres {
    /// Starts one; `Ok(None)` when it is not installed.
    pub fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            return Ok(None);
        };
        let started = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let name = format!("levada-postgres-{}-{started}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory)?;
        let mut server = Self { programs, directory, owner: owner()?, child: None };
        if let Some((user, group)) = server.owner {
            chown(&server.directory, Some(user), Some(group))?;
        }
        std::fs::set_permissions(&server.directory, std::fs::Permissions::from_mode(0o700))?;
        server.create()?;
        server.launch()?;
        Ok(Some(server))
    }

    /// The directory of its programs, if it is installed.
    pub fn installed() -> Option<PathBuf> {
        programs()
    }

    /// How clients find it, in the pairs that libpq and tokio-postgres read.
    pub fn address(&self) -> String {
        format!("host={} user={USER} dbname=postgres", self.directory.display())
    }

    /// Runs SQL; answers the rows, a line each, columns apart by `|`.
    pub fn query(&self, sql: &str) -> Result<Vec<String>> {
        let output = self
            .command("psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.address())
            .args(["-c", sql])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{sql}: {said}");
        let rows = String::from_utf8(output.stdout)?;
        Ok(rows.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    fn create(&self) -> Result<()> {
        let output = self
            .command("initdb")
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", USER])
            .arg("-D")
            .arg(self.directory.join("data"))
            .output()
            .context("initdb cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "initdb failed: {said}");
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let log = self.directory.join("log");
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.directory.join("data"))
            .arg("-k")
            .arg(&self.directory)
            // Nothing that it holds is of use behind its end, so nothing needs a sync.
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("postgres cannot be started")?;
        self.child = Some(child);
        let deadline = Instant::now() + START_WAIT_MAX;
        while self.query("SELECT 1").is_err() {
            let ended =
                self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() > deadline {
                let said = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                bail!("postgres does not answer; it said:\n{said}");
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.directory).env("LC_ALL", "C");
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    /// Ends it as a crash would: at once, and without a checkpoint, so that it has to recover. Its
    /// children end with it, which they would not if the server itself were killed.
    pub fn kill(&mut self) -> Result<()> {
        self.end()
    }

    /// Starts it again on the same data, and waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        self.end()?;
        self.launch()
    }

    fn end(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let number = child.id().to_string();
        let asked = Command::new("kill").args(["-QUIT", &number]).status()?;
        let deadline = Instant::now() + END_WAIT_MAX;
        while asked.success() && Instant::now() < deadline {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Errors have nowhere to go: the process may have ended by itself.
        let _ = self.end();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Whom to run it as: it refuses to be root.
fn owner() -> Result<Option<(u32, u32)>> {
    let number = |arguments: &[&str]| -> Result<u32> {
        let output = Command::new("id").args(arguments).output()?;
        ensure!(output.status.success(), "there is no user {USER}");
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    if number(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((number(&["-u", USER])?, number(&["-g", USER])?)))
}

/// The directory of its programs, if it is installed: Debian keeps them off the path.
fn programs() -> Option<PathBuf> {
    let directory = Path::new("/usr/lib/postgresql/15/bin");
    ["postgres", "initdb", "psql"]
        .iter()
        .all(|program| directory.join(program).is_file())
        .then(|| directory.to_owned())
}
