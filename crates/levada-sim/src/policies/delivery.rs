//! What consumers ask for, and what must be true of every delivery, whatever a policy decides.

use super::answers::What;
use super::client::{CONSUMERS, GROUP, KEY, OTHER, core, new_read};
use super::policy::Other;
use super::{Halt, Lease, Life, World};
use crate::crash::Restart;
use crate::history::{How, Id, Key as Written};
use levada_core::command::{self, Command, NackMode};
use levada_core::id::StreamId;

impl World {
    pub(super) fn read_new<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        consumer: usize,
    ) -> Result<(), Halt> {
        let count = 1 + self.random.below(4);
        if self.read_some(life, consumer, count)? == 0 {
            self.wait(life, consumer, count);
        }
        Ok(())
    }

    /// How many entries came.
    pub(super) fn read_some<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        consumer: usize,
        count: u64,
    ) -> Result<usize, Halt> {
        let read = new_read(CONSUMERS[consumer], count);
        let invoked = self.counter.next();
        let (values, wait) = self.take_in_turn(life, &Command::Xreadgroup(read))?;
        let entries = self.delivered(life, values)?;
        let count = entries.len();
        life.hold(wait, invoked, What::Took(consumer, How::Read, entries));
        Ok(count)
    }

    /// What was given to a reader by `>`, now.
    pub(super) fn delivered<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        values: Vec<(Id, Option<Written>)>,
    ) -> Result<Vec<(Id, Option<Written>)>, Halt> {
        let entries = self.name_all(values)?;
        for (id, key) in &entries {
            self.note_delivery(*id)?;
            if let Some(key) = key {
                self.note_in_order(life, *id, *key)?;
            }
        }
        Ok(entries)
    }

    /// Another group reads with NOACK: it is given no entry that came back from the dead letters.
    /// What it was given.
    pub(super) fn read_as_other<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        group: &'static [u8],
        count: u64,
    ) -> Result<Vec<Id>, Halt> {
        if self.policy.other != Other::Reads && group == OTHER {
            return Ok(Vec::new());
        }
        let no_ack = true;
        let read = command::Xreadgroup { group, no_ack, ..new_read(CONSUMERS[0], count) };
        let invoked = self.counter.next();
        let (values, wait) = self.take_in_turn(life, &Command::Xreadgroup(read))?;
        let ids: Vec<_> = values.into_iter().map(|(id, _)| id).collect();
        life.hold(wait, invoked, What::Other);
        self.check_other(group, &ids)?;
        Ok(ids)
    }

    /// A delivery by `>`: not before it is due, and not too often.
    fn note_delivery(&mut self, id: Id) -> Result<(), Halt> {
        let (policy, now_ms) = (&self.policy, self.now_ms);
        if let Some(lease) = self.leases.get(&id) {
            if now_ms < lease.due_ms {
                let text = format!("{policy:?}: {id:?} at {now_ms}, due at {}", lease.due_ms);
                return Err(Halt::Wrong(text));
            }
            let counts = policy.max_deliver > 0 && policy.consumer_ttl_ms == 0;
            if counts && lease.deliveries >= policy.max_deliver {
                return Err(Halt::Wrong(format!("{policy:?}: {id:?} is delivered too often")));
            }
        }
        self.lease(id);
        Ok(())
    }

    /// Notes that a consumer got an entry now.
    fn lease(&mut self, id: Id) {
        let (policy, now_ms) = (&self.policy, self.now_ms);
        let lease_ms = match policy.ack_wait_ms {
            0 => u64::MAX - now_ms,
            ms => ms + policy.rest_ms(),
        };
        let gone_ms = match policy.consumer_ttl_ms {
            0 => u64::MAX - now_ms,
            ms => ms,
        };
        let deliveries = self.leases.get(&id).map_or(0, |lease| lease.deliveries) + 1;
        self.leases.insert(id, Lease { due_ms: now_ms + lease_ms.min(gone_ms), deliveries });
    }

    pub(super) fn ack<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        match self.some_held() {
            Some(id) => self.ack_one(life, id),
            None => Ok(()),
        }
    }

    pub(super) fn ack_one<S: Restart>(&mut self, life: &mut Life<S>, id: Id) -> Result<(), Halt> {
        let invoked = self.counter.next();
        let (result, wait) = self.ask_in_turn(life, &Command::Xack(KEY, GROUP, vec![core(id)]))?;
        let acked = self.number_of(result)? == 1;
        if acked {
            self.note_landed(id);
        }
        life.hold(wait, invoked, What::Acked(id, acked));
        Ok(())
    }

    pub(super) fn claim<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        consumer: usize,
    ) -> Result<(), Halt> {
        let claim = command::Xautoclaim {
            key: KEY,
            group: GROUP,
            consumer: CONSUMERS[consumer],
            idle_ms_min: *self.random.pick(&[0, 30]),
            start: StreamId::MIN,
            count: 1 + self.random.below(3),
            just_id: false,
        };
        let invoked = self.counter.next();
        let (values, wait) = self.take_in_turn(life, &Command::Xautoclaim(claim))?;
        let entries = self.name_all(values)?;
        entries.iter().for_each(|(id, _)| self.lease(*id));
        life.hold(wait, invoked, What::Took(consumer, How::Claim, entries));
        Ok(())
    }

    pub(super) fn nack<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        let mode = *self.random.pick(&[NackMode::Silent, NackMode::Fail, NackMode::Fatal]);
        let delay_ms = self.random.chance(40).then_some(30);
        match self.some_held() {
            Some(id) => self.nack_one(life, id, mode, delay_ms),
            None => Ok(()),
        }
    }

    pub(super) fn nack_one<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        id: Id,
        mode: NackMode,
        delay_ms: Option<u64>,
    ) -> Result<(), Halt> {
        let delay_ms = delay_ms.filter(|_| mode != NackMode::Fatal);
        self.fatal |= mode == NackMode::Fatal;
        let nack = command::Xnack {
            key: KEY,
            group: GROUP,
            mode,
            ids: vec![core(id)],
            retry_count: None,
            force: false,
            delay_ms,
            reason: None,
        };
        let invoked = self.counter.next();
        let (result, wait) = self.ask_in_turn(life, &Command::Xnack(nack))?;
        if self.number_of(result)? == 1 {
            let rest_ms = match (mode, delay_ms) {
                (_, Some(delay_ms)) => delay_ms,
                (NackMode::Fail, None) => self.policy.rest_ms(),
                _ => 0,
            };
            let lease = self.leases.entry(id).or_default();
            lease.due_ms = self.now_ms + rest_ms;
            if mode == NackMode::Silent {
                // No failure: it is offered again, whatever its count.
                lease.deliveries = 0;
            }
        }
        life.hold(wait, invoked, What::Other);
        Ok(())
    }

    pub(super) fn hand_over<S: Restart>(
        &mut self,
        life: &mut Life<S>,
        consumer: usize,
    ) -> Result<(), Halt> {
        let to = (consumer + 1) % CONSUMERS.len();
        let to = self.random.chance(50).then_some(CONSUMERS[to]);
        let over =
            command::XgroupHandover { key: KEY, group: GROUP, consumer: CONSUMERS[consumer], to };
        let invoked = self.counter.next();
        let (_, wait) = self.ask_in_turn(life, &Command::XgroupHandover(over))?;
        // Nobody failed: what was handed over is offered whatever its count.
        self.leases.values_mut().for_each(|lease| *lease = Lease::default());
        life.hold(wait, invoked, What::Other);
        Ok(())
    }
}
