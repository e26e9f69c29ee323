//! The arithmetic of scores: log-odds in millionths, rounded in one place, so that sums are exact.
//!
//! Must never: use the platform's exponential or logarithm; `libm` gives the same bits everywhere.

use crate::domain::model::kappa;

/// Millionths in one.
pub(super) const MICRO: i64 = 1_000_000;
/// 20 / ln 2 in tenths of a point per log-odds, times 10^9: 20 points double the odds.
const TENTHS_PER_LOG_ODDS_E9: i128 = 288_539_008_178;
/// The half-width of a 90 % interval in standard deviations.
const BAND_DEVIATIONS: f64 = 1.645;

/// Rounds log-odds to millionths.
pub(super) fn to_micro(log_odds: f64) -> i64 {
    libm::round(log_odds * MICRO as f64) as i64
}

/// Divides and rounds half away from zero.
fn divide_rounded(value: i128, by: i128) -> i64 {
    let half = if value < 0 { -(by / 2) } else { by / 2 };
    let quotient = (value + half) / by;
    i64::try_from(quotient).unwrap_or(if quotient < 0 { i64::MIN } else { i64::MAX })
}

/// How far uncertainty shrinks log-odds (MacKay): `1 / sqrt(1 + pi v / 8)`, in billionths.
pub(super) fn kappa_ppb(variance_micro: i64) -> i64 {
    let variance = variance_micro.max(0) as f64 / MICRO as f64;
    libm::round(kappa(variance) * 1e9) as i64
}

/// Log-odds shrunk by kappa, in millionths.
pub(super) fn shrink(micro: i64, kappa_ppb: i64) -> i64 {
    divide_rounded(i128::from(micro) * i128::from(kappa_ppb), 1_000_000_000)
}

/// Log-odds in millionths as tenths of points.
pub(super) fn points_tenths(micro: i64) -> i64 {
    divide_rounded(i128::from(micro) * TENTHS_PER_LOG_ODDS_E9, 1_000_000_000_000_000)
}

/// The probability of log-odds given in millionths.
pub(super) fn probability(micro: i64) -> f64 {
    1.0 / (1.0 + libm::exp(-(micro as f64) / MICRO as f64))
}

/// A probability as tenths of a percent, 0 to 1000.
pub(super) fn tenths(probability: f64) -> u16 {
    // `as` saturates, and a probability is no NaN.
    (libm::round(probability * 1000.0) as u16).min(1000)
}

/// Half the width of the 90 % band of a sum with this variance, in millionths of log-odds.
pub(super) fn band_micro(variance_micro: i64) -> i64 {
    to_micro(BAND_DEVIATIONS * libm::sqrt(variance_micro.max(0) as f64 / MICRO as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::logit;

    #[test]
    fn rounding_goes_half_away_from_zero_on_both_sides() {
        for (value, rounded) in [(14, 1), (15, 2), (-14, -1), (-15, -2), (0, 0)] {
            assert_eq!(divide_rounded(value, 10), rounded, "{value}");
        }
    }

    #[test]
    fn twenty_points_double_the_odds() {
        assert_eq!(points_tenths(to_micro(libm::log(2.0))), 200);
        assert_eq!(points_tenths(-to_micro(libm::log(4.0))), -400);
    }

    #[test]
    fn certainty_shrinks_nothing_and_doubt_shrinks_more() {
        assert_eq!(kappa_ppb(0), 1_000_000_000);
        assert_eq!(shrink(-1_234_567, kappa_ppb(0)), -1_234_567);
        assert!(kappa_ppb(2 * MICRO) < kappa_ppb(MICRO));
    }

    #[test]
    fn probabilities_stay_between_nothing_and_certainty() {
        assert_eq!(tenths(probability(0)), 500);
        assert_eq!(tenths(probability(i64::MAX)), 1000);
        assert_eq!(tenths(probability(i64::MIN)), 0);
        assert_eq!(to_micro(logit(0.5)), 0);
    }
}
