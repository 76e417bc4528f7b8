//! Policies: from the settings, and carried from one server to another.

use redis::Value;

use crate::rig::{Server, ask, import, levada, transfer};

const STREAM: &str = "DEDUP-WINDOW 60000 DEDUP-MAX 500 RETENTION ACKED MAX-LEN 900";
const GROUP: &str = "ACK-WAIT 90000 MAX-DELIVER 3 BACKOFF 2 100 200 DLQ dead CONSUMER-TTL 5000000";

/// A server with a stream that has a policy, as one of its groups does.
fn source() -> Server {
    let server = Server::levada();
    let mut there = server.connect();
    for number in 1..=5 {
        ask(&mut there, &format!("XADD s {number}-1 f v"));
    }
    ask(&mut there, "XGROUP CREATE s g 0");
    ask(&mut there, "XGROUP CREATE s plain 0");
    ask(&mut there, &format!("XCFGSET s {STREAM}"));
    ask(&mut there, &format!("XGROUP CFGSET s g {GROUP}"));
    ask(&mut there, "XADD s IDMP p 1 * f v");
    ask(&mut there, "XREADGROUP GROUP g c COUNT 2 STREAMS s >");
    server
}

fn shown(server: &Server) -> Vec<Value> {
    let mut here = server.connect();
    let questions = ["XCFGGET s", "XGROUP CFGGET s g", "XGROUP CFGGET s plain"];
    questions.into_iter().map(|question| ask(&mut here, question)).collect()
}

#[test]
fn policies_are_carried_whole_and_by_pages() {
    for more in [&["--by-pages"][..], &[]] {
        // What the target says of new streams does not hold for what comes with a policy.
        let defaults = ["--stream-policy", "* RETENTION ACKED MAX-LEN 2"];
        let (there, here) = (source(), Server::levada_with(&defaults));
        let said = import(&there, &here, more, 0);
        assert!(said.contains("Not carried: ids of idempotent producers, 1"), "{said}");
        assert_eq!(shown(&here), shown(&there));
        assert_eq!(ask(&mut here.connect(), "XLEN s"), Value::Int(6));
        let said = import(&there, &here, &["--verify-only"], 0);
        assert!(said.contains("no differences"), "{said}");
        ask(&mut here.connect(), "XGROUP CFGSET s g MAX-DELIVER 4");
        let said = import(&there, &here, &["--verify-only"], 3);
        let expect = "DIFFERS policies: 1, first g: MAX-DELIVER 3 in the source, 4 in the target";
        assert!(said.contains(expect), "{said}");
    }
}

#[test]
fn what_is_parked_and_what_is_scheduled_comes_over() {
    for more in [&["--by-pages"][..], &[]] {
        let (there, here) = (Server::levada(), Server::levada());
        let mut source = there.connect();
        ask(&mut source, "XGROUP CREATE s g 0 MKSTREAM");
        ask(&mut source, "XGROUP CFGSET s g ORDER-BY who ACK-WAIT 90000000");
        for entry in ["1-0 who a", "2-0 who a", "3-0 who b", "4-0 who a", "5-0 n v"] {
            ask(&mut source, &format!("XADD s {entry}"));
        }
        ask(&mut source, "XREADGROUP GROUP g c STREAMS s >");
        ask(&mut source, "XDEL s 4-0");
        ask(&mut source, "XSCHED ADD s AT 99999999999999 n last");
        ask(&mut source, "XSCHED ADD s AT 99999999999998 IDMP p i n first");
        let questions = ["XGROUP PARKED s g", "XSCHED LIST s", "XPENDING s g", "XSCHED LEN s"];
        let answers = |server: &Server| {
            questions.map(|question| format!("{:?}", ask(&mut server.connect(), question)))
        };
        import(&there, &here, more, 0);
        assert_eq!(answers(&here), answers(&there), "{more:?}");
        let said = import(&there, &here, &["--verify-only"], 0);
        assert!(said.contains("no differences"), "{said}");
        let mut target = here.connect();
        assert_eq!(ask(&mut target, "XGROUP PARKED s g").into_sequence().expect("ids").len(), 1);
        assert_eq!(ask(&mut target, "XREADGROUP GROUP g d STREAMS s >"), Value::Nil);
        ask(&mut target, "XACK s g 1-0");
        let next = format!("{:?}", ask(&mut target, "XREADGROUP GROUP g d STREAMS s >"));
        assert!(next.contains("2-0"), "the next of its key: {next}");
        ask(&mut target, "XSCHED ADD s AT 0 n now");
        assert_eq!(ask(&mut target, "XSCHED LEN s"), Value::Int(2), "they wait still");
        let said = import(&there, &here, &["--verify-only"], 3);
        assert!(said.contains("DIFFERS"), "{said}");
    }
}

#[test]
fn what_a_plain_server_cannot_have_is_said_once() {
    let Some(redis) = Server::redis() else {
        return;
    };
    let there = source();
    let said = transfer("export", &there, &redis, &[], 0);
    let lines = said.lines().filter(|line| line.contains("policies"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines, ["Not carried: policies of streams and groups, 2"], "{said}");
}

#[test]
fn settings_give_new_streams_and_groups_a_policy() {
    let stream = "orders:* RETENTION ACKED MAX-LEN 7";
    let group = "* workers ACK-WAIT 500";
    let more = ["--stream-policy", stream, "--stream-policy", "* MAX-AGE 5000", "--group-policy"];
    let server = Server::levada_with(&[&more[..], &[group]].concat());
    let mut here = server.connect();
    ask(&mut here, "XGROUP CREATE orders:1 workers 0 MKSTREAM");
    ask(&mut here, "XADD other * f v");
    let text = |text: &str| Value::BulkString(text.into());
    let numbers = |name: &str, number| Value::Array(vec![text(name), Value::Int(number)]);
    assert_eq!(ask(&mut here, "XCFGGET orders:1 max-len"), numbers("max-len", 7));
    assert_eq!(ask(&mut here, "XCFGGET other max-age"), numbers("max-age", 5000));
    let lease = ask(&mut here, "XGROUP CFGGET orders:1 workers ack-wait");
    assert_eq!(lease, numbers("ack-wait", 500));
    let shown = ask(&mut here, "CONFIG GET stream-policy");
    let lines = format!("{stream}\n* MAX-AGE 5000");
    assert_eq!(shown, Value::Array(vec![text("stream-policy"), text(&lines)]));
}

#[test]
fn a_policy_that_is_wrong_refuses_the_start_and_names_its_line() {
    let file = std::env::temp_dir().join(format!("levada-policies-{}.toml", std::process::id()));
    let text = "port = 0\ngroup-policy = [\n    \"* g ACK-WAIT 5\",\n    \"* h ACK-WAIT x\",\n]\n";
    std::fs::write(&file, text).expect("a file for a test");
    let said = levada(&["serve", "--config", file.to_str().expect("a path of ours")], 1);
    std::fs::remove_file(&file).expect("it was written");
    let expect = "line 4: group-policy: value is not an integer or out of range: ACK-WAIT x";
    assert!(said.contains(expect), "{said}");
}
