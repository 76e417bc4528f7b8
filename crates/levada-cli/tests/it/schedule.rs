//! `levada schedule`, and what it says to a Redis.

use serde_json::json;

use crate::rig::{Server, ask, levada, objects};

#[test]
fn what_is_scheduled_is_shown_and_cancelled() {
    let server = Server::levada();
    let mut connection = server.connect();
    let mut handle = |words: &str| match ask(&mut connection, words) {
        redis::Value::BulkString(handle) => String::from_utf8(handle).expect("text"),
        other => panic!("{other:?}"),
    };
    let last = handle("XSCHED ADD orders AT 4102444800000 act greet");
    let first = handle("XSCHED ADD orders AT 4102444799000 IDMP shop 7 act cancel");
    let tagged = handle("XSCHED ADD a{t} AT 4102444800001 n v");
    let url = server.url();
    let list = |more: &[&str]| {
        objects(&[&["schedule", "list", "--json", "--url", &url], more].concat(), 0)
    };
    let rows = list(&["orders"]);
    assert_eq!(
        rows[0],
        json!({
            "stream": "orders", "handle": first, "at_ms": 4_102_444_799_000_u64,
            "pid": "shop", "iid": "7", "fields": {"act": "cancel"},
        })
    );
    assert_eq!((rows.len(), &rows[1]["handle"]), (2, &json!(last)));
    assert_eq!(list(&["orders", "--count", "1"]).len(), 1);
    let all: Vec<_> = list(&[]).iter().map(|row| row["stream"].clone()).collect();
    assert_eq!(all, ["a{t}", "orders", "orders"]);
    assert_eq!(list(&["ord*"]).len(), 2);
    assert_eq!(list(&["a{t}"])[0]["handle"], json!(tagged));
    let table = levada(&["schedule", "list", "orders", "--url", &url], 0);
    assert!(table.contains("2099-12-31T23:59:59.000Z") && table.contains("act=cancel"), "{table}");
    let cancel = |handles: &[&str], code| {
        let first = ["schedule", "cancel", "orders", "--url", &url];
        levada(&[&first[..], handles].concat(), code)
    };
    assert_eq!(cancel(&[&first], 0), "1 cancelled\n");
    let said = cancel(&[&first, &last], 3);
    assert!(
        said.contains("1 cancelled") && said.contains("nothing is scheduled for orders"),
        "{said}"
    );
    assert_eq!(list(&["orders"]).len(), 0);
    cancel(&["soon"], 2);
    cancel(&[], 2);
    levada(&["schedule", "list", "--count", "1001", "--url", &url], 2);
}

#[test]
fn what_is_added_is_appended_when_it_is_due() {
    let server = Server::levada();
    let url = server.url();
    let add = |more: &[&str], code| {
        levada(&[&["schedule", "add", "orders", "--url", &url], more].concat(), code)
    };
    let handle = add(&["act", "greet", "n", "-1", "--at", "2100-01-01T00:00:00Z"], 0);
    add(&["act", "later", "--in", "100000d"], 0);
    let rows = objects(&["schedule", "list", "orders", "--json", "--url", &url], 0);
    assert_eq!(
        rows[0],
        json!({
            "stream": "orders", "handle": handle.trim(), "at_ms": 4_102_444_800_000_u64,
            "pid": null, "iid": null, "fields": {"act": "greet", "n": "-1"},
        })
    );
    assert!(rows[1]["at_ms"].as_u64() > Some(8_640_000_000_000), "{}", rows[1]);
    let said =
        objects(&["schedule", "add", "orders", "a", "b", "--at", "1", "--json", "--url", &url], 0);
    assert_eq!((&said[0]["stream"], said[0]["handle"].is_string()), (&json!("orders"), true));
    let read = ask(&mut server.connect(), "XREAD BLOCK 20000 STREAMS orders 0");
    assert!(format!("{read:?}").contains("\"a\""), "what is past is appended at once: {read:?}");
    add(&["a", "b"], 2);
    add(&["a", "--in", "1s"], 2);
    add(&["--in", "1s"], 2);
    add(&["a", "b", "--in", "1s", "--at", "1"], 2);
    add(&["a", "b", "--in", "soon"], 2);
    add(&["a", "b", "--at", "15m"], 2);
    let said = levada(&["schedule", "add", "{t}", "a", "b", "--in", "1s", "--url", &url], 1);
    assert!(said.contains("nothing but a hash tag"), "the server says why: {said}");
}

#[test]
fn a_redis_has_no_schedules_and_that_is_said() {
    let Some(server) = Server::redis() else {
        return;
    };
    let url = server.url();
    for verb in [
        &["list"][..],
        &["list", "s"],
        &["cancel", "s", "1-1"],
        &["add", "s", "f", "v", "--in", "1s"],
    ] {
        let said = levada(&[&["schedule"], verb, &["--url", &url]].concat(), 3);
        assert!(said.contains("this server has no schedules"), "{said}");
    }
}
