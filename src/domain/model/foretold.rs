//! Scores from before their labels were known, for the calibration: by the day the claim was sent, by payer and, finely, by
//! score.
//!
//! Must never: tell a claim whose first answer had no time to come yet.

use std::collections::BTreeMap;

use super::Calibration;
use super::calibration::{OF_ALL, OF_PAYER, Observed};

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

/// Counts by score.
type Counts = BTreeMap<i16, Count>;

/// What was foretold, by day, payer (the place of its cell) and score.
#[derive(Clone, Debug, Default)]
pub(super) struct Foretold {
    days: BTreeMap<i32, BTreeMap<(u32, i16), Count>>,
}

impl Foretold {
    /// Notes a score of a claim that was sent on a day, and what came of it.
    pub(super) fn note(&mut self, sent: i32, payer: u32, log_odds: f64, denied: bool) {
        let limit = f64::from(FARTHEST);
        let place = libm::round(log_odds * FINENESS).clamp(-limit, limit) as i16;
        let count = self.days.entry(sent).or_default().entry((payer, place)).or_default();
        count.0 += 1;
        count.1 += u32::from(denied);
    }

    /// Fits calibrations anew, as of a day, on what was foretold of claims that are old enough: that of all, and of each
    /// payer by the place of its cell.
    pub(super) fn fit(
        &mut self,
        all: Calibration,
        payers: &BTreeMap<u32, Calibration>,
        day: i32,
    ) -> (Calibration, BTreeMap<u32, Calibration>) {
        self.days = self.days.split_off(&day.saturating_sub(FORGOTTEN));
        let matured = || self.days.range(..=day.saturating_sub(MATURED));
        let labels: u32 = matured().flat_map(|(_, scores)| scores.values()).map(|count| count.0).sum();
        // The newest fifth, in whole days: fits are made without it first, and judged by it.
        let mut left = labels - labels / 5;
        let mut together = <[Counts; 2]>::default();
        let mut by_payer: BTreeMap<u32, [Counts; 2]> = BTreeMap::new();
        for (_, scores) in matured() {
            let age = usize::from(left == 0);
            for ((payer, place), count) in scores {
                for counts in [&mut together, by_payer.entry(*payer).or_default()] {
                    add(&mut counts[age], *place, *count);
                }
                left = left.saturating_sub(count.0);
            }
        }
        let refit = |from: Calibration, forms, [older, newest]: &[Counts; 2], first: Calibration| {
            from.refit(forms, &observed(older, first), &observed(newest, first))
        };
        let all = refit(all, OF_ALL, &together, Calibration::None);
        let of_payer = |(payer, counts): (u32, [Counts; 2])| {
            (payer, refit(payers.get(&payer).copied().unwrap_or_default(), OF_PAYER, &counts, all))
        };
        (all, by_payer.into_iter().map(of_payer).filter(|(_, one)| !one.is_none()).collect())
    }
}

fn add(counts: &mut Counts, place: i16, (all, denied): Count) {
    let count = counts.entry(place).or_default();
    count.0 += all;
    count.1 += denied;
}

/// Observations of scores to which another calibration was applied first.
fn observed(counts: &Counts, first: Calibration) -> Vec<Observed> {
    let one = |(place, (all, denied)): (&i16, &Count)| Observed {
        log_odds: first.apply(f64::from(*place) / FINENESS),
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
            foretold.note(day, 7, if number % 2 == 0 { -1.0 } else { 1.0 }, (number % 20 < 2) == (day < 10));
        }
        foretold
    }

    #[test]
    fn claims_that_are_too_young_or_too_old_teach_nothing() {
        let fit = |day| foretold().fit(Calibration::default(), &BTreeMap::new(), day).0.apply(0.0);
        assert!(fit(30) == 0.0, "nothing has matured");
        assert!(fit(54) < -0.5, "only the first ten days have: {}", fit(54));
        assert!(fit(260) > 0.5, "those ten days are forgotten: {}", fit(260));
    }

    #[test]
    fn scores_beyond_the_farthest_are_kept_at_it() {
        let mut foretold = Foretold::default();
        for log_odds in [f64::INFINITY, -1e300, f64::MAX] {
            foretold.note(0, 7, log_odds, true);
        }
        let places: Vec<i16> = foretold.days[&0].keys().map(|(_, place)| *place).collect();
        assert_eq!(places, [-FARTHEST, FARTHEST]);
    }

    /// Two payers' claims get the same scores, and one denies far more of them.
    #[test]
    fn a_payer_that_denies_more_at_the_same_scores_is_calibrated_on_its_own() {
        let mut foretold = Foretold::default();
        for (day, number) in (0..60).flat_map(|day| (0..200).map(move |number| (day, number))) {
            let (payer, score) = (number % 2, if number % 4 < 2 { -2.0 } else { 0.0 });
            foretold.note(day, payer, score, number % 20 < if payer == 0 { 2 } else { 12 });
        }
        let (all, payers) = foretold.fit(Calibration::default(), &BTreeMap::new(), 120);
        let of = |payer: u32| payers[&payer].apply(all.apply(-2.0));
        assert!(of(1) - of(0) > 1.5, "{} {}", of(0), of(1));
        let (again, same) = foretold.fit(all, &payers, 120);
        assert_eq!((again, same), (all, payers));
    }
}
