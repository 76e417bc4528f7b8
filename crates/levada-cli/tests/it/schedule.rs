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
fn a_redis_has_no_schedules_and_that_is_said() {
    let Some(server) = Server::redis() else {
        return;
    };
    let url = server.url();
    for verb in [&["list"][..], &["list", "s"], &["cancel", "s", "1-1"]] {
        let said = levada(&[&["schedule"], verb, &["--url", &url]].concat(), 3);
        assert!(said.contains("this server has no schedules"), "{said}");
    }
}
