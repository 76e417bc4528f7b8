//! Names of the keys that stand beside a stream. All of them hash to the slot of the stream, so
//! that a transaction over them is possible in a cluster.

use crate::idempotency::Mark;

/// A key beside a stream: `key:suffix` where the key has a hash tag, else `{key}:suffix`.
pub(crate) fn beside(stream: &str, suffix: &str) -> String {
    match has_hash_tag(stream) {
        true => format!("{stream}:{suffix}"),
        false => format!("{{{stream}}}:{suffix}"),
    }
}

/// Where dead letters of a group go unless it is said: the same name that Levada gives it.
pub(crate) fn dead_letters(stream: &str, group: &str) -> String {
    beside(stream, &format!("dlq:{group}"))
}

/// Where entries stand that one group gets again and no other.
pub(crate) fn again(stream: &str, group: &str) -> String {
    beside(stream, &format!("again:{group}"))
}

/// Sorted set of entries of a group that rest, by when they are due.
#[cfg(feature = "redis")]
pub(crate) fn resting(stream: &str, group: &str) -> String {
    beside(stream, &format!("rest:{group}"))
}

/// What those who make a dead letter of an entry without a script agree by.
#[cfg(feature = "redis")]
pub(crate) fn buried(stream: &str, group: &str, id: &str) -> String {
    beside(stream, &format!("buried:{group}:{id}"))
}

/// Sorted set of entries that are appended later.
#[cfg(feature = "redis")]
pub(crate) fn delayed(stream: &str) -> String {
    beside(stream, "delayed")
}

/// Where the workers of a group count what they read, for a rate that they share.
pub(crate) fn rate(stream: &str, group: &str) -> String {
    beside(stream, &format!("rate:{group}"))
}

/// What remembers that a group is done with an event.
pub(crate) fn done(mark: &Mark) -> String {
    beside(&mark.stream, &format!("done:{}:{}", mark.group, mark.id))
}

/// What remembers that an event was appended.
#[cfg(feature = "redis")]
pub(crate) fn once(stream: &str, producer: &str, id: &str) -> String {
    beside(stream, &format!("once:{producer}:{id}"))
}

fn has_hash_tag(key: &str) -> bool {
    let inside = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    inside.is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_share_the_slot_of_the_stream() {
        assert_eq!(dead_letters("orders", "g"), "{orders}:dlq:g");
        assert_eq!(dead_letters("{eu}:orders", "g"), "{eu}:orders:dlq:g");
        assert_eq!(again("a{}b", "g"), "{a{}b}:again:g");
    }
}
