//! What the server is told when it starts.

use std::path::PathBuf;

/// Settings of [`run`](crate::run) that CONFIG SET can change later begin with these values.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Password of the user `default`; empty for none, and then only loopback may be served.
    pub requirepass: String,
    /// Connections at once, at least 1.
    pub clients_max: u64,
    /// Where the data lie, for CONFIG GET dir.
    pub directory: PathBuf,
    /// Where random numbers begin (RANDOMKEY, run id).
    pub seed: u64,
    /// Lines of a log for people: what went wrong.
    pub log: fn(&str),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            requirepass: String::new(),
            clients_max: 10_000,
            directory: PathBuf::new(),
            seed: 1,
            log: |line| eprintln!("{line}"),
        }
    }
}
