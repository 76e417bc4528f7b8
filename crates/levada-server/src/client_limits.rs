//! How much clients may make the server keep: for replies of one, and for all of them together.
//!
//! Names, classes and words are those of Redis' `client-output-buffer-limit`. The class `normal`
//! has no bound there by default and needs none here, as commands of a client wait while its
//! replies do; who listens or looks on is let go. Replicas there are none: their class is kept.

use std::fmt;

use crate::config::Config;
use crate::number::parse_bytes;
use crate::out::QUEUED_BYTES_MAX;
use crate::session::Session;

/// Bounds of one class; 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct OutputLimit {
    /// Bytes at which a client is let go at once.
    pub(crate) hard: u64,
    /// Bytes that it may be above for some seconds only.
    pub(crate) soft: u64,
    pub(crate) soft_s: u64,
}

/// Bounds of all classes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct OutputLimits {
    normal: OutputLimit,
    replica: OutputLimit,
    pubsub: OutputLimit,
}

/// What CONFIG SET says of clients, read.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ClientLimits {
    /// Bytes that the buffers of all clients may take together; 0 for no bound.
    pub(crate) clients_bytes_max: u64,
    pub(crate) output: OutputLimits,
    /// Connections that an address may have, and that may be logged in as one user; 0 for no bound.
    pub(crate) per_address_max: u64,
    pub(crate) per_user_max: u64,
}

impl ClientLimits {
    /// From the settings in force.
    pub(crate) fn of(config: &Config) -> Self {
        let none = OutputLimits::default();
        let output = none.changed(config.get("client-output-buffer-limit"));
        Self {
            clients_bytes_max: config.number("maxmemory-clients"),
            output: output.unwrap_or(none),
            per_address_max: config.number("maxclients-per-address"),
            per_user_max: config.number("maxclients-per-user"),
        }
    }
}

impl OutputLimits {
    /// With the classes that `text` names, each with three numbers. An error says what is wrong in
    /// the words of Redis.
    pub(crate) fn changed(mut self, text: &str) -> Result<Self, &'static str> {
        let words: Vec<_> = text.split_whitespace().collect();
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.");
        }
        for words in words.chunks_exact(4) {
            let class = match words[0].to_ascii_lowercase().as_str() {
                "normal" => &mut self.normal,
                "slave" | "replica" => &mut self.replica,
                "pubsub" => &mut self.pubsub,
                _ => return Err("Invalid client class specified in buffer limit configuration."),
            };
            let limit = (parse_bytes(words[1].as_bytes()), parse_bytes(words[2].as_bytes()));
            let (Some(hard), Some(soft), Ok(soft_s)) = (limit.0, limit.1, words[3].parse()) else {
                let what = "Error in hard, soft or soft_seconds setting in buffer limit \
                            configuration.";
                return Err(what);
            };
            *class = OutputLimit { hard, soft, soft_s };
        }
        Ok(self)
    }

    /// That of a client. Who listens or looks on always has one, as nothing makes it wait.
    pub(crate) fn of(&self, session: &Session) -> OutputLimit {
        if !session.subscriptions.any() && !session.monitors {
            return self.normal;
        }
        let hard = if self.pubsub.hard == 0 { QUEUED_BYTES_MAX as u64 } else { self.pubsub.hard };
        OutputLimit { hard, ..self.pubsub }
    }
}

impl OutputLimit {
    /// Whether so many bytes are too many at once.
    pub(crate) fn is_beyond(self, bytes: usize) -> bool {
        self.hard > 0 && bytes as u64 > self.hard
    }

    /// Whether so many bytes are too many for long.
    pub(crate) fn is_beyond_soft(self, bytes: usize) -> bool {
        self.soft > 0 && bytes as u64 > self.soft
    }
}

impl fmt::Display for OutputLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes =
            [(" normal", self.normal), (" slave", self.replica), (" pubsub", self.pubsub)];
        for (at, (name, OutputLimit { hard, soft, soft_s })) in classes.into_iter().enumerate() {
            let name = if at == 0 { name.trim_start() } else { name };
            write!(f, "{name} {hard} {soft} {soft_s}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_read_and_shown_as_redis_does() {
        let check = |text: &str, expect: Result<&str, &str>| {
            let shown = OutputLimits::default().changed(text).map(|limits| limits.to_string());
            assert_eq!(shown.as_deref(), expect.as_ref().map(|text| *text), "{text}");
        };
        check("", Ok("normal 0 0 0 slave 0 0 0 pubsub 0 0 0"));
        check("PUBSUB 1mb 2k 3", Ok("normal 0 0 0 slave 0 0 0 pubsub 1048576 2000 3"));
        check(
            "normal 1 2 3 replica 4 5 6 normal 7 8 9",
            Ok("normal 7 8 9 slave 4 5 6 pubsub 0 0 0"),
        );
        check("normal 1 2", Err("Wrong number of arguments in buffer limit configuration."));
        let class = "Invalid client class specified in buffer limit configuration.";
        check("foo 1 2 3", Err(class));
        let number = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        check("normal 1 x 3", Err(number));
        check("normal 1 2 -3", Err(number));
    }
}
