//! HELP of each container names every subcommand that the table has, and no other: what is added to
//! Redis' own is found by who asks the server.

use std::collections::BTreeSet;

use levada_server::{CommandSpec, command_table};

use crate::rig::{Client, Server};

/// The subcommands that HELP names: first words of the lines behind the first that are not
/// indented; `(no subcommand)` is none.
/// `None` where the container answers an error instead.
fn named(client: &mut Client, container: &str) -> Option<BTreeSet<String>> {
    client.send(&format!("{container} HELP"));
    let head = String::from_utf8(client.take_line()).expect("text");
    let count: usize = head.trim_end().strip_prefix('*')?.parse().expect("a count of lines");
    let lines: Vec<_> =
        (0..count).map(|_| String::from_utf8(client.take_line()).expect("text")).collect();
    let (first, rest) = lines.split_first().expect("a first line");
    assert!(first.starts_with(&format!("+{container} <subcommand>")), "{first}");
    let word = |line: &String| {
        let word = line.strip_prefix('+')?.split_whitespace().next()?;
        (!line.starts_with("+ ") && !word.starts_with('(')).then(|| word.to_lowercase())
    };
    Some(rest.iter().filter_map(word).collect())
}

fn known(spec: &CommandSpec) -> BTreeSet<String> {
    let names = spec.subcommands.iter().map(|sub| sub.name.split_once('|').expect("a parent").1);
    names.map(str::to_owned).collect()
}

#[test]
fn help_names_what_the_table_has() {
    let server = Server::start();
    let mut client = server.client();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for spec in command_table().iter().filter(|spec| known(spec).contains("help")) {
        let container = spec.name.to_uppercase();
        let Some(named) = named(&mut client, &container) else {
            // Redis without cluster mode answers every subcommand with that.
            assert_eq!(container, "CLUSTER");
            continue;
        };
        asked += 1;
        let differing = known(spec);
        let differing = differing.symmetric_difference(&named);
        wrong.extend(differing.map(|name| format!("{container} {name}")));
    }
    assert!(asked >= 10, "only {asked} containers were asked");
    assert!(wrong.is_empty(), "in the table or in HELP, and not in both: {wrong:?}");
}
