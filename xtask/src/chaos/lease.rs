//! Workers that only read and acknowledge, in a group with a lease: every good job is done, and
//! every poisoned one is a dead letter, once, with its reason.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::Story;
use super::rig::{self, Rig};

/// One job in so many is poisoned.
const POISON_EVERY: u64 = 50;
/// More than kills alone can use up of an innocent job's deliveries.
const MAX_DELIVER: &str = "8";
const DEAD_LETTERS: &str = "{jobs}:dlq:workers";

#[derive(Debug)]
pub(super) struct Lease;

fn is_poison(number: u64) -> bool {
    number % POISON_EVERY == POISON_EVERY - 1
}

impl Story for Lease {
    const NAME: &'static str = "lease";
    const PROGRAM: &'static str = "naive_worker.py";

    fn prepare(&mut self, rig: &mut Rig) -> Result<()> {
        rig.ask(&["XGROUP", "CREATE", "jobs", "workers", "0", "MKSTREAM"])?;
        let group = ["XGROUP", "CFGSET", "jobs", "workers", "ACK-WAIT", "400"];
        rig.ask(&[&group[..], &["MAX-DELIVER", MAX_DELIVER]].concat())?;
        Ok(())
    }

    fn group(&self) -> (&'static str, &'static str) {
        ("jobs", "workers")
    }

    fn produce(&mut self, number: u64) -> Vec<String> {
        let kind = if is_poison(number) { "poison" } else { "good" };
        let number = number.to_string();
        ["XADD", "jobs", "IDMP", "chaos", &number, "*", "number", &number, "kind", kind]
            .map(str::to_owned)
            .to_vec()
    }

    fn compare(&self, rig: &mut Rig, produced: u64) -> Result<String> {
        let effects = rig.effects()?;
        let done: BTreeSet<u64> = effects.iter().copied().collect();
        let good: BTreeSet<u64> = (0..produced).filter(|number| !is_poison(*number)).collect();
        let missing: Vec<_> = good.difference(&done).take(10).collect();
        ensure!(missing.is_empty(), "good jobs were not done: {missing:?}");
        let strange: Vec<_> = done.difference(&good).take(10).collect();
        ensure!(strange.is_empty(), "jobs were done that are none: {strange:?}");

        let mut letters = BTreeMap::new();
        for entry in rig::entries(rig, DEAD_LETTERS)? {
            let number: u64 = rig::value(&entry, "number")?.parse()?;
            ensure!(!rig::value(&entry, "x-dlq-reason")?.is_empty(), "{number} has no reason");
            let deliveries = rig::value(&entry, "x-dlq-deliveries")?;
            ensure!(deliveries == MAX_DELIVER, "{number} was delivered {deliveries} times");
            *letters.entry(number).or_insert(0) += 1;
        }
        let poison = produced - good.len() as u64;
        for (number, times) in &letters {
            ensure!(is_poison(*number), "{number} is a dead letter, and good");
            ensure!(*times == 1, "{number} is a dead letter {times} times");
        }
        let dead = letters.len() as u64;
        ensure!(dead == poison, "{dead} dead letters, not {poison}");
        let again = effects.len() - done.len();
        let good = good.len();
        Ok(format!("{good} good jobs all done ({again} twice), {dead} poisoned all dead letters"))
    }
}
