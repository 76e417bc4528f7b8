//! The dashboard of the real binary: what its pages show, what they change, and whom they refuse.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use redis::{Connection, Value};

use crate::browser::{Answer, Browser, head};
use crate::rig::{Server, ask};

/// What would run if a page took it for markup.
const EVIL: &str = "<script>alert(1)</script>";
/// The same as text of a page, and in an address.
const SHOWN: &str = "&lt;script&gt;alert(1)&lt;/script&gt;";
const CODED: &str = "%3Cscript%3Ealert%281%29%3C%2Fscript%3E";

fn start(more: &[&str]) -> (Server, Browser) {
    let (server, port) = Server::levada_with_http(more);
    (server, Browser::new(port))
}

/// A stream whose every name and value is markup, with an entry pending and one dead.
fn fill_with_markup(connection: &mut Connection) {
    ask(connection, &format!("XADD {EVIL} 1-0 {EVIL} {EVIL}"));
    ask(connection, &format!("XADD {EVIL} 2-0 {EVIL} {EVIL}"));
    ask(connection, &format!("XGROUP CREATE {EVIL} {EVIL} 0"));
    ask(connection, &format!("XGROUP CFGSET {EVIL} {EVIL} MAX-DELIVER 5"));
    ask(connection, &format!("XREADGROUP GROUP {EVIL} {EVIL} STREAMS {EVIL} >"));
    ask(connection, &format!("XNACK {EVIL} {EVIL} FATAL REASON {EVIL} IDS 1 2-0"));
    assert_eq!(ask(connection, &format!("XDLQ LEN {EVIL} {EVIL}")), Value::Int(1));
    ask(connection, &format!("XSCHED ADD {EVIL} IN 9999999 {EVIL} {EVIL}"));
}

/// Three dead letters of the group `g` of `s`.
fn fill_with_letters(connection: &mut Connection) {
    ask(connection, "XGROUP CREATE s g 0 MKSTREAM");
    ask(connection, "XGROUP CFGSET s g MAX-DELIVER 5");
    for id in ["1-0", "2-0", "3-0"] {
        ask(connection, &format!("XADD s {id} order {id}"));
    }
    ask(connection, "XREADGROUP GROUP g c STREAMS s >");
    ask(connection, "XNACK s g FATAL REASON broken IDS 3 1-0 2-0 3-0");
    assert_eq!(ask(connection, "XDLQ LEN s g"), Value::Int(3));
}

fn is_guarded(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[test]
fn what_streams_hold_is_shown_as_text() {
    let (server, mut browser) = start(&[]);
    fill_with_markup(&mut server.connect());
    browser.sign_in("default", "").expect(303);
    let key = format!("key={CODED}");
    let both = format!("{key}&group={CODED}");
    for path in [
        "/".to_owned(),
        format!("/?match={CODED}"),
        format!("/stream?{key}"),
        format!("/entry?{key}&id=1-0"),
        format!("/group?{both}"),
        format!("/letters?{both}"),
        format!("/letters/confirm?{both}&all=PURGE"),
        "/schedules".to_owned(),
        format!("/schedule?{key}"),
        format!("/schedule/confirm?{key}&handle={CODED}"),
    ] {
        let answer = browser.get(&path).expect(200);
        is_guarded(&answer);
        let body = &answer.body;
        assert!(body.contains(SHOWN), "{path}: {body}");
        assert!(!body.contains("<script>") && !body.contains("style="), "{path}: {body}");
        assert_eq!(body.matches("<script").count(), 1, "{path}");
    }
    // Errors of the server say names too, and what cannot be searched for is said.
    for (path, status) in [
        (format!("/group?key={CODED}&group=nobody{CODED}"), 400),
        (format!("/stream?key=no{CODED}"), 400),
        (format!("/stream?{key}&from={CODED}"), 400),
        (format!("/{CODED}"), 404),
    ] {
        let answer = browser.get(&path).expect(status);
        is_guarded(&answer);
        assert!(!answer.body.contains("<script>"), "{path}: {}", answer.body);
    }
}

#[test]
fn entries_are_found_by_id_and_by_time() {
    let (server, browser) = start(&[]);
    let mut connection = server.connect();
    for second in 100..160 {
        ask(&mut connection, &format!("XADD s {second}000-0 n {second}"));
    }
    let ids = |answer: &Answer| -> Vec<String> {
        let parts = answer.body.split("&amp;id=").skip(1);
        parts.map(|part| part.split('"').next().expect("quoted").replace("%2D", "-")).collect()
    };
    let newest = browser.get("/stream?key=s").expect(200);
    let found = ids(&newest);
    assert_eq!((found.len(), &*found[0], &*found[49]), (50, "159000-0", "110000-0"));
    let older = newest.between("rel=\"next\" href=\"", "\"").replace("&amp;", "&");
    let older = browser.get(&older).expect(200);
    let found = ids(&older);
    assert_eq!((found.len(), &*found[0], &*found[9]), (10, "109000-0", "100000-0"));
    assert!(!older.body.contains("rel=\"next\""));
    for from in ["155000", "155000-0", "(154000-0", "1970-01-01T00:02:35"] {
        let found = ids(&browser.get(&format!("/stream?key=s&from={from}")).expect(200));
        assert_eq!((found.len(), &*found[0]), (5, "155000-0"), "{from}");
    }
    // As the form of the page sends it.
    let searched = browser.get("/stream?at=key%3Ds&from=1970-01-01T00%3A02").expect(200);
    let found = ids(&searched);
    assert_eq!((found.len(), &*found[0]), (40, "120000-0"));
    browser.get("/stream?key=s&from=tomorrow").expect(400);
    browser.get("/stream?key=gone").expect(400);
    browser.get("/stream").expect(400);
    browser.get("/entry?key=s&id=1-1").expect(404);
}

#[test]
fn a_group_shows_its_policy_its_consumers_and_what_is_pending() {
    let (server, browser) = start(&[]);
    let mut connection = server.connect();
    ask(&mut connection, "XGROUP CREATE orders workers 0 MKSTREAM");
    ask(&mut connection, "XGROUP CFGSET orders workers ACK-WAIT 86400000 MAX-DELIVER 5");
    ask(&mut connection, "XCFGSET orders RETENTION ACKED");
    for id in 1..=60 {
        ask(&mut connection, &format!("XADD orders {id}-0 n {id}"));
    }
    ask(&mut connection, "XREADGROUP GROUP workers anna COUNT 55 STREAMS orders >");
    let stream = browser.get("/stream?key=orders").expect(200).body;
    assert!(stream.contains("RETENTION") && stream.contains("ACKED"), "{stream}");
    let group = browser.get("/group?key=orders&group=workers").expect(200);
    for text in ["86400000", "MAX-DELIVER", "anna", ">55<", ">5<"] {
        assert!(group.body.contains(text), "{text}: {}", group.body);
    }
    let more = group.between("rel=\"next\" href=\"", "\"").replace("&amp;", "&");
    let more = browser.get(&more).expect(200).body;
    assert!(more.contains("<code>51-0</code>") && more.contains("<code>55-0</code>"), "{more}");
    assert!(!more.contains("<code>50-0</code>"), "{more}");
}

#[test]
fn letters_are_redriven_and_purged_when_it_was_confirmed() {
    let (server, mut browser) = start(&[]);
    let mut connection = server.connect();
    fill_with_letters(&mut connection);
    let out = browser.get("/letters?key=s&group=g").expect(200).body;
    assert!(out.contains("broken") && !out.contains("checkbox"), "{out}");
    browser.sign_in("default", "").expect(303);
    let letters = browser.get("/letters?key=s&group=g").expect(200);
    let first = letters.between("name=\"id\" value=\"", "\"").to_owned();

    let path = format!("/letters/confirm?at=key%3Ds%26group%3Dg&id={first}&verb=REDRIVE");
    let page = browser.get(&path).expect(200);
    assert_eq!(ask(&mut connection, "XDLQ LEN s g"), Value::Int(3));
    let (act, csrf) = form(&page);
    let done = browser.post(&act, &format!("csrf={csrf}&id={first}")).expect(303);
    let done = browser.get(done.header("location")).expect(200).body;
    assert!(done.contains("1 redriven"), "{done}");
    assert_eq!(ask(&mut connection, "XDLQ LEN s g"), Value::Int(2));
    assert_eq!(ask(&mut connection, "XLEN s"), Value::Int(4));

    let page = browser.get("/letters/confirm?key=s&group=g&all=PURGE").expect(200);
    let count = page.between("name=\"count\" value=\"", "\"").to_owned();
    let (act, csrf) = form(&page);
    let done = browser.post(&act, &format!("csrf={csrf}&count={count}")).expect(303);
    let done = browser.get(done.header("location")).expect(200).body;
    assert!(done.contains("2 purged"), "{done}");
    assert_eq!(ask(&mut connection, "XDLQ LEN s g"), Value::Int(0));
    browser.get("/letters/confirm?key=s&group=g&verb=PURGE").expect(400);
    browser.get("/letters/confirm?key=s&group=g&id=1-0&verb=LEN").expect(400);
}

#[test]
fn what_is_scheduled_is_cancelled_when_it_was_confirmed() {
    let (server, mut browser) = start(&[]);
    let mut connection = server.connect();
    let handle = ask(&mut connection, "XSCHED ADD s AT 4102444800000 act greet");
    let Value::BulkString(handle) = handle else { panic!("{handle:?}") };
    let handle = String::from_utf8(handle).expect("an id");
    browser.sign_in("default", "").expect(303);
    let list = browser.get("/schedules").expect(200).body;
    assert!(list.contains("/schedule?key=s\""), "{list}");
    let page = browser.get("/schedule?key=s").expect(200).body;
    assert!(page.contains("2100-01-01 00:00:00.000") && page.contains("greet"), "{page}");
    let page = browser.get(&format!("/schedule/confirm?key=s&handle={handle}")).expect(200);
    assert_eq!(ask(&mut connection, "XSCHED LEN s"), Value::Int(1));
    let (act, csrf) = form(&page);
    let done = browser.post(&act, &format!("csrf={csrf}")).expect(303);
    let done = browser.get(done.header("location")).expect(200).body;
    assert!(done.contains("1 cancelled"), "{done}");
    assert_eq!(ask(&mut connection, "XSCHED LEN s"), Value::Int(0));
}

/// Where the form of a confirmation goes, and its token.
fn form(page: &Answer) -> (String, String) {
    let form = page.body.split("<main").nth(1).expect("a page has a main part");
    let act = form.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
    let csrf = page.between("name=\"csrf\" value=\"", "\"");
    (act.expect("a form").replace("&amp;", "&"), csrf.to_owned())
}

#[test]
fn nothing_is_changed_for_strangers_and_for_other_sites() {
    let (server, mut browser) = start(&[]);
    let mut connection = server.connect();
    fill_with_letters(&mut connection);
    let stranger = browser.get("/letters/confirm?key=s&group=g&all=PURGE");
    assert_eq!(stranger.status, 403);
    let act = "/letters/do?key=s&group=g&verb=PURGE";
    let signed_out = browser.post(act, "count=3&csrf=");
    is_guarded(&signed_out);
    assert_eq!(signed_out.status, 403);

    browser.sign_in("default", "").expect(303);
    let page = browser.get("/letters/confirm?key=s&group=g&all=PURGE").expect(200);
    let (_, csrf) = form(&page);
    let body = format!("count=3&csrf={csrf}");
    let same = ("Sec-Fetch-Site", "same-origin");
    for headers in [
        &[][..],
        &[("Origin", "null"), same],
        &[("Origin", "http://evil.example"), same],
        &[("Origin", "http://127.0.0.1:1"), same],
        &[("Origin", "http://localhost"), ("Host", "localhost"), ("Sec-Fetch-Site", "cross-site")],
        &[("Origin", "http://evil.example"), ("Host", "evil.example"), same],
    ] {
        let refused = browser.ask("POST", act, headers, &body);
        assert_eq!(refused.status, 403, "{headers:?}: {}", refused.body);
    }
    for wrong in ["count=3".to_owned(), "count=3&csrf=".to_owned(), format!("count=3&csrf=0{csrf}")]
    {
        browser.post(act, &wrong).expect(403);
    }
    // The token of somebody else's session.
    let mut other = browser.again();
    other.sign_in("default", "").expect(303);
    other.post(act, &body).expect(403);
    // Nothing but a form, and not by GET; a name that is not ours sees nothing.
    browser.get(act).expect(405);
    browser.get("/signout").expect(405);
    let origin = browser.origin();
    let headers = [("Origin", &*origin), same, ("Content-Type", "text/plain")];
    assert_eq!(browser.ask("POST", act, &headers, &body).status, 400);
    assert_eq!(browser.ask("GET", "/", &[("Host", "evil.example")], "").status, 403);
    let long = format!("{body}&x={}", "y".repeat(70_000));
    browser.post(act, &long).expect(400);
    assert_eq!(ask(&mut connection, "XDLQ LEN s g"), Value::Int(3));
    browser.post(act, &body).expect(303);
    assert_eq!(ask(&mut connection, "XDLQ LEN s g"), Value::Int(0));
}

#[test]
fn a_password_closes_all_but_the_page_for_signing_in() {
    let watcher = "watcher on >secret ~orders* +@read +info +scan";
    let (server, mut browser) = start(&["--requirepass", "hunter2"]);
    let mut connection = server.connect();
    let _: Value = redis::cmd("AUTH").arg("hunter2").query(&mut connection).expect("it is right");
    ask(&mut connection, &format!("ACL SETUSER {watcher}"));
    ask(&mut connection, "XADD orders 1-0 a b");
    ask(&mut connection, "XADD wages 1-0 a secret-number");
    for path in ["/", "/stream?key=orders", "/events", "/schedules", "/entry?key=orders&id=1-0"] {
        let answer = browser.get(path).expect(303);
        is_guarded(&answer);
        assert_eq!(answer.header("location"), "/signin", "{path}");
    }
    browser.get("/signin").expect(200);
    let wrong = browser.sign_in("default", "wrong").expect(403);
    assert!(wrong.body.contains("WRONGPASS"), "{}", wrong.body);
    assert_eq!(wrong.header("set-cookie"), "");

    let right = browser.sign_in("watcher", "secret").expect(303);
    let cookie = right.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(browser.get("/").expect(200).body.contains("watcher"));
    browser.get("/stream?key=orders").expect(200);
    let hidden = browser.get("/stream?key=wages").expect(403);
    assert!(hidden.body.contains("NOPERM") && !hidden.body.contains("secret-number"));

    // A session that was ended is worth nothing, nor is one that was made up.
    let page = browser.get("/").expect(200);
    let csrf = page.between("name=\"csrf\" value=\"", "\"").to_owned();
    browser.post("/signout", "csrf=1").expect(403);
    browser.post("/signout", &format!("csrf={csrf}")).expect(303);
    browser.get("/").expect(303);
    browser.cookie = "levada-session=0".to_owned();
    browser.get("/").expect(303);
    // A user who loses their rights loses them here too.
    browser.sign_in("watcher", "secret").expect(303);
    ask(&mut connection, "ACL DELUSER watcher");
    let gone = browser.get("/stream?key=orders");
    assert_ne!(gone.status, 200, "{}", gone.body);
}

#[test]
fn samples_come_while_somebody_watches_and_for_so_many() {
    let (server, browser) = start(&[]);
    let mut connection = server.connect();
    ask(&mut connection, "XADD s 1-0 a b");
    ask(&mut connection, "XGROUP CREATE s g 0");
    let mut watchers = Vec::new();
    for _ in 0..8 {
        let mut reader = browser.open("GET", "/events", &[], "");
        assert_eq!(head(&mut reader).0, 200);
        watchers.push(reader);
    }
    let ninth = browser.get("/events").expect(503);
    is_guarded(&ninth);
    let mut samples = (&mut watchers[0]).lines().map(|line| line.expect("text"));
    let mut sample = || samples.find(|line| line.starts_with("data:")).expect("a sample");
    let (first, second) = (sample(), sample());
    assert!(first.contains("\"appends\":1,") && first.contains("\"lag\":1,"), "{first}");
    assert!(second.contains("\"pending\":0}"), "{second}");
    // The other questions of the port have room beside them.
    assert!(browser.get("/metrics").expect(200).body.contains("levada_keys 1"));
    browser.get("/livez").expect(200);
    browser.get("/readyz").expect(200);
    assert_eq!(browser.post("/livez", "").status, 405);
}

#[test]
fn the_port_can_do_without_a_dashboard() {
    let (_server, browser) = start(&["--dashboard", "false"]);
    browser.get("/").expect(404);
    browser.get("/signin").expect(404);
    browser.get("/livez").expect(200);
    // Other machines would be let in as somebody on this one.
    let (_server, browser) = start(&["--http-bind", "0.0.0.0"]);
    browser.get("/").expect(404);
    let (_server, browser) = start(&["--http-bind", "0.0.0.0", "--requirepass", "hunter2"]);
    browser.get("/").expect(303);
    assert_eq!(browser.ask("GET", "/", &[("Host", "evil.example")], "").status, 403);
    assert_eq!(browser.ask("GET", "/livez", &[("Host", "levada")], "").status, 200);
}

#[test]
fn files_and_unknown_pages_are_guarded_too() {
    let (_server, browser) = start(&["--http-names", "streams.example"]);
    for (path, kind) in [("/dashboard.css", "text/css"), ("/dashboard.js", "text/javascript")] {
        let answer = browser.get(path).expect(200);
        is_guarded(&answer);
        assert!(answer.header("content-type").starts_with(kind), "{path}");
    }
    is_guarded(&browser.get("/nothing").expect(404));
    assert_eq!(browser.ask("GET", "/", &[("Host", "streams.example")], "").status, 200);
    assert_eq!(browser.ask("GET", "/", &[("Host", "other.example")], "").status, 403);
}

/// A dashboard of its own, ended with the test.
pub(crate) struct Alone(Child);

impl Drop for Alone {
    fn drop(&mut self) {
        // Errors have nowhere to go: it may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn alone(server: &Server) -> (Alone, Browser) {
    before(&server.url())
}

/// One of its own about the server at an address.
pub(crate) fn before(url: &str) -> (Alone, Browser) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_levada"))
        .args(["dashboard", "--http-port", "0", "--url", url])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("levada starts");
    let stderr = child.stderr.take().expect("it is piped");
    let child = Alone(child);
    let mut line = String::new();
    BufReader::new(stderr).read_line(&mut line).expect("it says where it is");
    let port = line.trim().trim_end_matches('/').rsplit(':').next();
    let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    (child, Browser::new(port))
}

#[test]
fn it_stands_alone_before_a_levada_and_survives_its_end() {
    let server = Server::levada();
    fill_with_letters(&mut server.connect());
    let (_alone, mut browser) = alone(&server);
    browser.get("/metrics").expect(404);
    browser.sign_in("default", "").expect(303);
    assert!(browser.get("/letters?key=s&group=g").expect(200).body.contains("broken"));
    drop(server);
    let gone = browser.get("/").expect(502).body;
    assert!(gone.contains("cannot be reached"), "{gone}");
    browser.cookie.clear();
    browser.get("/").expect(502);
}

#[test]
fn it_shows_of_a_plain_redis_what_that_has() {
    let Some(server) = Server::redis() else {
        return;
    };
    let mut connection = server.connect();
    ask(&mut connection, "XADD s 1-0 a b");
    ask(&mut connection, "XGROUP CREATE s g 0");
    ask(&mut connection, "XREADGROUP GROUP g anna STREAMS s >");
    let (_alone, browser) = alone(&server);
    assert!(browser.get("/").expect(200).body.contains("without policies"));
    let stream = browser.get("/stream?key=s").expect(200).body;
    assert!(stream.contains("1-0") && !stream.contains("RETENTION"), "{stream}");
    assert!(browser.get("/group?key=s&group=g").expect(200).body.contains("anna"));
    let letters = browser.get("/letters?key=s&group=g").expect(404).body;
    assert!(letters.contains("keeps no dead letters"), "{letters}");
    let schedule = browser.get("/schedule?key=s").expect(404).body;
    assert!(schedule.contains("schedules nothing"), "{schedule}");
    let mut reader = browser.open("GET", "/events", &[], "");
    assert_eq!(head(&mut reader).0, 200);
    let sample = reader.lines().map(|line| line.expect("text"));
    let sample = sample.into_iter().find(|line| line.starts_with("data:")).expect("a sample");
    assert!(sample.contains("\"commit_us\":null"), "{sample}");
}
