//! What operators run: `lag`, `tail`, `dlq`, `config --json`, colour, completions and pages. The
//! first three on Levada and on a Redis.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::rig::{Server, ask, fresh_directory, levada, objects, servers};

#[test]
fn lag_is_told_and_thresholds_are_exit_codes() {
    for server in servers() {
        let mut connection = server.connect();
        for n in 1..=10 {
            ask(&mut connection, &format!("XADD s {n}-1 f v"));
        }
        ask(&mut connection, "XGROUP CREATE s g 0");
        ask(&mut connection, "XGROUP CREATE s done $");
        ask(&mut connection, "XREADGROUP GROUP g c COUNT 4 STREAMS s >");
        let url = server.url();
        let rows = objects(&["lag", "--json", "--url", &url], 0);
        let row = |name: &str| {
            rows.iter().find(|row| row["group"] == name).expect("the group is told").clone()
        };
        let (behind, done) = (row("g"), row("done"));
        assert_eq!((&behind["lag"], &behind["pending"]), (&6.into(), &4.into()));
        assert!(behind["oldest_undelivered_ms"].is_u64() && behind["oldest_pending_ms"].is_u64());
        assert_eq!((&done["lag"], &done["oldest_pending_ms"]), (&0.into(), &Value::Null));
        levada(
            &["lag", "--url", &url, "--fail-above", "6", "--fail-above-age", "1000000000000"],
            0,
        );
        levada(&["lag", "--url", &url, "--fail-above", "5"], 3);
        levada(&["lag", "--url", &url, "--fail-above", "5", "--group", "done"], 0);
        assert_eq!(
            objects(&["lag", "other*", "--json", "--url", &url, "--fail-above", "0"], 0).len(),
            0
        );
        let table = levada(&["lag", "--url", &url], 0);
        assert!(table.starts_with("STREAM  GROUP  LAG"), "{table}");
    }
    levada(&["lag", "--url", "redis://127.0.0.1:1"], 1);
    levada(&["lag", "--fail-above", "x"], 2);
}

/// Answers one connection as a Redis whose clock stands at 61 seconds after 1970, and which has a
/// stream with an entry of its first second.
fn answer_as_of_1970(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().expect("levada connects");
    let mut input = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    let mut line = move || input.next().transpose().expect("text");
    while let Some(header) = line() {
        let count: usize = header.trim_start_matches('*').parse().expect("a request");
        let words: Vec<_> = (0..count).map(|_| line().and_then(|_| line())).collect();
        let answer = match words[0].as_deref().expect("a command") {
            "SCAN" => "*2\r\n$1\r\n0\r\n*1\r\n$1\r\ns\r\n",
            "XINFO" => "*1\r\n*4\r\n+name\r\n$1\r\ng\r\n+last-delivered-id\r\n$3\r\n0-0\r\n",
            "XLAG" => "-ERR unknown command 'XLAG'\r\n",
            "XRANGE" => "*1\r\n*2\r\n$6\r\n1000-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
            "XPENDING" => "*0\r\n",
            "TIME" => "*2\r\n$2\r\n61\r\n$1\r\n0\r\n",
            _ => "+OK\r\n",
        };
        stream.write_all(answer.as_bytes()).expect("levada reads");
    }
}

#[test]
fn ages_are_told_by_the_clock_of_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("redis://{}", listener.local_addr().expect("bound"));
    let server = std::thread::spawn(move || answer_as_of_1970(&listener));
    let rows = objects(&["lag", "--json", "--url", &url], 0);
    assert_eq!(rows[0]["oldest_undelivered_ms"], 60_000, "{rows:?}");
    server.join().expect("it answered all");
}

#[test]
fn who_errs_learns_what_is_wrong_and_what_to_do() {
    for server in servers() {
        let mut connection = server.connect();
        ask(&mut connection, "XADD s 1-0 f v");
        ask(&mut connection, "XGROUP CREATE s g $");
        ask(&mut connection, "SET text v");
        let url = server.url();
        let wrong = format!("redis://:hunter2@127.0.0.1:{}", server.port);
        let database = format!("{url}/99");
        for (arguments, code, said) in [
            (&["--url", "localhost:6379"][..], 2, "it is written redis://"),
            (&["--url", "redis://"], 2, "it is written redis://"),
            (&["--url", "redis://127.0.0.1:99999"], 2, "it is written redis://"),
            (&["--url", "redis-cluster://127.0.0.1"], 2, "asks one server"),
            (&["--url", "redis://127.0.0.1:1"], 1, "is the server running"),
            (&["--url", &wrong], 1, "no such user and password"),
            (&["--url", &database], 1, "out of range"),
        ] {
            for verb in [&["ping"][..], &["lag"], &["tail", "s"]] {
                let text = levada(&[verb, arguments].concat(), code);
                assert!(text.contains(said) && !text.contains("hunter2"), "{verb:?}: {text}");
            }
        }
        let never = ["--fail-above", "100", "--url", &url];
        for (arguments, code, said) in [
            (&["lag", "s", "text"][..], 3, "there is no stream text"),
            (&["lag", "missing", "--group", "g"], 3, "there is no stream missing"),
            (&["lag", "s", "--group", "missing"], 3, "no stream has a group missing"),
            (&["lag", "missing*"], 0, "STREAM"),
        ] {
            let text = levada(&[arguments, &never].concat(), code);
            assert!(text.contains(said), "{arguments:?}: {text}");
        }
        for (arguments, code, said) in [
            (&["lag", "missing"][..], 0, "there is no stream missing"),
            (&["tail", "missing"], 0, "there is no stream missing yet"),
            (&["tail", "text"], 1, "wrong kind of value"),
            (&["tail", "s", "--where", "f"], 2, "FIELD=VALUE"),
            (&["tail", "s", "--after", "f"], 1, "Invalid stream ID"),
            (&["dlq", "list", "s", "missing"], 0, "no dead letters of missing in s"),
            (&["dlq", "redrive", "s", "g", "--id", "f"], 2, "\"f\" is no id"),
        ] {
            let text = levada(&[arguments, &["--url", &url]].concat(), code);
            assert_eq!(text.matches(said).count(), 1, "{arguments:?}: {text}");
        }
    }
    // A server that wants a password, and is given none.
    let server = Server::levada_with(&["--requirepass", "hunter2"]);
    let said = levada(&["lag", "--url", &server.url()], 1);
    assert!(said.contains("it wants a password"), "{said}");
}

#[test]
fn tail_shows_filters_and_follows() {
    for server in servers() {
        let mut connection = server.connect();
        for n in 1..=20 {
            let kind = if n % 2 == 0 { "even" } else { "odd" };
            ask(&mut connection, &format!("XADD s {n}-1 kind {kind} body {{\"n\":{n}}}"));
        }
        let url = server.url();
        let lines = levada(&["tail", "s", "-n", "2", "--url", &url], 0);
        assert_eq!(lines, "19-1  kind=odd  body={\"n\":19}\n20-1  kind=even  body={\"n\":20}\n");
        let filtered = ["tail", "s", "--after", "0", "--where", "kind=even", "--field", "body"];
        let more = ["--json", "--decode-json", "--stop-after", "3", "--url", &url];
        let rows = objects(&[&filtered[..], &more].concat(), 0);
        let bodies: Vec<_> = rows.iter().map(|row| row["fields"].to_string()).collect();
        let expect = [2, 4, 6].map(|n| format!("{{\"body\":{{\"n\":{n}}}}}"));
        assert_eq!(bodies, expect);
        // It goes on with what is added behind what was there.
        let follow = ["tail", "s", "-f", "--after", "18-1", "--stop-after", "3", "--url", &url];
        let child = Command::new(env!("CARGO_BIN_EXE_levada"))
            .args(follow)
            .stdout(Stdio::piped())
            .spawn()
            .expect("levada runs");
        ask(&mut connection, "XADD s 21-1 f v");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let ids: Vec<_> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(ids, ["19-1", "20-1", "21-1"]);
    }
}

#[test]
fn dead_letters_are_shown_given_back_and_thrown_away() {
    for server in servers() {
        let mut connection = server.connect();
        ask(&mut connection, "XADD s 9-1 f v");
        ask(&mut connection, "XGROUP CREATE s g $");
        for n in 1..=3 {
            ask(
                &mut connection,
                &format!(
                    "XADD {{s}}:dlq:g {n}-0 a b x-dlq-source s x-dlq-id {n}-0 x-dlq-group g \
                     x-dlq-consumer c x-dlq-deliveries 2 x-dlq-reason why x-dlq-first-ms 1 \
                     x-dlq-last-ms 2"
                ),
            );
        }
        let url = server.url();
        let on = |verb, more: &[&str], code| {
            let first = ["dlq", verb, "s", "g", "--json", "--url", &url];
            objects(&[&first[..], more].concat(), code)
        };
        let letters = on("list", &[], 0);
        assert_eq!(letters.len(), 3);
        assert_eq!(
            (&letters[0]["reason"], &letters[0]["fields"]["a"]),
            (&"why".into(), &"b".into())
        );
        assert_eq!(on("list", &["--after", "1-0", "--count", "1"], 0)[0]["id"], "2-0");
        assert_eq!(on("redrive", &["--id", "2-0"], 0)[0]["redriven"], 1);
        assert_eq!(on("redrive", &["--id", "2-0"], 3)[0]["redriven"], 0);
        assert_eq!(on("purge", &["--all"], 0)[0], serde_json::json!({"purged": 0, "found": 2}));
        assert_eq!(on("purge", &["--count", "1", "--yes"], 0)[0]["purged"], 1);
        let left: Vec<_> = on("list", &[], 0).iter().map(|letter| letter["id"].clone()).collect();
        assert_eq!(left, ["3-0"]);
        levada(&["dlq", "redrive", "s", "g", "--url", &url], 2);
    }
}

#[test]
fn lag_is_shown_again_until_it_was_shown_often_enough_or_is_beyond() {
    let server = Server::levada();
    let mut connection = server.connect();
    ask(&mut connection, "XADD s 1-1 f v");
    ask(&mut connection, "XGROUP CREATE s g 0");
    let url = server.url();
    let watch = ["lag", "--json", "--watch", "1", "--url", &url];
    let rows = objects(&[&watch[..], &["--count", "2"]].concat(), 0);
    let lags: Vec<_> = rows.iter().map(|row| row["lag"].clone()).collect();
    assert_eq!(lags, [1, 1]);
    let rows = objects(&[&watch[..], &["--fail-above", "0"]].concat(), 3);
    assert_eq!(rows.len(), 1, "it would go on for ever");
    levada(&["lag", "--count", "2", "--url", &url], 2);
    // A server that goes ends it, and is not taken for one without groups.
    let mut child = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(watch)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("levada runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert!(lines.next().is_some_and(|line| line.expect("text").contains("\"lag\":1")));
    drop(server);
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(1));
}

#[test]
fn colour_is_for_terminals_and_for_who_insists() {
    let server = Server::levada();
    let mut connection = server.connect();
    ask(&mut connection, "XADD s 1-1 f v");
    ask(&mut connection, "XGROUP CREATE s g 0");
    let is_coloured = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_levada"))
            .args(arguments)
            .args(["--url", &server.url()])
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR")
            .env_remove("CLICOLOR_FORCE")
            .envs(environment.iter().copied())
            .output()
            .expect("levada runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("STREAM") || text.contains("stream"), "{text}");
        text.contains('\u{1b}')
    };
    let force = ("CLICOLOR_FORCE", "1");
    let behind = ["lag", "--fail-above", "0"];
    for arguments in [&["lag"][..], &behind, &["groups"], &["schedule", "list"]] {
        assert!(!is_coloured(arguments, &[]), "{arguments:?} into a pipe");
        assert!(is_coloured(arguments, &[force]), "{arguments:?} as is wanted");
        assert!(!is_coloured(arguments, &[force, ("NO_COLOR", "1")]), "{arguments:?} NO_COLOR");
        let without = [arguments, &["--no-color"]].concat();
        assert!(!is_coloured(&without, &[force]), "{without:?}");
    }
    assert!(!is_coloured(&["lag", "--json"], &[force]), "programs read that");
}

/// Shells that load what is printed for them, and how each is asked what it then knows.
const SHELLS: [(&str, &str); 3] = [
    (
        "bash",
        "source \"$0\" && complete -p levada && COMP_WORDS=(levada grou) COMP_CWORD=1 && \
         _levada levada grou levada && echo \"${COMPREPLY[@]}\" | grep -qx groups",
    ),
    (
        "zsh",
        "autoload -U compinit && compinit -D -u && source \"$0\" && (( $+functions[_levada] )) && \
         [[ $_comps[levada] == _levada ]]",
    ),
    ("fish", "source $argv[1]; and complete -C 'levada grou' | string match -q 'groups*'"),
];

#[test]
fn completions_are_loaded_by_their_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(levada(&["completions", shell], 0).contains("fail-above"), "{shell}");
    }
    let directory = fresh_directory("completions");
    for (shell, asked) in SHELLS {
        // Others are not expected anywhere: they are run where they are.
        if Command::new(shell).arg("--version").output().is_err() {
            assert!(shell != "bash", "there is no bash");
            eprintln!("SKIPPED: there is no {shell} to load its completions");
            continue;
        }
        let file = directory.join(shell);
        std::fs::write(&file, levada(&["completions", shell], 0)).expect("written");
        let output = Command::new(shell)
            .args(if shell == "zsh" { &["-f", "-c"][..] } else { &["-c"] })
            .args([asked, file.to_str().expect("a path of ours")])
            .env("HOME", &directory)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{shell}: {output:?}");
    }
    std::fs::remove_dir_all(&directory).expect("removed");
}

/// The cells of the row in which a subcommand's exit codes stand: its names, 0, 1, 3 and 4.
fn row_of<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let (_, table) = page.split_once("## Exit codes").expect("the page has a table of them");
    let rows = table.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let mut rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let row = rows.find(|row| row[0].contains(&format!("`{name}`")));
    row.unwrap_or_else(|| panic!("the table of exit codes has no {name}"))
}

#[test]
fn every_subcommand_stands_in_the_guide_with_its_exit_codes() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate/cli.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let help = levada(&["--help"], 0);
    let (_, commands) = help.split_once("Commands:\n").expect("it lists them");
    let names = commands.lines().map_while(|line| line.split_whitespace().next());
    let mut count = 0;
    for name in names.filter(|name| *name != "help") {
        let is_example = |line: &str| line.starts_with(&format!("levada {name}"));
        assert!(page.lines().any(is_example), "{name} has no example");
        let (row, told) = (row_of(&page, name), levada(&[name, "--help"], 0));
        for (code, cell) in [("3", 3), ("4", 4)] {
            let is_told = told.lines().any(|line| line.starts_with(&format!("  {code}  ")));
            let is_shown = row.get(cell).is_some_and(|text| !text.is_empty());
            assert_eq!(is_shown, is_told, "{name}: exit code {code}");
        }
        count += 1;
    }
    assert!(count > 20, "{help}");
}

#[test]
fn settings_and_pages_are_printed() {
    let settings = objects(&["config", "--json", "--port", "7000", "--requirepass", "secret"], 0);
    assert_eq!(settings[0]["port"], 7000);
    assert!(!settings[0].to_string().contains("secret"));
    let directory =
        std::env::temp_dir().join(format!("levada-cli-test-man-{}", std::process::id()));
    levada(&["man", directory.to_str().expect("text")], 0);
    let page = std::fs::read_to_string(directory.join("levada-lag.1")).expect("a page");
    let whole = std::fs::exists(directory.join("levada.1")).expect("readable");
    std::fs::remove_dir_all(&directory).expect("removed");
    assert!(whole && page.contains("Exit codes"), "{page}");
}

#[test]
fn settings_may_be_printed_to_nobody() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut levada = Command::new(env!("CARGO_BIN_EXE_levada"));
    let output = levada.arg("config").stdout(writer).output().expect("levada runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
