//! Short workloads with a step of each policy in them, at every crash point and in every way in
//! which a power cut may turn out.

use super::policy::Policy;
use super::{Halt, Life, World};
use crate::crash::{Extent, Restart};
use crate::disk::{Fault, FaultDisk, FaultPlan, SharedDisk};
use levada_core::command::{Letters, NackMode, XdlqVerb};

/// A policy, what has happened under it, and the alphabet of what is searched.
struct Theme {
    name: &'static str,
    /// `None`: of any policy, by the number of the workload.
    policy: Option<fn() -> Policy>,
    before: &'static [Letter],
    alphabet: &'static [Letter],
}

/// A request, and what follows from it.
#[derive(Clone, Copy, Debug)]
enum Letter {
    Add,
    Read,
    Ack,
    Fatal,
    /// So many milliseconds go by, and whatever was due in them happens.
    Later(u64),
    /// XSCHED ADD, so many milliseconds ahead; CANCEL.
    Schedule(u64),
    Cancel,
    Redrive,
    Purge,
    /// A reader waits, for whom there is nothing.
    Wait,
}

use Letter::{Ack, Add, Cancel, Fatal, Later, Purge, Read, Redrive, Schedule, Wait};

const THEMES: [Theme; 5] = [
    Theme {
        name: "any",
        policy: None,
        before: &[Add, Add, Read],
        alphabet: &[Add, Read, Ack, Fatal, Later(200)],
    },
    Theme {
        name: "scheduled",
        policy: Some(|| Policy { schedules: true, ..Policy::leased() }),
        before: &[Add, Schedule(50), Schedule(5)],
        alphabet: &[Schedule(0), Schedule(20), Cancel, Later(10), Later(100)],
    },
    Theme {
        name: "redriven",
        policy: Some(|| Policy { redrives: true, named_letters: true, ..Policy::leased() }),
        before: &[Add, Add, Read, Read, Fatal, Fatal],
        alphabet: &[Redrive, Purge, Add],
    },
    Theme {
        name: "in order",
        policy: Some(|| Policy { ordered: true, retention: true, ..Policy::leased() }),
        // The first and the third have the same key.
        before: &[Add, Add, Add, Read],
        alphabet: &[Read, Ack, Fatal, Later(200)],
    },
    Theme {
        name: "waiting",
        policy: Some(|| Policy { waits: true, ordered: true, ..Policy::leased() }),
        before: &[Add, Read, Add, Wait, Wait],
        alphabet: &[Add, Ack, Fatal, Later(50), Schedule(0)],
    },
];

/// What is searched, by names.
pub fn themes() -> impl Iterator<Item = &'static str> {
    THEMES.iter().map(|theme| theme.name)
}

/// Searches every workload of so many requests of every theme; how many crashes were recovered, or
/// what was wrong.
pub fn exhaust<S: Restart>(extent: Extent) -> Result<u64, String> {
    themes().map(|theme| exhaust_theme::<S>(theme, extent)).sum()
}

/// The same of one theme; nothing where it is none.
pub fn exhaust_theme<S: Restart>(theme: &str, extent: Extent) -> Result<u64, String> {
    let mut recovered = 0;
    for theme in THEMES.iter().filter(|of| of.name == theme) {
        for length in 1..=extent.ops {
            for workload in 0..(theme.alphabet.len() as u64).pow(length) {
                let at = |what| format!("{}, workload {workload} of {length}{what}", theme.name);
                recovered += theme.search::<S>(length, workload, extent).map_err(at)?;
            }
        }
    }
    Ok(recovered)
}

impl Theme {
    /// Every crash point of a workload.
    fn search<S: Restart>(
        &self,
        length: u32,
        workload: u64,
        extent: Extent,
    ) -> Result<u64, String> {
        let mut recovered = 0;
        for point in 1.. {
            let at = |what| format!(" at {point}: {what}");
            let (world, stopped) = self.short::<S>(length, workload, point).map_err(at)?;
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
        Ok(recovered)
    }

    /// What comes before, then the requests, until the device stops, which is told. The process
    /// has ended.
    fn short<S: Restart>(
        &self,
        length: u32,
        workload: u64,
        point: u64,
    ) -> Result<(World, bool), String> {
        let mut world = World::new(workload, false);
        if let Some(policy) = self.policy {
            world.policy = policy();
            world.ledger = world.policy.ledger();
        }
        let mut life = world.recover::<S>(false)?;
        let words = |halt| match halt {
            Halt::Wrong(what) | Halt::Failed(what) => format!("in the setup: {what}"),
        };
        for letter in self.before {
            world.letter(&mut life, *letter).map_err(words)?;
        }
        world.rest(&mut life).map_err(words)?;
        world.disk.with(|disk| disk.set_plan(FaultPlan::new().at(point, Fault::Stop)));
        let letters = self.alphabet.len() as u64;
        for place in 0..length {
            let letter = workload / letters.pow(place) % letters;
            let letter = usize::try_from(letter).map_or(Add, |at| self.alphabet[at]);
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
}

impl World {
    fn letter<S: Restart>(&mut self, life: &mut Life<S>, letter: Letter) -> Result<(), Halt> {
        self.wall_ms += 1;
        self.now_ms = self.now_ms.max(self.wall_ms);
        let first = self.held.first().copied();
        match (letter, first) {
            (Add, _) => self.add(life)?,
            (Read, _) => _ = self.read_some(life, 0, 2)?,
            (Ack, Some(id)) => self.ack_one(life, id)?,
            (Fatal, Some(id)) => self.nack_one(life, id, NackMode::Fatal, None)?,
            (Ack | Fatal, None) => self.wall_ms += 200,
            (Later(ms), _) => self.wall_ms += ms,
            (Schedule(ahead_ms), _) => self.plan_at(life, self.wall_ms + ahead_ms)?,
            (Cancel, _) => self.cancel(life)?,
            (Redrive, _) => self.take_chosen(life, XdlqVerb::Redrive, &Letters::First(1))?,
            (Purge, _) => self.take_chosen(life, XdlqVerb::Purge, &Letters::First(1))?,
            (Wait, _) => self.wait(life, 1, 2),
        }
        self.turn(life)?;
        self.turn(life)
    }

    /// Turns go by until nothing is under way.
    fn rest<S: Restart>(&mut self, life: &mut Life<S>) -> Result<(), Halt> {
        for _ in 0..15 {
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
