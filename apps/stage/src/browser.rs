//! A browser, steered by the `WebDriver` protocol: JSON over HTTP to `chromedriver`, which starts
//! Chromium. Both end with the value.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// The program that steers, which Debian's package chromium-driver brings.
const PROGRAM: &str = "chromedriver";
/// Longest wait for an answer of the browser, and for a page to become what is expected of it.
const ANSWER_MAX: Duration = Duration::from_mins(2);
/// Between two looks at a page.
const POLL: Duration = Duration::from_millis(50);
/// The tabulator, by its code point in the protocol.
pub const TAB: &str = "\u{e004}";
/// The key that ends a line, by its code point in the protocol.
pub const ENTER: &str = "\u{e007}";

/// A browser with one window.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: PathBuf,
}

impl Browser {
    /// Whether the program that steers is there.
    pub fn is_installed() -> bool {
        Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().is_ok()
    }

    /// Starts one.
    pub fn start() -> Result<Self> {
        let profile = std::env::temp_dir().join(format!("levada-browse-{}", std::process::id()));
        let mut driver = Command::new(PROGRAM)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{PROGRAM}: install chromium and chromium-driver"))?;
        let said = driver.stdout.take().context("its output is piped")?;
        let mut browser = Self { driver, port: 0, session: String::new(), profile };
        let mut lines = BufReader::new(said).lines();
        browser.port = loop {
            let line = lines.next().context("chromedriver ended")??;
            let port = line.split("successfully on port ").nth(1);
            if let Some(port) = port.and_then(|port| port.trim_end_matches('.').parse().ok()) {
                break port;
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        let profile = format!("--user-data-dir={}", browser.profile.display());
        let arguments = json!([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--window-size=1200,900",
            profile,
        ]);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let answer = browser.send("POST", "/session", &wanted)?;
        let session = answer["sessionId"].as_str().context("no session")?;
        session.clone_into(&mut browser.session);
        Ok(browser)
    }

    /// Goes to a page.
    pub fn open(&self, url: &str) -> Result<()> {
        self.ask("POST", "/url", &json!({ "url": url })).map(drop)
    }

    /// What a script of the test, not of the page, answers.
    pub fn script(&self, script: &str) -> Result<Value> {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a script answers true.
    pub fn wait(&self, script: &str) -> Result<()> {
        let deadline = Instant::now() + ANSWER_MAX;
        while self.script(&format!("return Boolean({script});"))? != json!(true) {
            let text = || self.script("return location.href + '\\n' + document.body.innerText;");
            ensure!(Instant::now() < deadline, "never true: {script}\n{}", text()?);
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until a page says this.
    pub fn wait_for_text(&self, text: &str) -> Result<()> {
        let text = json!(text);
        self.wait(&format!("document.body && document.body.innerText.includes({text})"))
    }

    /// Clicks on what a selector finds first.
    pub fn click(&self, selector: &str) -> Result<()> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.ask("POST", "/element", &wanted).with_context(|| selector.to_owned())?;
        let id = found.as_object().and_then(|found| found.values().next());
        let id = id.and_then(Value::as_str).context("no element")?;
        self.ask("POST", &format!("/element/{id}/click"), &json!({})).map(drop)
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub fn press(&self, keys: &str) -> Result<()> {
        let press = |key: char| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        };
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.ask("POST", "/actions", &json!({ "actions": [keyboard] })).map(drop)
    }

    /// A command of the developer tools.
    pub fn tell(&self, command: &str, parameters: &Value) -> Result<()> {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("POST", "/goog/cdp/execute", &body).map(drop)
    }

    /// What the page complained about since the last question: errors of scripts, and everything
    /// that the policy for content refused.
    pub fn complaints(&self) -> Result<Vec<String>> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }))?;
        let log = log.as_array().context("no log")?;
        Ok(log.iter().map(|line| line["message"].to_string()).collect())
    }

    /// A picture of the window, as PNG.
    pub fn picture(&self) -> Result<Vec<u8>> {
        let picture = self.ask("GET", "/screenshot", &Value::Null)?;
        BASE64_STANDARD.decode(picture.as_str().context("no picture")?).context("no picture")
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.send(method, &format!("/session/{}{path}", self.session), body)
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            reader.read_line(&mut line).context("no answer of the browser")?;
            if line.trim().is_empty() {
                break;
            }
            let header = line
                .split_once(':')
                .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if let Some((_, value)) = header {
                length = value.trim().parse().context("Content-Length")?;
            }
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        let answer: Value = serde_json::from_slice(&text)?;
        let value = &answer["value"];
        if let Some(error) = value["error"].as_str() {
            bail!("{error}: {}", value["message"]);
        }
        Ok(value.clone())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, and the driver behind it; it may be gone already.
        let _ = self.ask("DELETE", "", &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
