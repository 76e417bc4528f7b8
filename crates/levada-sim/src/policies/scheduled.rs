//! XSCHED: what is scheduled comes once, at its time, unless it is cancelled, and is at every crash
//! point in the schedule or in the stream, not in both and not in neither.
//!
//! The schedule is looked at behind recoveries and now and then; what is missing in it since the
//! last look has been appended in between, which must not have been too early by the wall's clock.

use super::answers::What;
use super::client::{KEY, core, fields_of, told_id, values};
use super::{Halt, Life, World};
use crate::crash::Restart;
use crate::history::{Add, Fate, Id, Key as Written, Span};
use crate::op::subject;
use levada_core::command::{self, Command, Key, SchedVerb, Xsched};
use levada_core::fields::Fields;
use levada_core::id::StreamId;
use levada_core::reply::Reply;
use levada_core::schedule;

/// Something that is to be appended later, until a recovery found it appended.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) key: Written,
    pub(super) at_ms: u64,
    handle: Id,
    /// Whether its producer knows that it is scheduled.
    is_known: bool,
    cancelled: Fate,
    /// The latest time since it was last seen to wait.
    latest_ms: u64,
}

/// An entry as it stands in the schedule.
pub(super) struct Row {
    handle: Id,
    key: Written,
    at_ms: u64,
}

impl World {
    /// XSCHED ADD at a random time, or CANCEL.
    pub(super) fn plan<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        if !self.policy.schedules {
            return self.add(life);
        }
        if self.random.chance(25) {
            return self.cancel(life);
        }
        let ahead_ms = match self.random.below(20) {
            0..3 => 0,
            3..10 => self.random.below(30),
            10..18 => self.random.below(400),
            18 => 5_000,
            _ => 100_000_000,
        };
        let at_ms = match self.random.chance(10) {
            true => self.wall_ms.saturating_sub(ahead_ms),
            false => self.wall_ms + ahead_ms,
        };
        self.plan_at(life, at_ms)
    }

    pub(super) fn plan_at<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        at_ms: u64,
    ) -> Result<(), Halt> {
        let key = self.next_key();
        let (pairs, iid) = (fields_of(key), format!("{}", key.number));
        let once = self.random.chance(30).then_some((&b"p"[..], iid.as_bytes()));
        let pairs: Vec<_> = pairs.iter().flat_map(|(name, value)| [&name[..], value]).collect();
        let verb = SchedVerb::Add { at_ms, once, fields: Fields::Arguments(&pairs) };
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xsched(Xsched::new(KEY, verb)))?;
        let Ok(Reply::Id(handle)) = result else {
            return Err(Halt::Wrong(format!("XSCHED ADD: {result:?}")));
        };
        let (handle, latest_ms) = (told_id(handle), self.wall_ms);
        let (is_known, cancelled) = (false, Fate::No);
        self.plans.push(Plan { key, at_ms, handle, is_known, cancelled, latest_ms });
        life.hold(wait, invoked, What::Planned(key));
        Ok(())
    }

    pub(super) fn cancel<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        if self.plans.is_empty() {
            return Ok(());
        }
        let at = self.random.index(self.plans.len());
        let Plan { key, handle, .. } = self.plans[at];
        let verb = SchedVerb::Cancel(core(handle));
        let invoked = self.counter.next();
        let (result, wait) = self.ask(life, &Command::Xsched(Xsched::new(KEY, verb)))?;
        if self.number_of(result)? == 1 {
            if self.plans[at].cancelled != Fate::No {
                return Err(Halt::Wrong(format!("{:?} is cancelled twice", self.plans[at])));
            }
            self.plans[at].cancelled = Fate::Maybe;
            life.hold(wait, invoked, What::Cancelled(key));
            return Ok(());
        }
        // So it is not in the schedule.
        let rows = self.read_schedule(life)?;
        match rows.iter().any(|row| row.handle == handle) {
            true => Err(Halt::Wrong(format!("{handle:?} is scheduled, and not cancelled"))),
            false => Ok(()),
        }
    }

    /// Its producer knows that it is scheduled.
    pub(super) fn note_planned(&mut self, key: Written) {
        let plan = self.plans.iter_mut().find(|plan| plan.key == key);
        plan.into_iter().for_each(|plan| plan.is_known = true);
    }

    pub(super) fn note_cancelled(&mut self, key: Written, at: u64) {
        let plan = self.plans.iter_mut().find(|plan| plan.key == key);
        plan.into_iter().for_each(|plan| plan.cancelled = Fate::Done(at));
    }

    /// Something may be appended now.
    pub(super) fn note_time(&mut self) {
        let wall_ms = self.wall_ms;
        self.plans.iter_mut().for_each(|plan| plan.latest_ms = plan.latest_ms.max(wall_ms));
    }

    /// Looks where everything is that was scheduled.
    pub(super) fn look<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        if self.plans.is_empty() {
            return Ok(());
        }
        let (state, rows) = self.read_all(life)?;
        self.name_state(state).map_err(Halt::Wrong)?;
        self.judge_plans(&rows, true)
    }

    /// Counts what neither waits nor is there any more, once what was found has names: a limit has
    /// taken it, and before that it was appended, for certain if its producer knows that it was
    /// scheduled and nobody wanted to cancel it.
    pub(super) fn note_gone(&mut self, rows: &[Row]) {
        if !self.policy.trims() {
            return;
        }
        for Plan { key, is_known, cancelled, .. } in &self.plans {
            let is_there = rows.iter().any(|row| row.key == *key) || self.names.has(*key);
            if is_there || matches!(cancelled, Fate::Done(_)) {
                continue;
            }
            if *is_known && *cancelled == Fate::No {
                self.journal.gone.push(0);
                continue;
            }
            let span = Span { invoked: self.counter.next(), completed: u64::MAX };
            self.journal.adds.push(Add { stream: 0, key: *key, paired: false, span, id: None });
        }
    }

    /// Behind a recovery, once what was found has names: what was unknown takes the outcome that
    /// was found.
    pub(super) fn settle_plans(&mut self, rows: &[Row]) -> Result<(), Halt> {
        let is_waiting = |key: Written| rows.iter().any(|row| row.key == key);
        let names = &self.names;
        self.plans.retain_mut(|plan| {
            let is_there = is_waiting(plan.key) || names.has(plan.key);
            if plan.cancelled == Fate::Maybe && is_there {
                plan.cancelled = Fate::No;
            }
            let is_gone = !is_there && (!plan.is_known || plan.cancelled == Fate::Maybe);
            plan.is_known = true;
            !is_gone
        });
        self.judge_plans(rows, false)?;
        self.plans.retain(|plan| is_waiting(plan.key));
        Ok(())
    }

    /// Everything is in one place, and is there in time.
    pub(super) fn judge_plans(&mut self, rows: &[Row], in_time: bool) -> Result<(), Halt> {
        let wrong = |plan: &Plan, what: &str| Err(Halt::Wrong(format!("{what}: {plan:?}")));
        let stopped = self.disk.with(|disk| disk.is_stopped());
        let late_ms = Some(self.wall_ms).filter(|_| in_time && !stopped && !self.policy.rejects());
        for row in rows {
            let Row { handle, key, at_ms } = row;
            let is_plan =
                |plan: &&Plan| (plan.key, plan.handle, plan.at_ms) == (*key, *handle, *at_ms);
            if !self.plans.iter().any(|plan| is_plan(&plan)) {
                return Err(Halt::Wrong(format!("{key:?} is scheduled at {at_ms} as {handle:?}")));
            }
        }
        for plan in &mut self.plans {
            let waits = rows.iter().any(|row| row.key == plan.key);
            let came = self.names.first(plan.key);
            if waits && came.is_some() {
                return wrong(plan, "is scheduled and was appended");
            }
            if plan.cancelled != Fate::No && (waits || came.is_some()) {
                return wrong(plan, "was cancelled, and is there");
            }
            // A limit may have taken it unseen.
            let is_over = plan.cancelled != Fate::No || self.policy.trims();
            if !waits && came.is_none() && !is_over {
                return wrong(plan, "is lost");
            }
            if came.is_some_and(|id| plan.latest_ms < plan.at_ms || id.0 < plan.at_ms) {
                return wrong(plan, "came early");
            }
            if waits && late_ms.is_some_and(|late_ms| plan.at_ms <= late_ms) {
                return wrong(plan, "is late");
            }
            if waits {
                plan.latest_ms = 0;
            }
        }
        self.judge_order(rows)
    }

    /// What was scheduled before another one, and is due before it, comes before it.
    fn judge_order(&self, rows: &[Row]) -> Result<(), Halt> {
        let waits = |plan: &Plan| rows.iter().any(|row| row.key == plan.key);
        for later in &self.plans {
            let Some(came) = self.names.first(later.key) else {
                continue;
            };
            let before = self
                .plans
                .iter()
                .filter(|plan| plan.key.number < later.key.number && plan.at_ms <= later.at_ms);
            for plan in before {
                if waits(plan) || self.names.first(plan.key).is_some_and(|id| id > came) {
                    return Err(Halt::Wrong(format!("{later:?} came before {plan:?}")));
                }
            }
        }
        Ok(())
    }

    /// What waits, by handle; LEN and LIST say the same.
    pub(super) fn read_schedule<S: Restart>(&self, life: &mut Life<S>) -> Result<Vec<Row>, Halt> {
        let name = schedule::name_of(KEY.name);
        let key = Key { database: KEY.database, name: &name };
        let (first, last) = (StreamId::MIN, StreamId::MAX);
        let range = command::Xrange { key, first, last, reverse: false, count: None };
        let before = life.shard.position();
        let rows = self.rows(life, &Command::Xrange(range))?;
        let list = Command::Xsched(Xsched::new(KEY, SchedVerb::List(1000)));
        let listed = self.rows(life, &list)?;
        let (len, _) = self.ask(life, &Command::Xsched(Xsched::new(KEY, SchedVerb::Len)))?;
        let of = |row: &Row| (row.at_ms, row.handle);
        let mut expected: Vec<_> = rows.iter().map(of).collect();
        expected.sort_unstable();
        let len = usize::try_from(self.number_of(len)?).unwrap_or(usize::MAX);
        let agree = listed.iter().map(of).eq(expected.iter().copied()) && len == rows.len();
        if !agree && life.shard.position() == before {
            return Err(Halt::Wrong(format!("LEN and LIST do not say what waits: {expected:?}")));
        }
        Ok(rows)
    }

    fn rows<S: Restart>(
        &self,
        life: &mut Life<S>,
        command: &Command<'_>,
    ) -> Result<Vec<Row>, Halt> {
        let (found, _) = self.ask(life, command)?;
        let Ok(Reply::Entries(found)) = found else {
            return Err(Halt::Wrong(format!("what is scheduled: {found:?}")));
        };
        let read = subject::told_entries(&mut life.shard, &found);
        let read = read.map_err(|error| Halt::Failed(format!("{error:?}")))?;
        let row = |(id, fields): (crate::model::Id, Option<crate::model::Fields>)| {
            let fields = fields.ok_or("no fields")?;
            let Some(((name, at), fields)) = fields.split_last() else {
                return Err("no field".into());
            };
            let at_ms = std::str::from_utf8(at).ok().and_then(|at| at.parse().ok());
            let at_ms = at_ms.filter(|_| name == b"x-sched-at").ok_or("no time")?;
            let fields: Vec<_> = fields
                .iter()
                .filter(|(name, _)| name != b"x-sched-pid" && name != b"x-sched-iid")
                .cloned()
                .collect();
            Ok(Row { handle: (id.0, id.1), key: values(&fields)?, at_ms })
        };
        read.into_iter().map(row).collect::<Result<_, String>>().map_err(Halt::Wrong)
    }
}
