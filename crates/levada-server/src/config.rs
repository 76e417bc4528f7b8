//! Settings that CONFIG GET and SET know: an allow-list.
//!
//! Names, words and bounds are Redis', because tools set and read them. Some only describe what
//! Levada does anyway (`appendonly`): setting those is accepted, as the tools expect, and changes
//! nothing. What could move files is read-only.

use levada_core::glob;
use levada_core::idempotence::IdmpLimits;
use levada_core::stream::NodeLimits;

use crate::client_limits::OutputLimits;
use crate::engine::Events;
use crate::number::{parse_bytes, parse_i64};
use crate::wire_error::WireError;

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Flag,
    Integer { min: i64, max: i64 },
    Bytes { min: u64, max: u64 },
    Word(&'static [&'static str]),
    Events,
    OutputLimits,
    Text,
}

/// Whether CONFIG SET may change a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Free,
    Immutable,
    Protected,
}

/// A setting.
#[derive(Clone, Copy, Debug)]
struct Parameter {
    name: &'static str,
    kind: Kind,
    access: Access,
    default: &'static str,
}

const fn parameter(
    name: &'static str,
    kind: Kind,
    access: Access,
    default: &'static str,
) -> Parameter {
    Parameter { name, kind, access, default }
}

const SLOWER_THAN: Kind = Kind::Integer { min: -1, max: i64::MAX };
const COUNT: Kind = Kind::Integer { min: 0, max: i64::MAX };
const CLIENTS: Kind = Kind::Integer { min: 0, max: 4_294_967_295 };
const BYTES: Kind = Kind::Bytes { min: 0, max: i64::MAX as u64 };
const SCRUB: Kind = Kind::Bytes { min: 0, max: 1 << 30 };
const CHANNELS: &[&str] = &["allchannels", "resetchannels"];
const AUTH_CLIENTS: &[&str] = &["no", "yes", "optional"];
const AUTH_CLIENTS_USER: &[&str] = &["CN", "off"];
const OUTPUT_LIMITS: &str = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "volatile-lrm",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "allkeys-lrm",
    "noeviction",
];

#[rustfmt::skip]
const PARAMETERS: &[Parameter] = &[
    parameter("acl-pubsub-default", Kind::Word(CHANNELS), Access::Free, "resetchannels"),
    parameter("aclfile", Kind::Text, Access::Immutable, ""),
    parameter("acllog-max-len", COUNT, Access::Free, "128"),
    parameter("aof-use-rdb-preamble", Kind::Flag, Access::Free, "yes"),
    parameter("appendfsync", Kind::Word(&["everysec", "always", "no"]), Access::Free, "always"),
    parameter("appendonly", Kind::Flag, Access::Free, "yes"),
    parameter("bind", Kind::Text, Access::Immutable, ""),
    parameter("client-output-buffer-limit", Kind::OutputLimits, Access::Free, OUTPUT_LIMITS),
    parameter("databases", Kind::Integer { min: 1, max: 16 }, Access::Immutable, "16"),
    parameter("dbfilename", Kind::Text, Access::Protected, ""),
    parameter("dedup-bytes-max", BYTES, Access::Free, "536870912"),
    parameter("delivery-sync", Kind::Word(&["relaxed", "strict"]), Access::Free, "relaxed"),
    parameter("dir", Kind::Text, Access::Protected, ""),
    parameter("group-policy", Kind::Text, Access::Immutable, ""),
    parameter("headroom-bytes", BYTES, Access::Immutable, "33554432"),
    parameter("log-format", Kind::Word(&["text", "json"]), Access::Immutable, "text"),
    parameter("maxclients", Kind::Integer { min: 1, max: 4_294_967_295 }, Access::Free, "10000"),
    parameter("maxclients-per-address", CLIENTS, Access::Free, "0"),
    parameter("maxclients-per-user", CLIENTS, Access::Free, "0"),
    parameter("maxmemory", BYTES, Access::Free, "0"),
    parameter("maxmemory-clients", BYTES, Access::Free, "1073741824"),
    parameter("maxmemory-policy", Kind::Word(POLICIES), Access::Free, "noeviction"),
    parameter("notify-keyspace-events", Kind::Events, Access::Free, ""),
    parameter("order-window", Kind::Integer { min: 0, max: 1_000_000 }, Access::Free, "10000"),
    parameter("port", Kind::Integer { min: 0, max: 65_535 }, Access::Immutable, "6379"),
    parameter("protected-mode", Kind::Flag, Access::Free, "yes"),
    parameter("proto-max-bulk-len", BYTES, Access::Immutable, "16777216"),
    parameter("requirepass", Kind::Text, Access::Free, ""),
    parameter("reserve-bytes", BYTES, Access::Immutable, "33554432"),
    parameter("save", Kind::Text, Access::Free, ""),
    parameter("scrub-bytes-per-second", SCRUB, Access::Free, "1048576"),
    parameter("slowlog-log-slower-than", SLOWER_THAN, Access::Free, "-1"),
    parameter("slowlog-max-len", COUNT, Access::Free, "128"),
    parameter("stream-idmp-duration", Kind::Integer { min: 1, max: 86_400 }, Access::Free, "100"),
    parameter("stream-idmp-maxsize", Kind::Integer { min: 1, max: 10_000 }, Access::Free, "100"),
    parameter("stream-node-max-bytes", BYTES, Access::Free, "4096"),
    parameter("stream-node-max-entries", COUNT, Access::Free, "100"),
    parameter("stream-policy", Kind::Text, Access::Immutable, ""),
    parameter("string-durability", Kind::Word(&["always", "interval"]), Access::Free, "always"),
    parameter("sync-interval", Kind::Integer { min: 1, max: 3_600_000 }, Access::Free, "1000"),
    parameter("timeout", Kind::Integer { min: 0, max: 2_147_483_647 }, Access::Free, "0"),
    parameter("tls-auth-clients", Kind::Word(AUTH_CLIENTS), Access::Free, "yes"),
    parameter("tls-auth-clients-user", Kind::Word(AUTH_CLIENTS_USER), Access::Free, "off"),
    parameter("tls-ca-cert-file", Kind::Text, Access::Free, ""),
    parameter("tls-cert-file", Kind::Text, Access::Free, ""),
    parameter("tls-key-file", Kind::Text, Access::Free, ""),
    parameter("tls-port", Kind::Integer { min: 0, max: 65_535 }, Access::Immutable, "0"),
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Config {
    /// Beside [`PARAMETERS`].
    values: Vec<String>,
}

impl Config {
    /// The defaults.
    pub(crate) fn new() -> Self {
        Self { values: PARAMETERS.iter().map(|parameter| parameter.default.to_owned()).collect() }
    }

    /// A value by a name that is in the table.
    pub(crate) fn get(&self, name: &str) -> &str {
        &self.values[place(name.as_bytes()).expect("the name is in the table")]
    }

    /// A number by a name that is in the table.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// When a logical node of a stream is full.
    pub(crate) fn node_limits(&self) -> NodeLimits {
        NodeLimits {
            entries: self.number("stream-node-max-entries"),
            bytes: self.number("stream-node-max-bytes"),
        }
    }

    /// How new streams track idempotent ids.
    pub(crate) fn idmp_limits(&self) -> IdmpLimits {
        IdmpLimits {
            duration_s: self.number("stream-idmp-duration"),
            iids_max: self.number("stream-idmp-maxsize"),
        }
    }

    /// Sets a value that the server itself knows, whatever its access.
    pub(crate) fn put(&mut self, name: &str, value: String) {
        self.values[place(name.as_bytes()).expect("the name is in the table")] = value;
    }

    /// Names and values of the settings that one of the patterns matches. A pattern without a
    /// wildcard is answered as it was spelled.
    pub(crate) fn matching<'a>(&'a self, patterns: &[&'a [u8]]) -> Vec<(&'a [u8], &'a str)> {
        let mut found = Vec::new();
        let mut taken = vec![false; PARAMETERS.len()];
        for pattern in patterns {
            let lower = pattern.to_ascii_lowercase();
            let is_name = !lower.iter().any(|byte| b"*?[".contains(byte));
            for (at, parameter) in PARAMETERS.iter().enumerate() {
                if !taken[at] && glob::matches(&lower, parameter.name.as_bytes()) {
                    taken[at] = true;
                    let name = if is_name { pattern } else { parameter.name.as_bytes() };
                    found.push((name, self.values[at].as_str()));
                }
            }
        }
        found
    }

    /// CONFIG SET: all of `pairs` or none. The names that were set.
    pub(crate) fn set(&mut self, pairs: &[&[u8]]) -> Result<Vec<&'static str>, WireError> {
        let mut places = Vec::new();
        for pair in pairs.chunks(2) {
            places.push(place(pair[0]).ok_or_else(|| WireError::unknown_setting(pair[0]))?);
        }
        let refused = |at: usize, why: &str| WireError::setting(PARAMETERS[at].name, why);
        // Redis looks at all names before it looks at a value.
        for (index, (at, pair)) in places.iter().zip(pairs.chunks(2)).enumerate() {
            let why = match PARAMETERS[*at].access {
                Access::Immutable => "can't set immutable config",
                Access::Protected => "can't set protected config",
                Access::Free if places[..index].contains(at) => "duplicate parameter",
                Access::Free => continue,
            };
            // As it was spelled; what is wrong with a value is told with the name of the table.
            return Err(WireError::setting(&String::from_utf8_lossy(pair[0]), why));
        }
        let mut accepted: Vec<(usize, String)> = Vec::new();
        for (at, pair) in places.into_iter().zip(pairs.chunks(2)) {
            let text = pair.get(1).copied().unwrap_or_default();
            let value = PARAMETERS[at].kind.parse(text, &self.values[at]);
            accepted.push((at, value.map_err(|why| refused(at, &why))?));
        }
        let names = accepted.iter().map(|(at, _)| PARAMETERS[*at].name).collect();
        for (at, value) in accepted {
            self.values[at] = value;
        }
        Ok(names)
    }
}

impl Kind {
    /// The value as CONFIG GET will show it, or what is wrong with it. `before` is the one in
    /// force.
    fn parse(self, text: &[u8], before: &str) -> Result<String, String> {
        let word = String::from_utf8_lossy(text).to_ascii_lowercase();
        match self {
            Self::Flag if word == "yes" || word == "no" => Ok(word),
            Self::Flag => Err("argument must be 'yes' or 'no'".to_owned()),
            Self::Integer { min, max } => match parse_i64(text) {
                None => Err("argument couldn't be parsed into an integer".to_owned()),
                Some(value) if value < min || value > max => {
                    Err(format!("argument must be between {min} and {max} inclusive"))
                }
                Some(value) => Ok(value.to_string()),
            },
            Self::Bytes { min, max } => match parse_bytes(text) {
                None => Err("argument must be a memory value".to_owned()),
                Some(value) if value < min || value > max => {
                    Err(format!("argument must be between {min} and {max} inclusive"))
                }
                Some(value) => Ok(value.to_string()),
            },
            Self::Word(words) => match words.iter().find(|known| known.eq_ignore_ascii_case(&word))
            {
                Some(known) => Ok((*known).to_owned()),
                None => {
                    Err(format!("argument(s) must be one of the following: {}", words.join(", ")))
                }
            },
            Self::Events => match Events::parse(text) {
                Some(events) => Ok(events.to_string()),
                None => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
            },
            Self::OutputLimits => {
                let before = OutputLimits::default().changed(before).unwrap_or_default();
                Ok(before.changed(&word)?.to_string())
            }
            Self::Text => Ok(String::from_utf8_lossy(text).into_owned()),
        }
    }
}

fn place(name: &[u8]) -> Option<usize> {
    PARAMETERS.iter().position(|parameter| parameter.name.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_refused_in_the_words_of_redis() {
        let check = |pairs: &[&str], expect: &str| {
            let pairs: Vec<_> = pairs.iter().map(|text| text.as_bytes()).collect();
            let error = Config::new().set(&pairs).expect_err("must be refused");
            assert_eq!(String::from_utf8_lossy(&error.text()), expect);
        };
        check(&["a", "b"], "ERR Unknown option or number of arguments for CONFIG SET - 'a'");
        check(
            &["maxmemory", "x"],
            "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be \
             a memory value",
        );
        check(
            &["dir", "/tmp"],
            "ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected \
             config",
        );
        check(
            &["stream-node-max-entries", "x"],
            "ERR CONFIG SET failed (possibly related to argument 'stream-node-max-entries') - \
             argument couldn't be parsed into an integer",
        );
        check(
            &["timeout", "1", "TIMEOUT", "2"],
            "ERR CONFIG SET failed (possibly related to argument 'TIMEOUT') - duplicate parameter",
        );
        check(
            &["appendfsync", "foo"],
            "ERR CONFIG SET failed (possibly related to argument 'appendfsync') - argument(s) \
             must be one of the following: everysec, always, no",
        );
    }

    #[test]
    fn all_or_nothing_is_set() {
        let mut config = Config::new();
        config.set(&[b"timeout", b"5", b"foo", b"1"]).expect_err("foo is unknown");
        assert_eq!(config.number("timeout"), 0);
        let names = config.set(&[b"Timeout", b"5", b"maxmemory", b"1mb"]).expect("both are known");
        assert_eq!(names, ["timeout", "maxmemory"]);
        assert_eq!((config.number("timeout"), config.number("maxmemory")), (5, 1 << 20));
    }

    #[test]
    fn patterns_find_settings_once() {
        let config = Config::new();
        let found = config.matching(&[b"maxmem*", b"MAXMEMORY", b"DATABASES"]);
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        let expect = [&b"maxmemory"[..], b"maxmemory-clients", b"maxmemory-policy", b"DATABASES"];
        assert_eq!(names, expect);
    }
}
