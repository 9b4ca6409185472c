//! Two situations compared under load, in short spells that take turns: what the machine does besides
//! counts on both sides then.

use super::load::Measured;

/// Spells of the two, the one and the other in pairs.
pub struct Compared {
    pub alone: Vec<Measured>,
    pub beside: Vec<Measured>,
}

/// Ratios of the p99 of the pairs.
pub struct Ratio {
    pub lower_quartile: f64,
    pub median: f64,
    pub upper_quartile: f64,
}

impl Compared {
    /// Runs `pairs` spells of either. Neither is always the first of its pair, so that a machine that
    /// gets slower, or a server that warms up, is nobody's advantage.
    pub fn in_turns(
        pairs: usize,
        mut alone: impl FnMut() -> Measured,
        mut beside: impl FnMut() -> Measured,
    ) -> Compared {
        // Whatever the first load makes a server allocate and a machine speed up.
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

    pub fn ratio(&self) -> Ratio {
        let pairs = self.beside.iter().zip(&self.alone);
        let ratios = pairs.map(|(beside, alone)| f64::from(beside.p99()) / f64::from(alone.p99()));
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        Ratio {
            lower_quartile: ratios[ratios.len() / 4],
            median: ratios[ratios.len() / 2],
            upper_quartile: ratios[ratios.len() * 3 / 4],
        }
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

/// Medians over the spells.
pub fn cell(spells: &[Measured]) -> String {
    let of = |value: fn(&Measured) -> f64| median(spells.iter().map(value).collect());
    format!(
        "p50 {:.0} us, p99 {:.0} us, {:.0} requests/s",
        of(|spell| spell.percentile(50).into()),
        of(|spell| spell.p99().into()),
        of(|spell| spell.requests_per_second),
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
