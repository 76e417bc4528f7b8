//! A ClickHouse of one's own: its data and settings in a directory beside nothing else, on a free
//! port of the loopback, ended by its process number.
//!
//! It lives as long as its value: dropping it ends the server and removes the directory.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::Process;
use crate::{free_port, until};

/// Longest wait for it to answer.
const START_WAIT_MAX: Duration = Duration::from_mins(1);
/// Longest wait for an answer to a ping.
const PING_WAIT_MAX: Duration = Duration::from_secs(5);
/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/clickhouse-server";

/// A running server.
#[derive(Debug)]
pub struct ClickHouse {
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl ClickHouse {
    /// Starts one; `Ok(None)` when it is not installed.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = Self::installed() else {
            return Ok(None);
        };
        let started = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let name = format!("stage-clickhouse-{}-{started}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory)?;
        let mut server = Self { program, directory, port: free_port()?, process: None };
        server.write_settings()?;
        server.launch()?;
        Ok(Some(server))
    }

    /// Its program, if it is installed.
    pub fn installed() -> Option<PathBuf> {
        Path::new(PROGRAM).is_file().then(|| PathBuf::from(PROGRAM))
    }

    /// How clients find it, by HTTP.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::kill)
    }

    /// Starts it again on the same data, and waits until it answers.
    pub fn restart(&mut self) -> Result<()> {
        self.process = None;
        self.launch()
    }

    /// What it needs to be told; everything else is as it comes.
    fn write_settings(&self) -> Result<()> {
        let directory = self.directory.display();
        let port = self.port;
        let config = format!(
            "<yandex>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>{port}</http_port>
  <path>{directory}/data/</path>
  <tmp_path>{directory}/tmp/</tmp_path>
  <format_schema_path>{directory}/schemas/</format_schema_path>
  <users_config>{directory}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <mark_cache_size>67108864</mark_cache_size>
</yandex>
"
        );
        let users = "<yandex>
  <profiles><default></default></profiles>
  <users><default>
    <password></password>
    <networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
  </default></users>
  <quotas><default></default></quotas>
</yandex>
";
        fs::write(self.directory.join("config.xml"), config)?;
        fs::write(self.directory.join("users.xml"), users)?;
        for name in ["data", "tmp", "schemas"] {
            fs::create_dir_all(self.directory.join(name))?;
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let log = self.directory.join("log");
        let output = fs::File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&self.program);
        command
            .arg(format!("--config-file={}", self.directory.join("config.xml").display()))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut process = Process::start("clickhouse", &mut command)?;
        let answered = until("ClickHouse answers", START_WAIT_MAX, || {
            process.check_running()?;
            Ok(ping(self.port).ok())
        });
        self.process = Some(process);
        answered.with_context(|| {
            let said = fs::read_to_string(log).unwrap_or_default();
            let last: Vec<_> = said.lines().rev().take(20).collect();
            format!("ClickHouse said:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
        })
    }
}

/// Asks for the page that says that it is well.
fn ping(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PING_WAIT_MAX))?;
    stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    ensure!(said.starts_with("HTTP/1.0 200"), "it said {said:?}");
    Ok(())
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.process = None;
        // An error has nowhere to go: the directory is below the one for temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
