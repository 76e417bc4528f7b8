//! Rules in, rights out, and the same rules again.

use super::selector::{Fault, Selector, Wish};
use super::user::{User, merge};
use super::*;
use crate::command_table;

fn user(registry: &Registry, rules: &str) -> Result<User, String> {
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    file::parse(registry, b"u", &rules, false)
}

fn may(registry: &Registry, user: &User, line: &str) -> bool {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let number = crate::dispatch::resolve(registry, &args).expect("a request");
    let spec = registry.spec(number);
    let keys = spec.key_uses(&args);
    user.check(&Wish { number, spec, args: &args, keys: keys.as_deref() }).is_ok()
}

#[test]
fn every_command_has_its_bit() {
    let registry = Registry::new(command_table());
    assert!(registry.len() <= 512, "rights have no bit for {} commands", registry.len());
    for number in registry.numbers() {
        let name = registry.spec(number).name;
        let user = user(&registry, &format!("~* +{name}")).expect("a rule");
        let wish =
            |number| Wish { number, spec: registry.spec(number), args: &[], keys: Some(&[]) };
        assert!(user.check(&wish(number)).is_ok(), "{name}");
        let others = registry.numbers().filter(|other| user.check(&wish(*other)).is_ok());
        let open = registry
            .numbers()
            .filter(|number| registry.spec(*number).flags & crate::spec::flag::NO_AUTH != 0);
        let family = 1 + registry.subcommands(number).count();
        assert!(others.count() <= family + open.count(), "{name} allows more than itself");
    }
}

#[test]
fn rules_that_are_written_down_make_the_same_user() {
    let registry = Registry::new(command_table());
    for rules in [
        "on nopass +@all ~* &*",
        "off >a >b ~x %R~y %W~z &c resetchannels &d -@all +get +config|get +select|1",
        "on +@all -@dangerous +flushall -xadd (+get ~a) (%R~b &q +@stream -xdel)",
        "skip-sanitize-payload allchannels allkeys -@all +@read -@stream +xlen",
    ] {
        let first = user(&registry, rules).expect("rules");
        let text = String::from_utf8(first.describe()).expect("text");
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let again = file::parse(&registry, b"u", &words, true).expect("what was written");
        assert_eq!(String::from_utf8(again.describe()).expect("text"), text);
        for line in
            ["GET a", "GET x", "XADD b * f v", "XLEN b", "CONFIG GET x", "SELECT 1", "KEYS *"]
        {
            assert_eq!(
                may(&registry, &first, line),
                may(&registry, &again, line),
                "{text}: {line}"
            );
        }
    }
}

#[test]
fn cve_2024_31227_malformed_rules_are_refused_and_do_nothing() {
    let registry = Registry::new(command_table());
    let pieces = [
        "(", ")", "~", "%", "%R", "%W~", "&", "+", "-", "@", "|", "#", "!", ">", "<", "all", "get",
        "config", "*", "[", "\\", " ", "reset", "\t", "\u{ff}", "@stream", "0", "(+get", "~a)",
    ];
    let mut seed = 0x9e37_79b9_u32;
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut args: Vec<Vec<u8>> = Vec::new();
        for _ in 0..3 {
            let mut arg = String::new();
            for _ in 0..4 {
                seed ^= seed << 13;
                seed ^= seed >> 17;
                seed ^= seed << 5;
                arg.push_str(pieces[seed as usize % pieces.len()]);
            }
            args.push(arg.into_bytes());
        }
        let slices: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let mut user = User::new(b"u", false);
        let before = user.describe();
        let applied = merge(&slices)
            .map_err(drop)
            .and_then(|rules| user.apply_all(&registry, &rules, false).map_err(drop));
        if applied.is_err() {
            refused += 1;
            assert_eq!(user.describe(), before, "{slices:?}");
        }
    }
    assert!(refused > 1_000, "{refused} of them were wrong");
}

#[test]
fn what_a_selector_allows_is_allowed_by_one_of_them_as_a_whole() {
    let registry = Registry::new(command_table());
    let user = user(&registry, "on +get ~a (+set ~b)").expect("rules");
    assert!(may(&registry, &user, "GET a") && may(&registry, &user, "SET b v"));
    assert!(!may(&registry, &user, "SET a v") && !may(&registry, &user, "GET b"));
}

#[test]
fn a_user_who_was_removed_may_do_nothing_and_its_number_is_not_given_again() {
    let registry = Registry::new(command_table());
    let mut acl = Acl::new(&registry);
    let (first, _) = acl.put(user(&registry, "on nopass +@all ~* &*").expect("rules"));
    assert!(acl.is_unrestricted(first));
    assert_eq!(acl.remove(b"u"), Some(first));
    let number = registry.find(b"ping").expect("a command");
    let wish = Wish { number, spec: registry.spec(number), args: &[b"PING"], keys: Some(&[]) };
    assert!(acl.check(first, &wish).is_err() && !acl.is_unrestricted(first));
    let (second, _) = acl.put(User::new(b"u", false));
    assert_ne!(first, second);
}

#[test]
fn passwords_are_compared_whole() {
    let registry = Registry::new(command_table());
    let mut acl = Acl::new(&registry);
    acl.set_default_password(&registry, "secret");
    assert_eq!(acl.authenticate(DEFAULT, b"secret"), Some(UserNumber::DEFAULT));
    for wrong in ["", "secre", "secrets", "Secret", "secretsecret"] {
        assert_eq!(acl.authenticate(DEFAULT, wrong.as_bytes()), None, "{wrong}");
    }
    assert_eq!(acl.authenticate(b"nobody", b"secret"), None);
    acl.set_default_password(&registry, "");
    assert!(!acl.needs_password());
}

#[test]
fn failed_attempts_are_told_at_once_and_then_once_a_minute() {
    let mut failures = Failures::new(LogName::LoginsFailed, "authenticate");
    let tell = |failures: &mut Failures, now_ms| failures.tell(now_ms).map(|it| it.message);
    assert_eq!(tell(&mut failures, 0), None);
    failures.note("of a".into());
    assert_eq!(
        tell(&mut failures, 10).expect("a line"),
        "1 failed attempts to authenticate, the last of a"
    );
    failures.note("of b".into());
    failures.note("of c".into());
    assert_eq!(tell(&mut failures, 60_009), None);
    assert_eq!(
        tell(&mut failures, 60_010).expect("a line"),
        "2 failed attempts to authenticate, the last of c"
    );
}

#[test]
fn a_file_is_taken_whole_or_not_at_all() {
    let registry = Registry::new(command_table());
    let name = format!("levada-acl-{}.acl", std::process::id());
    let path = std::env::temp_dir().join(name);
    let users = [
        user(&registry, "on >pw ~a* +@stream (+get ~b)").expect("rules"),
        User::first(&registry, DEFAULT),
    ];
    file::save(&path, users.iter()).expect("written");
    let loaded = file::load(&registry, &path, false).expect("what was written");
    assert_eq!(loaded, users);
    let text = std::fs::read_to_string(&path).expect("text");
    assert!(!text.contains("pw "), "no password in clear: {text}");
    std::fs::write(&path, "user a on\n\nuser a off\nfoo\nuser b +foo\nuser c >x (+get\n")
        .expect("written");
    let error = file::load(&registry, &path, false).expect_err("four lines are wrong");
    for part in [
        "Duplicate user 'a' found on line 3",
        ":4 should start",
        ":5: Error in applying operation '+foo'",
        ":6: Unmatched",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    std::fs::remove_file(&path).expect("removed");
    assert!(file::load(&registry, &path, false).is_err());
}

#[test]
fn a_selector_that_is_empty_allows_nothing() {
    let registry = Registry::new(command_table());
    assert_eq!(Selector::parse(&registry, b"  "), Ok(Selector::NONE));
}

#[test]
fn a_first_argument_that_is_no_word_of_text_is_refused() {
    let registry = Registry::new(crate::command::table());
    let mut user = User::new(b"u", false);
    for rule in [&b"+select|\xca"[..], b"+select|1\nuser evil on", b"+select|1 2", b"+select|\0"] {
        assert_eq!(user.apply(&registry, rule, false), Err(Fault::Syntax), "{rule:?}");
    }
    assert_eq!(user.apply(&registry, "+select|\u{e9}1".as_bytes(), false), Ok(()));
}
