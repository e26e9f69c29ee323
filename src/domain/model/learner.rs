//! Folds labels into cells: one diagonal step of an extended Kalman filter per label, in the ledger's order.
//!
//! The state is a function of the labels folded so far and nothing else: replaying the ledger gives the same bits. Must
//! never: subtract a label that was wrong (the ledger is mended and replayed instead), or look at a clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::calibration::{Calibration, Calibrations};
use super::foretold::Foretold;
use super::{Configuration, Feature, Features, Kind, Label, Table, kappa};

/// Decays of so many days are worked out beforehand.
const TABLE: u16 = 1500;
/// Days between two fits of the calibration.
const FIT_EVERY: i32 = 7;

/// What is known of one cell: evidence in natural parameters on top of the prior, and counts, as of a day. As large as what
/// a processor fetches at once, and laid out so.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Cell {
    /// Precision of the prior, and precision times mean.
    prior: (f64, f64),
    /// Precision that the labels added.
    precision: f64,
    /// Precision times mean that the labels added.
    pull: f64,
    /// Labels and denials, decayed.
    seen: f64,
    denied: f64,
    /// The day as of which the above holds.
    day: i32,
    /// The label that moved it last, as of the learner's count.
    moved_by: u32,
    /// Whether evidence halves with time; the baseline's does not.
    fades: bool,
}

impl Cell {
    /// A cell that has seen nothing.
    fn new(configuration: Configuration, kind: Kind, name: &str) -> Self {
        let (mean, variance_micro) = configuration.prior(kind, name);
        let precision = 1e6 / variance_micro as f64;
        Self {
            prior: (precision, precision * mean),
            precision: 0.0,
            pull: 0.0,
            seen: 0.0,
            denied: 0.0,
            // Nothing is known yet that could fade.
            day: i32::MIN,
            moved_by: 0,
            fades: kind != Kind::Bias,
        }
    }

    fn decay(&mut self, by: f64) {
        self.precision *= by;
        self.pull *= by;
        self.seen *= by;
        self.denied *= by;
    }

    /// Mean and variance.
    fn belief(&self) -> (f64, f64) {
        let variance = 1.0 / (self.prior.0 + self.precision);
        ((self.prior.1 + self.pull) * variance, variance)
    }
}

/// What was learned of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// Mean in log-odds.
    pub mean: f64,
    /// Variance in squared log-odds.
    pub variance: f64,
    /// Labels seen, decayed.
    pub seen: f64,
    /// Denials among them, decayed.
    pub denied: f64,
}

/// The state of learning.
#[derive(Clone, Debug)]
pub struct Learner {
    configuration: Configuration,
    cells: Table<Cell>,
    decays: Decays,
    labels: u64,
    day: Option<i32>,
    foretold: Foretold,
    calibration: Calibration,
    /// Payers' own calibrations, by the places of their cells.
    payers: BTreeMap<u32, Calibration>,
    next_fit: i32,
}

/// The cells of a claim by their places: those of the whole claim and those of each line.
#[derive(Clone, Debug)]
pub(super) struct Places {
    payer: u32,
    claim: Box<[u32]>,
    lines: Box<[Box<[u32]>]>,
}

impl Places {
    /// Finds the place of each factor.
    pub(super) fn of(features: &Features, place: &mut impl FnMut(&Feature) -> usize) -> Self {
        // No model comes near 2^32 cells.
        let mut place = |one: &Feature| u32::try_from(place(one)).unwrap_or(u32::MAX);
        let mut all = |part: &[Feature]| part.iter().map(&mut place).collect();
        let (claim, lines): (Box<[u32]>, _) = (all(features.claim()), features.lines().map(all).collect());
        let payer = features.claim().iter().position(|one| one.kind == Kind::Payer);
        Self { payer: payer.and_then(|at| claim.get(at)).copied().unwrap_or(u32::MAX), claim, lines }
    }
}

impl Default for Learner {
    fn default() -> Self {
        Self::new(Configuration::default())
    }
}

impl Learner {
    /// A learner that has seen nothing.
    pub fn new(configuration: Configuration) -> Self {
        Self {
            configuration,
            cells: Table::default(),
            decays: Decays::new(configuration.half_life()),
            labels: 0,
            day: None,
            foretold: Foretold::default(),
            calibration: Calibration::default(),
            payers: BTreeMap::new(),
            next_fit: i32::MIN,
        }
    }

    /// A learner that has seen nothing, with a cell for each name at the name's own place.
    pub(super) fn over(names: &Table<()>, configuration: Configuration) -> Self {
        let cells = names.map(|kind, name| Cell::new(configuration, kind, name));
        Self { cells, ..Self::new(configuration) }
    }

    /// How it learns.
    pub const fn configuration(&self) -> Configuration {
        self.configuration
    }

    /// Labels folded so far.
    pub const fn labels(&self) -> u64 {
        self.labels
    }

    /// The last day on which a folded label was decided, counted from the beginning of the calendar.
    pub const fn day(&self) -> Option<i32> {
        self.day
    }

    /// The calibrations in force.
    pub fn calibrations(&self) -> Calibrations {
        let named = |(place, own): (&u32, &Calibration)| Some((self.cells.word_of(*place as usize)?.to_owned(), *own));
        Calibrations { all: self.calibration, payers: self.payers.iter().filter_map(named).collect() }
    }

    /// Cells that have seen a label, as of the last day, each made into a row.
    pub fn learned<T>(&self, make: impl Fn(Learned) -> T) -> Table<T> {
        let day = self.day.unwrap_or_default();
        self.cells.filter_map(|cell| {
            if cell.seen <= 0.0 {
                return None;
            }
            let mut cell = cell.clone();
            if cell.fades {
                cell.decay(self.decays.factor(cell.day, day));
            }
            let (mean, variance) = cell.belief();
            Some(make(Learned { mean, variance, seen: cell.seen, denied: cell.denied }))
        })
    }

    /// Folds one label. Labels must come in the order of their [`super::OrderKey`]s.
    pub fn fold(&mut self, features: &Features, label: &Label) {
        let (numbers, configuration) = (self.cells.numbers_for(features), self.configuration);
        let places = Places::of(features, &mut |feature| {
            self.cells
                .place_or(feature, &numbers, || Cell::new(configuration, feature.kind, features.names(feature)[0]))
        });
        self.fold_places(&places, label);
    }

    /// The same where the cells were found before.
    pub(super) fn fold_places(&mut self, places: &Places, label: &Label) {
        let day = self.day.map_or(label.decided, |day| day.max(label.decided));
        self.day = Some(day);
        self.labels += 1;
        if day >= self.next_fit {
            self.next_fit = day.saturating_add(FIT_EVERY);
            (self.calibration, self.payers) = self.foretold.fit(self.calibration, &self.payers, day);
        }
        let claim = self.activate(&places.claim, day);
        let lines: Vec<Sums> = places.lines.iter().map(|line| self.activate(line, day)).collect();
        let worst = lines.iter().copied().reduce(|worst, line| if line.mean > worst.mean { line } else { worst });
        let whole = claim.with(worst.unwrap_or_default());
        self.foretold.note(label.sent, places.payer, kappa(whole.variance) * whole.mean, label.denied);
        // Anchored at the day the claim was sent, so that slow denials weigh as much as quick payments of their cohort.
        let weight = self.decays.factor(label.sent, label.decided);
        self.move_all(&places.claim, step(whole, label.denied, weight), label.denied, weight);
        // Denied lines first: a cell that several lines share learns once per claim, from the worst of them.
        for wanted in [true, false] {
            let of_lines = places.lines.iter().zip(&lines).zip(&label.lines);
            for ((places, line), _) in of_lines.filter(|(_, outcome)| **outcome == Some(wanted)) {
                self.move_all(places, step(claim.with(*line), wanted, weight), wanted, weight);
            }
        }
    }

    /// Brings cells up to the day and sums them.
    fn activate(&mut self, places: &[u32], day: i32) -> Sums {
        let mut sums = Sums::default();
        for place in places {
            let Some(cell) = self.cells.at_mut(*place as usize) else { continue };
            if cell.day < day {
                if cell.fades {
                    cell.decay(self.decays.factor(cell.day, day));
                }
                cell.day = day;
            }
            let (mean, variance) = cell.belief();
            sums.mean += mean;
            sums.variance += variance;
        }
        sums
    }

    /// Moves cells by a label, each once however many lines share it.
    fn move_all(&mut self, places: &[u32], (gain, shrink): (f64, f64), denied: bool, weight: f64) {
        // Only to tell labels that follow each other apart.
        let label = self.labels as u32;
        for place in places {
            let Some(cell) = self.cells.at_mut(*place as usize).filter(|cell| cell.moved_by != label) else { continue };
            cell.moved_by = label;
            let (mean, variance) = cell.belief();
            let mean = mean + variance * gain;
            let precision = 1.0 / (variance - variance * variance * shrink);
            cell.precision = (precision - cell.prior.0).max(0.0);
            cell.pull = mean * (cell.prior.0 + cell.precision) - cell.prior.1;
            cell.seen += weight;
            cell.denied += if denied { weight } else { 0.0 };
        }
    }
}

/// Sums of means and variances over cells.
#[derive(Clone, Copy, Default)]
struct Sums {
    mean: f64,
    variance: f64,
}

impl Sums {
    fn with(self, other: Self) -> Self {
        Self { mean: self.mean + other.mean, variance: self.variance + other.variance }
    }
}

/// How evidence fades.
#[derive(Clone, Debug)]
struct Decays {
    half_life: f64,
    /// `2^(-days / half-life)` by days.
    known: Arc<[f64]>,
}

impl Decays {
    fn new(half_life: f64) -> Self {
        Self { half_life, known: (0..TABLE).map(|days| libm::exp2(-f64::from(days) / half_life)).collect() }
    }

    /// How much evidence of one day counts on a later one.
    fn factor(&self, from: i32, to: i32) -> f64 {
        let days = to.saturating_sub(from).max(0);
        let known = usize::try_from(days).ok().and_then(|days| self.known.get(days));
        known.copied().unwrap_or_else(|| libm::exp2(-f64::from(days) / self.half_life))
    }
}

/// How far a label moves means (times their variance) and shrinks variances (times their square).
fn step(sums: Sums, denied: bool, weight: f64) -> (f64, f64) {
    let expected = 1.0 / (1.0 + libm::exp(-kappa(sums.variance) * sums.mean));
    let doubt = expected * (1.0 - expected);
    let scale = 1.0 + weight * doubt * sums.variance;
    (weight * (f64::from(u8::from(denied)) - expected) / scale, weight * doubt / scale)
}
