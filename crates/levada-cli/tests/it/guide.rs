//! The guide pages of the policies: what they show is run as it stands, so that it cannot rot.
//!
//! A fence of the language `redis` holds commands, one a line, as they are pasted into redis-cli.
//! Behind it, in a comment that readers do not see, stands what they answer, separated by ` | `: an
//! integer, `OK`, `nil`, `"text"`, `id` for any id, `[n]` for n items, `{n}` for a map of n, or
//! `-WORDS` with which an error begins; `[4]/{2}` is the one in RESP2 and the other in RESP3. A
//! page runs on a server of its own, from its first line to its last. So does the page of users.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use levada_server::{CommandSpec, Groups, command_table, flag};
use redis::{Connection, ConnectionLike as _, Value};

use crate::rig::Server;

/// What every page has beside its commands.
const PARTS: [&str; 3] = ["*The problem.* ", "*At a crash* ", "*On plain Redis* "];
/// Commands that a page has at least.
const COMMANDS_MIN: usize = 3;
/// Commands of Redis that have options of ours.
const EXTENDED: [&str; 2] = ["xcfgset", "xnack"];
/// What a client is spoken to in.
const PROTOCOLS: [&str; 2] = ["resp2", "resp3"];

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
fn the_page_of_users_works_as_it_stands_and_has_every_command_with_a_group() {
    let text = fs::read_to_string(docs().join("operate/users.md")).expect("a page");
    for protocol in PROTOCOLS {
        let run = run_in(&text, protocol);
        assert!(run.wrong.is_empty(), "{protocol}:\n{}", run.wrong);
        assert!(run.commands >= COMMANDS_MIN, "{} commands", run.commands);
    }
    let rows = text.lines().filter(|line| line.starts_with("| `X"));
    let told: BTreeSet<_> = rows
        .filter_map(|line| line.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect();
    let with_group = all_commands().filter(|spec| spec.groups != Groups::None);
    assert_eq!(told, with_group.map(|spec| full_name(&spec)).collect());
}

#[test]
fn the_page_of_commands_works_as_it_stands_in_both_protocols() {
    let text = commands_page();
    for protocol in PROTOCOLS {
        let run = run_in(&text, protocol);
        assert!(run.wrong.is_empty(), "{protocol}:\n{}", run.wrong);
        assert!(run.commands > own_commands().len(), "{} commands", run.commands);
    }
}

/// The page has the commands of the table, no others, and their syntax, time and options.
#[test]
fn the_page_of_commands_is_the_table() {
    let text = commands_page();
    let syntaxes: BTreeMap<_, _> = sections(&text).collect();
    let told: BTreeSet<_> = syntaxes.keys().cloned().collect();
    let expected: BTreeSet<_> = own_commands().iter().map(full_syntax).collect();
    assert_eq!(told, expected);
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| [X")).collect();
    let is_help = |spec: &&CommandSpec| spec.name.ends_with("|help");
    let mut commands = own_commands();
    commands.retain(|spec| !is_help(&spec));
    commands.sort_by_key(|spec| spec.name);
    assert_eq!(rows, commands.iter().map(row).collect::<Vec<_>>());
    for spec in commands {
        let section = syntaxes[&full_syntax(&spec)];
        assert!(section.contains("**Answers** "), "{}", spec.name);
        for option in own_options(&spec) {
            assert!(section.contains(&format!("`{option}`")), "{}: {option}", spec.name);
        }
        assert!(section.contains("\n```redis\n"), "{} has no example", spec.name);
    }
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
    let maps = "```redis\nHELLO\n```\n<!-- [14]/{7} -->\n";
    assert_eq!(run_in(maps, "resp2").wrong, "");
    assert_eq!(run_in(maps, "resp3").wrong, "");
    assert!(!run_in("```redis\nHELLO\n```\n<!-- {7}/[14] -->\n", "resp3").wrong.is_empty());
    let sections: Vec<_> = sections("a\n```text\nX\n  y\n```\nb\n## c\n").collect();
    assert_eq!(sections, [("X y".to_owned(), "a\n```text\nX\n  y\n```\nb")]);
}

fn commands_page() -> String {
    fs::read_to_string(docs().join("commands.md")).expect("a page")
}

/// The commands that the page is about: those that are not Redis', and those with options of ours.
fn own_commands() -> Vec<CommandSpec> {
    let is_own =
        |spec: &CommandSpec| spec.since.starts_with("levada ") || EXTENDED.contains(&spec.name);
    all_commands().filter(is_own).collect()
}

/// Commands without subcommands, and subcommands.
fn all_commands() -> impl Iterator<Item = CommandSpec> {
    command_table().iter().flat_map(|spec| match spec.subcommands {
        [] => vec![*spec],
        subcommands => subcommands.to_vec(),
    })
}

fn full_name(spec: &CommandSpec) -> String {
    spec.name.replace('|', " ").to_uppercase()
}

fn full_syntax(spec: &CommandSpec) -> String {
    format!("{} {}", full_name(spec), spec.syntax).trim().to_owned()
}

/// The line of the table at the head of the page.
fn row(spec: &CommandSpec) -> String {
    let name = full_name(spec);
    let anchor = name.to_lowercase().replace(' ', "-");
    let does = if spec.flags & flag::WRITE == 0 { "reads" } else { "writes" };
    format!("| [{name}](#{anchor}) | {does} | {} |", spec.complexity)
}

/// The words of ours that begin an option in the syntax.
fn own_options(spec: &CommandSpec) -> Vec<&'static str> {
    let words = spec.syntax.split(['[', '|', ' ', ']']);
    let is_option = |word: &&str| {
        let is_word =
            word.len() > 1 && word.starts_with(|letter: char| letter.is_ascii_uppercase());
        is_word && (spec.name != "xnack" || ["DELAY", "REASON"].contains(word))
    };
    words.filter(is_option).collect()
}

/// The sections of a page by the syntax that stands in each, one a line if there are several.
fn sections(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.split("\n## ").flat_map(|section| {
        let fence = section.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
        let fence = fence.unwrap_or_default();
        // What is indented goes on with the line before.
        let lines = fence.replace("\n ", " ");
        let lines: Vec<_> = lines.lines().map(str::to_owned).collect();
        let plain = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.into_iter().map(move |line| (plain(line), section))
    })
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
    run_in(text, PROTOCOLS[0])
}

fn run_in(text: &str, protocol: &str) -> Run {
    let server = Server::levada();
    let client = redis::Client::open(format!("{}?protocol={protocol}", server.url()));
    let mut here = client.and_then(|client| client.get_connection()).expect("it runs");
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
            let expect = match expect.split_once("]/{") {
                Some(_) => expect.split('/').nth(usize::from(protocol != PROTOCOLS[0])),
                None => Some(expect),
            };
            let expect = expect.unwrap_or_default();
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
        Value::Map(pairs) => format!("{{{}}}", pairs.len()) == expect,
        _ => false,
    }
}

fn is_id(text: &str) -> bool {
    let is_number = |part: &str| part.parse::<u64>().is_ok();
    text.split_once('-').is_some_and(|(ms, seq)| is_number(ms) && is_number(seq))
}
