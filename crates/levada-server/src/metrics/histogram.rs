//! A histogram with fixed bounds, as Prometheus reads it: counting costs a search of a short list.

/// See the module. `N` bounds, each the most that its bucket holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Histogram<const N: usize> {
    bounds: [u64; N],
    counts: [u64; N],
    /// All that was counted, and its sum.
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// An empty one. The bounds rise.
    pub(crate) const fn new(bounds: [u64; N]) -> Self {
        Self { bounds, counts: [0; N], count: 0, sum: 0 }
    }

    pub(crate) fn note(&mut self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Each bound with how many values were at or below it.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut below = 0;
        self.bounds.iter().zip(&self.counts).map(move |(bound, count)| {
            below += count;
            (*bound, below)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_count_at_their_bound_and_above_it() {
        let mut histogram = Histogram::new([1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 101, u64::MAX] {
            histogram.note(value);
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative, [(1, 2), (10, 4), (100, 5)]);
        assert_eq!((histogram.count, histogram.sum), (7, u64::MAX));
    }
}
