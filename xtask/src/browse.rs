//! `cargo xtask browse`: the dashboard in a real Chromium, by keyboard and by mouse, in light and
//! dark and on a phone. A page that complains (an error of its script, anything that its policy for
//! content refused) fails the run. `--pictures` takes those of the guide anew.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use stage::{Browser, ENTER, TAB};
use xtask::workspace;

use crate::kills::client::{Client, Reply};

/// Where pictures of the guide lie.
const PICTURES: &str = "docs/operate/dashboard";
/// What would change the title of the page if it were taken for markup.
const EVIL: &str =
    "<img src=x onerror=document.title='taken'><script>document.title='taken'</script>";
/// Steps of the keyboard until something must have been reached.
const TABS_MAX: usize = 40;

/// Runs the verb with its arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let pictures = match arguments {
        [] => false,
        [word] if word == "--pictures" => true,
        _ => bail!("browse takes nothing but --pictures"),
    };
    let dashboard = Dashboard::start()?;
    let streams = ["orders", "payments", "shipments:eu"];
    dashboard.fill(&streams, ["billing", "worker-1", "city", "no such customer"])?;
    let visit = Visit { browser: Browser::start()?, base: dashboard.base.clone(), pictures };
    let life = dashboard.live()?;
    visit.overview().context("the overview")?;
    drop(life);
    visit.sign_in_by_keyboard().context("signing in by keyboard")?;
    visit.letters().context("dead letters")?;
    visit.schedule().context("the schedule")?;
    visit.phone().context("a phone")?;
    dashboard.fill(&[EVIL], [EVIL; 4])?;
    visit.markup().context("markup in names and payloads")?;
    println!("browse: all pages are as they should be");
    Ok(())
}

/// A server with a dashboard; it ends with the value.
struct Dashboard {
    child: Child,
    directory: PathBuf,
    address: SocketAddr,
    base: String,
}

impl Dashboard {
    fn start() -> Result<Self> {
        let program = workspace::build(&["levada"])?.join("levada");
        let directory =
            std::env::temp_dir().join(format!("levada-browse-data-{}", std::process::id()));
        let http_port = xtask::peer::free_port()?;
        let mut child = Command::new(program)
            .args(["serve", "--port", "0", "--http-port", &http_port.to_string(), "--dir"])
            .arg(&directory)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = child.stderr.take().context("its output is piped")?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let base = format!("http://127.0.0.1:{http_port}");
        let mut dashboard = Self { child, directory, address, base };
        let mut lines = BufReader::new(said).lines();
        dashboard.address = loop {
            let line = lines.next().context("levada ended")??;
            if let Some((_, address)) = line.split_once("Listening on ") {
                break address.parse()?;
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(dashboard)
    }

    /// Streams, groups, dead letters and a schedule that can be looked at. The text stands in every
    /// place of the first stream.
    fn fill(&self, streams: &[&str], text: [&str; 4]) -> Result<()> {
        let [group, consumer, city, reason] = text;
        let mut client = Client::connect(self.address)?;
        let mut ask = |words: &[&str]| -> Result<Reply> { Ok(client.ask(words)?) };
        for stream in streams {
            for number in 0..60 {
                let (order, cents) = ((7_000 + number).to_string(), (199 * number).to_string());
                ask(&["XADD", stream, "*", "order", &order, "cents", &cents, city, city])?;
            }
        }
        let stream = streams.first().context("a stream")?;
        ask(&["XGROUP", "CREATE", stream, group, "0"])?;
        ask(&["XGROUP", "CFGSET", stream, group, "ACK-WAIT", "3600000", "MAX-DELIVER", "5"])?;
        ask(&["XCFGSET", stream, "RETENTION", "ACKED"])?;
        let words = ["XREADGROUP", "GROUP", group, consumer, "COUNT", "20", "STREAMS", stream, ">"];
        let read = ask(&words)?;
        let read = read.items().first().and_then(|read| read.items().get(1));
        for entry in read.context("entries")?.items().iter().take(4) {
            let id = entry.items().first().context("an id")?.bytes();
            let id = String::from_utf8(id.to_vec())?;
            ask(&["XNACK", stream, group, "FATAL", "REASON", reason, "IDS", "1", &id])?;
        }
        ask(&["XSCHED", "ADD", stream, "IN", "86400000", "order", "7100", "act", reason])?;
        Ok(())
    }

    /// Appends now and then, so that charts have something to draw.
    fn live(&self) -> Result<Life> {
        let mut client = Client::connect(self.address)?;
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut pause_ms = 5;
            while !seen.load(Ordering::Relaxed)
                && client.ask(&["XADD", "orders", "*", "order", "1"]).is_ok()
            {
                // A pace that changes, so that the line does.
                pause_ms = 5 + (pause_ms * 7 + 11) % 40;
                std::thread::sleep(Duration::from_millis(pause_ms));
            }
        });
        Ok(Life { ended, thread: Some(thread) })
    }
}

/// Somebody who appends; they stop with the value.
struct Life {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // One that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // Errors have nowhere to go: it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// One visit, page by page.
struct Visit {
    browser: Browser,
    base: String,
    pictures: bool,
}

impl Visit {
    fn open(&self, path: &str) -> Result<()> {
        self.browser.open(&format!("{}{path}", self.base))
    }

    /// Nothing was complained about since the last time.
    fn is_quiet(&self) -> Result<()> {
        let complaints = self.browser.complaints()?;
        ensure!(complaints.is_empty(), "the browser says: {complaints:#?}");
        Ok(())
    }

    fn picture(&self, name: &str) -> Result<()> {
        if !self.pictures {
            return Ok(());
        }
        let directory = workspace::root().join(PICTURES);
        std::fs::create_dir_all(&directory)?;
        let path = directory.join(format!("{name}.png"));
        std::fs::write(&path, self.browser.picture()?).with_context(|| path.display().to_string())
    }

    fn scheme(&self, scheme: &str) -> Result<()> {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.browser.tell("Emulation.setEmulatedMedia", &json!({ "features": features }))
    }

    fn background(&self) -> Result<String> {
        let value =
            self.browser.script("return getComputedStyle(document.body).backgroundColor;")?;
        Ok(value.to_string())
    }

    /// Charts come to life, and there is a dark and a light page.
    fn overview(&self) -> Result<()> {
        self.scheme("light")?;
        self.open("/")?;
        self.browser.wait_for_text("orders")?;
        let samples = if self.pictures { 15 } else { 3 };
        let come = "Number(document.getElementById('charts').dataset.samples)";
        self.browser.wait(&format!("{come} >= {samples}"))?;
        for chart in ["appends", "commands", "lag", "commit"] {
            let line = format!("document.querySelector('[data-chart={chart}] polyline')");
            self.browser.wait(&format!("{line}.points.length >= 2"))?;
        }
        let light = self.background()?;
        self.picture("overview-light")?;
        self.scheme("dark")?;
        ensure!(self.background()? != light, "dark is as light as light");
        self.picture("overview-dark")?;
        self.scheme("light")?;
        self.is_quiet()
    }

    /// Presses Tab until a selector matches what has the focus, which must be seen.
    fn tab_to(&self, selector: &str) -> Result<()> {
        for _ in 0..TABS_MAX {
            self.browser.press(TAB)?;
            let selector = json!(selector);
            let is = format!("return document.activeElement.matches({selector});");
            if self.browser.script(&is)? == json!(true) {
                let outline = "return getComputedStyle(document.activeElement).outlineStyle;";
                ensure!(
                    self.browser.script(outline)? != json!("none"),
                    "{selector} shows no focus"
                );
                return Ok(());
            }
        }
        bail!("{selector} is not reached by the keyboard");
    }

    fn sign_in_by_keyboard(&self) -> Result<()> {
        self.open("/")?;
        self.tab_to("a.skip")?;
        self.tab_to("a[href='/signin']")?;
        self.browser.press(ENTER)?;
        self.browser.wait_for_text("Without signing in")?;
        self.tab_to("input[name=password]")?;
        self.browser.press(ENTER)?;
        self.browser.wait_for_text("Signed in as")?;
        for reached in ["a[href='/schedules']", "input[name=match]", "a[href='/stream?key=orders']"]
        {
            self.tab_to(reached)?;
        }
        self.browser.press(ENTER)?;
        self.browser.wait_for_text("RETENTION")?;
        self.picture("stream")?;
        self.tab_to("a[href='/group?key=orders&group=billing']")?;
        self.browser.press(ENTER)?;
        self.browser.wait_for_text("worker-1")?;
        self.picture("group")?;
        self.is_quiet()
    }

    fn letters(&self) -> Result<()> {
        self.open("/letters?key=orders&group=billing")?;
        self.browser.click("tbody tr:nth-child(2) input[type=checkbox]")?;
        self.picture("letters")?;
        self.browser.click("button[name=verb][value=REDRIVE]")?;
        self.browser.wait_for_text("Are you sure?")?;
        self.picture("confirm")?;
        self.browser.click("main button.danger")?;
        self.browser.wait_for_text("1 redriven")?;
        self.browser.wait("document.querySelectorAll('tbody input').length === 3")?;
        self.browser.click("button[name=all][value=PURGE]")?;
        self.browser.wait_for_text("Are you sure?")?;
        self.browser.click("main button.danger")?;
        self.browser.wait_for_text("3 purged")?;
        self.browser.wait_for_text("No dead letters")?;
        self.is_quiet()
    }

    fn schedule(&self) -> Result<()> {
        self.open("/schedules")?;
        self.browser.click("main a[href='/schedule?key=orders']")?;
        self.browser.wait_for_text("no such customer")?;
        self.picture("schedule")?;
        self.browser.click("tbody a")?;
        self.browser.wait_for_text("Are you sure?")?;
        self.browser.click("main button.danger")?;
        self.browser.wait_for_text("1 cancelled")?;
        self.is_quiet()
    }

    /// Markup in every name and value stays text: no title changes, no element appears.
    fn markup(&self) -> Result<()> {
        self.open("/")?;
        self.browser.wait_for_text(EVIL)?;
        for name in ["stream", "group", "letters", "schedule"] {
            let evil = json!(EVIL);
            self.browser.script(&format!(
                "location.href = '/{name}?key=' + encodeURIComponent({evil}) + \
                 '&group=' + encodeURIComponent({evil});"
            ))?;
            self.browser.wait(&format!("location.pathname === '/{name}'"))?;
            self.browser.wait_for_text(EVIL)?;
            let is_taken = "return document.title === 'taken' || document.images.length > 0 \
                            || document.scripts.length !== 1;";
            ensure!(self.browser.script(is_taken)? == json!(false), "{name} took it for markup");
        }
        self.is_quiet()
    }

    /// Nothing stands beyond the edge of a narrow window. The window stays narrow.
    fn phone(&self) -> Result<()> {
        let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true });
        self.browser.tell("Emulation.setDeviceMetricsOverride", &phone)?;
        for (path, name) in [
            ("/", "phone-overview"),
            ("/stream?key=orders", "phone-stream"),
            ("/group?key=orders&group=billing", "phone-group"),
            ("/letters?key=orders&group=billing", "phone-letters"),
            ("/schedule?key=orders", "phone-schedule"),
            ("/signin", "phone-signin"),
        ] {
            self.open(path)?;
            self.browser.wait("document.readyState === 'complete'")?;
            let width = self.browser.script("return document.documentElement.scrollWidth;")?;
            ensure!(width == json!(390), "{path} is {width} wide");
            if matches!(name, "phone-overview" | "phone-group") {
                self.picture(name)?;
            }
        }
        self.is_quiet()
    }
}
