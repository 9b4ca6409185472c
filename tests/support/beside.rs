//! Compares two situations under load in short alternating intervals, so that other load on the machine
//! affects both.

use super::load::Measured;

/// The results of the two situations, in pairs.
pub struct Compared<M> {
    pub alone: Vec<M>,
    pub beside: Vec<M>,
}

/// A ratio over all pairs.
pub struct Ratio {
    lower_quartile: f64,
    pub median: f64,
    upper_quartile: f64,
}

impl<M> Compared<M> {
    /// Runs `pairs` intervals of each situation. Each comes first in half of the pairs, so that neither has
    /// an advantage if the machine slows down or the server warms up.
    pub fn alternating(
        pairs: usize,
        mut alone: impl FnMut() -> M,
        mut beside: impl FnMut() -> M,
    ) -> Compared<M> {
        // The first load makes the server allocate and the CPU speed up, so it is not measured.
        alone();
        beside();
        let mut compared = Compared {
            alone: Vec::new(),
            beside: Vec::new(),
        };
        for pair in 0..pairs {
            if pair % 2 == 0 {
                compared.alone.push(alone());
                compared.beside.push(beside());
            } else {
                compared.beside.push(beside());
                compared.alone.push(alone());
            }
        }
        compared
    }

    /// The ratio of `value` beside to `value` alone, over all pairs.
    pub fn ratio_of(&self, value: impl Fn(&M) -> f64) -> Ratio {
        let ratios = self.ratios(value);
        Ratio {
            lower_quartile: ratios[ratios.len() / 4],
            median: ratios[ratios.len() / 2],
            upper_quartile: ratios[ratios.len() * 3 / 4],
        }
    }

    /// The median over all pairs of the ratio of `value` beside to `value` alone.
    pub fn median_ratio(&self, value: impl Fn(&M) -> f64) -> f64 {
        let ratios = self.ratios(value);
        ratios[ratios.len() / 2]
    }

    /// The ratio of `value` in each pair, in ascending order.
    fn ratios(&self, value: impl Fn(&M) -> f64) -> Vec<f64> {
        let pairs = self.beside.iter().zip(&self.alone);
        let ratios = pairs.map(|(beside, alone)| value(beside) / value(alone));
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }
}

impl Compared<Measured> {
    pub fn ratio(&self) -> Ratio {
        self.ratio_of(|interval| interval.p99().into())
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ratio {
            lower_quartile,
            median,
            upper_quartile,
        } = self;
        write!(
            f,
            "{median:.2} ({lower_quartile:.2} to {upper_quartile:.2})"
        )
    }
}

/// The medians over the intervals.
pub fn cell<'a>(intervals: impl IntoIterator<Item = &'a Measured> + Clone) -> String {
    let of = |value: fn(&Measured) -> f64| {
        let intervals = intervals.clone().into_iter();
        median(intervals.map(value).collect())
    };
    format!(
        "p50 {:.0} us, p99 {:.0} us, {:.0} requests/s",
        of(|interval| interval.percentile(50).into()),
        of(|interval| interval.p99().into()),
        of(|interval| interval.requests_per_second),
    )
}

/// The middle one of the values, or the upper one of two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
