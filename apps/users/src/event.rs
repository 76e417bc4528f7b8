//! The two streams: what has happened to accounts, which is kept, and mails to be sent, which go.

use serde::{Deserialize, Serialize};

/// Something that happened to an account. The stream of these is the truth: nothing is trimmed from
/// it, every other form of the accounts can be made of it again, and it is the audit trail.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    /// The request that asked for it: who sends it again asks for nothing new.
    pub(crate) request: String,
    pub(crate) user: String,
    pub(crate) what: What,
}

/// What happened.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    Registered { name: String, mail: String },
    Renamed { name: String },
    Moved { town: String },
    Closed,
}

impl levada::Event for Change {
    const STREAM: &'static str = "accounts";

    fn key(&self) -> Option<&str> {
        Some(&self.user)
    }

    fn idempotency_key(&self) -> Option<String> {
        Some(self.request.clone())
    }
}

/// A mail to be sent. The stream of these is a queue of work: what is done is gone.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mail {
    /// The id of the entry that it is sent for: its Message-ID, and what makes it recognisable.
    pub(crate) cause: String,
    pub(crate) to: String,
    pub(crate) name: String,
}

impl levada::Event for Mail {
    const STREAM: &'static str = "mails";

    fn idempotency_key(&self) -> Option<String> {
        Some(self.cause.clone())
    }
}

/// The Message-ID of the mail that an entry is the cause of, without the angle brackets.
pub(crate) fn message_id(cause: &str) -> String {
    format!("{cause}@users.example")
}
