//! `levada janitor` on a Redis: trims below what is acknowledged, and says what is amiss.

use std::process::{Command, Output};

use crate::rig::{Server, ask};

fn janitor(server: &Server, more: &[&str]) -> Output {
    let url = format!("redis://127.0.0.1:{}", server.port);
    Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["janitor", "--once", "--json", "--url", &url])
        .args(more)
        .output()
        .expect("levada starts")
}

fn report(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("one report")
}

#[test]
fn what_is_acknowledged_goes_and_thresholds_are_told() {
    let Some(server) = Server::redis() else {
        return;
    };
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port));
    let mut redis = client.expect("a URL").get_connection().expect("it is there");
    let mut say = |line: &str| -> redis::Value {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().expect("a command"));
        for word in words {
            command.arg(word);
        }
        command.query(&mut redis).expect(line)
    };
    for n in 1..=5 {
        say(&format!("XADD jobs {n}-0 n {n}"));
    }
    say("XGROUP CREATE jobs g 0");
    say("XREADGROUP GROUP g gone COUNT 4 STREAMS jobs >");
    say("XACK jobs g 1-0 2-0");
    let dry = janitor(&server, &["--dry-run"]);
    assert_eq!((dry.status.code(), report(&dry)["length"].as_u64()), (Some(0), Some(5)));
    let early = janitor(&server, &["--expect-group", "g", "--expect-group", "later"]);
    assert_eq!(report(&early)["trimmed"].as_u64(), Some(0), "a group has yet to join");
    let swept = janitor(&server, &["--expect-group", "g", "--max-pending", "1", "--max-age", "60"]);
    let said = report(&swept);
    assert_eq!((said["trimmed"].as_u64(), said["watermark"].as_str()), (Some(2), Some("3-0")));
    assert_eq!(said["alerts"].as_array().map(Vec::len), Some(2), "pending and age: {said}");
    assert_eq!(swept.status.code(), Some(3));
    let nowhere = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["janitor", "--once", "--url", "redis-ring://x"])
        .output()
        .expect("levada starts");
    assert_eq!(nowhere.status.code(), Some(2));
}

#[test]
fn what_is_scheduled_alerts_nobody() {
    let server = Server::levada();
    let mut connection = server.connect();
    ask(&mut connection, "XGROUP CREATE orders g $ MKSTREAM");
    ask(&mut connection, "XSCHED ADD orders AT 4102444800000 act greet");
    let quiet = janitor(&server, &[]);
    assert_eq!((quiet.status.code(), &report(&quiet)["stream"]), (Some(0), &"orders".into()));
    // Who asks for it by its name has a reason.
    let named = janitor(&server, &["--stream", "{orders}:sched"]);
    assert_eq!(report(&named)["stream"], "{orders}:sched");
    // What only looks like one in a Redis is a stream like any other.
    let Some(redis) = Server::redis() else {
        return;
    };
    ask(&mut redis.connect(), "XADD {orders}:sched 1-1 f v");
    assert_eq!(report(&janitor(&redis, &[]))["stream"], "{orders}:sched");
}
