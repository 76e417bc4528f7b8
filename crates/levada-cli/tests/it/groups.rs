//! `levada groups` and `levada pending`, on Levada and on a Redis.

use serde_json::{Value, json};

use crate::rig::{Server, ask, levada, objects, servers};

/// Whether it is ours: only that has policies.
fn is_levada(server: &Server) -> bool {
    let version = redis::cmd("INFO").arg("server").query::<String>(&mut server.connect());
    version.expect("it answers").contains("levada_version")
}

#[test]
fn groups_are_told_with_what_their_server_does_for_them() {
    for server in servers() {
        let mut connection = server.connect();
        for n in 1..=10 {
            ask(&mut connection, &format!("XADD s {n}-1 who w{}", n % 2));
        }
        ask(&mut connection, "XGROUP CREATE s g 0");
        ask(&mut connection, "XGROUP CREATE s done $");
        let ours = is_levada(&server);
        if ours {
            ask(&mut connection, "XGROUP CFGSET s g ACK-WAIT 90000 BACKOFF 2 10 20 ORDER-BY who");
        }
        ask(&mut connection, "XREADGROUP GROUP g c COUNT 1 STREAMS s >");
        let url = server.url();
        let on = |more: &[&str], code| {
            objects(&[&["groups", "--json", "--url", &url], more].concat(), code)
        };
        let rows = on(&[], 0);
        let named =
            |name: &str| rows.iter().find(|row| row["group"] == name).expect("told").clone();
        let (g, done) = (named("g"), named("done"));
        assert_eq!((&g["stream"], &g["last_delivered_id"]), (&json!("s"), &json!("1-1")));
        assert_eq!((&g["lag"], &g["pending"], &g["consumers"]), (&json!(9), &json!(1), &json!(1)));
        assert_eq!((&done["lag"], &done["last_delivered_id"]), (&json!(0), &json!("10-1")));
        let (wait, parked) = match ours {
            true => (json!(90_000), json!(0)),
            false => (Value::Null, Value::Null),
        };
        assert_eq!((&g["policy"]["ack_wait"], &g["parked"]), (&wait, &parked));
        let table = levada(&["groups", "s", "--url", &url], 0);
        assert!(table.starts_with("STREAM  GROUP  LAST ID  LAG  PENDING"), "{table}");
        let policy = "ACK-WAIT 90000 BACKOFF 2 10 20 ORDER-BY who\n";
        assert_eq!(table.contains(policy), ours, "{table}");
        let consumers = on(&["--consumers"], 0);
        assert_eq!(consumers.len(), 1, "only one has read");
        assert_eq!((&consumers[0]["consumer"], &consumers[0]["pending"]), (&json!("c"), &json!(1)));
        assert!(consumers[0]["idle_ms"].is_u64());
        assert_eq!(on(&["none*"], 0).len(), 0);
        let said = levada(&["groups", "s", "gone", "--url", &url], 3);
        assert!(said.contains("there is no stream gone") && said.contains("done"), "{said}");
    }
    levada(&["groups", "--url", "redis://127.0.0.1:1"], 1);
}

#[test]
fn pending_entries_are_told_with_who_holds_them() {
    for server in servers() {
        let mut connection = server.connect();
        for n in 1..=700 {
            ask(&mut connection, &format!("XADD s {n}-1 f v"));
        }
        ask(&mut connection, "XGROUP CREATE s g 0");
        ask(&mut connection, "XREADGROUP GROUP g late COUNT 5 STREAMS s >");
        ask(&mut connection, "XREADGROUP GROUP g busy COUNT 695 STREAMS s >");
        ask(&mut connection, "XCLAIM s g busy 0 1-1");
        let url = server.url();
        let on = |more: &[&str]| {
            let mut rows =
                objects(&[&["pending", "s", "g", "--json", "--url", &url], more].concat(), 0);
            (rows.remove(0), rows)
        };
        let (summary, rows) = on(&[]);
        assert_eq!((&summary["pending"], rows.len()), (&json!(700), 100));
        // Who holds the oldest stands first.
        let first = &summary["consumers"][0];
        assert_eq!((&first["consumer"], &first["first_id"]), (&json!("busy"), &json!("1-1")));
        assert_eq!(
            (&first["pending"], &summary["consumers"][1]["pending"]),
            (&json!(696), &json!(4))
        );
        assert_eq!((&rows[0]["id"], &rows[0]["consumer"]), (&json!("1-1"), &json!("busy")));
        assert!(rows[0]["deliveries"] == 2 && rows[0]["idle_ms"].is_u64(), "{}", rows[0]);
        // Page by page, none twice and none left out.
        let ids = |rows: &[Value]| rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
        let expect = |last: u64| (1..=last).map(|n| json!(format!("{n}-1"))).collect::<Vec<_>>();
        assert_eq!(ids(&on(&["--count", "650"]).1), expect(650));
        assert_eq!(ids(&on(&["--count", "1000"]).1), expect(700));
        assert_eq!(on(&["--count", "0"]).1.len(), 0);
        let late = on(&["--consumer", "late"]).1;
        assert_eq!(ids(&late), ["2-1", "3-1", "4-1", "5-1"]);
        assert_eq!(on(&["--idle", "1h"]).1.len(), 0);
        assert_eq!(on(&["--idle", "0s", "--consumer", "late", "--count", "1"]).1.len(), 1);
        let text = levada(&["pending", "s", "g", "--count", "1", "--url", &url], 0);
        let head = text.lines().map(|line| line.split_whitespace().next()).collect::<Vec<_>>();
        let expect = [Some("700"), None, Some("CONSUMER"), Some("busy"), Some("late")];
        assert_eq!(head, [&expect[..], &[None, Some("ID"), Some("1-1")]].concat(), "{text}");
        for (arguments, code, said) in [
            (&["gone", "g"][..], 3, "gone has no group g"),
            (&["s", "gone"], 3, "s has no group gone"),
            (&["s", "g", "--idle", "soon"], 2, "no span"),
            (&["s", "g", "--count", "100001"], 2, "100001"),
        ] {
            let text = levada(&[&["pending", "--url", &url], arguments].concat(), code);
            assert!(text.contains(said), "{arguments:?}: {text}");
        }
    }
}

#[test]
fn what_nobody_holds_is_nobodys() {
    let server = Server::levada();
    let mut connection = server.connect();
    ask(&mut connection, "XADD s 1-1 f v");
    ask(&mut connection, "XGROUP CREATE s g 0");
    ask(&mut connection, "XREADGROUP GROUP g c STREAMS s >");
    ask(&mut connection, "XNACK s g FAIL IDS 1 1-1");
    let url = server.url();
    let rows = objects(&["pending", "s", "g", "--json", "--url", &url], 0);
    assert_eq!((&rows[1]["consumer"], &rows[1]["idle_ms"]), (&json!(""), &Value::Null));
    let text = levada(&["pending", "s", "g", "--url", &url], 0);
    assert!(text.contains("1-1  (nobody)     -"), "{text}");
}
