//! What must hold for any bytes at all, for the fuzzer and its corpus.

use crate::acl::file;
use crate::acl::user::{User, merge};
use crate::config::Config;
use crate::registry::Registry;

/// CONFIG SET with any names and values, separated by zero bytes: what is accepted is shown, and
/// what is shown is accepted again and stays the same.
///
/// # Panics
///
/// If it is not so.
pub fn config_any(bytes: &[u8]) {
    let words: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    let pairs = &words[..words.len() / 2 * 2];
    let mut config = Config::new();
    let Ok(names) = config.set(pairs) else {
        return;
    };
    for name in names {
        let shown = config.get(name).to_owned();
        let mut again = Config::new();
        let set = again.set(&[name.as_bytes(), shown.as_bytes()]);
        assert!(set.is_ok(), "{name} shows {shown:?}, which is refused");
        assert_eq!(again.get(name), shown, "{name}");
    }
    let shown = config.matching(&[b"*"]).len();
    assert!(words.iter().all(|pattern| config.matching(&[pattern]).len() <= shown));
}

/// Any lines as a file of users, and each also as the arguments of ACL SETUSER: who is accepted is
/// written down as a line that makes the same user again, a list of rules changes all or nothing,
/// and whoever may do everything was told so.
///
/// # Panics
///
/// If it is not so.
pub fn acl_any(bytes: &[u8]) {
    let registry = Registry::new(crate::command::table());
    for all_channels in [false, true] {
        for line in bytes.split(|byte| *byte == b'\n') {
            acl_line(&registry, line, all_channels);
        }
    }
}

fn acl_line(registry: &Registry, line: &[u8], all_channels: bool) {
    let parse = |line: &[u8]| file::parse_line(registry, line, all_channels, "file:1");
    if let Ok(Some(user)) = parse(line) {
        let written = user.line();
        let shown = written.escape_ascii();
        assert!(!written.contains(&b'\n'), "{shown}");
        let again = parse(&written).unwrap_or_else(|why| panic!("{shown} is refused: {why}"));
        assert_eq!(again.as_ref(), Some(&user), "{shown}");
    }
    // As arguments the same bytes may hold what separates words in a file.
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let Ok(rules) = merge(&words) else {
        return;
    };
    let mut user = User::new(b"user", all_channels);
    let before = user.clone();
    let result = user.apply_all(registry, &rules, all_channels);
    assert!(result.is_ok() || user == before, "rules that were refused left something");
    let all = |word: &[u8]| {
        rules.iter().any(|rule| rule.to_ascii_lowercase().windows(word.len()).any(|it| it == word))
    };
    let told = all(b"+@all") || all(b"allcommands");
    let own = user.rights().next().expect("a user has rights of its own");
    let has_all_groups = own.describe_groups().is_none();
    assert!(!user.is_unrestricted() || has_all_groups, "that is not everything");
    assert!(!user.is_unrestricted() || told, "nobody said that it may do everything");
}

/// Any bytes as the Host of a request for HTTP: what passes for a name of this machine is
/// `localhost` or an address, whatever stands behind its last colon.
///
/// # Panics
///
/// If it is not so.
pub fn host_any(bytes: &[u8]) {
    let Ok(host) = std::str::from_utf8(bytes) else {
        return;
    };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_of_an_address = |text: &str| {
        let text = text.split_once('%').map_or(text, |(address, _)| address);
        text.bytes().all(|byte| byte.is_ascii_hexdigit() || b"[]:.".contains(&byte))
            && text.bytes().any(|byte| b":.".contains(&byte))
    };
    if crate::http::is_own_name(host) {
        let is_named = name.eq_ignore_ascii_case("localhost");
        assert!(is_named || is_of_an_address(name) || is_of_an_address(host), "{host:?}");
    }
}
