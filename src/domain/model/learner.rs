//! Folds labels into cells: one diagonal step of an extended Kalman filter per label, in the ledger's order.
//!
//! The state is a function of the labels folded so far and nothing else: replaying the ledger gives the same bits. Must
//! never: subtract a label that was wrong (the ledger is mended and replayed instead), or look at a clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::calibration::Calibration;
use super::{Features, Kind, Label, kappa, prior};

/// Days after which evidence counts half.
const HALF_LIFE: f64 = 365.0;
/// Decays of so many days are worked out beforehand.
const TABLE: usize = 1500;
/// A claim is fit for calibration when it is so many days old: most first answers have come by then ...
const MATURED: i32 = 45;
/// ... and until it is so many days old.
const FORGOTTEN: i32 = 210;
/// Days between two fits of the calibration.
const FIT_EVERY: i32 = 7;

/// What is known of one cell: evidence in natural parameters on top of the prior, and counts, as of a day.
#[derive(Clone, Debug)]
struct Cell {
    kind: Kind,
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
}

impl Cell {
    fn decay(&mut self, by: f64) {
        self.precision *= by;
        self.pull *= by;
        self.seen *= by;
        self.denied *= by;
    }

    /// Mean and variance.
    fn belief(&self) -> (f64, f64) {
        let precision = self.prior.0 + self.precision;
        ((self.prior.1 + self.pull) / precision, 1.0 / precision)
    }
}

/// One cell as it is published.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// Its key.
    pub key: Arc<str>,
    /// Its kind.
    pub kind: Kind,
    /// Mean in log-odds.
    pub mean: f64,
    /// Variance in squared log-odds.
    pub variance: f64,
    /// Labels seen, decayed.
    pub seen: f64,
    /// Denials among them, decayed.
    pub denied: f64,
}

/// A score from before the label was known, for the calibration.
#[derive(Clone, Copy, Debug)]
struct Foretold {
    sent: i32,
    log_odds: f64,
    denied: bool,
}

/// The state of learning.
#[derive(Clone, Debug)]
pub struct Learner {
    cells: Vec<Cell>,
    keys: Vec<Arc<str>>,
    index: HashMap<Arc<str>, usize>,
    /// `2^(-days / half-life)` by days.
    decays: Arc<[f64]>,
    labels: u64,
    day: Option<i32>,
    foretold: VecDeque<Foretold>,
    calibration: Calibration,
    next_fit: i32,
}

/// The active cells of one part of a claim, their sums, and how far the part's label moves them.
#[derive(Default)]
struct Active {
    places: Vec<usize>,
    mean: f64,
    variance: f64,
}

impl Default for Learner {
    fn default() -> Self {
        Self::new()
    }
}

impl Learner {
    /// A learner that has seen nothing.
    #[expect(clippy::cast_precision_loss, reason = "a small table")]
    pub fn new() -> Self {
        Self {
            cells: Vec::new(),
            keys: Vec::new(),
            index: HashMap::new(),
            decays: (0..TABLE).map(|days| libm::exp2(-(days as f64) / HALF_LIFE)).collect(),
            labels: 0,
            day: None,
            foretold: VecDeque::new(),
            calibration: Calibration::default(),
            next_fit: i32::MIN,
        }
    }

    /// Labels folded so far.
    pub const fn labels(&self) -> u64 {
        self.labels
    }

    /// The last day on which a folded label was decided, counted from the beginning of the calendar.
    pub const fn day(&self) -> Option<i32> {
        self.day
    }

    /// The calibration in force.
    pub const fn calibration(&self) -> Calibration {
        self.calibration
    }

    /// Cells that have seen a label, as of the last day, in the order in which they were first seen.
    pub fn learned(&self) -> impl Iterator<Item = Learned> {
        let day = self.day.unwrap_or_default();
        self.cells.iter().zip(&self.keys).map(move |(cell, key)| {
            let mut cell = cell.clone();
            cell.decay(self.factor(cell.kind, cell.day, day));
            let (mean, variance) = cell.belief();
            Learned { key: Arc::clone(key), kind: cell.kind, mean, variance, seen: cell.seen, denied: cell.denied }
        })
    }

    /// Folds one label. Labels must come in the order of their [`super::OrderKey`]s.
    pub fn fold(&mut self, features: &Features, label: &Label) {
        let day = self.day.map_or(label.decided, |day| day.max(label.decided));
        self.day = Some(day);
        if day >= self.next_fit {
            self.fit(day);
        }
        let claim = self.activate(features, features.claim(), day);
        let lines: Vec<Active> = features.lines().map(|line| self.activate(features, line, day)).collect();
        let worst = lines.iter().fold(None::<&Active>, |worst, line| match worst {
            Some(one) if one.mean >= line.mean => worst,
            _ => Some(line),
        });
        let (mean, variance) = worst.map_or((0.0, 0.0), |line| (line.mean, line.variance));
        let (mean, variance) = (claim.mean + mean, claim.variance + variance);
        self.foretold.push_back(Foretold { sent: label.sent, log_odds: kappa(variance) * mean, denied: label.denied });
        // Anchored at the day the claim was sent, so that slow denials weigh as much as quick payments of their cohort.
        let weight = self.factor(Kind::Payer, label.sent, label.decided);
        let moved = step(mean, variance, label.denied, weight);
        self.move_all(&claim.places, moved, label.denied, weight, day);
        // Denied lines first: a cell that several lines share learns once per claim, from the worst of them.
        let mut touched: Vec<usize> = Vec::new();
        for wanted in [true, false] {
            for (line, outcome) in lines.iter().zip(&label.lines).filter(|(_, outcome)| **outcome == Some(wanted)) {
                let places: Vec<usize> = line.places.iter().copied().filter(|place| !touched.contains(place)).collect();
                let outcome = *outcome == Some(true);
                let moved = step(claim.mean + line.mean, claim.variance + line.variance, outcome, weight);
                self.move_all(&places, moved, outcome, weight, day);
                touched.extend(places);
            }
        }
        self.labels += 1;
    }

    /// Finds or makes the cells of factors and brings them up to the day.
    fn activate(&mut self, features: &Features, part: &[super::Feature], day: i32) -> Active {
        let mut active = Active { places: Vec::with_capacity(part.len()), ..Active::default() };
        for feature in part {
            let place = self.place(feature.kind, features.key(feature), day);
            let Some(cell) = self.cells.get(place) else { continue };
            let by = self.factor(cell.kind, cell.day, day);
            let Some(cell) = self.cells.get_mut(place) else { continue };
            cell.decay(by);
            cell.day = cell.day.max(day);
            let (mean, variance) = cell.belief();
            active.mean += mean;
            active.variance += variance;
            active.places.push(place);
        }
        active
    }

    fn place(&mut self, kind: Kind, key: &str, day: i32) -> usize {
        if let Some(place) = self.index.get(key) {
            return *place;
        }
        let (mean, variance_micro) = prior(kind, key);
        let precision = 1e6 / variance_micro as f64;
        let cell =
            Cell { kind, prior: (precision, precision * mean), precision: 0.0, pull: 0.0, seen: 0.0, denied: 0.0, day };
        let (place, key) = (self.cells.len(), Arc::<str>::from(key));
        self.cells.push(cell);
        self.keys.push(Arc::clone(&key));
        self.index.insert(key, place);
        place
    }

    /// How much evidence of one day counts on a later one; the baseline's does not fade.
    fn factor(&self, kind: Kind, from: i32, to: i32) -> f64 {
        let days = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        if kind == Kind::Bias {
            return 1.0;
        }
        self.decays.get(days).copied().unwrap_or_else(|| libm::exp2(-f64::from(to.saturating_sub(from)) / HALF_LIFE))
    }

    fn move_all(&mut self, places: &[usize], (gain, shrink): (f64, f64), denied: bool, weight: f64, day: i32) {
        for place in places {
            let Some(cell) = self.cells.get_mut(*place) else { continue };
            let (mean, variance) = cell.belief();
            let mean = mean + variance * gain;
            let precision = 1.0 / (variance - variance * variance * shrink);
            cell.precision = (precision - cell.prior.0).max(0.0);
            cell.pull = mean * (cell.prior.0 + cell.precision) - cell.prior.1;
            cell.seen += weight;
            cell.denied += if denied { weight } else { 0.0 };
            cell.day = cell.day.max(day);
        }
    }

    /// Fits the calibration on what was foretold of claims that are old enough.
    fn fit(&mut self, day: i32) {
        self.next_fit = day.saturating_add(FIT_EVERY);
        self.foretold.retain(|one| day - one.sent <= FORGOTTEN);
        let mut matured: Vec<&Foretold> = self.foretold.iter().filter(|one| day - one.sent >= MATURED).collect();
        // Stable: claims of one day stay in the ledger's order.
        matured.sort_by_key(|one| one.sent);
        let observations: Vec<_> = matured.iter().map(|one| (one.log_odds, one.denied)).collect();
        self.calibration = self.calibration.refit(&observations);
    }
}

/// How far a label moves means (times their variance) and shrinks variances (times their square).
fn step(mean: f64, variance: f64, denied: bool, weight: f64) -> (f64, f64) {
    let expected = 1.0 / (1.0 + libm::exp(-kappa(variance) * mean));
    let doubt = expected * (1.0 - expected);
    let scale = 1.0 + weight * doubt * variance;
    (weight * (f64::from(u8::from(denied)) - expected) / scale, weight * doubt / scale)
}
