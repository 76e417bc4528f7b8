//! Bits that flip at rest, in every kind of file.

use super::{Life, Restart, World};
use crate::disk::FaultDisk;
use crate::dump;
use crate::op::{KEYS, model_key, subject};
use crate::pair;
use levada_engine::ErrorKind;
use levada_engine::shard::Shard;
use levada_engine::store::{Fetch, Store};

impl World {
    /// Flips a durable bit at rest: refused by name, reported where it is, or no difference.
    pub(super) fn check_flip<S: Restart>(&mut self) -> Result<(), String> {
        let mut life = self.recover::<S>()?;
        if !settle(&mut life)? {
            return Ok(());
        }
        let expected = dump::of_model(&life.pair.model);
        let now_ms = life.pair.now_ms;
        drop(life);
        self.disk.with(FaultDisk::kill);
        let prefix = *self.random.pick(&["", "log/", "segments/", "checkpoint/", "manifest"]);
        let Some(flip) = self.disk.with(|disk| disk.flip(prefix)) else { return Ok(()) };
        self.report.flips += 1;
        self.tell(|| format!("{flip:?}"));
        // A power cut first: reads must see the medium.
        self.disk.with(FaultDisk::crash);
        let opened = S::open(self.disk.clone(), self.local.clone());
        let recovered = opened
            .and_then(|(store, recovered)| Shard::recover(store, recovered, self.settings, 3));
        let mut shard = match recovered {
            Ok(shard) => shard,
            Err(error)
                if error.kind == ErrorKind::Corrupt && error.message.contains(&flip.path) =>
            {
                return Ok(());
            }
            Err(error) => return Err(format!("{flip:?} is refused, but not by name: {error}")),
        };
        let (blocks, _) = pair::all_blocks(&mut shard);
        let mut found = dump::of_machine(shard.machine(), &blocks, now_ms);
        let mut expected = expected;
        for key in (0..KEYS.len()).filter(|key| is_damaged(&mut shard, *key)) {
            expected.remove(&model_key(key));
            found.remove(&model_key(key));
        }
        match dump::difference(&expected, &found) {
            None => Ok(()),
            Some(difference) => Err(format!("{flip:?} is served in silence: {difference}")),
        }
    }
}

/// Lets the engine rest until nothing is under way; false if it cannot be compared at rest.
pub(super) fn settle<S: Restart>(life: &mut Life<S>) -> Result<bool, String> {
    let words = |halt| format!("at rest: {halt:?}");
    life.pair.compare().map_err(words)?;
    life.pair.commit().map_err(words)?;
    for _ in 0..1000 {
        life.pair.wall_ms += 200;
        life.pair.end_turn().map_err(words)?;
        let shard = &mut life.pair.shard;
        if shard.store().is_idle() && shard.store().checkpoint_due() == Some(false) {
            break;
        }
        shard.store_mut().wait();
    }
    life.pair.compare().map_err(words)?;
    life.pair.commit().map_err(words)?;
    let shard = &life.pair.shard;
    Ok(shard.store().is_idle() && shard.durable() == shard.position())
}

/// Whether a block of a stream fails its check.
pub(super) fn is_damaged<S: Store>(shard: &mut Shard<S>, key: usize) -> bool {
    let Some((number, stream)) = shard.machine().stream(subject::key_of(key)) else {
        return false;
    };
    let mut blocks = stream.first_block()..stream.tail_number();
    blocks.any(|block| matches!(shard.store_mut().fetch_now(number.0, block), Fetch::Corrupt))
}
