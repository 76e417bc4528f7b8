//! Rules in, rights out, and the same rules again.

use super::selector::{Fault, Selector, Wish};
use super::user::{User, merge};
use super::*;
use crate::command_table;
use crate::key_access::GroupUse;

fn user(registry: &Registry, rules: &str) -> Result<User, String> {
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    file::parse(registry, b"u", &rules, false)
}

fn may(registry: &Registry, user: &User, line: &str) -> bool {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let number = crate::dispatch::resolve(registry, &args).expect("a request");
    let spec = registry.spec(number);
    let (keys, group) = (spec.key_uses(&args), spec.group_use(&args));
    user.check(&Wish { number, spec, args: &args, keys: keys.as_deref(), group }).is_ok()
}

#[test]
fn every_command_has_its_bit() {
    let registry = Registry::new(command_table());
    assert!(registry.len() <= 512, "rights have no bit for {} commands", registry.len());
    for number in registry.numbers() {
        let name = registry.spec(number).name;
        let user = user(&registry, &format!("~* +{name}")).expect("a rule");
        let wish = |number| Wish {
            number,
            spec: registry.spec(number),
            args: &[],
            keys: Some(&[]),
            group: GroupUse::None,
        };
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
        "on +@all ~* &* resetgroups",
        "on +@all ~* resetgroups group~a GROUP~B* group~a (+@stream ~b resetgroups group~c) (+get)",
        "on +@all ~* resetgroups group~a group~* (+@stream ~b RESETGROUPS AllGroups)",
    ] {
        let first = user(&registry, rules).expect("rules");
        let text = String::from_utf8(first.describe()).expect("text");
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let again = file::parse(&registry, b"u", &words, true).expect("what was written");
        assert_eq!(String::from_utf8(again.describe()).expect("text"), text);
        for line in [
            "GET a",
            "GET x",
            "XADD b * f v",
            "XLEN b",
            "CONFIG GET x",
            "SELECT 1",
            "KEYS *",
            "XACK b a 1",
            "XACK b c 1",
            "XACK x Bc 1",
        ] {
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
        "(",
        ")",
        "~",
        "%",
        "%R",
        "%W~",
        "&",
        "+",
        "-",
        "@",
        "|",
        "#",
        "!",
        ">",
        "<",
        "all",
        "get",
        "config",
        "*",
        "[",
        "\\",
        " ",
        "reset",
        "\t",
        "\u{ff}",
        "@stream",
        "0",
        "(+get",
        "~a)",
        "group",
        "groups",
        "resetgroups",
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
fn a_user_without_rules_about_groups_has_all_and_is_written_as_ever() {
    let registry = Registry::new(command_table());
    for (rules, line) in [
        ("on nopass +@all ~* &*", "on nopass sanitize-payload ~* &* +@all"),
        ("resetgroups group~a allgroups", "off sanitize-payload resetchannels -@all"),
        (
            "resetgroups reset (+get)",
            "off sanitize-payload resetchannels -@all (resetchannels -@all +get)",
        ),
    ] {
        let user = user(&registry, rules).expect("rules");
        assert_eq!(String::from_utf8_lossy(&user.describe()), line);
        assert!(user.rights().all(|rights| rights.describe_groups().is_none()), "{rules}");
    }
    let all = user(&registry, "on nopass +@all ~* &*").expect("rules");
    assert!(all.is_unrestricted() && may(&registry, &all, "XGROUP DESTROY s audit"));
}

#[test]
fn a_user_with_a_rule_has_the_groups_that_it_allows() {
    let registry = Registry::new(command_table());
    let check = |rules: &str, line: &str, expect: bool| {
        let user = user(&registry, rules).expect("rules");
        assert!(!user.is_unrestricted(), "{rules}");
        assert_eq!(may(&registry, &user, line), expect, "{rules}: {line}");
    };
    let billing = "on nopass +@all ~* &* resetgroups group~billing group~b-[0-9]";
    check(billing, "XACK s billing 1-1", true);
    check(billing, "XACK s b-7 1-1", true);
    check(billing, "XACK s Billing 1-1", false);
    check(billing, "XREADGROUP GROUP audit billing STREAMS s >", false);
    check(billing, "XREADGROUP GROUP billing audit STREAMS s >", true);
    check(billing, "XREADGROUP GROUP billing c GROUP audit c STREAMS s >", false);
    check(billing, "XREADGROUP GROUP billing c BLOCK STREAMS s >", false);
    check(billing, "XINFO GROUPS s", true);
    check(billing, "XINFO STREAM s FULL", true);
    check(billing, "GET audit", true);
    check("on +@all ~* &* resetgroups", "XLAG s billing", false);
    check("on +@all ~* &* resetgroups group~", "XLAG s billing", false);
    check("on +@all ~* resetgroups allgroups", "XLAG s billing", true);
    // A selector has all groups but for its own rules, and allows as a whole.
    let two = "on +@all ~s resetgroups group~a (+@all ~t) (+xlag ~s resetgroups group~b)";
    check(two, "XACK s a 1-1", true);
    check(two, "XACK s b 1-1", false);
    check(two, "XACK t b 1-1", true);
    check(two, "XLAG s b", true);
    check(two, "XLAG s c", false);
}

#[test]
fn the_reason_of_a_refusal_is_the_group_where_the_rest_is_allowed() {
    let registry = Registry::new(command_table());
    let user = user(&registry, "on +xack ~s &* resetgroups group~a").expect("rules");
    let check = |line: &str, reason: Reason, at: usize| {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let number = crate::dispatch::resolve(&registry, &args).expect("a request");
        let spec = registry.spec(number);
        let (keys, group) = (spec.key_uses(&args), spec.group_use(&args));
        let wish = Wish { number, spec, args: &args, keys: keys.as_deref(), group };
        assert_eq!(user.check(&wish), Err(Denied { reason, at }), "{line}");
    };
    check("XACK s b 1-1", Reason::Group, 2);
    check("XACK t b 1-1", Reason::Key, 1);
    check("XLAG s b", Reason::Command, 0);
}

#[test]
fn a_group_behind_all_groups_is_refused() {
    let registry = Registry::new(command_table());
    let mut user = User::new(b"u", false);
    for rule in ["group~a", "group~", "GROUP~a b"] {
        let fault = user.apply(&registry, rule.as_bytes(), false);
        assert_eq!(fault, Err(Fault::AfterAllGroups), "{rule}");
    }
    for rule in ["group", "groupa", "groups~a", "group%a"] {
        assert_ne!(user.apply(&registry, rule.as_bytes(), false), Ok(()), "{rule}");
    }
    assert_eq!(user.apply(&registry, b"resetgroups", false), Ok(()));
    assert_eq!(user.apply(&registry, b"group~a b", false), Err(Fault::Syntax));
    assert_eq!(user.apply(&registry, b"group~a\nuser", false), Err(Fault::Syntax));
    assert_eq!(user.apply(&registry, b"group~*", false), Ok(()));
    assert_eq!(user.apply(&registry, b"group~a", false), Err(Fault::AfterAllGroups));
}

#[test]
fn a_user_who_was_removed_may_do_nothing_and_its_number_is_not_given_again() {
    let registry = Registry::new(command_table());
    let mut acl = Acl::new(&registry);
    let (first, _) = acl.put(user(&registry, "on nopass +@all ~* &*").expect("rules"));
    assert!(acl.is_unrestricted(first));
    assert_eq!(acl.remove(b"u"), Some(first));
    let number = registry.find(b"ping").expect("a command");
    let (spec, group) = (registry.spec(number), GroupUse::None);
    let wish = Wish { number, spec, args: &[b"PING"], keys: Some(&[]), group };
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
