//! Short workloads with a dead letter, a lease and a retention in them, at every crash point and in
//! every way in which a power cut may turn out.

use super::{Halt, Life, World};
use crate::crash::{Extent, Restart};
use crate::disk::{Fault, FaultDisk, FaultPlan, SharedDisk};
use levada_core::command::NackMode;

/// Requests of the alphabet.
const LETTERS: u64 = 5;

/// Searches every workload of so many requests; how many crashes were recovered, or what was wrong.
pub fn exhaust<S: Restart>(extent: Extent) -> Result<u64, String> {
    let mut recovered = 0;
    for length in 1..=extent.ops {
        for workload in 0..LETTERS.pow(length) {
            for point in 1.. {
                let at = |what| format!("workload {workload} of {length} at {point}: {what}");
                let (world, stopped) = World::short::<S>(length, workload, point).map_err(at)?;
                let ways = world.copy().disk.with(FaultDisk::cuts);
                let random = &mut world.random.clone();
                for choice in ways.choices(extent.ways_max, extent.samples, random).0 {
                    let mut fork = world.copy();
                    fork.disk.with(|disk| {
                        // Carried out first: the choice counts these writes too.
                        disk.cuts();
                        disk.cut_to(&choice);
                    });
                    fork.recover::<S>(false).map_err(at)?;
                    recovered += 1;
                }
                if !stopped {
                    break;
                }
            }
        }
    }
    Ok(recovered)
}

impl World {
    /// Two entries, one of them delivered, then the requests, until the device stops, which is
    /// told. The process has ended.
    fn short<S: Restart>(length: u32, workload: u64, point: u64) -> Result<(Self, bool), String> {
        let mut world = Self::new(workload, false);
        let mut life = world.recover::<S>(false)?;
        let words = |halt| match halt {
            Halt::Wrong(what) | Halt::Failed(what) => format!("in the setup: {what}"),
        };
        for letter in [0, 0, 1] {
            world.letter(&mut life, letter).map_err(words)?;
        }
        world.rest(&mut life).map_err(words)?;
        world.disk.with(|disk| disk.set_plan(FaultPlan::new().at(point, Fault::Stop)));
        for place in 0..length {
            let letter = workload / LETTERS.pow(place) % LETTERS;
            match world.letter(&mut life, letter) {
                Ok(()) => {}
                Err(Halt::Failed(_)) if world.disk.with(|disk| disk.is_stopped()) => break,
                Err(Halt::Wrong(what) | Halt::Failed(what)) => return Err(what),
            }
        }
        let stopped = world.disk.with(|disk| disk.is_stopped());
        world.disk.with(|disk| disk.set_plan(FaultPlan::new()));
        world.power_cut = true;
        world.settle_unknown(life);
        Ok((world, stopped))
    }

    fn letter<S: Restart>(&mut self, life: &mut Life<S>, letter: u64) -> Result<(), Halt> {
        self.wall_ms += 1;
        let first = self.held.first().copied();
        match (letter, first) {
            (0, _) => self.add(life)?,
            (1, _) => self.read_new(life, 0)?,
            (2, Some(id)) => self.ack_one(life, id)?,
            (3, Some(id)) => self.nack_one(life, id, NackMode::Fatal, None)?,
            // The lease ends, and whatever follows from that.
            _ => self.wall_ms += 200,
        }
        self.turn(life)?;
        self.turn(life)
    }

    /// Turns go by until nothing is under way.
    fn rest<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        for _ in 0..50 {
            life.shard.store_mut().wait();
            self.turn(life)?;
        }
        Ok(())
    }

    /// The same world once more, on a device of its own.
    fn copy(&self) -> Self {
        Self { disk: SharedDisk::new(self.disk.with(|disk| disk.clone())), ..self.clone() }
    }
}
