//! What a user writes a type for, and how it stands in an entry.
//!
//! An entry of an event has the fields `data` (JSON), `v` (the version, absent means 1), `key`,
//! `id` (the idempotency key), `traceparent`, and one field `h:NAME` for each header. Any client
//! can write one: `XADD orders * data '{"total":12}'`.

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};
use crate::message::Fields;

/// The payload, JSON.
pub const DATA: &str = "data";
/// The version of the payload.
pub const VERSION: &str = "v";
/// What the event is about: [`Event::key`].
pub const KEY: &str = "key";
/// What makes a repetition recognisable: [`Event::idempotency_key`].
pub const ID: &str = "id";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Before the name of a header.
pub const HEADER: &str = "h:";

/// Something that happened, and the stream that it stands in.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Paid { order: String, cents: u64 }
///
/// impl levada::Event for Paid {
///     const STREAM: &'static str = "payments";
///     fn key(&self) -> Option<&str> { Some(&self.order) }
/// }
/// ```
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stream.
    const STREAM: &'static str;
    /// The version that is written, and by default the only one that is read.
    const VERSION: u32 = 1;

    /// What the event is about. Events of one key are handled in order by a worker that is
    /// [`crate::Worker::ordered_by_key`].
    fn key(&self) -> Option<&str> {
        None
    }

    /// What makes a repetition of this event recognisable: within the server's window a second send
    /// of it appends nothing and answers the id of the first. The window is 100 s and 100 events of
    /// a producer, or what [`crate::Broker::dedup_window`] says.
    fn idempotency_key(&self) -> Option<String> {
        None
    }

    /// Reads a payload of some version. The default takes [`Event::VERSION`] only; override it to
    /// take older ones.
    fn decode(version: u32, data: &[u8]) -> Result<Self, DecodeError> {
        if version != Self::VERSION {
            return Err(DecodeError::Version { found: version, known: Self::VERSION });
        }
        serde_json::from_slice(data).map_err(|error| DecodeError::Json(error.to_string()))
    }
}

/// Why an entry is no event of this type. It will not be one at the next attempt either, so such
/// entries become dead letters at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The field `data` is missing.
    #[error("the entry has no field \"data\"")]
    NoData,
    /// The field `v` is no number.
    #[error("the version {0:?} is no number")]
    VersionText(String),
    /// A version that this program does not know.
    #[error("version {found} is unknown; this program reads version {known}")]
    Version {
        /// In the entry.
        found: u32,
        /// [`Event::VERSION`].
        known: u32,
    },
    /// The payload is not the JSON of this type.
    #[error("the payload does not parse: {0}")]
    Json(String),
}

/// The fields of an event, without trace context and headers.
pub(crate) fn encode<E: Event>(event: &E) -> Result<Fields> {
    let data = serde_json::to_vec(event).map_err(|error| Error::Encode(error.to_string()))?;
    let mut fields = Fields(Vec::with_capacity(5));
    fields.push(DATA, data);
    if E::VERSION != 1 {
        fields.push(VERSION, E::VERSION.to_string());
    }
    if let Some(key) = event.key() {
        fields.push(KEY, key);
    }
    if let Some(id) = event.idempotency_key() {
        fields.push(ID, id);
    }
    Ok(fields)
}

/// The event that an entry is.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Debug)]
/// # struct Paid { cents: u64 }
/// # impl levada::Event for Paid { const STREAM: &'static str = "payments"; }
/// use levada::{Fields, event::decode};
///
/// let fields: Fields = [("data", r#"{"cents":5}"#)].into_iter().collect();
/// assert_eq!(decode::<Paid>(&fields)?.cents, 5);
/// # Ok::<(), levada::event::DecodeError>(())
/// ```
pub fn decode<E: Event>(fields: &Fields) -> Result<E, DecodeError> {
    let version = match fields.get(VERSION) {
        None => 1,
        Some(text) => {
            let text = String::from_utf8_lossy(text);
            text.parse().map_err(|_| DecodeError::VersionText(text.into_owned()))?
        }
    };
    E::decode(version, fields.get(DATA).ok_or(DecodeError::NoData)?)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Paid {
        order: String,
    }

    impl Event for Paid {
        const STREAM: &'static str = "payments";
        const VERSION: u32 = 2;

        fn key(&self) -> Option<&str> {
            Some(&self.order)
        }
    }

    fn check(pairs: &[(&str, &str)]) -> Result<Paid, DecodeError> {
        decode(&pairs.iter().copied().collect())
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let paid = Paid { order: "7".into() };
        let fields = encode(&paid).expect("JSON");
        assert_eq!(fields.text(KEY), Some("7"));
        assert_eq!(decode::<Paid>(&fields), Ok(paid));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(check(&[("v", "2")]), Err(DecodeError::NoData));
        let version = |found| DecodeError::Version { found, known: 2 };
        assert_eq!(check(&[("data", "{}")]), Err(version(1)));
        assert_eq!(check(&[("data", "{}"), ("v", "3")]), Err(version(3)));
        assert_eq!(check(&[("v", "x")]), Err(DecodeError::VersionText("x".into())));
        assert!(matches!(check(&[("data", "{}"), ("v", "2")]), Err(DecodeError::Json(_))));
    }
}
