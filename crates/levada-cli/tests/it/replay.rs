//! `levada replay`, on Levada and on a Redis.

use serde_json::{Value, json};

use crate::rig::{Server, ask, levada, objects, servers};

/// Entries whose ids are the first milliseconds of 2026, a second apart.
fn fill(server: &Server, count: u64) {
    let mut pipe = redis::pipe();
    for n in 0..count {
        let id = format!("{}-0", 1_767_225_600_000 + n * 1_000);
        pipe.cmd("XADD").arg("s").arg(id).arg("n").arg(n);
    }
    pipe.query::<Vec<String>>(&mut server.connect()).expect("added");
}

fn numbers(entries: &[Value]) -> Vec<u64> {
    let number = |entry: &Value| entry["fields"]["n"].as_str().and_then(|n| n.parse().ok());
    entries.iter().map(|entry| number(entry).expect("a number")).collect()
}

#[test]
fn a_part_of_a_stream_is_shown_again() {
    for server in servers() {
        fill(&server, 1_200);
        let url = server.url();
        let on = |more: &[&str]| {
            numbers(&objects(&[&["replay", "s", "--json", "--url", &url], more].concat(), 0))
        };
        let from = |first: u64, last: u64| (first..=last).collect::<Vec<_>>();
        assert_eq!(on(&[]), from(0, 1_199), "page by page");
        assert_eq!(on(&["--from", "1767225601000-0", "--to", "1767225603000"]), from(1, 3));
        let times = ["--from", "2026-01-01T00:10:00Z", "--to", "2026-01-01T01:10:02+01:00"];
        assert_eq!(on(&times), from(600, 602));
        assert_eq!(on(&["--from", "1767226797000", "--to", "+"]), from(1_197, 1_199));
        assert_eq!(on(&["--from", "-", "--count", "3"]), from(0, 2));
        assert_eq!(on(&["--where", "n=700"]), [700]);
        assert!(on(&["--to", "5"]).is_empty() && on(&["--from", "+"]).is_empty());
        // A span counts back from the server's clock, which gives out the ids.
        let id = levada(&["add", "s", "n", "1200", "--url", &url], 0);
        assert_eq!(on(&["--from", "1h"]), [1_200], "{id}");
        assert_eq!(on(&["--to", "1h", "--from", "1767226799000-0"]), [1_199]);
        let text = levada(&["replay", "s", "--from", id.trim(), "--url", &url], 0);
        assert_eq!(text, format!("{}  n=1200\n", id.trim()));
        for (arguments, code, said) in [
            (&["gone"][..], 3, "there is no stream gone"),
            (&["s", "--from", "yesterday"], 2, "neither an id, nor a time"),
            (&["s", "--yes"], 2, "--group"),
            (&["s", "--group", "g"], 2, "--from"),
            (&["s", "--group", "g", "--from", "1", "--to", "2"], 2, "--to"),
        ] {
            let text = levada(&[&["replay", "--url", &url], arguments].concat(), code);
            assert!(text.contains(said), "{arguments:?}: {text}");
        }
    }
}

#[test]
fn a_group_is_set_back_when_that_is_confirmed() {
    for server in servers() {
        fill(&server, 10);
        let mut connection = server.connect();
        ask(&mut connection, "XGROUP CREATE s g 0");
        ask(&mut connection, "XREADGROUP GROUP g c COUNT 10 STREAMS s >");
        ask(&mut connection, "XACK s g 1767225605000-0 1767225606000-0");
        let last = |server: &Server| {
            let groups = objects(&["groups", "s", "--json", "--url", &server.url()], 0);
            groups[0]["last_delivered_id"].clone()
        };
        let url = server.url();
        let back = ["replay", "s", "--group", "g", "--url", &url, "--from", "1767225605000-0"];
        let said = levada(&back, 0);
        assert!(said.contains("8 entries are pending") && said.contains("say --yes"), "{said}");
        let said = objects(&[&back[..], &["--json"]].concat(), 0);
        assert_eq!(said[0]["done"], false);
        assert_eq!(last(&server), json!("1767225609000-0"), "nothing was changed");
        let said = objects(&[&back[..], &["--json", "--yes"]].concat(), 0);
        assert_eq!((&said[0]["done"], &said[0]["was"]), (&json!(true), &json!("1767225609000-0")));
        let again = ask(&mut connection, "XREADGROUP GROUP g d COUNT 1 STREAMS s >");
        assert!(format!("{again:?}").contains("1767225605000-0"), "with the first of --from");
        // What goes forward is said to.
        let said = levada(&["replay", "s", "--group", "g", "--url", &url, "--from", "+"], 0);
        assert!(said.contains("FORWARD"), "{said}");
        // Never beyond what is there: what comes later would be passed over, too.
        levada(&["replay", "s", "--group", "g", "--from", "+", "--yes", "--url", &url], 0);
        assert_eq!(last(&server), json!("1767225609000-0"));
        levada(&["replay", "s", "--group", "g", "--from", "-", "--yes", "--url", &url], 0);
        assert_eq!(last(&server), json!("0-0"), "all of it");
        let said = levada(&["replay", "s", "--group", "gone", "--from", "-", "--url", &url], 3);
        assert!(said.contains("s has no group gone"), "{said}");
        levada(&["replay", "gone", "--group", "g", "--from", "-", "--url", &url], 3);
    }
}
