//! Delay by distance band: the sum that the whole demo is about.
//!
//! Integers only. Floats added in another order give another sum, and the comparison is exact.

use std::collections::BTreeMap;

/// Lower bounds of the distance bands in miles, ascending; the last one has no upper bound.
pub(crate) const BANDS: [u64; 5] = [0, 250, 500, 1000, 2000];

/// What was counted in one band.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Number of flights.
    pub(crate) count: u64,
    /// Sum of their delays in minutes.
    pub(crate) delay_sum: i64,
}

/// Totals by lower bound of the band.
pub(crate) type ByBand = BTreeMap<u64, Totals>;

/// The lower bound of the band that `distance` miles belong to.
pub(crate) fn band_of(distance: u64) -> u64 {
    let above = BANDS.partition_point(|&bound| bound <= distance);
    BANDS[above - 1] // The first bound is 0, so at least one is not above the distance.
}

/// Adds up pairs of band and delay.
pub(crate) fn total(flights: impl IntoIterator<Item = (u64, i64)>) -> ByBand {
    let mut bands = ByBand::new();
    for (band, delay) in flights {
        let totals = bands.entry(band).or_default();
        totals.count += 1;
        totals.delay_sum += delay;
    }
    bands
}

impl Totals {
    /// Mean delay in minutes, 0 for an empty band. For display only.
    #[expect(clippy::cast_precision_loss, reason = "display; the sums stay far below 2^53")]
    pub(crate) fn mean(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.delay_sum as f64 / self.count as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_band_it_opens() {
        for (distance, band) in
            [(0, 0), (249, 0), (250, 250), (999, 500), (1000, 1000), (2000, 2000), (4962, 2000)]
        {
            assert_eq!(band_of(distance), band, "distance {distance}");
        }
    }

    #[test]
    fn early_flights_lower_the_sum() {
        let bands = total([(0, 10), (0, -4), (500, -7)]);
        assert_eq!(bands[&0], Totals { count: 2, delay_sum: 6 });
        assert_eq!(bands[&500], Totals { count: 1, delay_sum: -7 });
        assert_eq!(bands.len(), 2);
        assert!((bands[&0].mean() - 3.0).abs() < f64::EPSILON);
    }
}
