//! A store against a model, over a disk that crashes.

use super::*;

/// What the batches so far say; an effect is a block that was sealed, or a drop, and filler.
#[derive(Clone, Default)]
struct Model {
    history: BTreeMap<Lsn, Vec<u8>>,
    durable: Lsn,
    written: Lsn,
    /// What must be there at the next opening.
    required: Lsn,
}

#[derive(Clone, Default, PartialEq, Debug)]
struct State {
    live: BTreeSet<(u64, u64)>,
    next: BTreeMap<u64, u64>,
}

impl State {
    fn apply(&mut self, effects: &[u8]) {
        match effects {
            [1, object, ..] => {
                let object = u64::from(*object);
                let next = self.next.entry(object).or_default();
                self.live.insert((object, *next));
                *next += 1;
            }
            [2, object, number, ..] => {
                let (object, number) = (u64::from(*object), u64::from(*number));
                self.live.retain(|(o, n)| *o != object || *n >= number);
            }
            _ => {}
        }
    }

    fn bytes(&self) -> Vec<u8> {
        format!("{self:?}").into_bytes()
    }
}

impl Model {
    fn state(&self, lsn: Lsn) -> State {
        let mut state = State::default();
        for effects in self.history.range(..=lsn).map(|(_, effects)| effects) {
            state.apply(effects);
        }
        state
    }

    fn list(&self, from: Lsn, to: Lsn) -> Vec<u8> {
        let lsns = self.history.range(..=to).map(|(lsn, _)| *lsn);
        let lsns = lsns.filter(|lsn| *lsn >= from);
        lsns.flat_map(Lsn::to_le_bytes).collect()
    }
}

/// A store, its model, and the last checkpoint that was begun.
struct Run {
    store: LocalStore<CrashDisk>,
    state: State,
    listed: Lsn,
    now_ms: u64,
}

impl Run {
    /// Opens, checks what came back against the model, and replays.
    fn open(disk: &CrashDisk, model: &mut Model) -> Result<Self, Error> {
        let (store, recovered) = LocalStore::open(disk.clone(), small())?;
        let end = recovered.lsn + recovered.batches.len() as u64;
        assert!(end >= model.required, "lost: {end} < {}", model.required);
        // An opening that did not finish may have put its mark where a lost batch was.
        let mark = |lsn: &Lsn| {
            let batch = lsn.checked_sub(recovered.lsn + 1);
            let batch = batch.and_then(|at| recovered.batches.get(at as usize));
            *lsn > model.required && batch.is_some_and(|batch| batch.effects.is_empty())
        };
        let first = model.history.keys().find(|lsn| mark(lsn)).copied();
        let end_known = first.map_or(end, |mark| mark - 1);
        model.history.retain(|lsn, _| *lsn <= end_known);
        let state = model.state(recovered.lsn);
        if recovered.lsn > 0 {
            let shown = |id| recovered.pieces.get(&id).map(Vec::as_slice);
            assert_eq!(shown(STATE), Some(&state.bytes()[..]));
            assert_eq!(shown(LIST).unwrap_or(&[]), model.list(0, recovered.lsn));
        }
        let mut run = Self { store, state, listed: recovered.lsn, now_ms: recovered.now_ms };
        run.blocks_are_there();
        run.replay(&recovered, model)?;
        run.blocks_are_there();
        model.durable = run.store.durable();
        model.written = run.store.written();
        Ok(run)
    }

    fn replay(&mut self, recovered: &Recovered, model: &Model) -> Result<(), Error> {
        let none = Vec::new();
        for (batch, lsn) in recovered.batches.iter().zip(recovered.lsn + 1..) {
            assert_eq!(batch.lsn, lsn);
            let expect = model.history.get(&lsn).unwrap_or(&none);
            assert!(batch.effects == *expect, "batch {lsn}");
            self.effect(&batch.effects)?;
        }
        Ok(())
    }

    /// Lets an effect act on state and store.
    fn effect(&mut self, effects: &[u8]) -> Result<(), Error> {
        match effects {
            [1, object, ..] => {
                let object = u64::from(*object);
                let number = self.state.next.get(&object).copied().unwrap_or(0);
                self.store.put_block(object, number, block(object, number))?;
            }
            [2, object, number, ..] => {
                self.store.drop_before(u64::from(*object), u64::from(*number));
            }
            _ => {}
        }
        self.state.apply(effects);
        Ok(())
    }

    fn blocks_are_there(&mut self) {
        for (object, number) in self.state.live.clone() {
            match self.store.fetch_now(object, number) {
                Fetch::Ready(found) => {
                    assert_eq!(found.bytes(), block(object, number).bytes());
                }
                // A disk that has stopped reads nothing, which is not damage.
                _ if self.store.disk().is_stopped() => return,
                other => panic!("block {number} of {object}: {other:?}"),
            }
        }
    }

    fn commit(&mut self, random: &mut Random, model: &mut Model) -> Result<(), Error> {
        let len = match random.below(10) {
            0 => 3 + random.below(40_000),
            _ => 3 + random.below(3000),
        };
        let mut effects = vec![random.below(256) as u8; len as usize];
        let object = random.below(3);
        let next = self.state.next.get(&object).copied().unwrap_or(0);
        effects[0] = [0, 0, 1, 1, 2][random.below(5) as usize];
        effects[1] = object as u8;
        effects[2] = random.below(next + 1) as u8;
        self.effect(&effects)?;
        let urgency = match random.below(3) {
            0 => Urgency::Written,
            _ => Urgency::Durable,
        };
        // The batch may reach the disk even where the call fails.
        let lsn = self.store.written() + 1;
        model.history.insert(lsn, effects.clone());
        self.now_ms += random.below(5);
        assert_eq!(self.store.commit(self.now_ms, &effects, urgency)?, lsn);
        Ok(())
    }

    fn checkpoint(&mut self, model: &Model) -> Result<(), Error> {
        if self.store.checkpoint_due().is_none() {
            return Ok(());
        }
        let lsn = self.store.written();
        let whole = self.store.checkpoint_begin()?;
        self.store.checkpoint_piece(STATE, PieceChange::Put, &self.state.bytes())?;
        let (change, from) =
            if whole { (PieceChange::Put, 0) } else { (PieceChange::Extend, self.listed + 1) };
        self.store.checkpoint_piece(LIST, change, &model.list(from, lsn))?;
        self.listed = lsn;
        self.store.checkpoint_end()
    }

    fn fetch(&mut self, random: &mut Random) -> Result<(), Error> {
        let nth = random.below(self.state.live.len() as u64 + 1) as usize;
        let Some((object, number)) = self.state.live.iter().nth(nth).copied() else {
            return Ok(());
        };
        for _ in 0..1000 {
            match self.store.fetch(object, number) {
                Fetch::Ready(found) => {
                    assert_eq!(found.bytes(), block(object, number).bytes());
                    return Ok(());
                }
                Fetch::Reading => {
                    self.store.wait();
                    self.store.poll()?;
                }
                _ if self.store.disk().is_stopped() => return Ok(()),
                other => panic!("block {number} of {object}: {other:?}"),
            }
        }
        panic!("a read never ends");
    }

    fn step(&mut self, random: &mut Random, model: &mut Model) -> Result<(), Error> {
        match random.below(12) {
            0..6 => self.commit(random, model)?,
            6 => {
                self.store.poll()?;
            }
            7 => {
                self.store.wait();
                self.store.poll()?;
            }
            8 => drop(self.store.idle(self.now_ms)?),
            9 => self.checkpoint(model)?,
            10 => {
                self.store.set_lane(match random.below(2) {
                    0 => Lane::Inline,
                    _ => Lane::Background,
                });
                self.store.set_syncs_max(random.below(5) as usize);
            }
            _ => self.fetch(random)?,
        }
        Ok(())
    }
}

/// Runs until the disk stops or the steps are done; true when it stopped.
fn run(disk: &CrashDisk, random: &mut Random, model: &mut Model, steps: u64) -> bool {
    let mut run = match Run::open(disk, model) {
        Ok(run) => run,
        Err(error) => {
            assert!(disk.is_stopped(), "{error}");
            return true;
        }
    };
    for _ in 0..steps {
        let result = run.step(random, model);
        // Also behind an error: what was said to be durable is.
        model.durable = run.store.durable();
        model.written = run.store.written();
        if let Err(error) = result {
            assert!(disk.is_stopped(), "{error}");
            return true;
        }
    }
    false
}

/// Names the seed when a test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

#[test]
fn survives_power_cuts_at_random() {
    let seeds = if std::env::var_os("SLOW_TESTS").is_some() { 20_000 } else { 200 };
    for seed in 1..=seeds {
        let _named = Seed(seed);
        let mut random = Random::new(seed);
        let mut disk = CrashDisk::new(seed);
        let mut model = Model::default();
        for _ in 0..6 {
            disk.stop_after(1 + random.below(400));
            let steps = 10 + random.below(100);
            run(&disk, &mut random, &mut model, steps);
            if random.below(4) == 0 {
                disk = disk.kill();
                model.required = model.written.max(model.durable);
            } else {
                disk = disk.cut(random.below(1 << 40));
                model.written = model.durable;
                model.required = model.durable;
            }
        }
        run(&disk, &mut random, &mut model, 5);
    }
}

#[test]
fn survives_a_crash_at_every_operation() {
    for stop in 1.. {
        let mut random = Random::new(7);
        let disk = CrashDisk::new(7);
        let mut model = Model::default();
        disk.stop_after(stop);
        let stopped = run(&disk, &mut random, &mut model, 60);
        for seed in 0..3 {
            let mut model = model.clone();
            model.required = model.durable;
            let after = disk.cut(stop * 10 + seed);
            // A second crash, within the recovery.
            after.stop_after(1 + stop % 40);
            run(&after, &mut random.clone(), &mut model, 3);
            let after = after.cut(seed);
            model.required = model.durable;
            assert!(!run(&after, &mut random.clone(), &mut model, 3));
        }
        // A power cut soon after a kill: what the next process saw was not all durable.
        for seed in 0..3 {
            let mut model = model.clone();
            let after = disk.kill();
            model.required = model.written;
            assert!(!run(&after, &mut random.clone(), &mut model, 0));
            let after = after.cut(stop * 10 + seed);
            model.required = model.durable;
            assert!(!run(&after, &mut random.clone(), &mut model, 3));
        }
        if !stopped {
            return;
        }
    }
}

#[test]
fn the_same_calls_make_the_same_bytes() {
    let bytes = |seed| {
        let disk = CrashDisk::new(seed);
        let mut model = Model::default();
        run(&disk, &mut Random::new(seed), &mut model, 200);
        disk.image()
    };
    assert!(bytes(3) == bytes(3));
    assert!(bytes(3) != bytes(4));
}
