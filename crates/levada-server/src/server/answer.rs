//! What the port for HTTP asks of the loop. A walk over all streams is made in steps, one in a
//! turn, and its answer goes to all who asked before it began.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use levada_core::limits::DATABASES;
use levada_engine::store::Store as _;
use mio::Waker;
use tokio::sync::oneshot;

use super::Server;
use crate::command::resident_bytes;
use crate::engine::Now;
use crate::http::{self, Question, Stage, Topic};
use crate::metrics::{Scrape, Text, metric, quotient};
use crate::settings::Settings;
use crate::spec::CommandSpec;

/// Who asks, and what is on the way.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Nobody where the port is not open.
    asked: Option<Receiver<Question>>,
    scrape: Option<Scrape>,
    listeners: Vec<oneshot::Sender<String>>,
    /// Those who asked while a walk was under way.
    next: Vec<oneshot::Sender<String>>,
}

impl Questions {
    /// Opens the port, if the settings have one.
    pub(super) fn open(settings: &Settings, waker: &Arc<Waker>, stage: &Stage) -> io::Result<Self> {
        let listener = settings.http.as_ref();
        let pages = &settings.pages;
        let start =
            |listener| http::start(listener, Arc::clone(waker), stage.clone(), pages.clone());
        let asked = listener.map(|listener| start(listener)).transpose()?;
        Ok(Self { asked, ..Self::default() })
    }

    /// Whether an answer is on its way, which needs the loop to go on.
    pub(super) fn is_busy(&self) -> bool {
        self.scrape.is_some()
    }
}

impl Server {
    /// Takes what was asked, and goes on with what was begun.
    pub(super) fn answer_questions(&mut self, now: Now) {
        let Some(asked) = &self.questions.asked else {
            return;
        };
        while let Ok(Question { topic, answer }) = asked.try_recv() {
            match topic {
                // Who does not listen any more needs no answer.
                Topic::Presence => drop(answer.send(String::new())),
                Topic::Metrics => self.questions.next.push(answer),
            }
        }
        let questions = &mut self.questions;
        if questions.scrape.is_none() && !questions.next.is_empty() {
            questions.listeners = std::mem::take(&mut questions.next);
            questions.scrape = Some(Scrape::new(self.state.settings.metrics_streams_max));
        }
        let Some(scrape) = &mut questions.scrape else {
            return;
        };
        if !scrape.step(self.shard.machine(), self.shard.counts(), now.wall_ms) {
            return;
        }
        let scrape = self.questions.scrape.take();
        let mut text = Text::default();
        self.write_process(&mut text, now);
        self.write_traffic(&mut text);
        self.write_disk(&mut text);
        scrape.iter().for_each(|scrape| scrape.write(&mut text));
        let text = text.into_string();
        for listener in self.questions.listeners.drain(..) {
            let _ = listener.send(text.clone());
        }
    }

    fn write_process(&self, text: &mut Text, now: Now) {
        let state = &self.state;
        let info = [(vec![env!("CARGO_PKG_VERSION")], 1)];
        text.many(metric("levada_info"), info.into_iter());
        let uptime_us = now.monotonic_us.saturating_sub(state.started.monotonic_us);
        text.one(metric("levada_uptime_seconds"), quotient(uptime_us, 1_000_000));
        text.one(metric("levada_recovery_seconds"), quotient(self.recovery_us, 1_000_000));
        let recovery = self.shard.facts().recovery;
        text.one(metric("levada_recovery_batches"), recovery.batches_replayed);
        text.one(metric("levada_memory_resident_bytes"), resident_bytes());
        text.one(metric("levada_clients"), self.connections.len());
        text.one(metric("levada_clients_max"), state.config.get("maxclients"));
        text.one(metric("levada_clients_blocked"), state.blocked_clients);
        text.one(metric("levada_clients_buffer_bytes"), state.memory.bytes);
        let stats = &state.stats;
        for (name, value) in [
            ("levada_connections_total", stats.connections),
            ("levada_connections_refused_total", stats.connections_refused),
            ("levada_clients_evicted_total", stats.clients_evicted),
            ("levada_clients_beyond_limit_total", stats.clients_beyond_limit),
            ("levada_strangers_dropped_total", stats.strangers_dropped),
            ("levada_tls_handshakes_failed_total", stats.handshakes_failed),
        ] {
            text.one(metric(name), value);
        }
    }

    fn write_traffic(&self, text: &mut Text) {
        let state = &self.state;
        let counts = state.acl.log.counts;
        let denied = [
            ("auth", counts.auth),
            ("command", counts.command),
            ("key", counts.key),
            ("channel", counts.channel),
            ("group", counts.group),
            ("certificate", counts.certificate),
        ];
        let samples = denied.into_iter().map(|(reason, count)| (vec![reason], count));
        text.many(metric("levada_denied_total"), samples);
        let commands: Vec<(&'static CommandSpec, u64, u64)> = state
            .registry
            .numbers()
            .map(|number| (state.registry.spec(number), *state.stats.command(number)))
            .filter(|(_, stats)| stats.calls > 0)
            .map(|(spec, stats)| (spec, stats.calls, stats.failed))
            .collect();
        let ran = commands.iter().map(|(spec, ran, _)| (vec![spec.name], *ran));
        text.many(metric("levada_commands_total"), ran);
        let failed = commands.iter().map(|(spec, _, failed)| (vec![spec.name], *failed));
        text.many(metric("levada_commands_failed_total"), failed);
        let errors: Vec<_> = state.stats.errors().iter().collect();
        let codes: Vec<_> =
            errors.iter().map(|(code, count)| (code.escape_ascii().to_string(), *count)).collect();
        let codes = codes.iter().map(|(code, count)| (vec![code.as_str()], *count));
        text.many(metric("levada_errors_total"), codes);
        text.one(metric("levada_received_bytes_total"), state.stats.bytes_in);
        text.one(metric("levada_sent_bytes_total"), state.stats.bytes_out);
    }

    fn write_disk(&self, text: &mut Text) {
        let facts = self.shard.facts();
        let commits = &self.commits;
        text.histogram(metric("levada_commit_seconds"), &commits.latency_us, 1_000_000);
        text.histogram(metric("levada_batch_commands"), &commits.commands, 1);
        let waiting = facts.last_lsn.saturating_sub(facts.durable_lsn);
        let sync = quotient(facts.sync_us_average, 1_000_000);
        text.one(metric("levada_batch_request_bytes_total"), commits.request_bytes);
        text.one(metric("levada_batches_waiting"), waiting);
        text.one(metric("levada_sync_seconds_average"), sync);
        let space = self.shard.store().space();
        let machine = self.shard.machine();
        let keys: usize = (0..DATABASES).map(|database| machine.keys.len(database)).sum();
        for (name, value) in [
            ("levada_checkpoints_total", facts.checkpoints),
            ("levada_changes_since_checkpoint", self.state.stats.changes),
            ("levada_disk_free_bytes", space.free_bytes),
            ("levada_disk_reserve_bytes", space.reserve_bytes),
            ("levada_disk_full", u64::from(space.is_full)),
            ("levada_scrub_blocks_total", facts.scrubbed.blocks),
            ("levada_scrub_damaged_total", facts.scrubbed.errors),
            ("levada_scrub_passes_total", facts.scrubbed.passes),
            ("levada_block_reads_waited_total", facts.residual_reads),
            ("levada_cache_hits_total", facts.cache.hits),
            ("levada_cache_misses_total", facts.cache.misses),
            ("levada_cache_bytes", facts.cache.bytes),
            ("levada_keys", keys as u64),
            ("levada_strings_bytes", facts.strings_bytes),
            ("levada_expired_keys_total", facts.expired_keys),
            ("levada_evicted_keys_total", facts.evicted_keys),
        ] {
            text.one(metric(name), value);
        }
    }
}
