//! Simpler ways to score, played beside the model on the same claims and with the same knowledge.
//!
//! Must never: know anything that the model of that day did not.

use crate::domain::model::{Features, Kind};
use crate::domain::rules::{CATALOGUE, Rule};
use crate::domain::score::{Cell, Snapshot};

/// A method to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The share of all claims that were denied so far.
    BaseRate,
    /// The payer's share, drawn to that of all.
    PayerRate,
    /// Points per broken rule plus parts of the payer's and the procedure's raw rates: how scores are made by hand.
    FixedSum,
    /// Log-odds of every factor's own rate, added up as if each came alone.
    NaiveSum,
}

/// All of them.
pub const BASELINES: [Baseline; 4] = [Baseline::BaseRate, Baseline::PayerRate, Baseline::FixedSum, Baseline::NaiveSum];

/// A rate before anything was seen, and how many claims it counts as.
const PRIOR: (f64, f64) = (0.11, 20.0);

impl Baseline {
    /// What it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BaseRate => "base rate",
            Self::PayerRate => "payer rate",
            Self::FixedSum => "fixed weighted sum",
            Self::NaiveSum => "naive sum of log-odds",
        }
    }

    /// The probability of a denial by this method.
    pub fn score(self, features: &Features, snapshot: &Snapshot) -> f64 {
        let base = rate(snapshot.cell(Kind::Bias.word()), PRIOR.0);
        let of = |kind: Kind| {
            features.claim().iter().find(|feature| feature.kind == kind).map(|feature| features.key(feature))
        };
        let payer = rate(of(Kind::Payer).and_then(|key| snapshot.cell(&key)), base);
        match self {
            Self::BaseRate => base,
            Self::PayerRate => payer,
            Self::FixedSum => fixed(features, snapshot, payer),
            Self::NaiveSum => naive(features, snapshot, base),
        }
    }
}

/// Denials among labels, drawn to a parent's rate.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53 thousandths")]
fn rate(cell: Option<Cell>, parent: f64) -> f64 {
    let cell = cell.unwrap_or_default();
    (cell.denied_milli as f64 / 1e3 + PRIOR.1 * parent) / (cell.seen_milli as f64 / 1e3 + PRIOR.1)
}

fn rule_of(key: &str) -> Option<&'static Rule> {
    let id = key.strip_prefix("rule/")?;
    CATALOGUE.iter().find(|rule| rule.id == id)
}

/// Half of each broken rule's own probability, and three tenths each of the payer's rate and of its worst procedure's.
fn fixed(features: &Features, snapshot: &Snapshot, payer: f64) -> f64 {
    let rules = features.claim().iter().filter_map(|feature| rule_of(&features.key(feature)));
    let points: f64 = rules.map(|rule| f64::from(rule.prior_permille) / 1000.0 * 0.5).sum();
    let procedures = features.lines().flatten().filter(|feature| feature.kind == Kind::PayerProcedure);
    let worst = procedures.map(|feature| rate(snapshot.cell(&features.key(feature)), payer)).fold(0.0, f64::max);
    (points + 0.3 * payer + 0.3 * worst).clamp(0.001, 0.999)
}

fn naive(features: &Features, snapshot: &Snapshot, base: f64) -> f64 {
    let logit = |p: f64| libm::log(p / (1.0 - p));
    let beyond = |feature: &crate::domain::model::Feature| {
        logit(rate(snapshot.cell(&features.key(feature)), base).clamp(1e-4, 1.0 - 1e-4)) - logit(base)
    };
    let of_claim: f64 = features.claim().iter().map(beyond).sum();
    let of_lines = features.lines().map(|line| line.iter().map(beyond).sum::<f64>()).reduce(f64::max);
    1.0 / (1.0 + libm::exp(-(logit(base) + of_claim + of_lines.unwrap_or(0.0))))
}
