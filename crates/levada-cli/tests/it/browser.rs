//! As much of a browser as the tests of the dashboard need: requests over a socket, with a cookie
//! and whatever headers a test wants.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as IoWrite};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// Somebody who looks.
pub(crate) struct Browser {
    port: u16,
    pub(crate) cookie: String,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// What stands between two texts, for the first time.
    pub(crate) fn between(&self, before: &str, behind: &str) -> &str {
        let (_, rest) = self.body.split_once(before).unwrap_or_else(|| {
            panic!("no {before} in {}", self.body);
        });
        rest.split_once(behind).expect("it ends").0
    }

    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

impl Browser {
    pub(crate) fn new(port: u16) -> Self {
        Self { port, cookie: String::new() }
    }

    /// Another one, who has not signed in.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.port)
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// Sends a form as a page of this address does.
    pub(crate) fn post(&self, path: &str, form: &str) -> Answer {
        let origin = self.origin();
        self.ask("POST", path, &[("Origin", &origin), ("Sec-Fetch-Site", "same-origin")], form)
    }

    /// Sends a form with these headers beside Host and Cookie.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut reader = self.open(method, path, headers, body);
        let (status, headers) = head(&mut reader);
        let mut body = Vec::new();
        reader.read_to_end(&mut body).expect("the answer ends");
        Answer { status, headers, body: String::from_utf8(body).expect("text") }
    }

    /// Asks, and answers where the answer can be read.
    pub(crate) fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(ANSWER_MAX)).expect("a socket takes it");
        let mut text = format!("{method} {path} HTTP/1.0\r\n");
        let host = format!("127.0.0.1:{}", self.port);
        let given = |wanted: &str| headers.iter().any(|(name, _)| *name == wanted);
        let form = "application/x-www-form-urlencoded";
        let length = body.len().to_string();
        let usual = [
            ("Host", &*host),
            ("Cookie", &*self.cookie),
            ("Content-Type", form),
            ("Content-Length", &*length),
        ];
        let usual = usual.iter().filter(|(name, _)| !given(name));
        for (name, value) in usual.chain(headers) {
            write!(text, "{name}: {value}\r\n").expect("a string takes all");
        }
        write!(text, "\r\n{body}").expect("a string takes all");
        IoWrite::write_all(&mut stream, text.as_bytes()).expect("it listens");
        BufReader::new(stream)
    }

    /// Signs in, and keeps the cookie.
    pub(crate) fn sign_in(&mut self, user: &str, password: &str) -> Answer {
        let answer = self.post("/signin", &format!("user={user}&password={password}"));
        if let Some((cookie, _)) = answer.header("set-cookie").split_once(';') {
            cookie.clone_into(&mut self.cookie);
        }
        answer
    }
}

/// Status and headers of an answer.
pub(crate) fn head(reader: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut lines = reader.by_ref().lines().map(|line| line.expect("text"));
    let first = lines.next().expect("an answer");
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let headers = lines.take_while(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    (status, headers.collect())
}
