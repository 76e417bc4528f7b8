//! Entries that are appended later: the engine's own schedule.

use levada_engine::command::{Command, SchedVerb, Xsched};
use levada_engine::reply::Reply;

use super::{Embedded, key, milliseconds, own_id, stream_id};
use crate::backend::{Append, Due};
use crate::error::{Error, Result};
use crate::message::MessageId;

impl Embedded {
    pub(super) async fn append_later(&self, entry: Append, due: Due) -> Result<String> {
        let at_ms = match due {
            Due::In(wait) => self.wall_ms().saturating_add(milliseconds(wait)),
            Due::At(ms) => ms,
        };
        let reply = self
            .reply(move |turn| {
                let flat: Vec<&[u8]> =
                    entry.fields.0.iter().flat_map(|(name, value)| [&name[..], value]).collect();
                let once = entry.once.as_ref();
                let once = once.map(|once| (once.producer.as_bytes(), once.id.as_bytes()));
                let fields = levada_engine::Fields::Arguments(&flat);
                let add = SchedVerb::Add { at_ms, once, fields };
                turn.execute(&Command::Xsched(Xsched::new(key(&entry.stream), add)))
            })
            .await?;
        match reply {
            Reply::Id(handle) => Ok(own_id(handle).to_string()),
            other => Err(Error::protocol(other)),
        }
    }

    pub(super) async fn cancel_later(&self, stream: &str, handle: &str) -> Result<bool> {
        let (stream, handle) = (stream.to_owned(), stream_id(handle.parse::<MessageId>()?));
        let cancelled = self.number(move |turn| {
            let cancel = SchedVerb::Cancel(handle);
            turn.execute(&Command::Xsched(Xsched::new(key(&stream), cancel)))
        });
        Ok(cancelled.await? > 0)
    }
}
