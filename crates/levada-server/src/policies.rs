//! `stream-policy PATTERN OPTION ...` and `group-policy PATTERN GROUP OPTION ...`: policies that
//! streams and groups have from their beginning.
//!
//! A line has the words of XCFGSET or XGROUP CFGSET behind its patterns, with white space between
//! them; a pattern stands `?` for white space of its own. The first line that matches holds, so a
//! line whose patterns were given before is refused, like one with options that nobody knows or
//! that contradict each other.

use std::sync::Arc;

use levada_core::command::{Key, Xcfgset};
use levada_core::dedup::DedupLimits;
use levada_core::defaults::{Defaults, GroupDefault, StreamDefault};
use levada_core::policy::{GroupPolicy, StreamPolicy};

use crate::command::{group_options, stream_options};
use crate::wire_error::WireError;

/// All lines, read and as they were written.
#[derive(Clone, Default, Debug)]
pub struct Policies {
    defaults: Arc<Defaults>,
    streams: Vec<String>,
    groups: Vec<String>,
}

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// `stream-policy` or `group-policy`.
    pub setting: &'static str,
    /// Which of these lines, from 0.
    pub index: usize,
    /// A sentence.
    pub why: String,
}

impl Policies {
    /// Reads the lines, each without its first word. `dedup_bytes_max` is the memory for idempotent
    /// ids, into which those of one stream must fit.
    pub fn parse(
        streams: &[String],
        groups: &[String],
        dedup_bytes_max: u64,
    ) -> Result<Self, Fault> {
        let mut defaults = Defaults::default();
        for (index, line) in streams.iter().enumerate() {
            let fault = |why: String| Fault { setting: "stream-policy", index, why };
            let new = stream_line(line, dedup_bytes_max).map_err(fault)?;
            let again = |old: &StreamDefault| old.pattern == new.pattern;
            if defaults.streams.iter().any(again) {
                return Err(fault(twice(&new.pattern)));
            }
            defaults.streams.push(new);
        }
        for (index, line) in groups.iter().enumerate() {
            let fault = |why: String| Fault { setting: "group-policy", index, why };
            let new = group_line(line).map_err(fault)?;
            let again =
                |old: &GroupDefault| (&old.pattern, &old.group) == (&new.pattern, &new.group);
            if defaults.groups.iter().any(again) {
                return Err(fault(twice(&[&new.pattern, &b" "[..], &new.group].concat())));
            }
            defaults.groups.push(new);
        }
        let (streams, groups) = (streams.to_vec(), groups.to_vec());
        Ok(Self { defaults: Arc::new(defaults), streams, groups })
    }

    /// What new streams and groups are to be.
    pub(crate) fn defaults(&self) -> Arc<Defaults> {
        Arc::clone(&self.defaults)
    }

    /// Lines about streams, as they were written.
    pub fn streams(&self) -> &[String] {
        &self.streams
    }

    /// Lines about groups, as they were written.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}

fn stream_line(line: &str, dedup_bytes_max: u64) -> Result<StreamDefault, String> {
    let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
    let [pattern, options @ ..] = words.as_slice() else {
        return Err("a pattern and options are missing".to_owned());
    };
    let key = Key { database: 0, name: b"" };
    let mut asked =
        Xcfgset { key, idmp_duration_s: None, idmp_iids_max: None, options: Vec::new() };
    stream_options(options, &mut asked).map_err(|error| said(options, &error))?;
    let mut policy = StreamPolicy::default();
    asked.options.iter().for_each(|option| option.set(&mut policy));
    let core = |error| said(options, &WireError::Core(error, "xcfgset"));
    policy.check().map_err(core)?;
    if let Some(bytes) = DedupLimits::of(&policy).map(|limits| limits.bytes())
        && bytes > dedup_bytes_max
    {
        return Err(format!(
            "DEDUP-MAX may take {bytes} bytes of a stream, and dedup-bytes-max is {dedup_bytes_max}"
        ));
    }
    let Xcfgset { idmp_duration_s, idmp_iids_max, .. } = asked;
    Ok(StreamDefault { pattern: pattern.to_vec(), policy, idmp_duration_s, idmp_iids_max })
}

fn group_line(line: &str) -> Result<GroupDefault, String> {
    let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
    let [pattern, group, options @ ..] = words.as_slice() else {
        return Err("a pattern, a group and options are missing".to_owned());
    };
    let asked = group_options(options).map_err(|error| said(options, &error))?;
    if asked.is_empty() {
        return Err("options are missing".to_owned());
    }
    let mut policy = GroupPolicy::default();
    asked.iter().for_each(|option| option.set(&mut policy));
    policy.check().map_err(|error| said(options, &WireError::Core(error, "xgroup|cfgset")))?;
    Ok(GroupDefault { pattern: pattern.to_vec(), group: group.to_vec(), policy })
}

fn twice(patterns: &[u8]) -> String {
    format!(
        "{} was given before, and the first line that matches holds: this one would never do",
        patterns.escape_ascii()
    )
}

/// What a client would be told of these options, without the code.
fn said(options: &[&[u8]], error: &WireError) -> String {
    let text = error.text();
    let text = String::from_utf8_lossy(text.strip_prefix(b"ERR ").unwrap_or(&text)).into_owned();
    format!("{text}: {}", options.join(&b' ').escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(streams: &[&str], groups: &[&str]) -> Result<Policies, Fault> {
        let owned =
            |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        Policies::parse(&owned(streams), &owned(groups), 48_000_000)
    }

    #[test]
    fn lines_are_read() {
        let policies = parse(
            &["orders:*  retention acked MAX-LEN 7", "* IDMP-DURATION 5 DEDUP-WINDOW 1000"],
            &["* audit RETAIN NO", "orders:* * ACK-WAIT 30000 BACKOFF 2 1 2 DLQ dead"],
        );
        let policies = policies.expect("all are right").defaults();
        let max_len = |key: &[u8]| policies.stream(key).map(|line| line.policy.max_len);
        assert_eq!([b"orders:1".as_slice(), b"x"].map(max_len), [Some(7), Some(0)]);
        assert_eq!(policies.stream(b"x").and_then(|line| line.idmp_duration_s), Some(5));
        let group = |key: &[u8], group: &[u8]| policies.group(key, group).cloned();
        assert!(group(b"orders:1", b"audit").is_some_and(|policy| policy.retain_no));
        assert_eq!(group(b"orders:1", b"g").map(|policy| policy.ack_wait_ms), Some(30_000));
        assert_eq!(group(b"other", b"g"), None);
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        let check = |streams: &[&str], groups: &[&str], index: usize, expect: &str| {
            let fault = parse(streams, groups).expect_err("wrong");
            assert!(fault.why.contains(expect), "{}", fault.why);
            assert_eq!(fault.index, index);
        };
        check(&["* MAX-LEN 5", "a* MAX-LENGTH 5"], &[], 1, "syntax error: MAX-LENGTH 5");
        check(&[""], &[], 0, "are missing");
        check(&["*"], &[], 0, "At least one parameter");
        check(&["* RETAIN-ACKED 5"], &[], 0, "RETAIN-ACKED is for RETENTION ACKED");
        check(&["* DEDUP-MAX 1000001"], &[], 0, "48000048 bytes");
        check(&["* MAX-LEN 1", "b MAX-LEN 2", "* MAX-LEN 3"], &[], 2, "* was given before");
        check(&[], &["* g"], 0, "options are missing");
        check(&[], &["*"], 0, "are missing");
        check(&[], &["* g ACK-WAIT 9999999999999"], 0, "100 years");
        check(&[], &["* g RETAIN NO", "* g RETAIN YES"], 1, "* g was given before");
    }
}
