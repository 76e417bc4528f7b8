//! What was served, and the comparison with what was counted.
//!
//! The ledger holds what the answers of the service promised, no more and no less: a click that
//! `must` be counted, as the redirect said that it is on disk; one that `should` be, unless the
//! process that had it in its buffer was killed; and one that `may` be, as nobody knows whether
//! its request arrived. Each counts at most once.

use std::collections::{BTreeMap, HashMap, HashSet};

use levada::BUFFER_EVENTS_MAX;

use crate::client::{Answer, Failed};
use crate::load::Shot;
use crate::record::Kept;
use crate::store::Seen;
use crate::web::CLICK_KEPT;

/// Clicks of `enqueued` that one kill may take: the buffer, and what was on its way out of it.
const LOST_PER_KILL_MAX: usize = BUFFER_EVENTS_MAX + 256;

/// What was promised of a click.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Promise {
    Must,
    Should,
    May,
}

/// Every click of a run.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Link and promise, by the id of the click.
    clicks: HashMap<String, (String, Promise)>,
    /// Clicks that were promised as numbers only, by link.
    folded: BTreeMap<String, u64>,
    /// Redirects that were served, whatever was promised of their clicks.
    pub(crate) served: u64,
    /// Of these, such that will not be counted, and said so.
    pub(crate) shed: u64,
    /// Requests that were answered by something else than a redirect.
    pub(crate) refused: u64,
}

/// What a database has of it.
pub(crate) struct Found {
    /// Which database.
    pub(crate) name: String,
    /// Its clicks, one by one.
    pub(crate) seen: Vec<Seen>,
    /// Its own sums by link.
    pub(crate) totals: BTreeMap<String, u64>,
}

impl Ledger {
    /// Notes the outcome of a request.
    pub(crate) fn note(&mut self, shot: &Shot<'_>, outcome: &Result<Answer, Failed>) {
        let promise = match outcome {
            Err(Failed::Refused) => return,
            Err(Failed::Broken) => Promise::May,
            Ok(answer) if answer.status.as_u16() != 302 => {
                self.refused += 1;
                return;
            }
            Ok(answer) => {
                self.served += 1;
                let word = answer.headers.get(CLICK_KEPT).and_then(|word| word.to_str().ok());
                match word.and_then(Kept::parse) {
                    Some(Kept::Durable) => Promise::Must,
                    Some(Kept::Queued) => Promise::Should,
                    Some(Kept::Folded) => {
                        *self.folded.entry(shot.code.to_owned()).or_default() += 1;
                        return;
                    }
                    Some(Kept::Shed | Kept::Ignored) => {
                        self.shed += 1;
                        return;
                    }
                    Some(Kept::Unknown) | None => Promise::May,
                }
            }
        };
        self.clicks.insert(shot.id.clone(), (shot.code.to_owned(), promise));
    }

    /// Compares, prints a line for each database, and answers what is wrong.
    ///
    /// `prefix` is what the ids of the ledger begin with: a click of another id stands for several
    /// that were folded. `kills` is how often a process with a buffer was killed.
    pub(crate) fn compare(&self, found: &[Found], prefix: &str, kills: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        println!(
            "{:<20} {:>8} {:>8}   {:>8} {:>8}   {:>7} {:>7}   {:>7} {:>7}",
            "", "must", "counted", "should", "counted", "may", "counted", "folded", "counted"
        );
        for one in found {
            self.compare_one(one, prefix, kills, &mut wrong);
        }
        // Both groups read the same stream: what is in one is in the other.
        for pair in found.windows(2) {
            let clicks = |it: &'_ Found| it.seen.iter().cloned().collect::<HashSet<Seen>>();
            if clicks(&pair[0]) != clicks(&pair[1]) {
                let (one, other) = (&pair[0].name, &pair[1].name);
                wrong.push(format!("{one} and {other} have different clicks"));
            }
        }
        wrong
    }

    fn compare_one(&self, found: &Found, prefix: &str, kills: usize, wrong: &mut Vec<String>) {
        let name = &found.name;
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        let mut folded: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut ids, mut counted) = (HashSet::new(), HashMap::new());
        for seen in &found.seen {
            *sums.entry(&seen.code).or_default() += seen.weight;
            if !ids.insert(&seen.id) {
                wrong.push(format!("{name}: {} is there twice", seen.id));
                continue;
            }
            match self.clicks.get(&seen.id) {
                Some((code, _)) if *code != seen.code || seen.weight != 1 => {
                    wrong.push(format!("{name}: {seen:?} was a click of {code}"));
                }
                Some((_, promise)) => *counted.entry(format!("{promise:?}")).or_insert(0) += 1,
                None if seen.id.starts_with(prefix) => {
                    wrong.push(format!("{name}: {} was never promised", seen.id));
                }
                None => *folded.entry(&seen.code).or_default() += seen.weight,
            }
        }
        let totals: BTreeMap<&str, u64> =
            found.totals.iter().map(|(code, sum)| (&**code, *sum)).collect();
        if totals != sums {
            wrong.push(format!("{name}: its counts are not those of its clicks"));
        }
        let of = |promise| self.clicks.values().filter(|(_, it)| *it == promise).count();
        let (must, should, may) = (of(Promise::Must), of(Promise::Should), of(Promise::May));
        let had = |promise: Promise| counted.get(&format!("{promise:?}")).copied().unwrap_or(0);
        println!(
            "{name:<20} {must:>8} {:>8}   {should:>8} {:>8}   {may:>7} {:>7}   {:>7} {:>7}",
            had(Promise::Must),
            had(Promise::Should),
            had(Promise::May),
            self.folded.values().sum::<u64>(),
            folded.values().sum::<u64>(),
        );
        if had(Promise::Must) != must {
            wrong.push(format!(
                "{name}: {} clicks on disk are not counted",
                must - had(Promise::Must)
            ));
        }
        let lost = should - had(Promise::Should);
        if lost > kills * LOST_PER_KILL_MAX {
            wrong.push(format!("{name}: {lost} clicks of buffers are lost, by {kills} kills"));
        }
        for (code, sum) in &folded {
            let promised = self.folded.get(*code).copied().unwrap_or(0);
            // A request whose answer did not arrive may have been folded.
            if *sum > promised + may as u64 {
                wrong.push(format!("{name}: {code} has {sum} folded clicks, not {promised}"));
            }
        }
        if kills == 0 && folded.values().sum::<u64>() < self.folded.values().sum::<u64>() {
            wrong.push(format!("{name}: folded clicks are lost"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(clicks: &[(&str, &str, Promise)]) -> Ledger {
        let clicks = clicks
            .iter()
            .map(|(id, code, promise)| ((*id).to_owned(), ((*code).to_owned(), *promise)))
            .collect();
        Ledger { clicks, folded: [("a".to_owned(), 3)].into(), ..Ledger::default() }
    }

    fn found(seen: &[(&str, &str, u64)]) -> Found {
        let seen: Vec<Seen> = seen
            .iter()
            .map(|(id, code, weight)| Seen {
                id: (*id).to_owned(),
                code: (*code).to_owned(),
                weight: *weight,
            })
            .collect();
        let mut totals = BTreeMap::new();
        for one in &seen {
            *totals.entry(one.code.clone()).or_default() += one.weight;
        }
        Found { name: "it".to_owned(), seen, totals }
    }

    fn wrong(seen: &[(&str, &str, u64)], kills: usize) -> usize {
        let ledger = ledger(&[
            ("r-1", "a", Promise::Must),
            ("r-2", "b", Promise::Should),
            ("r-3", "a", Promise::May),
        ]);
        ledger.compare(&[found(seen)], "r-", kills).len()
    }

    const MUST: (&str, &str, u64) = ("r-1", "a", 1);
    const SHOULD: (&str, &str, u64) = ("r-2", "b", 1);
    const MAY: (&str, &str, u64) = ("r-3", "a", 1);
    const FOLD: (&str, &str, u64) = ("x", "a", 3);

    #[test]
    fn what_was_promised_is_what_is_asked_for() {
        assert_eq!(wrong(&[MUST, SHOULD, MAY, FOLD], 0), 0);
        assert_eq!(wrong(&[MUST, SHOULD, FOLD], 0), 0, "a click that may be counted need not be");
        assert_eq!(wrong(&[SHOULD, FOLD], 0), 1, "one that is on disk has to be");
        assert_eq!(wrong(&[MUST, FOLD], 0), 1, "one of a buffer, if nobody was killed");
        assert_eq!(wrong(&[MUST, FOLD], 1), 0, "a kill takes buffers");
        assert_eq!(wrong(&[MUST, SHOULD], 0), 1, "folded clicks have to be counted");
        assert_eq!(wrong(&[MUST, SHOULD, ("x", "a", 5)], 0), 1, "and not more often");
        assert_eq!(wrong(&[MUST, SHOULD, FOLD, ("r-9", "a", 1)], 0), 1, "never promised");
        assert_eq!(wrong(&[MUST, MUST, SHOULD, FOLD], 0), 1, "twice");
        assert_eq!(wrong(&[("r-1", "b", 1), SHOULD, FOLD], 0), 2, "of another link, and missing");
    }

    #[test]
    fn the_sums_and_the_other_database_have_to_agree() {
        let ledger = ledger(&[("r-1", "a", Promise::Must)]);
        let mut one = found(&[MUST, FOLD]);
        let other = found(&[MUST, FOLD]);
        assert!(ledger.compare(&[one, other], "r-", 0).is_empty());
        one = found(&[MUST, FOLD]);
        one.totals.insert("a".to_owned(), 5);
        assert_eq!(ledger.compare(&[one], "r-", 0).len(), 1);
        let (one, other) = (found(&[MUST, FOLD]), found(&[MUST, ("y", "a", 3)]));
        assert_eq!(ledger.compare(&[one, other], "r-", 0).len(), 1);
    }
}
