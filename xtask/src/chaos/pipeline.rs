//! A step between two streams that acknowledges and appends in one transaction: the output has
//! every input exactly once.

use anyhow::{Context as _, Result, ensure};

use super::Story;
use super::rig::{self, Rig};

#[derive(Debug)]
pub(super) struct Pipeline;

/// What an order costs, so that a wrong sum cannot hide.
fn cents(number: u64) -> u64 {
    100 + number * 7 % 9_901
}

impl Story for Pipeline {
    const NAME: &'static str = "pipeline";
    const PROGRAM: &'static str = "pipeline_worker.py";

    fn prepare(&mut self, rig: &mut Rig) -> Result<()> {
        rig.ask(&["XGROUP", "CREATE", "orders", "totals", "0", "MKSTREAM"])?;
        rig.ask(&["XGROUP", "CFGSET", "orders", "totals", "ACK-WAIT", "400"])?;
        Ok(())
    }

    fn group(&self) -> (&'static str, &'static str) {
        ("orders", "totals")
    }

    fn produce(&mut self, number: u64) -> Vec<String> {
        let (cents, number) = (cents(number).to_string(), number.to_string());
        ["XADD", "orders", "IDMP", "chaos", &number, "*", "number", &number, "cents", &cents]
            .map(str::to_owned)
            .to_vec()
    }

    fn compare(&self, rig: &mut Rig, produced: u64) -> Result<String> {
        let mut seen = vec![false; usize::try_from(produced)?];
        let mut sum = 0;
        for entry in rig::entries(rig, "totals")? {
            let number: usize = rig::value(&entry, "number")?.parse()?;
            let one = seen.get_mut(number).with_context(|| format!("{number} was no order"))?;
            ensure!(!*one, "order {number} was counted twice");
            *one = true;
            sum += rig::value(&entry, "cents")?.parse::<u64>()?;
        }
        let missing = seen.iter().filter(|one| !**one).count();
        ensure!(missing == 0, "{missing} of {produced} orders were not counted");
        let expected: u64 = (0..produced).map(|number| cents(number) * 119 / 100).sum();
        ensure!(sum == expected, "the totals sum up to {sum}, not {expected}");
        Ok(format!("{produced} orders, each counted once, {sum} cents as expected"))
    }
}
