//! What `/metrics` tells, in the text format of Prometheus.
//!
//! [`TABLE`] names every metric there is: the text, the page of the guide, and the test of the
//! dashboard and of the alerts are made from it. Labels are bounded: so many streams are told one
//! by one, and the others together ([`rows`]).

mod commits;
mod histogram;
mod rows;
mod scrape;
mod text;

pub(crate) use commits::Commits;
use histogram::Histogram;
pub(crate) use scrape::Scrape;
pub(crate) use text::{Text, quotient};

/// What kind of number a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it means, with its unit.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help, labels: &[] }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help, labels: &[] }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, help, labels: &[] }
}

const fn of_stream(metric: Metric) -> Metric {
    Metric { labels: &["db", "stream"], ..metric }
}

const fn of_group(metric: Metric) -> Metric {
    Metric { labels: &["db", "stream", "group"], ..metric }
}

/// Every metric, in the order of the text.
pub const TABLE: &[Metric] = &[
    Metric {
        labels: &["version"],
        ..gauge("levada_info", "Always 1; its label tells the version.")
    },
    gauge("levada_uptime_seconds", "Seconds since the start."),
    gauge(
        "levada_recovery_seconds",
        "Seconds that the last start took until everything was recovered.",
    ),
    gauge("levada_recovery_batches", "Batches of the log that the last start replayed."),
    gauge("levada_memory_resident_bytes", "Memory of the process."),
    gauge("levada_clients", "Connections that are open."),
    gauge("levada_clients_max", "Connections that may be open at once."),
    gauge("levada_clients_blocked", "Connections that wait for entries."),
    gauge("levada_clients_buffer_bytes", "Memory of the buffers of all connections."),
    counter("levada_connections_total", "Connections that were accepted."),
    counter("levada_connections_refused_total", "Connections that were turned away."),
    counter("levada_clients_evicted_total", "Connections closed for maxmemory-clients."),
    counter(
        "levada_clients_beyond_limit_total",
        "Connections closed for client-output-buffer-limit.",
    ),
    counter(
        "levada_strangers_dropped_total",
        "Connections that gave way before they had authenticated.",
    ),
    counter(
        "levada_tls_handshakes_failed_total",
        "Connections that did not come to agree on keys.",
    ),
    Metric {
        labels: &["reason"],
        ..counter("levada_denied_total", "Requests and logins refused for want of rights.")
    },
    Metric { labels: &["command"], ..counter("levada_commands_total", "Commands that ran.") },
    Metric {
        labels: &["command"],
        ..counter("levada_commands_failed_total", "Commands that answered an error.")
    },
    Metric {
        labels: &["code"],
        ..counter(
            "levada_errors_total",
            "Error replies by their first word: OOMDISK, NOAUTH, NOGROUP and so on.",
        )
    },
    counter("levada_received_bytes_total", "Bytes that came from clients."),
    counter("levada_sent_bytes_total", "Bytes that went to clients."),
    histogram(
        "levada_commit_seconds",
        "Time from the turn that a write came in until it was durable.",
    ),
    histogram("levada_batch_commands", "Commands in a batch of the log."),
    counter("levada_batch_request_bytes_total", "Bytes of the requests in batches of the log."),
    gauge("levada_batches_waiting", "Batches that are not yet durable."),
    gauge(
        "levada_sync_seconds_average",
        "Time of a sync of the log, averaged over the last sixteen or so.",
    ),
    counter("levada_checkpoints_total", "Checkpoints that were written."),
    gauge(
        "levada_changes_since_checkpoint",
        "Commands since the last checkpoint that may have changed data.",
    ),
    gauge("levada_disk_free_bytes", "Bytes that can still be written."),
    gauge("levada_disk_reserve_bytes", "Bytes kept back for a full disk."),
    gauge("levada_disk_full", "1 while what needs space is refused."),
    counter("levada_scrub_blocks_total", "Blocks that were read to see whether they are whole."),
    counter("levada_scrub_damaged_total", "Blocks among them that were not."),
    counter("levada_scrub_passes_total", "How often all blocks were read."),
    counter(
        "levada_block_reads_waited_total",
        "Blocks that were read from disk while others waited.",
    ),
    counter("levada_cache_hits_total", "How often a block of old entries was found in memory."),
    counter("levada_cache_misses_total", "Blocks read from disk because a command needed them."),
    gauge("levada_cache_bytes", "Memory of the cache of blocks; cache-bytes bounds it."),
    gauge("levada_keys", "Keys of all databases."),
    gauge("levada_strings_bytes", "Memory of strings and their names."),
    counter("levada_expired_keys_total", "Keys whose time was over."),
    counter("levada_evicted_keys_total", "Strings that went for want of room."),
    gauge("levada_streams", "Streams, told one by one or not."),
    gauge("levada_streams_told", "Streams that are told one by one; metrics-streams bounds them."),
    of_stream(gauge("levada_stream_length", "Entries of a stream.")),
    of_stream(gauge("levada_stream_bytes", "Encoded bytes of a stream.")),
    of_stream(counter("levada_stream_added_total", "Entries that were ever added.")),
    of_stream(gauge("levada_stream_groups", "Groups of a stream.")),
    of_stream(counter(
        "levada_stream_released_unread_total",
        "Entries that went before every group had read them.",
    )),
    of_stream(counter(
        "levada_stream_appends_rejected_total",
        "Appends to a stream that were refused since the start, but for want of space.",
    )),
    of_group(gauge("levada_group_lag", "Entries that a group was not given yet.")),
    of_group(gauge(
        "levada_group_lag_seconds",
        "Age of the block with the oldest of them; 0 without lag.",
    )),
    of_group(gauge("levada_group_pending", "Entries delivered and not acknowledged.")),
    of_group(gauge(
        "levada_group_pending_oldest_seconds",
        "Time since the oldest of them was delivered.",
    )),
    of_group(gauge(
        "levada_group_pending_redelivered",
        "Those delivered more than once; not told above 10,000 pending.",
    )),
    of_group(counter(
        "levada_group_redelivered_total",
        "Entries delivered again since the start: by `>`, XCLAIM or XAUTOCLAIM.",
    )),
    of_group(gauge("levada_group_offered", "Entries that wait to be delivered again.")),
    of_group(gauge("levada_group_consumers", "Consumers of a group.")),
    of_group(counter(
        "levada_group_dead_letters_total",
        "Entries that were moved to the dead letters.",
    )),
    of_group(gauge("levada_group_dead_letters_blocked", "Entries that cannot be moved there.")),
    of_group(counter(
        "levada_group_dropped_total",
        "Entries that a limit with ON-LIMIT TRIM removed before the group had acknowledged them.",
    )),
    of_group(counter(
        "levada_group_released_unread_total",
        "Entries that went before the group had read them.",
    )),
];

/// The metric of a name that stands in the table.
pub(crate) fn metric(name: &str) -> &'static Metric {
    TABLE.iter().find(|metric| metric.name == name).expect("the name is in the table")
}
