//! Measures of a score: how well predicted probabilities of denial agree with the outcomes seen later.
//!
//! All counts are integers, scores are grouped by value, and logarithms come from `libm`, so that the same claims
//! give the same numbers on every machine, whatever their order. Must never: read a file, a clock or the operating
//! system's randomness, let the order of a hash map into a result, or show whose claim a row is.

mod bootstrap;
mod calibration;
mod challenge;
mod rank;
mod report;

pub use bootstrap::{Difference, Differences, Interval, Intervals, bootstrap, paired};
pub use calibration::{Bin, PSI_EDGES, psi, reliability};
pub use challenge::{Comparison, Lately, compare, lately};
pub use rank::lift_curve;
pub use report::{Model, report_html};

/// The smallest probability that log loss and log-odds are taken of; the largest is one minus this.
pub const SMALLEST_P: f64 = 1e-6;

/// How many bins of equal mass the calibration error is taken over.
pub const CALIBRATION_BINS: usize = 15;

/// One scored claim whose outcome is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The predicted probability of denial, 0 to 1. Outside of it, it is moved to the nearest end; what is not a
    /// number counts as one half. Both are counted in [`Metrics::unusable_scores`].
    pub p: f64,
    /// Whether the payer denied the claim.
    pub denied: bool,
    /// What was charged, in cents. Below zero counts as zero.
    pub charge_cents: i64,
    /// Which payer, as a number that means nothing outside of the sample.
    pub payer: u32,
    /// Which billing provider, likewise. Claims of one provider resemble each other: the bootstrap draws them
    /// together.
    pub cluster: u32,
    /// The true probability of denial, 0 to 1, where it is known: only a simulator knows it.
    pub truth: Option<f64>,
}

/// The measures of one model on one sample.
///
/// A measure that the sample cannot answer is `None`; plain means over no claims are 0. What the best possible model
/// would reach on the same claims is `metrics` of the rows with `p` set to `truth`.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// How many claims.
    pub claims: u64,
    /// How many of them were denied.
    pub denials: u64,
    /// Scores that were not a number from 0 to 1. Anything but 0 is a defect of the model.
    pub unusable_scores: u64,
    /// The share of claims denied, 0 to 1.
    pub base_rate: f64,
    /// The probability that a denied claim scores above a paid one, ties counting half: the area under the ROC curve
    /// (Hanley et al., Radiology 143, 1982). `None` unless there are both.
    pub auc: Option<f64>,
    /// Average precision: the precision at each distinct score, weighted by the recall gained there. Claims of one
    /// score enter together. `None` without denials.
    pub pr_auc: Option<f64>,
    /// The mean squared difference of score and outcome (Brier 1950); 0 is perfect.
    pub brier: f64,
    /// The mean of minus the natural logarithm of the probability given to what happened, in nats; 0 is perfect. No
    /// probability counts as less than [`SMALLEST_P`].
    pub log_loss: f64,
    /// Expected calibration error: the mean distance of score and denied share over [`CALIBRATION_BINS`] bins of
    /// equal mass, weighted by claims. 0 is perfect; chance alone makes it positive.
    pub calibration_error: f64,
    /// The slope of a logistic regression of the outcome on the score's log-odds (Cox 1958): 1 is perfect, below 1
    /// the scores are too extreme. `None` unless there are both outcomes and two different scores. Very large where
    /// the scores tell all denied from all paid claims.
    pub calibration_slope: Option<f64>,
    /// The intercept of the same regression, in log-odds: 0 is perfect beside a slope of 1.
    pub calibration_intercept: Option<f64>,
    /// The denied share of the tenth of claims with the highest scores, divided by the base rate. `None` without
    /// denials.
    pub lift_top_decile: Option<f64>,
    /// The share of all denials found in the fifth of claims with the highest scores. `None` without denials.
    pub recall_top_fifth: Option<f64>,
    /// The share of all denied charges found in the fifth of claims with the highest scores (a fifth by number, not
    /// by charge). `None` without denied charges.
    pub dollar_recall_top_fifth: Option<f64>,
    /// The mean score; equals the base rate when the scores are right on the whole.
    pub mean_score: f64,
    /// The mean absolute difference of score and truth, over the claims whose truth is known. `None` when there are
    /// none.
    pub mean_error_to_truth: Option<f64>,
}

/// Measures `scored`, in any order. Works on an empty sample too.
#[must_use]
pub fn metrics(scored: &[Scored]) -> Metrics {
    let ties = Sample::of(scored).whole();
    let totals = Totals::of(&ties);
    let line = calibration::line(&ties);
    Metrics {
        claims: totals.claims,
        denials: totals.denials,
        unusable_scores: to_u64(scored.iter().filter(|row| usable(row.p) != Some(row.p)).count()),
        base_rate: ratio(count(totals.denials), count(totals.claims)).unwrap_or(0.0),
        auc: rank::auc(&ties),
        pr_auc: rank::average_precision(&ties),
        brier: brier(&ties),
        log_loss: log_loss(&ties),
        calibration_error: calibration::error(&ties, CALIBRATION_BINS),
        calibration_slope: line.map(|line| line.slope),
        calibration_intercept: line.map(|line| line.intercept),
        lift_top_decile: rank::lift(&ties, 10),
        recall_top_fifth: rank::captured(&ties, 20, |tie| count(tie.denied)),
        dollar_recall_top_fifth: rank::captured(&ties, 20, |tie| wide(tie.denied_cents)),
        mean_score: ratio(ties.iter().map(|tie| count(tie.claims) * tie.p).sum(), count(totals.claims)).unwrap_or(0.0),
        mean_error_to_truth: mean_error_to_truth(scored),
    }
}

/// All claims of one score.
#[derive(Clone, Debug, PartialEq)]
struct Tie {
    /// The score, 0 to 1.
    p: f64,
    /// What a denied claim of this score costs in log loss. Kept, because the bootstrap needs it each round.
    loss_denied: f64,
    /// What a paid claim of this score costs.
    loss_paid: f64,
    /// How many claims; more than there are rows where a bootstrap drew some twice.
    claims: u64,
    /// How many of them were denied.
    denied: u64,
    /// What the denied ones were charged, in cents.
    denied_cents: u128,
}

impl Tie {
    fn empty(p: f64) -> Self {
        let bounded = bounded(p);
        let (loss_denied, loss_paid) = (-libm::log(bounded), -libm::log1p(-bounded));
        Self { p, loss_denied, loss_paid, claims: 0, denied: 0, denied_cents: 0 }
    }
}

/// One claim, by its places in the lists of scores and of clusters.
struct Row {
    level: usize,
    cluster: usize,
    denied: bool,
    cents: u64,
}

/// A sample sorted once, so that it can be counted many times with other weights.
struct Sample {
    /// Each distinct score, the highest first, with nothing counted.
    levels: Vec<Tie>,
    rows: Vec<Row>,
    /// How many distinct clusters; their order is that of their numbers, alike for all models of the same claims.
    clusters: usize,
}

impl Sample {
    fn of(scored: &[Scored]) -> Self {
        let mut levels: Vec<f64> = scored.iter().map(score).collect();
        levels.sort_unstable_by(|one, other| other.total_cmp(one));
        levels.dedup();
        let mut clusters: Vec<u32> = scored.iter().map(|row| row.cluster).collect();
        clusters.sort_unstable();
        clusters.dedup();
        let row = |row: &Scored| Row {
            // Both are found: the lists were made of the same rows.
            level: levels.partition_point(|&p| p > score(row)),
            cluster: clusters.partition_point(|&cluster| cluster < row.cluster),
            denied: row.denied,
            cents: u64::try_from(row.charge_cents).unwrap_or(0),
        };
        let rows = scored.iter().map(row).collect();
        Self { rows, clusters: clusters.len(), levels: levels.into_iter().map(Tie::empty).collect() }
    }

    /// Every claim once.
    fn whole(&self) -> Vec<Tie> {
        self.weighted(&vec![1; self.clusters])
    }

    /// Every claim as often as `weights` says at its cluster's place; scores without claims are left out.
    fn weighted(&self, weights: &[u32]) -> Vec<Tie> {
        let mut ties = self.levels.clone();
        for row in &self.rows {
            let weight = weights.get(row.cluster).copied().unwrap_or(0);
            if let Some(tie) = ties.get_mut(row.level) {
                tie.claims += u64::from(weight);
                if row.denied {
                    tie.denied += u64::from(weight);
                    tie.denied_cents += u128::from(weight) * u128::from(row.cents);
                }
            }
        }
        ties.retain(|tie| tie.claims > 0);
        ties
    }
}

/// The sums that most measures divide by.
struct Totals {
    claims: u64,
    denials: u64,
}

impl Totals {
    fn of(ties: &[Tie]) -> Self {
        Self { claims: ties.iter().map(|tie| tie.claims).sum(), denials: ties.iter().map(|tie| tie.denied).sum() }
    }
}

fn brier(ties: &[Tie]) -> f64 {
    mean(ties, |tie| (1.0 - tie.p) * (1.0 - tie.p), |tie| tie.p * tie.p)
}

fn log_loss(ties: &[Tie]) -> f64 {
    mean(ties, |tie| tie.loss_denied, |tie| tie.loss_paid)
}

/// The mean cost of a claim; 0 when there are none.
fn mean(ties: &[Tie], if_denied: impl Fn(&Tie) -> f64, if_paid: impl Fn(&Tie) -> f64) -> f64 {
    let cost = |tie: &Tie| count(tie.denied) * if_denied(tie) + count(tie.claims - tie.denied) * if_paid(tie);
    ratio(ties.iter().map(cost).sum(), count(Totals::of(ties).claims)).unwrap_or(0.0)
}

fn mean_error_to_truth(scored: &[Scored]) -> Option<f64> {
    let error = |row: &Scored| row.truth.filter(|truth| truth.is_finite()).map(|truth| (score(row) - truth).abs());
    let mut errors: Vec<f64> = scored.iter().filter_map(error).collect();
    // Sorted, because a sum of floats depends on its order.
    errors.sort_unstable_by(f64::total_cmp);
    ratio(errors.iter().sum(), count(to_u64(errors.len())))
}

/// The score as a number from 0 to 1; `None` when it is not a number.
fn usable(p: f64) -> Option<f64> {
    // Adding zero turns minus zero into zero: one score, not two.
    (!p.is_nan()).then(|| p.clamp(0.0, 1.0) + 0.0)
}

/// The score that is counted: one half, which knows nothing, where there is none.
fn score(row: &Scored) -> f64 {
    usable(row.p).unwrap_or(0.5)
}

/// The score, far enough from 0 and 1 to take logarithms.
fn bounded(p: f64) -> f64 {
    p.clamp(SMALLEST_P, 1.0 - SMALLEST_P)
}

/// `None` when there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[expect(clippy::cast_precision_loss, reason = "counts of claims stay far below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "a sum of cents is only ever divided by another")]
fn wide(number: u128) -> f64 {
    number as f64
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn row(p: f64, denied: bool) -> Scored {
        Scored { p, denied, charge_cents: 10_000, payer: 0, cluster: 0, truth: None }
    }

    pub(super) fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn an_empty_sample_has_no_measures_but_counts() {
        let empty = metrics(&[]);
        assert_eq!((empty.claims, empty.denials, empty.unusable_scores), (0, 0, 0));
        assert_eq!((empty.auc, empty.pr_auc, empty.calibration_slope, empty.lift_top_decile), (None, None, None, None));
        assert_eq!([empty.brier, empty.log_loss, empty.base_rate, empty.calibration_error], [0.0; 4]);
    }

    #[test]
    fn one_claim_is_measured_where_one_claim_can_be() {
        let one = metrics(&[row(0.8, true)]);
        assert_eq!((one.claims, one.denials, one.auc, one.calibration_slope), (1, 1, None, None));
        assert!(near(one.brier, 0.04) && near(one.calibration_error, 0.2));
        assert!(near(one.log_loss, -libm::log(0.8)));
        assert!(near(one.lift_top_decile.unwrap(), 1.0) && near(one.recall_top_fifth.unwrap(), 0.2));
    }

    #[test]
    fn brier_and_log_loss_are_the_means_of_the_textbook() {
        let rows = [row(0.9, true), row(0.4, false), row(0.4, true), row(0.1, false)];
        let measured = metrics(&rows);
        assert!(near(measured.brier, (0.01 + 0.16 + 0.36 + 0.01) / 4.0));
        let loss = -(libm::log(0.9) + libm::log(0.6) + libm::log(0.4) + libm::log(0.9)) / 4.0;
        assert!(near(measured.log_loss, loss));
        assert!(near(measured.mean_score, 0.45) && near(measured.base_rate, 0.5));
    }

    #[test]
    fn a_sure_and_wrong_score_costs_a_bounded_log_loss() {
        assert!(near(metrics(&[row(0.0, true)]).log_loss, -libm::log(SMALLEST_P)));
        assert!(near(metrics(&[row(1.0, false)]).log_loss, -libm::log(SMALLEST_P)));
    }

    #[test]
    fn scores_that_are_no_probability_are_counted_and_still_measured() {
        let rows = [row(f64::NAN, true), row(7.0, true), row(-1.0, false), row(-0.0, false), row(1.0, true)];
        let measured = metrics(&rows);
        assert_eq!(measured.unusable_scores, 3);
        assert!(near(measured.brier, 0.25 / 5.0));
    }

    #[test]
    fn the_order_of_the_claims_changes_no_bit() {
        let mut rows: Vec<Scored> = (0..200_u32)
            .map(|at| {
                let p = f64::from(at * 37 % 50) / 61.0;
                Scored { truth: Some(f64::from(at % 7) / 9.0), cluster: at % 9, ..row(p, at * 31 % 4 == 0) }
            })
            .collect();
        let before = metrics(&rows);
        rows.reverse();
        rows.rotate_left(71);
        assert_eq!(metrics(&rows), before);
    }

    #[test]
    fn the_error_to_truth_is_over_the_claims_that_have_one() {
        let with = |p, truth| Scored { truth, ..row(p, false) };
        let rows = [with(0.5, Some(0.3)), with(0.1, Some(0.2)), with(0.9, None), with(0.9, Some(f64::NAN))];
        assert!(near(metrics(&rows).mean_error_to_truth.unwrap(), 0.15));
        assert_eq!(metrics(&rows[2..]).mean_error_to_truth, None);
    }

    #[test]
    fn a_weight_of_two_counts_like_two_rows() {
        let at = |cluster, p, denied| Scored { cluster, ..row(p, denied) };
        let rows = [at(5, 0.7, true), at(9, 0.2, false), at(5, 0.2, true)];
        let twice = [rows[0].clone(), rows[0].clone(), rows[2].clone(), rows[2].clone()];
        assert_eq!(Sample::of(&rows).weighted(&[2, 0]), Sample::of(&twice).whole());
    }
}
