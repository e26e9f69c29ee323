//! Calibration: bends scores to the denial rates that were seen.
//!
//! With few labels a slope and an intercept (Platt 1999), with more the three parameters of beta calibration (Kull, Silva
//! Filho, Flach 2017), with many a line with bends at fixed scores: claims have many causes of which one is enough, so that
//! rates have a floor that no smooth curve of three parameters follows. Fitted on claims whose first answer had time to
//! come. A payer that answers enough claims gets a slope and an intercept of its own on top: how often it denies for no
//! reason that a claim shows is its own matter. Must never: change the order of one payer's scores, or be taken over unless
//! it is better on the newest claims.

use std::collections::BTreeMap;

/// Bends of the line, in millionths of log-odds.
const KNOTS: [i64; 8] = [-4_500_000, -3_750_000, -3_000_000, -2_250_000, -1_500_000, -750_000, 250_000, 1_500_000];
/// The line's slopes between the bends and outside of them.
const SLOPES: usize = KNOTS.len() + 1;
/// No slope is less, so that the order of scores is kept.
const FLATTEST: f64 = 0.02;

/// What is done to the log-odds of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Calibration {
    /// Nothing.
    #[default]
    None,
    /// `a ln p - b ln(1 - p) + c`, in millionths. Platt's line has `a = b`.
    Beta([i64; 3]),
    /// The value at the first bend, and the slopes from the left to the right, in millionths.
    Bent(i64, [i64; SLOPES]),
}

/// A form that is tried: from how many labels and denials on, and how it is fitted.
type Form = (f64, f64, Fit);
/// Fits one form of calibration.
type Fit = fn(&[Observed]) -> Option<Calibration>;

/// Forms for all scores: a slope and an intercept, then beta calibration, then a line with bends.
pub(super) const OF_ALL: &[Form] =
    &[(500.0, 50.0, |seen| platt(seen, RIDGE)), (2000.0, 200.0, beta), (5000.0, 500.0, bent)];
/// Those for one payer's scores.
pub(super) const OF_PAYER: &[Form] = &[(200.0, 20.0, |seen| platt(seen, RIDGE_OF_PAYER))];
/// How strongly parameters are held to those that change nothing: about as this many claims would.
const RIDGE: f64 = 4.0;
/// The same for one payer's, of which there is less to go by.
const RIDGE_OF_PAYER: f64 = 60.0;
/// Steps of Newton's method at the most; it doubles the number of right digits with each.
const STEPS: usize = 12;
/// A step that moves no parameter by more is the last: parameters are kept in millionths.
const SETTLED: f64 = 1e-8;

/// Claims of one score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observed {
    /// The score before calibration, in log-odds.
    pub(super) log_odds: f64,
    /// How many claims.
    pub(super) all: f64,
    /// How many of them were denied.
    pub(super) denied: f64,
}

/// `ln p` and `ln(1 - p)` of log-odds, without loss at the ends.
fn logs(log_odds: f64) -> (f64, f64) {
    let softplus = |x: f64| if x > 0.0 { x + libm::log1p(libm::exp(-x)) } else { libm::log1p(libm::exp(x)) };
    (-softplus(-log_odds), -softplus(log_odds))
}

#[expect(clippy::cast_precision_loss, reason = "parameters are far below 2^53 millionths")]
fn whole(micro: i64) -> f64 {
    micro as f64 / 1e6
}

fn micro(value: f64) -> i64 {
    libm::round(value * 1e6) as i64
}

/// How far a score lies in each part between the bends: before the first bend below zero, behind it above.
fn parts(log_odds: f64) -> [f64; SLOPES] {
    std::array::from_fn(|part| {
        let from = part.checked_sub(1).and_then(|place| KNOTS.get(place)).copied().map(whole);
        let to = KNOTS.get(part).copied().map(whole);
        match (from, to) {
            (None, Some(to)) => (log_odds - to).min(0.0),
            (Some(from), to) => (log_odds.min(to.unwrap_or(f64::INFINITY)) - from).max(0.0),
            (None, None) => log_odds,
        }
    })
}

impl Calibration {
    /// Calibrates log-odds.
    pub fn apply(&self, log_odds: f64) -> f64 {
        match self {
            Self::None => log_odds,
            Self::Beta([a, b, c]) => {
                let (p, q) = logs(log_odds);
                whole(*a) * p - whole(*b) * q + whole(*c)
            }
            Self::Bent(start, slopes) => {
                let bent = parts(log_odds).iter().zip(slopes).map(|(part, slope)| part * whole(*slope)).sum::<f64>();
                whole(*start) + bent
            }
        }
    }

    /// Whether it changes nothing.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The parameters, to be stored: none, three, or one and the slopes.
    pub fn parameters(&self) -> Vec<i64> {
        match self {
            Self::None => Vec::new(),
            Self::Beta(parameters) => parameters.to_vec(),
            Self::Bent(start, slopes) => [*start].into_iter().chain(*slopes).collect(),
        }
    }

    /// Reads stored parameters back; `None` when they are no calibration's.
    pub fn of_parameters(parameters: &[i64]) -> Option<Self> {
        match parameters {
            [] => Some(Self::None),
            [a, b, c] => Some(Self::Beta([*a, *b, *c])),
            [start, slopes @ ..] => Some(Self::Bent(*start, slopes.try_into().ok()?)),
        }
    }

    /// The log-loss on observations, summed over their claims.
    fn loss(&self, observations: &[Observed]) -> f64 {
        let of = |one: &Observed| {
            let (p, q) = logs(self.apply(one.log_odds));
            -(one.denied * p + (one.all - one.denied) * q)
        };
        observations.iter().map(of).sum()
    }

    /// Fits anew and returns what is best for the newest observations: this calibration, none, or one of these forms fitted
    /// on the older ones. The fitted one is then fitted on all.
    pub(super) fn refit(self, forms: &[Form], older: &[Observed], newest: &[Observed]) -> Self {
        let together: Vec<Observed> = older.iter().chain(newest).copied().collect();
        let all: f64 = together.iter().map(|one| one.all).sum();
        let denied: f64 = together.iter().map(|one| one.denied).sum();
        let mut best = (self, None::<Fit>, self.loss(newest));
        let mut offer = |calibration: Self, fit: Option<Fit>| {
            let loss = calibration.loss(newest);
            if loss < best.2 {
                best = (calibration, fit, loss);
            }
        };
        offer(Self::None, None);
        for (_, _, fit) in forms.iter().filter(|(labels, denials, _)| all >= *labels && denied >= *denials) {
            if let Some(calibration) = fit(older) {
                offer(calibration, Some(*fit));
            }
        }
        let (kept, fit, _) = best;
        fit.and_then(|fit| fit(&together)).unwrap_or(kept)
    }
}

/// The calibration of all scores, and what is done to single payers' scores after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calibrations {
    /// That of all.
    pub all: Calibration,
    /// Those of payers, by the name of the payer's cell.
    pub payers: BTreeMap<String, Calibration>,
}

impl Calibrations {
    /// What is done to the scores of a payer's claims.
    pub fn of_payer(&self, payer: &str) -> [Calibration; 2] {
        [self.all, self.payers.get(payer).copied().unwrap_or_default()]
    }
}

fn platt(observations: &[Observed], ridge: f64) -> Option<Calibration> {
    let [slope, intercept] = newton(observations, |score| [score, 1.0], [1.0, 0.0], ridge)?;
    (slope >= 0.0).then(|| Calibration::Beta([slope, slope, intercept].map(micro)))
}

fn beta(observations: &[Observed]) -> Option<Calibration> {
    let logs = |score| {
        let (p, q) = logs(score);
        [p, -q, 1.0]
    };
    newton(observations, logs, [1.0, 1.0, 0.0], RIDGE)
        .filter(|[a, b, _]| *a >= 0.0 && *b >= 0.0)
        .map(|parameters| Calibration::Beta(parameters.map(micro)))
}

fn bent(observations: &[Observed]) -> Option<Calibration> {
    const COUNT: usize = SLOPES + 1;
    let row = |score: f64| {
        let parts = parts(score);
        std::array::from_fn::<f64, COUNT, _>(|place| parts.get(place).copied().unwrap_or(1.0))
    };
    let start = KNOTS.first().copied().map(whole)?;
    let home = std::array::from_fn::<f64, COUNT, _>(|place| if place < SLOPES { 1.0 } else { start });
    let fitted = newton(observations, row, home, RIDGE)?;
    let slopes = std::array::from_fn(|place| micro(fitted.get(place).copied().unwrap_or(1.0).max(FLATTEST)));
    Some(Calibration::Bent(micro(*fitted.last()?), slopes))
}

/// Logistic regression with a ridge towards `home`, by Newton's method.
fn newton<const N: usize>(
    observations: &[Observed],
    row: impl Fn(f64) -> [f64; N],
    home: [f64; N],
    ridge: f64,
) -> Option<[f64; N]> {
    let mut at = home;
    for _ in 0..STEPS {
        let mut gradient: [f64; N] = std::array::from_fn(|i| ridge * (home[i] - at[i]));
        let mut curvature: [[f64; N]; N] =
            std::array::from_fn(|i| std::array::from_fn(|j| if i == j { ridge } else { 0.0 }));
        for one in observations {
            let x = row(one.log_odds);
            let z: f64 = x.iter().zip(&at).map(|(one, other)| one * other).sum();
            let p = 1.0 / (1.0 + libm::exp(-z));
            let (residual, weight) = (one.denied - one.all * p, one.all * p * (1.0 - p));
            for (i, curve) in curvature.iter_mut().enumerate().filter(|(i, _)| x[*i] != 0.0) {
                gradient[i] += x[i] * residual;
                for (cell, other) in curve.iter_mut().zip(&x) {
                    *cell += weight * x[i] * other;
                }
            }
        }
        let step = solve(curvature, gradient)?;
        at = std::array::from_fn(|i| at[i] + step[i]);
        if step.iter().all(|moved| moved.abs() < SETTLED) {
            break;
        }
    }
    at.iter().all(|value| value.is_finite()).then_some(at)
}

/// Solves linear equations by elimination; the ridge keeps the matrix positive definite, so that no pivot is zero.
fn solve<const N: usize>(mut m: [[f64; N]; N], mut v: [f64; N]) -> Option<[f64; N]> {
    for pivot in 0..N {
        let by = m[pivot][pivot];
        if !by.is_finite() || by <= 0.0 {
            return None;
        }
        for below in pivot + 1..N {
            let factor = m[below][pivot] / by;
            let upper = m[pivot];
            for (cell, above) in m[below].iter_mut().zip(upper) {
                *cell -= factor * above;
            }
            v[below] -= factor * v[pivot];
        }
    }
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|column| m[row][column] * v[column]).sum();
        v[row] = (v[row] - known) / m[row][row];
    }
    Some(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores spread evenly, denied as often as `rate` of the score says; without chance.
    fn sample(count: u32, rate: fn(f64) -> f64) -> Vec<Observed> {
        let mut debt = 0.0;
        (0..count)
            .map(|i| {
                let score = f64::from((i * 7919) % 1000) / 1000.0 * 6.0 - 4.5;
                debt += 1.0 / (1.0 + libm::exp(-rate(score)));
                let denied = debt >= 1.0;
                debt -= f64::from(u8::from(denied));
                Observed { log_odds: score, all: 1.0, denied: f64::from(u8::from(denied)) }
            })
            .collect()
    }

    /// A fit from nothing; the newest fifth judges.
    fn fit(observations: &[Observed]) -> Calibration {
        let (older, newest) = observations.split_at(observations.len() - observations.len() / 5);
        Calibration::default().refit(OF_ALL, older, newest)
    }

    #[test]
    fn scores_that_are_too_bold_are_drawn_back() {
        let fitted = fit(&sample(5000, |score| score * 0.5 - 0.3));
        for score in [-4.0, -2.0, 0.0, 1.0] {
            assert!((fitted.apply(score) - (score * 0.5 - 0.3)).abs() < 0.15, "{score}: {}", fitted.apply(score));
        }
        assert!(fitted.apply(1.0) > fitted.apply(0.9));
    }

    #[test]
    fn few_labels_change_nothing_and_more_fit_a_line_first() {
        assert_eq!(fit(&sample(400, |score| score * 0.5)), Calibration::default());
        let some = fit(&sample(1000, |score| score * 0.5));
        let Calibration::Beta([a, b, _]) = some else { panic!("{some:?}") };
        assert!(a == b && (400_000..600_000).contains(&a), "{a} {b}");
    }

    #[test]
    fn what_does_not_help_the_newest_is_not_taken() {
        let mut observations = sample(4000, |score| score * 0.3);
        observations.extend(sample(1000, |score| score));
        assert_eq!(fit(&observations), Calibration::default());
    }

    #[test]
    fn no_calibration_changes_nothing_at_all() {
        for score in [-700.0, -3.2, 0.0, 700.0] {
            assert!((Calibration::default().apply(score) - score).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_floor_below_which_no_rate_falls_is_found_and_the_order_of_scores_kept() {
        let floor = |score: f64| score.max(-3.0);
        let fitted = fit(&sample(20_000, floor));
        assert!(matches!(fitted, Calibration::Bent(..)), "{fitted:?}");
        for score in [-4.3, -3.5, -2.0, 0.0, 1.0] {
            assert!((fitted.apply(score) - floor(score)).abs() < 0.25, "{score}: {}", fitted.apply(score));
        }
        for step in -100..100 {
            let score = f64::from(step) / 10.0;
            assert!(fitted.apply(score) < fitted.apply(score + 0.1), "{score}");
        }
    }

    #[test]
    fn parameters_are_read_back() {
        let bent = fit(&sample(20_000, |score| score.max(-3.0)));
        for calibration in [Calibration::None, Calibration::Beta([1, 2, 3]), bent] {
            assert_eq!(Calibration::of_parameters(&calibration.parameters()), Some(calibration));
        }
        assert_eq!(Calibration::of_parameters(&[1, 2]), None);
    }

    #[test]
    fn a_line_of_slope_one_changes_nothing() {
        let straight = Calibration::Bent(KNOTS[0], [1_000_000; SLOPES]);
        for score in [-9.0, -4.5, -4.0, 0.0, 0.25, 7.0] {
            assert!((straight.apply(score) - score).abs() < 1e-12, "{score}");
        }
    }
}
