//! The measurements, and how abide compares.

use super::cells::{Cell, Targets};
use super::floor::FLOOR_NAME;
use super::kinds::ABIDE_NAME;
use super::load::{LoadResult, MEDIAN, P99, PERCENTILES};

/// One measurement of one server, or the medians of several.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Requests per second.
    pub rate: f64,
    /// The server's CPU time per request.
    pub cpu_micros: f64,
    pub latency_micros: [f64; PERCENTILES.len()],
    pub memory_bytes: f64,
    /// The part of the answers that were wrong or missing.
    pub wrong: f64,
}

impl Sample {
    pub fn new(seen: &LoadResult, cpu_micros: f64, memory_bytes: u64) -> Sample {
        let requests = seen.requests.max(1) as f64;
        Sample {
            rate: seen.requests as f64 / seen.secs,
            cpu_micros: cpu_micros / requests,
            latency_micros: seen.latency_micros,
            memory_bytes: memory_bytes as f64,
            wrong: seen.wrong as f64 / (requests + seen.wrong as f64),
        }
    }

    /// The median of each value separately; `None` without samples.
    pub fn median(samples: &[Sample]) -> Option<Sample> {
        let of = |value: &dyn Fn(&Sample) -> f64| {
            let mut values: Vec<f64> = samples.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            if values.len().is_multiple_of(2) {
                f64::midpoint(values[middle - 1], values[middle])
            } else {
                values[middle]
            }
        };
        (!samples.is_empty()).then(|| Sample {
            rate: of(&|sample| sample.rate),
            cpu_micros: of(&|sample| sample.cpu_micros),
            latency_micros: std::array::from_fn(|at| of(&|sample| sample.latency_micros[at])),
            memory_bytes: of(&|sample| sample.memory_bytes),
            wrong: of(&|sample| sample.wrong),
        })
    }
}

/// The line of a server in the table of a cell.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub is_rival: bool,
    pub sample: Sample,
}

/// The results of all servers in one cell, in the order of the tables.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub cell: Cell,
    /// The rate of requests that the client intends to send, if the cell is paced.
    pub asked: Option<f64>,
    pub rows: Vec<Row>,
}

/// A value that has a target.
#[derive(Debug, Clone, Copy)]
pub enum Measure {
    Cpu,
    Rate,
    P50,
    P99,
}

impl Measure {
    pub const ALL: [Measure; 4] = [Measure::Cpu, Measure::Rate, Measure::P50, Measure::P99];

    pub fn of(self, sample: &Sample) -> f64 {
        match self {
            Measure::Cpu => sample.cpu_micros,
            Measure::Rate => sample.rate,
            Measure::P50 => sample.latency_micros[MEDIAN],
            Measure::P99 => sample.latency_micros[P99],
        }
    }

    fn target(self, targets: &Targets) -> Option<f64> {
        match self {
            Measure::Cpu => targets.cpu,
            Measure::Rate => targets.rate,
            Measure::P50 => targets.p50,
            Measure::P99 => targets.p99,
        }
    }

    /// Whether larger values are better.
    fn is_larger_better(self) -> bool {
        matches!(self, Measure::Rate)
    }
}

/// The ratio of abide's value to the best rival's.
pub struct Comparison<'a> {
    pub best: &'a Row,
    pub ratio: f64,
    /// The bound on the ratio, if there is one.
    pub target: Option<f64>,
    /// Whether the ratio meets the bound. It does if there is no bound.
    pub is_met: bool,
}

impl Outcome {
    pub fn abide(&self) -> Option<&Row> {
        self.row(ABIDE_NAME)
    }

    /// The row of the server with this name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The ratio of the floor's CPU time to the best rival's: no server with an event loop can be below it.
    pub fn floor_ratio(&self) -> Option<f64> {
        let floor = self.row(FLOOR_NAME)?;
        Some(floor.sample.cpu_micros / self.best_rival(Measure::Cpu)?.sample.cpu_micros)
    }

    /// Compares abide with the best rival; `None` if abide or all rivals are missing.
    pub fn comparison(&self, measure: Measure) -> Option<Comparison<'_>> {
        let best = self.best_rival(measure)?;
        let ratio = measure.of(&self.abide()?.sample) / measure.of(&best.sample);
        let target = measure.target(&self.cell.targets);
        let is_met = target.is_none_or(|target| {
            if measure.is_larger_better() {
                ratio >= target
            } else {
                ratio <= target
            }
        });
        Some(Comparison {
            best,
            ratio,
            target,
            is_met,
        })
    }

    /// The best rival. Servers with wrong answers do not count.
    fn best_rival(&self, measure: Measure) -> Option<&Row> {
        let value = |row: &Row| measure.of(&row.sample);
        let rivals = self.rows.iter();
        let rivals = rivals.filter(|row| row.is_rival && row.sample.wrong < 0.001);
        let order = |a: &&Row, b: &&Row| value(a).total_cmp(&value(b));
        if measure.is_larger_better() {
            rivals.max_by(order)
        } else {
            rivals.min_by(order)
        }
    }
}
