//! An episode: a few settings and a list of steps, played on empty servers. It is the unit of
//! generating, replaying and shrinking, and has a text form that a person can read and paste.
//!
//! The text form is one command a line, quoted as `redis-cli` reads it, behind `N> `, the client
//! that sends it. `@7` stands for the id that the append numbered 7 generated, which each server
//! chose for itself; such an append ends in ` #7`. `@other7`, `@peer7`, `@cut7/3`, `@flip7/99` are
//! payloads of the DUMP numbered 7. A literal word never begins with `@` unquoted.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};

use crate::transcript::words;

/// One argument of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// The same bytes for both servers.
    Bytes(Vec<u8>),
    /// What stands before, then the id that each server generated in the step of this number.
    Id(&'static str, u32),
    /// What DUMP answered in the step of this number.
    Dump(u32, Payload),
}

/// Which payload of a DUMP a RESTORE gets, and how it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// That of the other server.
    Other,
    /// That of the peer.
    Peer,
    /// That of the peer, so many bytes short.
    Cut(u32),
    /// That of the peer, this bit of it flipped, the checksum left as it was.
    Flipped(u32),
}

/// A command of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// Which of the clients sends it.
    pub(crate) client: usize,
    /// Names the id that it may generate; unique in an episode.
    pub(crate) number: u32,
    /// Name and arguments.
    pub(crate) words: Vec<Word>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Episode {
    /// Whether the clients speak RESP3.
    pub(crate) resp3: bool,
    /// `notify-keyspace-events`; if not empty, the last client listens to all of them.
    pub(crate) events: String,
    /// `stream-node-max-entries`.
    pub(crate) node_entries: u32,
    /// In order. Neighbours of one client are sent in one go.
    pub(crate) steps: Vec<Step>,
}

impl Word {
    fn text(&self) -> String {
        match self {
            Self::Id(before, number) => format!("{before}@{number}"),
            Self::Bytes(bytes) => quote(bytes),
            Self::Dump(number, payload) => match payload {
                Payload::Other => format!("@other{number}"),
                Payload::Peer => format!("@peer{number}"),
                Payload::Cut(bytes) => format!("@cut{number}/{bytes}"),
                Payload::Flipped(bit) => format!("@flip{number}/{bit}"),
            },
        }
    }

    /// The step whose reply it is made of.
    pub(crate) fn source(&self) -> Option<u32> {
        match self {
            Self::Bytes(_) => None,
            Self::Id(_, number) | Self::Dump(number, _) => Some(*number),
        }
    }

    fn parse(line_word: &str) -> Result<Self> {
        if let Some(dump) = dump(line_word)? {
            return Ok(dump);
        }
        for before in ["", "("] {
            let number = line_word.strip_prefix(before).and_then(|rest| rest.strip_prefix('@'));
            if let Some(number) = number {
                return Ok(Self::Id(before, number.parse().context("a number follows @")?));
            }
        }
        let mut split = words::split(line_word)?;
        ensure!(split.len() == 1, "one word was expected: {line_word}");
        Ok(Self::Bytes(split.remove(0)))
    }
}

/// Reads the notation of a payload.
fn dump(text: &str) -> Result<Option<Word>> {
    for name in ["@other", "@peer", "@cut", "@flip"] {
        let Some(rest) = text.strip_prefix(name) else { continue };
        let (number, damage) = rest.split_once('/').unwrap_or((rest, "0"));
        let damage = damage.parse()?;
        let payload = match name {
            "@other" => Payload::Other,
            "@peer" => Payload::Peer,
            "@cut" => Payload::Cut(damage),
            _ => Payload::Flipped(damage),
        };
        return Ok(Some(Word::Dump(number.parse()?, payload)));
    }
    Ok(None)
}

impl Step {
    /// The bytes of a literal argument, in lower case; empty for an id and where there is none.
    pub(crate) fn lower(&self, at: usize) -> Vec<u8> {
        match self.words.get(at) {
            Some(Word::Bytes(bytes)) => bytes.to_ascii_lowercase(),
            _ => Vec::new(),
        }
    }

    /// The position of an argument that is this word, in any case.
    pub(crate) fn find(&self, word: &str) -> Option<usize> {
        let is = |bytes: &Vec<u8>| bytes.eq_ignore_ascii_case(word.as_bytes());
        self.words.iter().position(|each| matches!(each, Word::Bytes(bytes) if is(bytes)))
    }

    /// The command as a line of `redis-cli`.
    pub(crate) fn command(&self) -> String {
        self.words.iter().map(Word::text).collect::<Vec<_>>().join(" ")
    }
}

impl Episode {
    /// The text form.
    pub(crate) fn text(&self, is_named: impl Fn(u32) -> bool) -> String {
        let (resp3, nodes) = (u8::from(self.resp3) + 2, self.node_entries);
        let mut text = format!("! resp {resp3} node-entries {nodes} events {:?}\n", self.events);
        for step in &self.steps {
            let name =
                if is_named(step.number) { format!(" #{}", step.number) } else { String::new() };
            let _ = writeln!(text, "{}> {}{name}", step.client, step.command());
        }
        text
    }

    /// The text form, each step that another one refers to with its number.
    pub(crate) fn to_text(&self) -> String {
        let used = |number| {
            let words = self.steps.iter().flat_map(|step| &step.words);
            words.into_iter().any(|word| word.source() == Some(number))
        };
        self.text(used)
    }

    /// Reads the text form; lines that begin with `#` are comments.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut episode =
            Self { resp3: false, events: String::new(), node_entries: 100, steps: Vec::new() };
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            episode.line(at, line).with_context(|| format!("line {}: {line}", at + 1))?;
        }
        ensure!(!episode.steps.is_empty(), "no commands");
        Ok(episode)
    }

    fn line(&mut self, at: usize, line: &str) -> Result<()> {
        if let Some(settings) = line.strip_prefix('!') {
            let settings: Vec<&str> = settings.split_whitespace().collect();
            let ["resp", resp, "node-entries", nodes, "events", events] = settings[..] else {
                bail!("the settings are: resp 2|3 node-entries N events \"FLAGS\"");
            };
            self.resp3 = resp == "3";
            self.node_entries = nodes.parse()?;
            events.trim_matches('"').clone_into(&mut self.events);
            return Ok(());
        }
        let (client, command) = line.split_once("> ").context("a client and `> ` come first")?;
        let client: usize = client.parse()?;
        ensure!(client < super::CLIENTS, "there are {} clients", super::CLIENTS);
        let mut raw = raw_words(command);
        // Unnumbered steps get numbers that no reference uses.
        let mut number = u32::try_from(at)? + 1_000_000;
        if let Some(named) = raw.last().and_then(|last| last.strip_prefix('#')) {
            number = named.parse()?;
            raw.pop();
        }
        let words = raw.iter().map(|word| Word::parse(word)).collect::<Result<Vec<_>>>()?;
        ensure!(!words.is_empty(), "no command");
        self.steps.push(Step { client, number, words });
        Ok(())
    }
}

/// The words of a line, quotes left on. Only what [`quote`] writes and plain words are known.
fn raw_words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut in_quotes, mut escaped) = (0, false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' => in_quotes = !in_quotes,
            b' ' if !in_quotes => {
                words.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(&line[start..]);
    words.retain(|word| !word.is_empty());
    words
}

/// A word as `redis-cli` reads it.
fn quote(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\@#".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' => text += "\\\"",
            b'\\' => text += "\\\\",
            b' ' => text.push(' '),
            byte if byte.is_ascii_graphic() => text.push(char::from(*byte)),
            byte => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = |text: &[u8]| Word::Bytes(text.to_vec());
        let step = |number, words| Step { client: 1, number, words };
        let steps = vec![
            step(4, vec![bytes(b"XADD"), bytes(b"a b"), bytes(b"*"), bytes(b""), bytes(b"@4")]),
            step(5, vec![bytes(b"DUMP"), bytes(b"k")]),
            step(6, vec![Word::Dump(5, Payload::Other), Word::Dump(5, Payload::Flipped(9))]),
            step(9, vec![bytes(b"XRANGE"), bytes(b"\x00\"\\\xff"), Word::Id("(", 4)]),
        ];
        let events = "KEA".to_owned();
        let mut episode = Episode { resp3: true, events, node_entries: 3, steps };
        let text = episode.to_text();
        let expect = "! resp 3 node-entries 3 events \"KEA\"\n\
                      1> XADD \"a b\" * \"\" \"@4\" #4\n\
                      1> DUMP k #5\n\
                      1> @other5 @flip5/9\n\
                      1> XRANGE \"\\x00\\\"\\\\\\xff\" (@4\n";
        assert_eq!(text, expect);
        episode.steps[2].number = 1_000_003;
        episode.steps[3].number = 1_000_004;
        assert_eq!(Episode::parse(&text).expect("it was written"), episode);
    }
}
