//! The container, built by buildah and run without a daemon, a registry or a network: the last
//! stage of the Containerfile, with a program that was built before in place of the stage that
//! builds it. It needs root and buildah; where one lacks, that is said.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use stage::until;

use super::check;
use super::parts::{output, template};
use crate::ci::Outcome;
use crate::peer::free_port;
use crate::peers;

/// Where the last stage begins.
const LAST_STAGE: &str = "FROM scratch\n";
/// Where the stage before leaves what it has built.
const BUILT: &str = "/out/";
/// The user of the container.
const USER: &str = "65532:65532";
/// Longest wait for the server in it to listen, and to end.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Builds it with a static program, starts it, and uses it.
pub(super) fn check(levada: &Path) -> Result<Outcome> {
    if !peers::has("buildah") {
        return Ok(Outcome::Skipped("buildah is not installed".to_owned()));
    }
    let work = stage::Directory::new("levada-container")?;
    let context = work.path().join("context");
    fs::create_dir_all(context.join("data"))?;
    fs::copy(levada, context.join("levada"))?;
    fs::write(context.join("Containerfile"), last_stage()?)?;
    let buildah = Buildah { work: work.path() };
    if let Err(error) = output(buildah.run().arg("images")) {
        return Ok(Outcome::Skipped(format!("buildah cannot be used: {error:#}")));
    }
    let mut build = buildah.run();
    build.args(["build", "--quiet", "--isolation", "chroot", "--format", "docker", "--tag"]);
    output(build.arg("levada:check").arg(&context))?;
    let mut inspect = buildah.run();
    let shown = output(inspect.args(["inspect", "--type", "image", "localhost/levada:check"]))?;
    described(&serde_json::from_slice(&shown)?)?;
    let name = output(buildah.run().args(["from", "localhost/levada:check"]))?;
    let name = String::from_utf8(name)?.trim().to_owned();

    let refused = buildah.levada(&name, &[], &["serve"]).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("password"), "without one it says {said}");
    serves(&buildah, &name)?;
    output(buildah.run().args(["rm", "--all"]))?;
    work.remove()?;
    println!("container: built from scratch, refuses to start without a password, serves");
    Ok(Outcome::Passed)
}

/// The Containerfile from its last stage on; what the stage before built lies in the context.
fn last_stage() -> Result<String> {
    let whole = template("container/Containerfile")?;
    let begin =
        whole.find(LAST_STAGE).context("the Containerfile ends with a stage from scratch")?;
    let last = &whole[begin..];
    let copied = last.matches("--from=build ").count();
    ensure!(copied > 0 && copied == last.matches(BUILT).count(), "what is copied is in {BUILT}");
    Ok(last.replace("--from=build ", "").replace(BUILT, ""))
}

/// What the image says of itself.
fn described(image: &Value) -> Result<()> {
    let config = &image["OCIv1"]["config"];
    let entry = serde_json::json!(["/usr/bin/levada"]);
    let is_meant = config["User"] == USER && config["Entrypoint"] == entry;
    ensure!(is_meant, "the container says {config}");
    let checked = &image["Docker"]["config"]["Healthcheck"]["Test"];
    ensure!(checked[1] == "/usr/bin/levada", "its check of health is {checked}");
    Ok(())
}

/// Starts it on a port of this machine, uses it, and ends it.
fn serves(buildah: &Buildah<'_>, name: &str) -> Result<()> {
    let port = free_port()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (port, http) = (port.to_string(), free_port()?.to_string());
    // Its own addresses are all there are: in a container those of it, here of this machine.
    let here = ["--bind", "127.0.0.1", "--http-bind", "127.0.0.1"];
    let serve = [&["serve", "--port", &port, "--http-port", &http], &here[..]].concat();
    let password = "LEVADA_REQUIREPASS=only-here";
    let mut server = Running(buildah.levada(name, &[password], &serve).spawn()?);
    until("the server in the container listens", WAIT_MAX, || {
        let ended = server.0.try_wait()?;
        ensure!(ended.is_none(), "the server in the container has ended: {ended:?}");
        Ok(TcpStream::connect(address).ok())
    })?;
    check::answers("container", address, &[("AUTH only-here", "+OK\r\n")])?;
    let owners = owners(&port)?;
    ensure!(owners.iter().any(|owner| owner == USER), "it runs as {owners:?}");
    // buildah hands no signal on: the server is told to end.
    write!(TcpStream::connect(address)?, "AUTH only-here\r\nSHUTDOWN\r\n")?;
    let ended = until("the server in the container ends", WAIT_MAX, || Ok(server.0.try_wait()?))?;
    ensure!(ended.success(), "the server in the container ends with {ended}");
    Ok(())
}

/// Who owns the processes that were told to serve on a port.
fn owners(port: &str) -> Result<Vec<String>> {
    let said = format!("\0serve\0--port\0{port}\0");
    let mut owners = Vec::new();
    for process in fs::read_dir("/proc")? {
        let place = process?.path();
        // Others may be gone by now.
        if fs::read_to_string(place.join("cmdline")).is_ok_and(|line| line.contains(&said)) {
            let owner = fs::metadata(&place)?;
            owners.push(format!("{}:{}", owner.uid(), owner.gid()));
        }
    }
    Ok(owners)
}

/// A program that is killed if it is still there when this goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Errors have nowhere to go: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// buildah with images and containers in a directory of its own.
struct Buildah<'a> {
    work: &'a Path,
}

impl Buildah<'_> {
    fn run(&self) -> Command {
        let mut buildah = Command::new("buildah");
        buildah.args(["--storage-driver", "vfs", "--root"]).arg(self.work.join("storage"));
        buildah.arg("--runroot").arg(self.work.join("run"));
        buildah
    }

    /// Runs the program in a container, as its user and in its environment.
    fn levada(&self, name: &str, environment: &[&str], arguments: &[&str]) -> Command {
        let mut run = self.run();
        run.args(["run", "--isolation", "chroot"]);
        for variable in environment {
            run.args(["--env", variable]);
        }
        run.args([name, "--", "/usr/bin/levada"]).args(arguments).stdin(Stdio::null());
        run.stdout(Stdio::piped()).stderr(Stdio::piped());
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_copies_what_was_built() {
        let last = last_stage().unwrap();
        assert!(last.contains("\nCOPY levada /usr/bin/levada\n"), "{last}");
        assert!(last.contains("COPY --chown=65532:65532 data /var/lib/levada\n"), "{last}");
        assert!(!last.contains("--from=") && !last.contains("cargo"), "{last}");
    }
}
