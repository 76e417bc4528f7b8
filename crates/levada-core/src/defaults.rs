//! Policies of streams and groups that are still to come: what an operator has configured.
//!
//! They are looked at when a stream or a group comes into being, and what they say is logged with
//! it: a replay does not need them, and a change of them changes nothing that is there. The first
//! line whose pattern matches holds, alone.

use alloc::vec::Vec;

use crate::{
    glob,
    policy::{GroupPolicy, StreamPolicy},
};

/// All lines, in the order in which they were given.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Defaults {
    /// Of streams.
    pub streams: Vec<StreamDefault>,
    /// Of groups.
    pub groups: Vec<GroupDefault>,
}

/// None of them.
pub static NONE: Defaults = Defaults { streams: Vec::new(), groups: Vec::new() };

/// What streams of a name are to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamDefault {
    /// Redis' glob.
    pub pattern: Vec<u8>,
    /// The policy.
    pub policy: StreamPolicy,
    /// IDMP-DURATION in seconds, where it is not that of all new streams.
    pub idmp_duration_s: Option<u64>,
    /// IDMP-MAXSIZE, where it is not that of all new streams.
    pub idmp_iids_max: Option<u64>,
}

/// What groups of a name, in streams of a name, are to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDefault {
    /// Redis' glob for the stream.
    pub pattern: Vec<u8>,
    /// And for the group.
    pub group: Vec<u8>,
    /// The policy.
    pub policy: GroupPolicy,
}

impl Defaults {
    /// The line for a stream.
    pub fn stream(&self, key: &[u8]) -> Option<&StreamDefault> {
        self.streams.iter().find(|line| glob::matches(&line.pattern, key))
    }

    /// The policy of a group. A line whose dead letters would go to the stream itself is not one
    /// for that stream.
    pub fn group(&self, key: &[u8], group: &[u8]) -> Option<&GroupPolicy> {
        let fits = |line: &&GroupDefault| {
            glob::matches(&line.pattern, key)
                && glob::matches(&line.group, group)
                && *line.policy.dlq != *key
        };
        self.groups.iter().find(fits).map(|line| &line.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_matches_holds_alone() {
        let stream = |pattern: &[u8], max_len| StreamDefault {
            pattern: pattern.into(),
            policy: StreamPolicy { max_len, ..StreamPolicy::default() },
            idmp_duration_s: None,
            idmp_iids_max: None,
        };
        let group = |pattern: &[u8], group: &[u8], dlq: &[u8]| GroupDefault {
            pattern: pattern.into(),
            group: group.into(),
            policy: GroupPolicy { dlq: dlq.into(), ..GroupPolicy::default() },
        };
        let defaults = Defaults {
            streams: Vec::from([stream(b"a*", 1), stream(b"ab*", 2), stream(b"*", 3)]),
            groups: Vec::from([group(b"*", b"g?", b"dead"), group(b"*", b"*", b"other")]),
        };
        let max_len = |key: &[u8]| defaults.stream(key).map(|line| line.policy.max_len);
        assert_eq!([b"abc", b"xab"].map(|key| max_len(key)), [Some(1), Some(3)]);
        let dlq = |key: &[u8], name: &[u8]| defaults.group(key, name).map(|it| it.dlq.to_vec());
        assert_eq!(dlq(b"s", b"g1"), Some(b"dead".to_vec()));
        assert_eq!(dlq(b"dead", b"g1"), Some(b"other".to_vec()));
        assert_eq!(dlq(b"other", b"h"), None);
        assert_eq!(NONE.stream(b"s"), None);
    }
}
