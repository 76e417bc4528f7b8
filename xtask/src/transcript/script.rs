//! Splits a transcript into sections and steps. Syntax only: nothing is sent from here.
//!
//! A file that does not parse is an error as a whole, so that a typing mistake cannot hide a test.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::pattern::Pattern;
use super::words::{double_quoted, split};

/// One file.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) path: PathBuf,
    pub(crate) sections: Vec<Section>,
}

/// From one `==` line to the next: starts on an empty server with fresh connections.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) line: usize,
    pub(crate) requires: Option<Requires>,
    pub(crate) resp3: bool,
    /// Settings that hold during the section and are put back behind it.
    pub(crate) config: Vec<(String, String)>,
    pub(crate) steps: Vec<Step>,
}

/// Which peers a section runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requires {
    /// This version of Redis or a later one.
    Redis(u32, u32),
    /// Levada alone.
    Levada,
}

/// A request, or only the expectation of one more reply.
#[derive(Debug)]
pub(crate) struct Step {
    /// Number of its line, from 1.
    pub(crate) line: usize,
    /// The line as written.
    pub(crate) text: String,
    /// Which connection; the unnamed one is the empty string.
    pub(crate) connection: String,
    pub(crate) request: Option<Request>,
    /// `None`: not recorded yet.
    pub(crate) expect: Option<Expect>,
    /// Number of the last line of the step.
    pub(crate) line_last: usize,
}

/// What is sent.
#[derive(Debug)]
pub(crate) enum Request {
    /// A command, sent `times` times, each reply checked.
    Words { times: u32, words: Vec<Vec<u8>> },
    /// These bytes as they are.
    Raw(Vec<u8>),
}

/// What is expected next on a connection.
#[derive(Debug)]
pub(crate) enum Expect {
    /// One reply.
    Reply(Pattern),
    /// `(blocked)`: no reply, and the server counts the client as blocked.
    Blocked,
    /// `(nothing)`: no reply, seen after a round trip on another connection.
    Nothing,
    /// `(closed)`: the server ends the connection.
    Closed,
}

impl Script {
    /// Reads and parses a file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(path, &text)
    }

    /// Parses the text of a file; `path` is only used for messages.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut script = Self { path: path.to_owned(), sections: Vec::new() };
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        while at < lines.len() {
            let place = || format!("{}:{}", path.display(), at + 1);
            let line = lines[at];
            if line.trim().is_empty() || line.starts_with('#') {
                at += 1;
            } else if let Some(header) = line.strip_prefix("==") {
                script.sections.push(Section::parse(header, at + 1).with_context(place)?);
                at += 1;
            } else {
                let step = Step::parse(&lines, at).with_context(place)?;
                at = step.line_last;
                let section = script.sections.last_mut();
                section
                    .with_context(|| format!("{}: no == line yet", path.display()))?
                    .steps
                    .push(step);
            }
        }
        ensure!(!script.sections.is_empty(), "{}: no == line", path.display());
        Ok(script)
    }
}

impl Section {
    /// `title [requires 8.2] [resp3] [config name value, name value]`
    fn parse(header: &str, line: usize) -> Result<Self> {
        let mut parts = header.split('[');
        let title = parts.next().unwrap_or_default().trim().to_owned();
        ensure!(!title.is_empty(), "a section needs a title");
        let mut section =
            Self { title, line, requires: None, resp3: false, config: vec![], steps: vec![] };
        for part in parts {
            let tag = part.trim().strip_suffix(']').context("a [ is not closed")?;
            match tag.split_once(' ').unwrap_or((tag, "")) {
                ("resp3", "") => section.resp3 = true,
                ("requires", "levada") => section.requires = Some(Requires::Levada),
                ("requires", version) => {
                    let (major, minor) = version.split_once('.').context("version like 8.2")?;
                    section.requires = Some(Requires::Redis(major.parse()?, minor.parse()?));
                }
                ("config", pairs) => {
                    for pair in pairs.split(',') {
                        let pair = pair.trim().split_once(' ').context("config name value")?;
                        section.config.push((pair.0.to_owned(), pair.1.to_owned()));
                    }
                }
                _ => bail!("unknown tag [{tag}]"),
            }
        }
        Ok(section)
    }
}

impl Step {
    /// Parses the step that starts at `lines[at]`.
    fn parse(lines: &[&str], at: usize) -> Result<Self> {
        let text = lines[at];
        let mark = text.find(['>', '<']).context("expected >, < or a comment")?;
        let connection = &text[..mark];
        ensure!(is_connection(connection), "{connection:?} is no name of a connection");
        let rest = &text[mark + 1..];
        let mut step = Self {
            line: at + 1,
            text: text.to_owned(),
            connection: connection.to_owned(),
            request: None,
            expect: None,
            line_last: at + 1,
        };
        if text.as_bytes()[mark] == b'<' {
            step.expect = Some(step.parse_expect(rest.trim(), lines)?);
        } else {
            step.request = Some(Request::parse(rest)?);
            if let Some(first) = lines.get(at + 1).filter(|line| !starts_new(line)) {
                step.line_last += 1;
                step.expect = Some(step.parse_expect(first, lines)?);
            }
        }
        Ok(step)
    }

    /// Parses an expectation that starts with `first`; takes further lines while brackets are open.
    fn parse_expect(&mut self, first: &str, lines: &[&str]) -> Result<Expect> {
        match first {
            "(blocked)" => return Ok(Expect::Blocked),
            "(nothing)" => return Ok(Expect::Nothing),
            "(closed)" => return Ok(Expect::Closed),
            _ => {}
        }
        let mut text = first.to_owned();
        while open_brackets(&text)? > 0 {
            let next = lines.get(self.line_last).context("a bracket is not closed")?;
            self.line_last += 1;
            text.push('\n');
            text.push_str(next);
        }
        Ok(Expect::Reply(Pattern::parse(&text)?))
    }
}

impl Request {
    fn parse(text: &str) -> Result<Self> {
        let mut words = split(text.strip_prefix('!').unwrap_or(text))?;
        if text.starts_with('!') {
            ensure!(!words.is_empty(), "no bytes to send");
            return Ok(Self::Raw(words.concat()));
        }
        ensure!(!words.is_empty(), "an empty request");
        let first = std::str::from_utf8(&words[0]).unwrap_or_default();
        let times = first.parse().ok().filter(|_| words.len() > 1);
        if times.is_some() {
            words.remove(0);
        }
        Ok(Self::Words { times: times.unwrap_or(1), words })
    }
}

fn is_connection(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a line cannot be the first line of an expectation.
fn starts_new(line: &str) -> bool {
    let mark = line.find(['>', '<']).filter(|&mark| is_connection(&line[..mark]));
    let wildcard = line.starts_with('<') && !line.starts_with("< ");
    line.trim().is_empty()
        || line.starts_with('#')
        || line.starts_with("==")
        || (mark.is_some() && !wildcard)
}

/// How many brackets of a pattern are still open; quoted text does not count.
fn open_brackets(text: &str) -> Result<i32> {
    let bytes = text.as_bytes();
    let mut open = 0;
    let mut at = 0;
    // A bare `-ERR ...` or `+text` line may contain any character.
    if matches!(bytes.first(), Some(b'-' | b'+')) && bytes.get(1) != Some(&b'"') {
        return Ok(0);
    }
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = double_quoted(bytes, at + 1, &mut Vec::new())?;
                continue;
            }
            b'[' | b'{' => open += 1,
            b']' | b'}' => open -= 1,
            _ => {}
        }
        at += 1;
    }
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script> {
        Script::parse(Path::new("t.txt"), text)
    }

    #[test]
    fn sections_steps_and_tags() {
        let script = parse(
            "# why\n== one [requires 8.2] [config a 1, b 2]\n> PING\n+PONG\n\n\
             A> XREAD x\n(blocked)\nA< [1\n [2]]\n\
             == two [resp3]\n>! \"PING\\r\\n\"\n< +PONG\n> 3 GET k\n<any>\n> NEW\n",
        )
        .unwrap();
        let [one, two] = &script.sections[..] else { panic!("two sections") };
        assert_eq!(one.requires, Some(Requires::Redis(8, 2)));
        assert_eq!(one.config[1], ("b".to_owned(), "2".to_owned()));
        assert_eq!(one.steps.len(), 3);
        assert_eq!((one.steps[2].line, one.steps[2].line_last), (8, 9));
        assert!(two.resp3);
        assert!(matches!(&two.steps[0].request, Some(Request::Raw(raw)) if raw == b"PING\r\n"));
        assert!(matches!(&two.steps[2].request, Some(Request::Words { times: 3, .. })));
        assert!(two.steps[3].expect.is_none());
    }

    #[test]
    fn a_mistake_fails_the_file() {
        for text in
            ["> PING\n+PONG", "== t\nPONG", "== t [what]", "== t\n> G\n[1", "", "== t\n> \"a"]
        {
            assert!(parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
