//! Policies of a stream and its groups, as XCFGGET and XGROUP CFGGET tell them and XCFGSET and
//! XGROUP CFGSET take them: an option by its name, whatever it is, so that this file need not know
//! them all.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use levada_core::policy::dead_letters_default;
use redis::{Pipeline, Value};

use super::compare::Differences;
use super::peer::{Peer, readable};
use super::reply::{self, Pairs};
use super::source::Group;

/// Words that mean that an option is not set.
const UNSET: [&[u8]; 6] = [b"", b"0", b"KEEP", b"REJECT", b"ALWAYS", b"YES"];
/// Options of Redis: not counted as policies.
const OF_REDIS: &str = "IDMP-";
/// Lets a stream under way keep everything, whatever the target's settings say of new streams.
const KEEP_ALL: [&str; 10] =
    ["RETENTION", "KEEP", "RETAIN-ACKED", "0", "MAX-AGE", "0", "MAX-LEN", "0", "MAX-BYTES", "0"];

/// Options by their names, each with the words behind it.
type Options = BTreeMap<String, Vec<Vec<u8>>>;

/// What the server does with a stream and its groups by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Policies {
    stream: Options,
    groups: BTreeMap<Vec<u8>, Options>,
}

impl Policies {
    /// Asks a server; `None` where it has no policies.
    pub(crate) fn read(peer: &mut Peer, key: &[u8], groups: &[Group]) -> Result<Option<Self>> {
        if !peer.policies {
            return Ok(None);
        }
        let mut commands = redis::pipe();
        commands.cmd("XCFGGET").arg(key);
        for group in groups {
            commands.cmd("XGROUP").arg("CFGGET").arg(key).arg(&group.name);
        }
        let mut replies = peer.ask_all(&commands)?.into_iter();
        let stream = options(replies.next().context("XCFGGET does not answer")?)?;
        let mut policies = Self { stream, groups: BTreeMap::new() };
        for (group, reply) in groups.iter().zip(replies) {
            let mut options = options(reply)?;
            // The default is told by its name; set, it would be more than a default.
            let default = dead_letters_default(key, &group.name);
            if let Some(dlq) = options.get_mut("DLQ")
                && *dlq == [default]
            {
                *dlq = vec![Vec::new()];
            }
            policies.groups.insert(group.name.clone(), options);
        }
        Ok(Some(policies))
    }

    /// How many of the stream and its groups have one.
    pub(crate) fn count(&self) -> u64 {
        let all = std::iter::once(&self.stream).chain(self.groups.values());
        all.filter(|options| options.iter().any(is_set)).count() as u64
    }

    /// Whether idempotent ids are kept as hashes, which no payload has.
    pub(crate) fn has_dedup(&self) -> bool {
        self.stream.iter().any(|option| option.0.starts_with("DEDUP-") && is_set(option))
    }

    /// Whether a group goes by a key: what it has passed over is no part of a payload.
    pub(crate) fn has_order(&self) -> bool {
        let goes_by_key = |options: &Options| options.get_key_value("ORDER-BY").is_some_and(is_set);
        self.groups.values().any(goes_by_key)
    }

    /// Adds commands that set them.
    pub(crate) fn set(&self, key: &[u8], commands: &mut Pipeline) {
        put(&self.stream, commands.cmd("XCFGSET").arg(key));
        for (name, options) in &self.groups {
            put(options, commands.cmd("XGROUP").arg("CFGSET").arg(key).arg(name));
        }
    }

    /// Compares those of the source with those of the target.
    pub(crate) fn compare(&self, target: &Self, differences: &mut Differences) {
        let mut check = |place: &str, there: &Options, here: Option<&Options>| {
            for (name, words) in there {
                let here = here.and_then(|here| here.get(name));
                if here != Some(words) {
                    let shown = |words: &[Vec<u8>]| readable(&words.join(&b' '));
                    differences.add("policies", || {
                        let here = here.map_or_else(|| "nothing".to_owned(), |here| shown(here));
                        format!(
                            "{place}: {name} {} in the source, {here} in the target",
                            shown(words)
                        )
                    });
                }
            }
        };
        check("stream", &self.stream, Some(&target.stream));
        for (name, there) in &self.groups {
            check(&readable(name), there, target.groups.get(name));
        }
    }
}

/// Adds a command that lets a stream keep everything for now.
pub(crate) fn keep_all(key: &[u8], commands: &mut Pipeline) {
    commands.cmd("XCFGSET").arg(key).arg(&KEEP_ALL[..]);
}

fn is_set((name, words): (&String, &Vec<Vec<u8>>)) -> bool {
    let is_unset = |word: &Vec<u8>| UNSET.contains(&word.as_slice());
    !name.starts_with(OF_REDIS) && !words.iter().all(is_unset)
}

fn put(options: &Options, command: &mut Pipeline) {
    for (name, words) in options {
        command.arg(name).arg(words);
    }
}

/// Names in capitals, and the words that set the values.
fn options(reply: Value) -> Result<Options> {
    let word = |value: Value| match value {
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        other => reply::bytes(other),
    };
    let pairs = Pairs::new(reply)?.all();
    pairs
        .into_iter()
        .map(|(name, value)| {
            let words = match value {
                Value::Array(values) => {
                    let count = values.len().to_string().into_bytes();
                    let values = values.into_iter().map(word).collect::<Result<Vec<_>>>()?;
                    [vec![count], values].concat()
                }
                value => vec![word(value)?],
            };
            Ok((String::from_utf8_lossy(&name).to_ascii_uppercase(), words))
        })
        .collect()
}
