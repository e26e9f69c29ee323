//! Scores from before their labels were known, for the calibration: by the day the claim was sent and, finely, by score.
//!
//! Must never: tell a claim whose first answer had no time to come yet.

use std::collections::BTreeMap;

use super::Calibration;
use super::calibration::Observed;

/// A claim is fit for calibration when it is so many days old: most first answers have come by then ...
const MATURED: i32 = 45;
/// ... and until it is so many days old.
const FORGOTTEN: i32 = 210;
/// Scores are told apart to one in so many parts of log-odds ...
const FINENESS: f64 = 64.0;
/// ... and up to so many parts on both sides of even odds; what lies beyond is as sure as sure can be.
const FARTHEST: i16 = 10 * 64;

/// Claims of one score: all, and those denied.
type Count = (u32, u32);

/// What was foretold, by day and score.
#[derive(Clone, Debug, Default)]
pub(super) struct Foretold {
    days: BTreeMap<i32, BTreeMap<i16, Count>>,
}

impl Foretold {
    /// Notes a score of a claim that was sent on a day, and what came of it.
    pub(super) fn note(&mut self, sent: i32, log_odds: f64, denied: bool) {
        let limit = f64::from(FARTHEST);
        let place = libm::round(log_odds * FINENESS).clamp(-limit, limit) as i16;
        let count = self.days.entry(sent).or_default().entry(place).or_default();
        count.0 += 1;
        count.1 += u32::from(denied);
    }

    /// Fits a calibration anew, as of a day, on what was foretold of claims that are old enough.
    pub(super) fn fit(&mut self, calibration: Calibration, day: i32) -> Calibration {
        self.days = self.days.split_off(&day.saturating_sub(FORGOTTEN));
        let matured = || self.days.range(..=day.saturating_sub(MATURED));
        let labels: u32 = matured().flat_map(|(_, scores)| scores.values()).map(|count| count.0).sum();
        // The newest fifth, in whole days: fits are made without it first, and judged by it.
        let (mut older, mut newest, mut left) = (BTreeMap::new(), BTreeMap::new(), labels - labels / 5);
        for (_, scores) in matured() {
            let into = if left > 0 { &mut older } else { &mut newest };
            for (place, (all, denied)) in scores {
                let count: &mut Count = into.entry(*place).or_default();
                count.0 += all;
                count.1 += denied;
                left = left.saturating_sub(*all);
            }
        }
        calibration.refit(&observed(&older), &observed(&newest))
    }
}

fn observed(counts: &BTreeMap<i16, Count>) -> Vec<Observed> {
    let one = |(place, (all, denied)): (&i16, &Count)| Observed {
        log_odds: f64::from(*place) / FINENESS,
        all: f64::from(*all),
        denied: f64::from(*denied),
    };
    counts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Claims sent on a hundred days, 400 a day, half of them foretold odds above even ones. One in ten is denied in the first
    /// ten days, nine in ten later.
    fn foretold() -> Foretold {
        let mut foretold = Foretold::default();
        for (day, number) in (0..100).flat_map(|day| (0..400).map(move |number| (day, number))) {
            foretold.note(day, if number % 2 == 0 { -1.0 } else { 1.0 }, (number % 20 < 2) == (day < 10));
        }
        foretold
    }

    #[test]
    fn claims_that_are_too_young_or_too_old_teach_nothing() {
        let fit = |day| foretold().fit(Calibration::default(), day).apply(0.0);
        assert!(fit(30) == 0.0, "nothing has matured");
        assert!(fit(54) < -0.5, "only the first ten days have: {}", fit(54));
        assert!(fit(260) > 0.5, "those ten days are forgotten: {}", fit(260));
    }

    #[test]
    fn scores_beyond_the_farthest_are_kept_at_it() {
        let mut foretold = Foretold::default();
        for log_odds in [f64::INFINITY, -1e300, f64::MAX] {
            foretold.note(0, log_odds, true);
        }
        let places: Vec<i16> = foretold.days[&0].keys().copied().collect();
        assert_eq!(places, [-FARTHEST, FARTHEST]);
    }
}
