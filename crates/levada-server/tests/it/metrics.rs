//! The port for HTTP: what `/metrics` tells, what is refused, what health means.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use levada_server::{METRICS, MetricKind, Settings};

use crate::rig::Server;

/// A server with a port for HTTP.
fn start(change: impl FnOnce(&mut Settings)) -> (Server, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let server = Server::start_with(|settings| {
        settings.http = Some(Arc::new(listener));
        change(settings);
    });
    (server, address)
}

/// Sends bytes, and takes what comes until the end.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("text");
    reply
}

fn get(address: SocketAddr, path: &str) -> String {
    exchange(
        address,
        &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"),
    )
}

/// The value of a sample, as it stands there.
fn sample<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

#[test]
fn streams_and_groups_are_told_with_their_figures() {
    let (server, address) = start(|_| {});
    let mut client = server.client();
    for n in 1..=10 {
        client.check(
            &format!("XADD s {n}-1 f v"),
            &format!("${}\r\n{n}-1\r\n", n.to_string().len() + 2),
        );
    }
    client.check("XGROUP CREATE s g 0", "+OK\r\n");
    client.check("XGROUP CREATE s done $", "+OK\r\n");
    client.send("XREADGROUP GROUP g c COUNT 4 STREAMS s >");
    client.send("XACK s g 1-1");
    // The end of one reply, and the other.
    while client.take_line() != b":1\r\n" {}
    let text = get(address, "/metrics");
    let group = |name: &str, group: &str| {
        let labels = format!("{{db=\"0\",stream=\"s\",group=\"{group}\"}}");
        sample(&text, &(name.to_owned() + &labels)).to_owned()
    };
    assert_eq!(sample(&text, "levada_stream_length{db=\"0\",stream=\"s\"}"), "10");
    assert_eq!(sample(&text, "levada_stream_groups{db=\"0\",stream=\"s\"}"), "2");
    assert_eq!(group("levada_group_lag", "g"), "6");
    assert_eq!(group("levada_group_lag", "done"), "0");
    assert_eq!(group("levada_group_lag_seconds", "done"), "0");
    assert_eq!(group("levada_group_pending", "g"), "3");
    assert_eq!(group("levada_group_pending_redelivered", "g"), "0");
    assert_eq!(group("levada_group_consumers", "g"), "1");
    client.check("XCLAIM s g d 0 2-1", "*1\r\n*2\r\n$3\r\n2-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    let again = "levada_group_pending_redelivered{db=\"0\",stream=\"s\",group=\"g\"}";
    assert_eq!(sample(&get(address, "/metrics"), again), "1");
}

#[test]
fn what_is_delivered_again_and_what_is_refused_is_counted_by_group_and_by_stream() {
    let (server, address) = start(|settings| settings.metrics_streams_max = 1);
    let mut client = server.client();
    let small = "-ERR The ID specified in XADD is equal or smaller than the target stream top item";
    for key in ["s", "t"] {
        client.check(&format!("XADD {key} 1-1 f v"), "$3\r\n1-1\r\n");
        client.check(&format!("XADD {key} 1-1 f v"), &format!("{small}\r\n"));
        client.check(&format!("XGROUP CREATE {key} g 0"), "+OK\r\n");
        client.send(&format!("XREADGROUP GROUP g c STREAMS {key} >"));
        while client.take_line() != b"v\r\n" {}
        let entry = "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
        // Who only asks for ids, and who reads its own again, is given nothing anew.
        client.check(&format!("XCLAIM {key} g d 0 1-1 JUSTID"), "*1\r\n$3\r\n1-1\r\n");
        client.check(&format!("XCLAIM {key} g d 0 1-1"), entry);
        client.check(&format!("XACK {key} g 1-1"), ":1\r\n");
    }
    let text = get(address, "/metrics");
    for (name, told, other) in [
        (
            "levada_group_redelivered_total",
            "{db=\"0\",stream=\"s\",group=\"g\"}",
            "{db=\"\",stream=\"(other)\",group=\"(other)\"}",
        ),
        (
            "levada_stream_appends_rejected_total",
            "{db=\"0\",stream=\"s\"}",
            "{db=\"\",stream=\"(other)\"}",
        ),
    ] {
        assert_eq!(sample(&text, &format!("{name}{told}")), "1");
        assert_eq!(sample(&text, &format!("{name}{other}")), "1");
    }
    // Another stream of that name begins anew; the other one is the oldest now.
    client.check("DEL s", ":1\r\n");
    client.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    let text = get(address, "/metrics");
    let rejected = "levada_stream_appends_rejected_total";
    assert_eq!(sample(&text, &format!("{rejected}{{db=\"0\",stream=\"t\"}}")), "1");
    assert_eq!(sample(&text, &format!("{rejected}{{db=\"\",stream=\"(other)\"}}")), "0");
}

#[test]
fn every_metric_of_the_table_has_a_head_and_nothing_else_has() {
    let (server, address) = start(|_| {});
    let mut client = server.client();
    client.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    client.check("XGROUP CREATE s g 0", "+OK\r\n");
    let text = get(address, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    let heads: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let kind = |kind| match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
    };
    let expect: Vec<_> =
        METRICS.iter().map(|metric| format!("{} {}", metric.name, kind(metric.kind))).collect();
    assert_eq!(heads, expect);
    // Each sample stands under the head of its metric.
    let mut head = "";
    for line in text.split_once("\r\n\r\n").expect("a body").1.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => head = rest.split(' ').next().expect("a name"),
            None => assert!(line.starts_with("# HELP ") || line.starts_with(head), "{line}"),
        }
    }
}

#[test]
fn what_is_beyond_the_bound_is_one() {
    let (server, address) = start(|settings| settings.metrics_streams_max = 2);
    let mut client = server.client();
    for name in ["a", "b", "c", "d"] {
        client.check(&format!("XADD {name} 1-1 f v"), "$3\r\n1-1\r\n");
        client.check(&format!("XGROUP CREATE {name} g 0"), "+OK\r\n");
    }
    client.check("SET k v", "+OK\r\n");
    let text = get(address, "/metrics");
    assert_eq!(sample(&text, "levada_streams"), "4");
    assert_eq!(sample(&text, "levada_streams_told"), "2");
    assert_eq!(sample(&text, "levada_keys"), "5");
    assert_eq!(sample(&text, "levada_stream_length{db=\"0\",stream=\"b\"}"), "1");
    assert_eq!(sample(&text, "levada_stream_length{db=\"\",stream=\"(other)\"}"), "2");
    let other = "levada_group_lag{db=\"\",stream=\"(other)\",group=\"(other)\"}";
    assert_eq!(sample(&text, other), "2");
    assert!(!text.contains("stream=\"c\""));
}

#[test]
fn commits_are_timed_and_counted() {
    let (server, address) = start(|_| {});
    let mut client = server.client();
    client.check("XADD s 1-1 f v", "$3\r\n1-1\r\n");
    client.check("XADD s 2-1 f v", "$3\r\n2-1\r\n");
    client.check("XADD s 2-1 f v", "-ERR The ID specified in XADD is equal or smaller");
    let text = get(address, "/metrics");
    let count: u64 = sample(&text, "levada_commit_seconds_count").parse().expect("a number");
    assert!(count >= 2, "{count}");
    assert_eq!(sample(&text, "levada_commit_seconds_bucket{le=\"+Inf\"}"), count.to_string());
    assert_eq!(sample(&text, "levada_batches_waiting"), "0");
    assert_eq!(sample(&text, "levada_commands_total{command=\"xadd\"}"), "3");
    assert_eq!(sample(&text, "levada_commands_failed_total{command=\"xadd\"}"), "1");
    assert_eq!(sample(&text, "levada_errors_total{code=\"ERR\"}"), "1");
}

#[test]
fn strangers_names_and_methods_are_refused_and_health_is_told() {
    let (server, address) = start(|settings| settings.requirepass = "secret".into());
    // It answers by now, so that nothing is recovered any more.
    server.client().check("PING", "-NOAUTH Authentication required.\r\n");
    assert!(get(address, "/readyz").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(address, "/livez").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(address, "/").starts_with("HTTP/1.1 404 "));
    let foreign = "GET /metrics HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert!(exchange(address, foreign).starts_with("HTTP/1.1 403 "));
    let posted = format!("POST /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    assert!(exchange(address, &posted).starts_with("HTTP/1.1 405 "));
    let long = format!("GET /{} HTTP/1.1\r\nhost: {address}\r\n\r\n", "x".repeat(32 << 10));
    assert!(!exchange(address, &long).contains(" 200 "));
    assert!(!exchange(address, "PING\r\nPING\r\n\r\n").contains("PONG"));
}
