//! What a peer can do: which commands and options are sent to it at all.

use super::episode::Step;

/// Commands and options by the version of Redis that brought them; Valkey stayed at 7.2 for all
/// of these. A name with a blank is a command with that word among its arguments.
const SINCE: &[(u32, &[&str])] = &[
    (72, &["client setinfo", "client no-touch"]),
    (74, &["xread +"]),
    (
        82,
        &[
            "xdelex",
            "xackdel",
            "xadd keepref",
            "xadd delref",
            "xadd acked",
            "xtrim keepref",
            "xtrim delref",
            "xtrim acked",
        ],
    ),
    (
        84,
        &[
            "xreadgroup claim",
            "xread claim",
            "set ifeq",
            "set ifne",
            "set ifdeq",
            "set ifdne",
            "msetex",
            "delex",
            "digest",
        ],
    ),
    (86, &["xcfgset", "xidmprecord", "xadd idmp", "xadd idmpauto"]),
];

/// What a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capability {
    /// Its name and version, for people.
    pub(crate) name: String,
    /// Version of Redis whose surface it has: major * 10 + minor.
    level: u32,
    pub(crate) is_valkey: bool,
}

impl Capability {
    /// The peer that Levada follows.
    #[cfg(test)]
    pub(crate) fn newest() -> Self {
        Self { name: "Redis 8.6".to_owned(), level: 86, is_valkey: false }
    }

    /// Reads the reply to `INFO server`; `None` if it says no version.
    pub(crate) fn from_info(info: &str) -> Option<Self> {
        let line = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        let version = line("redis_version:")?;
        let mut parts = version.split('.').map(str::parse::<u32>);
        let level = parts.next()?.ok()? * 10 + parts.next()?.ok()?;
        Some(match line("valkey_version:") {
            Some(valkey) => Self { name: format!("Valkey {valkey}"), level: 72, is_valkey: true },
            None => Self { name: format!("Redis {version}"), level, is_valkey: false },
        })
    }

    /// Whether it is what Levada follows, or later.
    pub(crate) fn is_newest(&self) -> bool {
        self.level >= 86
    }

    /// XREADGROUP ... CLAIM
    pub(crate) fn has_claim(&self) -> bool {
        self.level >= 84
    }

    /// SET ... IFEQ
    pub(crate) fn has_compare(&self) -> bool {
        self.level >= 84
    }

    /// Every class of keyspace events.
    pub(crate) fn all_events(&self) -> &'static str {
        if self.level >= 82 { "KEAnocm" } else { "KEAnm" }
    }

    /// Whether all of a command is known to it.
    pub(crate) fn knows(&self, step: &Step) -> bool {
        if !self.is_newest() && lacks(step) {
            return false;
        }
        SINCE.iter().filter(|(since, _)| *since > self.level).all(|(_, missing)| {
            missing.iter().all(|missing| match missing.split_once(' ') {
                None => step.lower(0) != missing.as_bytes(),
                Some((name, word)) => step.lower(0) != name.as_bytes() || step.find(word).is_none(),
            })
        })
    }
}

/// Settings that came with idempotent producers; HELP, which is worded anew at times; and `~` of a
/// trim that looks at references, which 8.2 applies to whole nodes only.
fn lacks(step: &Step) -> bool {
    let has = |word| step.find(word).is_some();
    has("help") || has("stream-idmp-maxsize") || (has("~") && (has("acked") || has("delref")))
}

#[cfg(test)]
mod tests {
    use super::super::make::line;
    use super::*;

    #[test]
    fn a_peer_is_not_asked_for_what_came_later() {
        let check = |info: &str, words: &[&str], expect: bool| {
            let peer = Capability::from_info(info).expect("it says its version");
            let step = Step { client: 0, number: 0, words: line(words) };
            assert_eq!(peer.knows(&step), expect, "{info} {words:?}");
        };
        check("redis_version:7.0.15\r\n", &["XDELEX", "s", "IDS", "1", "1-1"], false);
        check("redis_version:8.2.3\r\n", &["XDELEX", "s", "IDS", "1", "1-1"], true);
        check("redis_version:8.2.3\r\n", &["SET", "k", "v", "ifeq", "w"], false);
        check("redis_version:8.6.3\r\n", &["SET", "k", "v", "ifeq", "w"], true);
        let valkey = "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        check(valkey, &["XADD", "s", "ACKED", "*", "f", "v"], false);
        check(valkey, &["XADD", "s", "*", "f", "v"], true);
    }
}
