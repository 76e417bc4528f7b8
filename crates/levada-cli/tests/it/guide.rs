//! The guide pages of the policies: what they show is run as it stands, so that it cannot rot.
//!
//! A fence of the language `redis` holds commands, one a line, as they are pasted into redis-cli.
//! Behind it, in a comment that readers do not see, stands what they answer, separated by ` | `: an
//! integer, `OK`, `nil`, `"text"`, `id` for any id, `[n]` for n items, or `-WORDS` with which an
//! error begins. A page runs on a server of its own, from its first line to its last.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use redis::{Connection, ConnectionLike as _, Value};

use crate::rig::Server;

/// What every page has beside its commands.
const PARTS: [&str; 3] = ["*The problem.* ", "*At a crash* ", "*On plain Redis* "];
/// Commands that a page has at least.
const COMMANDS_MIN: usize = 3;

#[test]
fn what_the_pages_show_is_what_the_server_does() {
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let run = run(&text);
        assert!(run.wrong.is_empty(), "{}:\n{}", page.display(), run.wrong);
        assert!(run.commands >= COMMANDS_MIN, "{}: {} commands", page.display(), run.commands);
        for part in PARTS {
            assert!(text.contains(part), "{} lacks {part:?}", page.display());
        }
        assert!(text.contains("What is missing there: "), "{}", page.display());
    }
}

#[test]
fn effectively_once_works_as_it_stands() {
    let text = fs::read_to_string(docs().join("effectively-once.md")).expect("a page");
    let run = run(&text);
    assert!(run.wrong.is_empty(), "{}", run.wrong);
    assert!(run.commands >= COMMANDS_MIN, "{} commands", run.commands);
}

#[test]
fn the_index_names_every_page() {
    let index = fs::read_to_string(docs().join("policies.md")).expect("the index");
    for page in pages() {
        let name = page.file_name().expect("a file").to_string_lossy().into_owned();
        assert!(index.contains(&format!("(policies/{name})")), "{name} is not in the index");
    }
}

#[test]
fn a_page_that_is_wrong_is_found() {
    let wrong = run("```redis\nPING\nINCR n\n```\n<!-- OK | 2 -->\n").wrong;
    assert!(wrong.contains("PING") && wrong.contains("INCR n"), "{wrong}");
    let wrong = run("```redis\nSET k v\n```\nno answers\n").wrong;
    assert!(wrong.contains("1 commands have 0 answers"), "{wrong}");
}

fn docs() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
}

/// The pages of the guide, in the order of their names.
fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(docs().join("policies")).expect("the guide");
    let mut pages: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    pages.sort();
    assert!(!pages.is_empty(), "there are pages");
    pages
}

/// What became of a page.
#[derive(Default)]
struct Run {
    commands: usize,
    /// A line for each answer that is another one.
    wrong: String,
}

/// Runs the commands of a page on a server of its own.
fn run(text: &str) -> Run {
    let server = Server::levada();
    let mut here = server.connect();
    let mut run = Run::default();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "```redis" {
            continue;
        }
        let commands: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        let answers =
            lines.next().and_then(|line| line.strip_prefix("<!-- ")?.strip_suffix(" -->"));
        let answers: Vec<_> = answers.map(|line| line.split(" | ").collect()).unwrap_or_default();
        run.commands += commands.len();
        if commands.len() != answers.len() {
            let (asked, told) = (commands.len(), answers.len());
            let _ = writeln!(run.wrong, "{commands:?}: {asked} commands have {told} answers");
        }
        for (command, expect) in commands.iter().zip(answers) {
            let answer = ask(&mut here, command);
            if !is_meant(&answer, expect) {
                let _ = writeln!(run.wrong, "{command}: expected {expect}, got {answer:?}");
            }
        }
    }
    run
}

/// Sends a line as redis-cli would. An error is a value like others.
fn ask(connection: &mut Connection, line: &str) -> Value {
    let mut command = redis::Cmd::new();
    words(line).iter().for_each(|word| {
        command.arg(word);
    });
    connection.req_packed_command(&command.get_packed_command()).expect("a connection")
}

/// The words of a line; what is in quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// Whether an answer is what the page says.
fn is_meant(answer: &Value, expect: &str) -> bool {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match answer {
        Value::Int(number) => number.to_string() == expect,
        Value::Okay => expect == "OK",
        Value::ServerError(error) => {
            let said = format!("-{} {}", error.code(), error.details().unwrap_or_default());
            expect.starts_with('-') && said.starts_with(expect)
        }
        Value::SimpleString(text) => text == expect,
        Value::Nil => expect == "nil",
        Value::BulkString(bytes) if expect == "id" => is_id(&text(bytes)),
        Value::BulkString(bytes) => format!("\"{}\"", text(bytes)) == expect,
        Value::Array(items) => format!("[{}]", items.len()) == expect,
        _ => false,
    }
}

fn is_id(text: &str) -> bool {
    let is_number = |part: &str| part.parse::<u64>().is_ok();
    text.split_once('-').is_some_and(|(ms, seq)| is_number(ms) && is_number(seq))
}
