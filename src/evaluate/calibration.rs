//! Measures of size: whether claims scored at 20 % are denied one time in five, and whether scores drift.
//!
//! Must never: cut a bin through claims of one score, where only their order of arrival could say which of them go
//! left.

use super::{Sample, Scored, Tie, Totals, bounded, count, ratio, to_u64, usable};

/// The 97.5 % point of the normal distribution, for intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// The inner borders of the bins of [`psi`]. Close together below one half, where most claims score.
pub const PSI_EDGES: [f64; 9] = [0.02, 0.05, 0.10, 0.15, 0.20, 0.30, 0.40, 0.50, 0.70];

/// The least share a bin of [`psi`] counts as: an empty one would be infinitely far away.
const PSI_FLOOR: f64 = 1e-4;

/// A penalty on the regression, too small to be seen beside data; it holds the slope finite where nothing else does.
const RIDGE: f64 = 1e-6;

/// One bin of the reliability diagram.
#[derive(Clone, Debug, PartialEq)]
pub struct Bin {
    /// The mean score of its claims, 0 to 1.
    pub mean_score: f64,
    /// The share of its claims that were denied, 0 to 1.
    pub denied_rate: f64,
    /// How many claims.
    pub claims: u64,
    /// The lower end of the 95 % interval of the denied share (Wilson 1927), as if claims did not depend on each
    /// other.
    pub low: f64,
    /// The upper end of it.
    pub high: f64,
}

/// The reliability diagram's points, the lowest scores first.
///
/// `bins` is the number of bins of equal mass to aim at. Claims of one score stay together; a score with more claims
/// than a bin holds has a bin to itself. So there may be fewer bins, or more (never twice as many). None for no
/// claims.
#[must_use]
pub fn reliability(scored: &[Scored], bins: usize) -> Vec<Bin> {
    let bin = |sum: Sum| {
        let claims = count(sum.claims);
        let (low, high) = wilson(count(sum.denied), claims);
        let (mean_score, denied_rate) = (sum.scores / claims, count(sum.denied) / claims);
        Bin { mean_score, denied_rate, claims: sum.claims, low, high }
    };
    sums(&Sample::of(scored).whole(), bins).into_iter().map(bin).collect()
}

/// The expected calibration error over `bins` bins; 0 when there are no claims.
pub(super) fn error(ties: &[Tie], bins: usize) -> f64 {
    let distance = sums(ties, bins).iter().map(|sum| (sum.scores - count(sum.denied)).abs()).sum();
    ratio(distance, count(Totals::of(ties).claims)).unwrap_or(0.0)
}

/// What one bin holds; never without claims.
struct Sum {
    claims: u64,
    denied: u64,
    scores: f64,
}

/// Fills bins from the lowest score upwards. A tie goes where its middle claim belongs, or has a bin to itself when
/// it is larger than a bin.
fn sums(ties: &[Tie], bins: usize) -> Vec<Sum> {
    let (total, bins) = (u128::from(Totals::of(ties).claims), u128::from(to_u64(bins)));
    let mut filled: Vec<Sum> = Vec::new();
    let (mut before, mut open) = (0_u128, None);
    for tie in ties.iter().rev().filter(|_| bins > 0) {
        let claims = u128::from(tie.claims);
        let place = (claims * bins <= total).then(|| bins * (2 * before + claims) / (2 * total));
        let scores = count(tie.claims) * tie.p;
        match filled.last_mut() {
            Some(last) if place.is_some() && place == open => {
                last.claims += tie.claims;
                last.denied += tie.denied;
                last.scores += scores;
            }
            _ => filled.push(Sum { claims: tie.claims, denied: tie.denied, scores }),
        }
        before += claims;
        open = place;
    }
    filled
}

/// Wilson's 95 % interval of a share: `part` of `whole`, which is not 0.
fn wilson(part: f64, whole: f64) -> (f64, f64) {
    let (share, z2) = (part / whole, Z * Z);
    let middle = share + z2 / (2.0 * whole);
    let reach = Z * libm::sqrt(share * (1.0 - share) / whole + z2 / (4.0 * whole * whole));
    let scale = 1.0 + z2 / whole;
    (((middle - reach) / scale).max(0.0), ((middle + reach) / scale).min(1.0))
}

/// A straight line in log-odds: the outcome's are `intercept + slope * score's`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) intercept: f64,
    pub(super) slope: f64,
}

/// The logistic regression of the outcome on the score's log-odds, by Newton's method with halved steps.
///
/// `None` unless there are both outcomes and two different log-odds.
pub(super) fn line(ties: &[Tie]) -> Option<Line> {
    let totals = Totals::of(ties);
    if totals.denials == 0 || totals.denials == totals.claims {
        return None;
    }
    let points = centred(ties, count(totals.claims));
    let spread: f64 = points.points.iter().map(|point| point.claims * point.x * point.x).sum();
    if spread < 1e-12 * count(totals.claims) {
        return None;
    }
    let mut at = Line { intercept: points.mean, slope: 1.0 };
    for _ in 0..100 {
        let (d_intercept, d_slope) = newton(&points.points, at)?;
        // A hair more than now: near the optimum, rounding would refuse the last good steps.
        let allowed = cost(&points.points, at) * (1.0 + 1e-13);
        let step = |size: f64| Line { intercept: at.intercept - size * d_intercept, slope: at.slope - size * d_slope };
        let sizes = (0..40).scan(1.0, |size, _| Some(std::mem::replace(size, *size / 2.0)));
        let Some(next) = sizes.map(step).find(|next| cost(&points.points, *next) <= allowed) else { break };
        let moved = (next.intercept - at.intercept).abs().max((next.slope - at.slope).abs());
        at = next;
        if moved < 1e-12 {
            break;
        }
    }
    Some(Line { intercept: at.intercept - at.slope * points.mean, slope: at.slope })
}

/// All claims of one score, for the regression.
struct Point {
    /// The score's log-odds, less their mean.
    x: f64,
    claims: f64,
    denied: f64,
}

/// Points whose log-odds average 0: so slope and intercept hardly depend on each other, and rounding stays small.
struct Centred {
    points: Vec<Point>,
    mean: f64,
}

fn centred(ties: &[Tie], claims: f64) -> Centred {
    let log_odds = |tie: &Tie| libm::log(bounded(tie.p)) - libm::log1p(-bounded(tie.p));
    let mean = ties.iter().map(|tie| count(tie.claims) * log_odds(tie)).sum::<f64>() / claims;
    let point = |tie: &Tie| Point { x: log_odds(tie) - mean, claims: count(tie.claims), denied: count(tie.denied) };
    Centred { points: ties.iter().map(point).collect(), mean }
}

/// Minus the log likelihood, with the penalty.
fn cost(points: &[Point], at: Line) -> f64 {
    let one = |point: &Point| {
        let z = at.intercept + at.slope * point.x;
        let soft_plus = z.max(0.0) + libm::log1p(libm::exp(-z.abs()));
        point.claims * soft_plus - point.denied * z
    };
    let penalty = RIDGE / 2.0 * (at.intercept * at.intercept + at.slope * at.slope);
    points.iter().map(one).sum::<f64>() + penalty
}

/// Newton's step: what to take from intercept and slope. `None` when the equations have no one solution.
fn newton(points: &[Point], at: Line) -> Option<(f64, f64)> {
    let (mut g0, mut g1) = (RIDGE * at.intercept, RIDGE * at.slope);
    let (mut h00, mut h01, mut h11) = (RIDGE, 0.0, RIDGE);
    for point in points {
        let p = 1.0 / (1.0 + libm::exp(-(at.intercept + at.slope * point.x)));
        let (excess, weight) = (point.claims * p - point.denied, point.claims * p * (1.0 - p));
        g0 += excess;
        g1 += excess * point.x;
        h00 += weight;
        h01 += weight * point.x;
        h11 += weight * point.x * point.x;
    }
    let determinant = h00 * h11 - h01 * h01;
    (determinant > 0.0).then(|| ((h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant))
}

/// Population stability index of the scores `actual` against `expected`: how far the two lie apart.
///
/// The sum over the bins between [`PSI_EDGES`] of the difference of the shares times the logarithm of their quotient
/// (Siddiqi, Credit Risk Scorecards, 2006). A share counts as at least 0.0001. Common reading: below 0.1 no drift,
/// above 0.25 a large one. `None` when a sample is empty; scores that are not a number are left out.
#[must_use]
pub fn psi(expected: &[f64], actual: &[f64]) -> Option<f64> {
    let (expected, actual) = (shares(expected)?, shares(actual)?);
    Some(expected.iter().zip(&actual).map(|(&was, &is)| (is - was) * (libm::log(is) - libm::log(was))).sum())
}

fn shares(scores: &[f64]) -> Option<Vec<f64>> {
    let mut counts = [0_u64; PSI_EDGES.len() + 1];
    for p in scores.iter().filter_map(|&p| usable(p)) {
        if let Some(counted) = counts.get_mut(PSI_EDGES.partition_point(|&edge| edge <= p)) {
            *counted += 1;
        }
    }
    let total = count(counts.iter().sum());
    counts.iter().map(|&counted| Some(ratio(count(counted), total)?.max(PSI_FLOOR))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::bootstrap::Random;
    use super::super::metrics;
    use super::super::tests::{near, row};
    use super::*;

    /// Claims of given scores: (score, claims, how many of them denied).
    fn groups(groups: &[(f64, u32, u32)]) -> Vec<Scored> {
        groups.iter().flat_map(|&(p, claims, denied)| (0..claims).map(move |at| row(p, at < denied))).collect()
    }

    fn sizes(scored: &[Scored], bins: usize) -> Vec<u64> {
        reliability(scored, bins).iter().map(|bin| bin.claims).collect()
    }

    #[test]
    fn the_calibration_error_is_the_weighted_distance_of_the_bins() {
        // Five claims at 0.2 with two denials are 0.2 off, five at 0.6 with three are right.
        assert!(near(metrics(&groups(&[(0.2, 5, 2), (0.6, 5, 3)])).calibration_error, 0.1));
        let rows = [row(0.1, false), row(0.2, true), row(0.3, false), row(0.4, true)];
        // Two bins: scores of 0.3 against one denial, 0.7 against one.
        assert!(near(error(&Sample::of(&rows).whole(), 2), (0.7 + 0.3) / 4.0));
        // One bin: errors of both signs cancel down to the whole.
        assert!(near(error(&Sample::of(&rows).whole(), 1), 0.25));
    }

    #[test]
    fn bins_hold_equal_numbers_of_claims() {
        let rows: Vec<Scored> = (0..150_u32).map(|at| row(f64::from(at) / 200.0, false)).collect();
        assert_eq!(sizes(&rows, 15), [10; 15]);
        let (few, none) = (sizes(&rows[..4], 15), sizes(&rows, 0));
        assert_eq!((few, none), (vec![1; 4], vec![]));
    }

    #[test]
    fn a_tie_is_never_split() {
        assert_eq!(sizes(&groups(&[(0.1, 1, 0), (0.2, 2, 1), (0.3, 1, 1)]), 2), [1, 3]);
    }

    #[test]
    fn a_tie_larger_than_a_bin_has_one_to_itself() {
        assert_eq!(sizes(&groups(&[(0.1, 1, 0), (0.2, 4, 1), (0.3, 1, 1)]), 2), [1, 4, 1]);
        assert_eq!(sizes(&groups(&[(0.1, 400, 40)]), 15), [400]);
    }

    #[test]
    fn wilsons_interval_is_that_of_the_textbook() {
        let bins = reliability(&groups(&[(0.1, 10, 0), (0.5, 10, 8)]), 2);
        // None of ten: z^2 / (n + z^2).
        assert!(near(bins[0].low, 0.0) && near(bins[0].high, Z * Z / (10.0 + Z * Z)));
        assert!((bins[1].low - 0.490_2).abs() < 1e-4 && (bins[1].high - 0.943_3).abs() < 1e-4);
        assert!(near(bins[1].denied_rate, 0.8) && near(bins[1].mean_score, 0.5));
    }

    #[test]
    fn exactly_calibrated_scores_lie_on_the_line_of_slope_one() {
        let measured = metrics(&groups(&[(0.1, 100, 10), (0.3, 100, 30), (0.5, 100, 50), (0.8, 100, 80)]));
        assert!((measured.calibration_slope.unwrap() - 1.0).abs() < 1e-6);
        assert!(measured.calibration_intercept.unwrap().abs() < 1e-6);
        assert!(measured.calibration_error < 1e-12);
    }

    #[test]
    fn outcomes_drawn_from_the_scores_have_a_slope_near_one_and_halved_log_odds_one_near_two() {
        let mut random = Random::new(7);
        let mut draw = || f64::from(u32::try_from(random.below(1_000_000)).unwrap()) / 1e6;
        let rows: Vec<Scored> = (0..20_000)
            .map(|_| {
                let p = 0.02 + 0.6 * draw() * draw();
                row(p, draw() < p)
            })
            .collect();
        let measured = metrics(&rows);
        assert!((measured.calibration_slope.unwrap() - 1.0).abs() < 0.06);
        assert!(measured.calibration_intercept.unwrap().abs() < 0.1);
        assert!(measured.calibration_error < 0.02);
        let timid = |one: &Scored| {
            let root = libm::sqrt(one.p / (1.0 - one.p));
            row(root / (1.0 + root), one.denied)
        };
        let halved = metrics(&rows.iter().map(timid).collect::<Vec<_>>());
        assert!((halved.calibration_slope.unwrap() / 2.0 - measured.calibration_slope.unwrap()).abs() < 1e-7);
        assert!(near(halved.auc.unwrap(), measured.auc.unwrap()));
    }

    #[test]
    fn scores_that_tell_all_apart_have_a_large_but_finite_slope() {
        let slope = metrics(&groups(&[(0.3, 50, 0), (0.6, 50, 50)])).calibration_slope.unwrap();
        assert!(slope.is_finite() && slope > 10.0);
    }

    #[test]
    fn scores_far_off_are_fitted_too() {
        let measured = metrics(&groups(&[(0.0, 500, 250), (0.999, 500, 300), (1.0, 500, 400)]));
        // Three shares near one half, over a span of 28 in log-odds: nearly flat.
        assert!(measured.calibration_slope.unwrap() > 0.0 && measured.calibration_slope.unwrap() < 0.1);
    }

    #[test]
    fn one_score_or_one_outcome_has_no_slope() {
        assert_eq!(metrics(&groups(&[(0.3, 50, 10)])).calibration_slope, None);
        assert_eq!(metrics(&groups(&[(0.3, 50, 0), (0.4, 50, 0)])).calibration_slope, None);
    }

    #[test]
    fn drift_is_nothing_for_equal_shares_and_grows_with_their_distance() {
        let (low, mixed) = ([0.01, 0.01, 0.03, 0.03], [0.01, 0.03, 0.03, 0.03]);
        assert!(psi(&low, &[0.01, 0.03]).unwrap().abs() < 1e-12);
        // Shares of 1/2, 1/2 against 1/4, 3/4.
        let by_hand = 0.25 * libm::log(2.0) + 0.25 * libm::log(1.5);
        assert!(near(psi(&low, &mixed).unwrap(), by_hand));
        assert!(psi(&low, &[0.9, 0.9]).unwrap() > 1.0);
        assert_eq!((psi(&[], &low), psi(&low, &[f64::NAN])), (None, None));
    }
}
