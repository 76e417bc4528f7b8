//! Carries one stream, in four steps that can each be cut short and done again:
//!
//! 1. Entries behind the last id of the target, in order; those of a schedule are scheduled. An id
//!    that is pending somewhere though its entry is gone gets a placeholder: XCLAIM makes nothing
//!    pending that does not exist.
//! 2. Groups, made anew: consumers, and what is pending with its times and counts.
//! 3. Both sides are compared; what only the target has is removed, placeholders too. An entry that
//!    goes leaves its pending references.
//! 4. The stream's numbers are set, and the mark is taken away: see `writer`.
//!
//! All of it is of the moment when the last id of the source was read. What the source takes on
//! afterwards shows as a difference, and is copied by another run.

use anyhow::{Result, ensure};
use levada_core::schedule;

use super::compare::{self, Differences};
use super::id::Id;
use super::live::Live;
use super::pages::{Range, Waiting, read_ahead};
use super::peer::readable;
use super::policy::Policies;
use super::source::{Group, Source, Summary};
use super::writer::{self, MARKER};
use crate::progress::Progress;

/// A stream on its way.
pub(crate) struct Carriage<'a> {
    pub(crate) source: &'a mut dyn Source,
    pub(crate) target: &'a mut Live,
    pub(crate) key: &'a [u8],
    /// Entries of a page at most.
    pub(crate) batch: usize,
    pub(crate) progress: &'a Progress,
    /// What can not be carried, with counts.
    pub(crate) lost: Vec<(&'static str, u64)>,
}

/// What the source was like when its stream was begun.
pub(crate) struct Plan {
    pub(crate) summary: Summary,
    groups: Vec<Group>,
    pub(crate) policies: Option<Policies>,
    /// Entries that the source appends elsewhere when they are due.
    pub(crate) scheduled: u64,
}

impl Carriage<'_> {
    /// Reads what the source is like.
    pub(crate) fn plan(&mut self) -> Result<Plan> {
        let summary = self.source.summary(self.key)?;
        let groups = self.source.groups(self.key)?;
        ensure!(
            groups.iter().all(|group| group.name != MARKER),
            "it is not finished in the source: its group {} says so",
            readable(MARKER)
        );
        let policies = self.source.policies(self.key, &groups)?;
        let scheduled = self.source.scheduled(self.key)?;
        Ok(Plan { summary, groups, policies, scheduled })
    }

    /// The first step. Answers how many entries were copied.
    pub(crate) fn entries(&mut self, plan: &Plan, behind: Id) -> Result<u64> {
        let groups = plan.groups.iter().map(|group| group.name.clone()).collect::<Vec<_>>();
        let range = Range {
            key: self.key,
            from: behind.next(),
            to: plan.summary.last_id,
            count: self.batch,
            groups: &groups,
        };
        let is_schedule = plan.scheduled > 0 && self.target.peer.policies;
        let scheduled_for = schedule::target_of(self.key).filter(|_| is_schedule);
        let (target, key, progress) = (&mut *self.target, self.key, self.progress);
        let mut copied = 0;
        read_ahead(self.source, &range, |pages| {
            for page in pages {
                let page = page?;
                writer::append(&mut target.peer, key, &page, scheduled_for)?;
                let entries = page.iter().filter(|entry| !entry.fields.is_empty()).count();
                copied += entries as u64;
                progress.moved(&readable(key), entries as u64);
            }
            Ok(copied)
        })
    }

    /// The second step.
    pub(crate) fn groups(&mut self, plan: &Plan) -> Result<()> {
        writer::remove_groups(self.target, self.key, &plan.groups)?;
        for group in &plan.groups {
            writer::group(&mut self.target.peer, self.key, group)?;
            let mut pending = Waiting::new(&group.name, Id::MIN, self.batch);
            loop {
                let page = pending.page(self.source, self.key)?;
                if page.is_empty() {
                    break;
                }
                let left = writer::claim(&mut self.target.peer, self.key, &group.name, &page)?;
                self.lose("pending entries", left);
            }
        }
        let consumers = plan.groups.iter().map(|group| group.consumers.len() as u64).sum();
        self.lose("consumers' seen and active times", consumers);
        self.lose("ids of idempotent producers", plan.summary.idempotent);
        self.lose_policies(plan);
        Ok(())
    }

    /// Policies are lost where the target has no such things.
    pub(crate) fn lose_policies(&mut self, plan: &Plan) {
        if !self.target.peer.policies {
            let count = plan.policies.as_ref().map_or(0, Policies::count);
            self.lose("policies of streams and groups", count);
            self.lose("schedules, whose entries nobody appends there", plan.scheduled);
        }
    }

    /// The third step, and the fourth if entries are as they should be.
    pub(crate) fn settle(
        &mut self,
        plan: &Plan,
        expires_ms: Option<i64>,
        differences: &mut Differences,
    ) -> Result<()> {
        self.compare_entries(plan, true, differences)?;
        if differences.is_empty() {
            let target = &mut self.target.peer;
            let policies = plan.policies.as_ref().filter(|_| target.policies);
            let numbers = (&plan.summary, &plan.groups[..], policies);
            let lost = writer::finish(target, self.key, numbers, expires_ms)?;
            self.lose("counters that the target is too old for", lost);
        }
        Ok(())
    }

    /// Compares entries; with `mend` removes those that only the target has.
    pub(crate) fn compare_entries(
        &mut self,
        plan: &Plan,
        mend: bool,
        differences: &mut Differences,
    ) -> Result<()> {
        let to = plan.summary.last_id;
        let range =
            Range { key: self.key, from: Some(Id::MIN), to, count: self.batch, groups: &[] };
        let (target, key, batch) = (&mut *self.target, self.key, self.batch);
        self.progress.comparing(&readable(self.key));
        read_ahead(self.source, &range, |pages| {
            compare::entries(pages, target, key, to, (batch, mend), differences)
        })
    }

    /// Compares all but the entries, with the source as it is by now.
    pub(crate) fn compare_rest(&mut self, differences: &mut Differences) -> Result<()> {
        let source = self.source.summary(self.key)?;
        compare::summaries(&source, &self.target.summary(self.key)?, differences);
        compare::groups(self.source, self.target, self.key, self.batch, differences)?;
        if self.target.peer.policies {
            let (there, here) =
                (self.source.scheduled(self.key)?, self.target.scheduled(self.key)?);
            differences.check("scheduled entries", "stream", &there, &here);
        }
        let groups = self.source.groups(self.key)?;
        if let Some(there) = self.source.policies(self.key, &groups)? {
            let ours = self.target.groups(self.key)?;
            let here = self.target.policies(self.key, &ours)?;
            here.iter().for_each(|here| there.compare(here, differences));
        }
        Ok(())
    }

    pub(crate) fn lose(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            match self.lost.iter_mut().find(|(known, _)| *known == what) {
                Some((_, sum)) => *sum += count,
                None => self.lost.push((what, count)),
            }
        }
    }
}
