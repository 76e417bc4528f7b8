//! What operators run: `lag`, `tail`, `dlq`, `config --json`, completions and pages. The first
//! three on Levada and on a Redis.

use std::process::Command;

use serde_json::Value;

use crate::rig::{Server, ask, levada};

/// Both servers; the second where one is installed.
fn servers() -> Vec<Server> {
    std::iter::once(Server::levada()).chain(Server::redis()).collect()
}

/// The lines of what it prints, each as JSON.
fn objects(arguments: &[&str], code: i32) -> Vec<Value> {
    let said = levada(arguments, code);
    said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

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
            .stdout(std::process::Stdio::piped())
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
fn settings_completions_and_pages_are_printed() {
    let settings = objects(&["config", "--json", "--port", "7000", "--requirepass", "secret"], 0);
    assert_eq!(settings[0]["port"], 7000);
    assert!(!settings[0].to_string().contains("secret"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(levada(&["completions", shell], 0).contains("fail-above"), "{shell}");
    }
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
