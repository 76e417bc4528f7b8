//! Writes that are reported as done and landed elsewhere, or nowhere: a device may do that, if
//! rarely, and no sync helps.
//!
//! What it took cannot be there. But nothing else may be served in its place: the store is refused
//! by name, or the damage is reported where it is, or a stream is what it was after some batch.

use super::{Life, Restart, World, rot};
use crate::disk::{Fault, FaultPlan};
use crate::dump::{self, Dump};
use crate::op::{KEYS, model_key};
use crate::pair::{self, Halt};
use levada_engine::ErrorKind;
use levada_engine::shard::Shard;

impl World {
    /// A last life in which one write is a lie, and what is found after it.
    pub(super) fn check_lie<S: Restart>(&mut self) -> Result<(), String> {
        let mut life = self.recover::<S>()?;
        let fault = *self.random.pick(&[Fault::MisdirectedWrite, Fault::LostWrite]);
        let at = 1 + self.random.below(40);
        self.disk.with(|disk| disk.set_plan(FaultPlan::new().at(at, fault)));
        let struck = self.struck();
        self.live_with_it(&mut life)?;
        self.points.extend(life.pair.take_points());
        self.wall_ms = life.pair.wall_ms;
        drop(life);
        if self.struck() == struck {
            return Ok(());
        }
        let detail = self.disk.with(|disk| disk.struck().last().cloned());
        self.tell(|| format!("{detail:?}"));
        self.disk.with(|disk| {
            disk.set_plan(FaultPlan::new());
            disk.crash();
        });
        self.judge_lie::<S>().map_err(|what| format!("{detail:?}: {what}"))
    }

    /// Steps until it is noticed, or for a while.
    fn live_with_it<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), String> {
        for _ in 0..=self.random.below(60) {
            match self.step(life) {
                Ok(()) => {}
                Err(Halt::Store(_) | Halt::Damaged(_)) => break,
                Err(Halt::Wrong(what)) => return Err(what),
            }
        }
        Ok(())
    }

    fn judge_lie<S: Restart>(&mut self) -> Result<(), String> {
        let opened = S::open(self.disk.clone(), self.local.clone());
        let recovered = opened.and_then(|(store, recovered)| {
            let clock = recovered.batches.last().map_or(0, |batch| batch.now_ms);
            let clock = clock.max(recovered.now_ms);
            Ok((Shard::recover(store, recovered, self.settings, 3)?, clock))
        });
        let (mut shard, clock) = match recovered {
            Ok(recovered) => recovered,
            Err(error) if error.kind == ErrorKind::Corrupt => return Ok(()),
            Err(error) => return Err(format!("it is refused, but not as damage: {error}")),
        };
        let now_ms = clock.max(self.wall_ms);
        let (blocks, _) = pair::all_blocks(&mut shard);
        let mut found = dump::of_machine(shard.machine(), &blocks, now_ms);
        for key in (0..KEYS.len()).filter(|key| rot::is_damaged(&mut shard, *key)) {
            found.remove(&model_key(key));
        }
        for point in self.points.iter().rev() {
            if found.is_empty() {
                break;
            }
            let mut model = point.model.clone();
            model.expire_keys(now_ms);
            // When consumers were seen is logged later than the rest.
            dump::take_earlier_seen(&mut model, shard.machine());
            let was: Dump = dump::of_model(&model);
            found.retain(|key, text| was.get(key) != Some(text));
        }
        match found.first_key_value() {
            None => Ok(()),
            Some((key, text)) => {
                let key = key.escape_ascii();
                Err(format!("{key} is served as it never was: {text}"))
            }
        }
    }
}
