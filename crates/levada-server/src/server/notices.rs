//! What the log says of policies: entries that a group skipped, or came too late for.

use levada_engine::shard::{Notice, Noticed};

use super::Server;

impl Server {
    /// Says what the shard has to tell, a line each.
    pub(super) fn say_notices(&mut self) {
        for notice in self.shard.take_notices() {
            (self.state.settings.log)(&line(&notice));
        }
    }
}

fn line(notice: &Notice) -> String {
    let (key, group) = (notice.key.escape_ascii(), notice.group.escape_ascii());
    match notice.what {
        Noticed::ReleasedUnread { count, stays: true } => format!(
            "group {group} of stream {key} skips {count} entries that it had not read: nothing \
             holds them for it any more"
        ),
        Noticed::ReleasedUnread { count, stays: false } => format!(
            "group {group} of stream {key} is gone with {count} entries that it had not \
             acknowledged: nothing holds them for it any more"
        ),
        Noticed::BeginsBehindRemoved { first } => format!(
            "group {group} of stream {key} begins at {first}: what it asked for before that was \
             removed already"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use levada_core::id::StreamId;

    #[test]
    fn names_stream_group_and_what_happened() {
        let check = |what: Noticed, expect: &str| {
            let notice = Notice { key: b"or\nders"[..].into(), group: b"g"[..].into(), what };
            assert_eq!(line(&notice), expect);
        };
        check(
            Noticed::ReleasedUnread { count: 3, stays: true },
            "group g of stream or\\nders skips 3 entries that it had not read: nothing holds \
             them for it any more",
        );
        check(
            Noticed::BeginsBehindRemoved { first: StreamId::new(7, 1) },
            "group g of stream or\\nders begins at 7-1: what it asked for before that was \
             removed already",
        );
    }
}
