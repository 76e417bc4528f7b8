//! What the server's log can tell: events that an operator acts on, each by a name that stays, with
//! its level and the facts as fields.
//!
//! The server says what happened; when it was is added by whoever has the clock, and how a line
//! looks is decided where it is written. `docs/operate/logs.md` has a line for each event.

/// How much an event matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// Nothing to do.
    Info,
    /// Somebody is refused or cut off, and everybody else is served.
    Warning,
    /// Somebody has to act.
    Error,
}

impl LogLevel {
    /// As it stands in a line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Makes [`LogName`] of a table, so that no event is without a name and a level.
macro_rules! names {
    ($($(#[$about:meta])* $name:ident, $text:literal, $level:ident;)*) => {
        /// What happened. The name never changes its meaning.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum LogName { $($(#[$about])* $name),* }

        impl LogName {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As it stands in a line.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// How much it matters.
            pub fn level(self) -> LogLevel {
                match self { $(Self::$name => LogLevel::$level),* }
            }
        }
    };
}

names! {
    /// The process begins; what it is, and where its data lie.
    Starting, "starting", Info;
    /// Only in builds for benches: nothing is done.
    NullServer, "null_server", Warning;
    /// An address for clients is bound.
    Listening, "listening", Info;
    /// The port for HTTP is bound.
    HttpListening, "http_listening", Info;
    /// It has the dashboard.
    DashboardOn, "dashboard_on", Info;
    /// It does not, though it was to.
    DashboardOff, "dashboard_off", Warning;
    /// The limit of open files leaves room for fewer connections than `maxclients`.
    ConnectionsCapped, "connections_capped", Warning;
    /// All is recovered.
    Ready, "ready", Info;
    /// It was told to stop: the last checkpoint is written.
    Stopping, "stopping", Info;
    /// The end that was asked for; everything is on disk.
    Stopped, "stopped", Info;
    /// The end that nobody asked for, or no start.
    Failed, "failed", Error;
    /// The disk is full.
    DiskFull, "disk_full", Error;
    /// It no longer is.
    DiskHasSpace, "disk_has_space", Info;
    /// A block that is not whole.
    BlockDamaged, "block_damaged", Error;
    /// No more connections fit.
    ConnectionsRefused, "connections_refused", Warning;
    /// An address or a user has as many connections as it may have.
    ClientsCrowd, "clients_crowd", Warning;
    /// Another machine came, and there is no password.
    PeersRefused, "peers_refused", Warning;
    /// The system has no room for more connections.
    AcceptingPaused, "accepting_paused", Warning;
    /// It has again.
    AcceptingResumed, "accepting_resumed", Info;
    /// A connection that was accepted and could not be served.
    ConnectionFailed, "connection_failed", Warning;
    /// A client does not read what it asked for, or what it listens to.
    ClientBeyondLimit, "client_beyond_limit", Warning;
    /// Clients take too much memory together.
    ClientEvicted, "client_evicted", Warning;
    /// Wrong passwords or unknown users.
    LoginsFailed, "logins_failed", Warning;
    /// Connections that did not come to agree on keys.
    HandshakesFailed, "handshakes_failed", Warning;
    /// Certificates and keys were read again.
    TlsReloaded, "tls_reloaded", Info;
    /// They could not be.
    TlsNotReloaded, "tls_not_reloaded", Error;
    /// ACL SAVE failed.
    AclNotSaved, "acl_not_saved", Error;
    /// Entries went that a group had not read.
    UnreadReleased, "unread_released", Warning;
    /// A group was to begin at entries that are gone.
    BeginsBehindRemoved, "begins_behind_removed", Warning;
    /// Only in builds for tests: DEBUG LOG.
    DebugMessage, "debug_message", Info;
}

/// What a field tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogValue {
    /// A count or a size.
    Number(u64),
    /// A name or an address, as text that cannot steer a terminal.
    Text(String),
}

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEvent {
    /// What happened.
    pub name: LogName,
    /// The same for people, with what to do about it where that is not plain.
    pub message: String,
    /// The facts for programs.
    pub fields: Vec<(&'static str, LogValue)>,
}

impl LogEvent {
    /// One without facts.
    pub fn new(name: LogName, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), fields: Vec::new() }
    }

    /// TLS goes on as it was.
    pub(crate) fn tls_not_reloaded(why: &str) -> Self {
        let message = format!("The certificates stay as they are: {why}");
        Self::new(LogName::TlsNotReloaded, message).text("error", &why)
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, field: &'static str, value: u64) -> Self {
        self.fields.push((field, LogValue::Number(value)));
        self
    }

    /// Adds text.
    #[must_use]
    pub fn text(mut self, field: &'static str, value: &(impl ToString + ?Sized)) -> Self {
        self.fields.push((field, LogValue::Text(value.to_string())));
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_words_and_no_two_are_the_same() {
        let names: BTreeSet<_> = LogName::ALL.iter().map(|name| name.text()).collect();
        assert_eq!(names.len(), LogName::ALL.len());
        let is_word = |name: &str| name.bytes().all(|it| it == b'_' || it.is_ascii_lowercase());
        assert!(names.into_iter().all(is_word));
    }

    #[test]
    fn facts_stand_in_the_order_in_which_they_were_added() {
        let event = LogEvent::new(LogName::Ready, "so").number("b", 1).text("a", "x");
        let expect = [("b", LogValue::Number(1)), ("a", LogValue::Text("x".to_owned()))];
        assert_eq!(event.fields, expect);
    }
}
