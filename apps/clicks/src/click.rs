//! The event: somebody followed a link.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use levada::Event;
use serde::{Deserialize, Serialize};

/// One click, or, where there were more than could be told apart, several of one link.
///
/// What is not known is left out, not sent as empty. The time is not in it: the stream's own
/// clock gives every entry one, so it does not matter what the clocks of web servers say.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(crate) struct Click {
    /// Unique: both groups count it once by this, however often it comes.
    pub(crate) id: String,
    /// Of the link.
    pub(crate) code: String,
    /// How many clicks it stands for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) weight: u32,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ip: Option<IpAddr>,
    /// What the program called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    /// The site on which the link stood; not the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) referer: Option<String>,
}

impl Event for Click {
    const STREAM: &'static str = "clicks";

    fn key(&self) -> Option<&str> {
        Some(&self.code)
    }
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_one(weight: &u32) -> bool {
    *weight == 1
}

/// Ids of clicks: unlike those of every other process and of every other run of this one.
#[derive(Debug)]
pub(crate) struct Ids {
    run: u64,
    next: AtomicU64,
}

impl Ids {
    /// Ids of this run of the process.
    pub(crate) fn new() -> Result<Self> {
        let mut bytes = [0; 8];
        let mut source = std::fs::File::open("/dev/urandom").context("/dev/urandom")?;
        std::io::Read::read_exact(&mut source, &mut bytes)?;
        Ok(Self { run: u64::from_ne_bytes(bytes), next: AtomicU64::new(0) })
    }

    /// One that was not there before.
    pub(crate) fn next(&self) -> String {
        format!("{:016x}-{:x}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let click = Click {
            id: "1".into(),
            code: "abc".into(),
            weight: 1,
            ip: None,
            agent: None,
            referer: None,
        };
        let text = serde_json::to_string(&click).unwrap();
        assert_eq!(text, r#"{"id":"1","code":"abc"}"#);
        assert_eq!(serde_json::from_str::<Click>(&text).unwrap(), click);
    }

    #[test]
    fn no_two_ids_are_equal() {
        let (one, other) = (Ids::new().unwrap(), Ids::new().unwrap());
        let all = [one.next(), one.next(), other.next(), other.next()];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), 4);
    }
}
