//! Beta calibration (Kull, Silva Filho, Flach 2017): bends scores to the denial rates that were seen.
//!
//! `logit p = a ln(p_raw) - b ln(1 - p_raw) + c`, with a and b not below zero, so that the order of scores is kept. Fitted
//! on claims whose first answer had time to come. Must never: be taken over unless it is better on the newest of them.

/// The three parameters in millionths; the default changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calibration {
    /// Weight of `ln p`.
    pub a_micro: i64,
    /// Weight of `-ln(1 - p)`.
    pub b_micro: i64,
    /// What is added.
    pub c_micro: i64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { a_micro: 1_000_000, b_micro: 1_000_000, c_micro: 0 }
    }
}

/// From so many labels and denials on, all three parameters are fitted.
const FULL: (usize, usize) = (2000, 200);
/// From so many on, a slope and an intercept (Platt); below, nothing.
const SLOPE: (usize, usize) = (500, 50);
/// How strongly the parameters are held to (1, 1, 0): as much as this many observations of middling scores.
const RIDGE: f64 = 4.0;
/// Steps of Newton's method; it doubles the number of right digits with each.
const STEPS: usize = 12;

/// A score before calibration in log-odds, and whether the claim was denied.
pub(super) type Observation = (f64, bool);

type Vector = [f64; 3];

/// `ln p` and `ln(1 - p)` of log-odds, without loss at the ends.
fn logs(log_odds: f64) -> (f64, f64) {
    let softplus = |x: f64| if x > 0.0 { x + libm::log1p(libm::exp(-x)) } else { libm::log1p(libm::exp(x)) };
    (-softplus(-log_odds), -softplus(log_odds))
}

impl Calibration {
    /// Whether it changes nothing.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// Calibrates log-odds.
    #[expect(clippy::cast_precision_loss, reason = "parameters are far below 2^53 millionths")]
    pub fn apply(&self, log_odds: f64) -> f64 {
        if self.is_identity() {
            return log_odds;
        }
        let (p, q) = logs(log_odds);
        (self.a_micro as f64 * p - self.b_micro as f64 * q + self.c_micro as f64) / 1e6
    }

    fn of(parameters: Vector) -> Self {
        let micro = |value: f64| libm::round(value * 1e6) as i64;
        let [a, b, c] = parameters.map(micro);
        Self { a_micro: a, b_micro: b, c_micro: c }
    }

    /// The mean log-loss on observations.
    #[expect(clippy::cast_precision_loss, reason = "counts of claims are far below 2^53")]
    fn loss(&self, observations: &[Observation]) -> f64 {
        let sum: f64 = observations
            .iter()
            .map(|(score, denied)| {
                let (p, q) = logs(self.apply(*score));
                if *denied { -p } else { -q }
            })
            .sum();
        sum / observations.len().max(1) as f64
    }

    /// Fits anew on observations, the oldest first, and returns the better one for the newest fifth of them: the new
    /// one, this one, or none at all.
    pub(super) fn refit(self, observations: &[Observation]) -> Self {
        let (older, newest) = observations.split_at(observations.len() - observations.len() / 5);
        let denials = |part: &[Observation]| part.iter().filter(|(_, denied)| *denied).count();
        let (count, denied) = (observations.len(), denials(observations));
        let fit: fn(&[Observation]) -> Option<Self> = if count >= FULL.0 && denied >= FULL.1 {
            |part| beta(part).or_else(|| platt(part))
        } else if count >= SLOPE.0 && denied >= SLOPE.1 {
            platt
        } else {
            return self;
        };
        let kept = if self.loss(newest) <= Self::default().loss(newest) { self } else { Self::default() };
        match fit(older) {
            Some(tried) if tried.loss(newest) < kept.loss(newest) => fit(observations).unwrap_or(kept),
            _ => kept,
        }
    }
}

fn beta(observations: &[Observation]) -> Option<Calibration> {
    let rows = observations.iter().map(|(score, denied)| {
        let (p, q) = logs(*score);
        ([p, -q, 1.0], *denied)
    });
    newton(&rows.collect::<Vec<_>>(), [1.0, 1.0, 0.0]).filter(|[a, b, _]| *a >= 0.0 && *b >= 0.0).map(Calibration::of)
}

fn platt(observations: &[Observation]) -> Option<Calibration> {
    let rows = observations.iter().map(|(score, denied)| ([*score, 0.0, 1.0], *denied));
    let [slope, _, intercept] = newton(&rows.collect::<Vec<_>>(), [1.0, 0.0, 0.0])?;
    (slope >= 0.0).then(|| Calibration::of([slope, slope, intercept]))
}

/// Logistic regression with a ridge towards `home`, by Newton's method.
fn newton(rows: &[(Vector, bool)], home: Vector) -> Option<Vector> {
    let mut at = home;
    for _ in 0..STEPS {
        let mut gradient: Vector = std::array::from_fn(|i| RIDGE * (home[i] - at[i]));
        let mut curvature = [[RIDGE, 0.0, 0.0], [0.0, RIDGE, 0.0], [0.0, 0.0, RIDGE]];
        for (x, denied) in rows {
            let z: f64 = x.iter().zip(&at).map(|(one, other)| one * other).sum();
            let p = 1.0 / (1.0 + libm::exp(-z));
            let (residual, weight) = (f64::from(u8::from(*denied)) - p, p * (1.0 - p));
            for (i, row) in curvature.iter_mut().enumerate() {
                gradient[i] += x[i] * residual;
                for (j, cell) in row.iter_mut().enumerate() {
                    *cell += weight * x[i] * x[j];
                }
            }
        }
        let step = solve(curvature, gradient)?;
        at = std::array::from_fn(|i| at[i] + step[i]);
        if !at.iter().all(|value| value.is_finite()) {
            return None;
        }
    }
    Some(at)
}

/// Solves three equations (Cramer's rule); the ridge keeps the determinant from zero.
fn solve(m: [Vector; 3], v: Vector) -> Option<Vector> {
    let determinant = |m: [Vector; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = determinant(m);
    let with = |column: usize| {
        let mut replaced = m;
        for (row, value) in replaced.iter_mut().zip(v) {
            row[column] = value;
        }
        determinant(replaced) / whole
    };
    (whole > 0.0).then(|| std::array::from_fn(with))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores spread evenly, denied as often as `rate` of the score says; without chance.
    fn sample(count: u32, rate: fn(f64) -> f64) -> Vec<Observation> {
        let mut debt = 0.0;
        (0..count)
            .map(|i| {
                let score = f64::from((i * 7919) % 1000) / 1000.0 * 6.0 - 4.5;
                debt += 1.0 / (1.0 + libm::exp(-rate(score)));
                let denied = debt >= 1.0;
                debt -= f64::from(u8::from(denied));
                (score, denied)
            })
            .collect()
    }

    #[test]
    fn scores_that_are_too_bold_are_drawn_back() {
        let fitted = Calibration::default().refit(&sample(5000, |score| score * 0.5 - 0.3));
        for score in [-4.0, -2.0, 0.0, 1.0] {
            assert!((fitted.apply(score) - (score * 0.5 - 0.3)).abs() < 0.15, "{score}: {}", fitted.apply(score));
        }
        assert!(fitted.apply(1.0) > fitted.apply(0.9));
    }

    #[test]
    fn few_labels_change_nothing_and_more_fit_a_line_first() {
        assert_eq!(Calibration::default().refit(&sample(400, |score| score * 0.5)), Calibration::default());
        let some = Calibration::default().refit(&sample(1000, |score| score * 0.5));
        assert_eq!(some.a_micro, some.b_micro);
        assert!((400_000..600_000).contains(&some.a_micro), "{}", some.a_micro);
    }

    #[test]
    fn what_does_not_help_the_newest_is_not_taken() {
        let mut observations = sample(4000, |score| score * 0.3);
        observations.extend(sample(1000, |score| score));
        assert_eq!(Calibration::default().refit(&observations), Calibration::default());
    }

    #[test]
    fn no_calibration_changes_nothing_at_all() {
        for score in [-700.0, -3.2, 0.0, 700.0] {
            assert!((Calibration::default().apply(score) - score).abs() < f64::EPSILON);
        }
    }
}
