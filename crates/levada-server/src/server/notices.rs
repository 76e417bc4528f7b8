//! What the log says of policies: entries that a group skipped, or came too late for.

use levada_engine::shard::{Notice, Noticed};

use super::Server;
use crate::log_event::{LogEvent, LogName};

impl Server {
    /// Says what the shard has to tell, a line each.
    pub(super) fn say_notices(&mut self) {
        for notice in self.shard.take_notices() {
            self.state.log(&event(&notice));
        }
    }
}

fn event(notice: &Notice) -> LogEvent {
    let (key, group) = (notice.key.escape_ascii(), notice.group.escape_ascii());
    let event = match notice.what {
        Noticed::ReleasedUnread { count, stays: true } => LogEvent::new(
            LogName::UnreadReleased,
            format!(
                "Group {group} of stream {key} skips {count} entries that it had not read: \
                 nothing holds them for it any more"
            ),
        )
        .number("count", count),
        Noticed::ReleasedUnread { count, stays: false } => LogEvent::new(
            LogName::UnreadReleased,
            format!(
                "Group {group} of stream {key} is gone with {count} entries that it had not \
                 acknowledged: nothing holds them for it any more"
            ),
        )
        .number("count", count),
        Noticed::BeginsBehindRemoved { first } => LogEvent::new(
            LogName::BeginsBehindRemoved,
            format!(
                "Group {group} of stream {key} begins at {first}: what it asked for before that \
                 was removed already"
            ),
        )
        .text("first", &first),
    };
    event.text("stream", &key).text("group", &group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_event::LogValue;
    use levada_core::id::StreamId;

    #[test]
    fn names_stream_group_and_what_happened() {
        let check = |what: Noticed, expect: &str| {
            let notice = Notice { key: b"or\nders"[..].into(), group: b"g"[..].into(), what };
            let event = event(&notice);
            assert_eq!(event.message, expect);
            let stream = ("stream", LogValue::Text("or\\nders".to_owned()));
            assert!(event.fields.contains(&stream), "{event:?}");
        };
        check(
            Noticed::ReleasedUnread { count: 3, stays: true },
            "Group g of stream or\\nders skips 3 entries that it had not read: nothing holds \
             them for it any more",
        );
        check(
            Noticed::BeginsBehindRemoved { first: StreamId::new(7, 1) },
            "Group g of stream or\\nders begins at 7-1: what it asked for before that was \
             removed already",
        );
    }
}
