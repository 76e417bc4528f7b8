//! Short workloads at every crash point: most crash bugs of file systems need no more than three
//! operations around a sync (Mohan et al., OSDI 2018).

use super::{Restart, World};
use crate::disk::{Fault, FaultPlan, SharedDisk};
use crate::model::{
    Fields, GroupFrom, GroupStart, Id, NewId, ReadMore, References, Threshold, Trim,
};
use crate::op::{Op, Step};
use crate::pair::Halt;
use crate::random::Random;

/// Every crash point of every short workload: after a setup that is durable, at most `ops` ops of a
/// small alphabet with a commit after each, the device stopped at every single change that this
/// asks of it. At each point `cuts` power cuts and kills are drawn, and what is left is recovered.
/// How many were; or what was wrong.
pub fn exhaust<S: Restart>(ops: u32, cuts: u64) -> Result<u64, String> {
    let mut recovered = 0;
    for length in 1..=ops {
        for workload in 0..(ALPHABET as u64).pow(length) {
            let digit = |place| {
                usize::try_from(workload / (ALPHABET as u64).pow(place)).map(|n| n % ALPHABET)
            };
            let ops: Vec<Op> =
                (0..length).map(|place| letter(digit(place).expect("small"))).collect();
            for point in 1.. {
                let (world, stopped) = World::short::<S>(workload, &ops, point)
                    .map_err(|what| format!("{ops:?} stopped at {point}: {what}"))?;
                for cut in 0..cuts {
                    let mut fork = world.fork(cut);
                    fork.end(true);
                    fork.recover::<S>()
                        .map_err(|what| format!("{ops:?} stopped at {point}, cut {cut}: {what}"))?;
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

/// Letters of the alphabet of [`exhaust`].
const ALPHABET: usize = 7;

/// One op of the alphabet.
fn letter(n: usize) -> Op {
    let fields: Fields = [(b"field".to_vec(), vec![b'v'; 150])].into();
    let add =
        |trim| Op::Xadd { key: 0, create: true, trim, id: NewId::Auto, fields: fields.clone() };
    let keep_one =
        Trim { to: Threshold::MaxLen(1), approx: false, limit: None, references: References::Keep };
    match n {
        0 => add(None),
        1 => Op::Xreadgroup {
            group: 0,
            consumer: 0,
            from: vec![(0, GroupFrom::New)],
            count: 1,
            noack: false,
            more: ReadMore::default(),
        },
        2 => Op::Xack(0, 0, vec![Id(1001, 0), Id(1002, 0)]),
        3 => Op::Xdel(0, vec![Id(1001, 0)]),
        4 => Op::Multi(vec![add(Some(keep_one)), Op::Incr(1)]),
        5 => Op::Rename { from: 0, to: 1, only_new: false },
        _ => Op::Del(vec![0, 1]),
    }
}

impl World {
    /// A durable stream with a group, then ops until they end or the device stops.
    fn short<S: Restart>(seed: u64, ops: &[Op], point: u64) -> Result<(Self, bool), String> {
        let mut world = Self::new(seed, false);
        let mut life = world.recover_undisturbed::<S>()?;
        let start = GroupStart::After(Id::MIN);
        let (key, group) = (0, 0);
        let create = Op::GroupCreate { key, group, start, create: true, entries_read: None };
        let setup = [create, letter(0), letter(0), letter(1)];
        let step = |op: &Op| Step { clock_ms: 1, op: op.clone(), ends_turn: true };
        for op in &setup {
            world.carry_out(&mut life, &step(op)).map_err(|halt| format!("{halt:?}"))?;
        }
        world.disk.with(|disk| disk.set_plan(FaultPlan::new().at(point, Fault::Stop)));
        for op in ops {
            match world.carry_out(&mut life, &step(op)) {
                Ok(()) => {}
                Err(Halt::Wrong(what)) => return Err(what),
                Err(_) if world.disk.with(|disk| disk.is_stopped()) => break,
                Err(halt) => return Err(format!("{halt:?}")),
            }
        }
        world.points.extend(life.pair.take_points());
        world.wall_ms = life.pair.wall_ms;
        let stopped = world.disk.with(|disk| disk.is_stopped());
        Ok((world, stopped))
    }

    /// The same world once more, with another future.
    fn fork(&self, seed: u64) -> Self {
        let mut disk = self.disk.with(|disk| disk.clone());
        let mut random = Random::new(seed);
        disk.reseed(Random::new(random.bits()));
        Self { random, disk: SharedDisk::new(disk), ..self.clone() }
    }
}
