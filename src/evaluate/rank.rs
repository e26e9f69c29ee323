//! Measures of order: whether denied claims score above paid ones, and what the top of the list catches.
//!
//! They need the claims of each score, the highest first, and look at the scores' order only. Must never: break a tie
//! by the order in which the claims came, which would make a constant score look better or worse than chance.

use super::{Sample, Scored, Tie, Totals, count, ratio, wide};

/// The area under the ROC curve; `None` unless there are both denied and paid claims.
pub(super) fn auc(ties: &[Tie]) -> Option<f64> {
    let totals = Totals::of(ties);
    let pairs = u128::from(totals.denials) * u128::from(totals.claims - totals.denials);
    let (mut above, mut won_halves) = (0_u128, 0_u128);
    for tie in ties {
        let denied = u128::from(tie.denied);
        won_halves += u128::from(tie.claims - tie.denied) * (2 * above + denied);
        above += denied;
    }
    ratio(wide(won_halves), 2.0 * wide(pairs))
}

/// Average precision; `None` without denials.
pub(super) fn average_precision(ties: &[Tie]) -> Option<f64> {
    let (mut claims, mut denied, mut sum) = (0, 0, 0.0);
    for tie in ties {
        claims += tie.claims;
        denied += tie.denied;
        sum += count(tie.denied) * ratio(count(denied), count(claims)).unwrap_or(0.0);
    }
    ratio(sum, count(denied))
}

/// The share of all `value` that the top `percent` of the claims hold; `None` when there is no value.
///
/// The cut may fall within a tie, or within a claim: then as much of its value counts as of its claims.
pub(super) fn captured(ties: &[Tie], percent: u32, value: impl Fn(&Tie) -> f64) -> Option<f64> {
    let mut room = count(Totals::of(ties).claims) * f64::from(percent) / 100.0;
    let mut caught = 0.0;
    for tie in ties {
        let claims = count(tie.claims);
        if room <= 0.0 {
            break;
        }
        caught += value(tie) * (room / claims).min(1.0);
        room -= claims;
    }
    ratio(caught, ties.iter().map(value).sum())
}

/// The denied share of the top `percent` of the claims, divided by that of all; `None` without denials.
pub(super) fn lift(ties: &[Tie], percent: u32) -> Option<f64> {
    captured(ties, percent, |tie| count(tie.denied)).map(|share| share * 100.0 / f64::from(percent))
}

/// The lift curve: for each per cent of the claims, the highest scores first, the share of claims (0.01 to 1) and the
/// lift there: the denied share of these claims divided by that of all. Ends at (1, 1); empty without denials.
#[must_use]
pub fn lift_curve(scored: &[Scored]) -> Vec<(f64, f64)> {
    let ties = Sample::of(scored).whole();
    (1..=100).filter_map(|percent| Some((f64::from(percent) / 100.0, lift(&ties, percent)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::metrics;
    use super::super::tests::{near, row};
    use super::*;

    #[test]
    fn three_of_four_pairs_in_order_are_an_auc_of_three_quarters() {
        let measured = metrics(&[row(0.9, true), row(0.8, false), row(0.7, true), row(0.6, false)]);
        assert!(near(measured.auc.unwrap(), 0.75));
        // Precision 1 at the first denial, 2/3 at the second; each gains half of the recall.
        assert!(near(measured.pr_auc.unwrap(), 5.0 / 6.0));
    }

    #[test]
    fn a_tie_counts_half_and_enters_together() {
        let measured = metrics(&[row(0.5, true), row(0.5, false), row(0.2, false)]);
        assert!(near(measured.auc.unwrap(), 0.75));
        assert!(near(measured.pr_auc.unwrap(), 0.5));
    }

    #[test]
    fn a_constant_score_is_worth_nothing_in_any_order() {
        let rows: Vec<Scored> = (0..50).map(|at| row(0.3, at < 10)).collect();
        let measured = metrics(&rows);
        assert!(near(measured.auc.unwrap(), 0.5) && near(measured.pr_auc.unwrap(), 0.2));
        assert!(near(measured.lift_top_decile.unwrap(), 1.0) && near(measured.recall_top_fifth.unwrap(), 0.2));
    }

    #[test]
    fn without_both_outcomes_there_is_no_auc() {
        assert_eq!(metrics(&[row(0.1, true), row(0.2, true)]).auc, None);
        let paid = metrics(&[row(0.1, false), row(0.2, false)]);
        assert_eq!((paid.auc, paid.pr_auc, paid.lift_top_decile, paid.recall_top_fifth), (None, None, None, None));
        assert_eq!(paid.dollar_recall_top_fifth, None);
    }

    /// Twenty claims; denied are the best, the third and the last, for 100, 200 and 700 dollars.
    fn twenty() -> Vec<Scored> {
        (0..20_u32)
            .map(|at| {
                let charge_cents = [(0, 10_000), (2, 20_000), (19, 70_000)].iter().find(|(place, _)| *place == at);
                let denied = charge_cents.is_some();
                Scored {
                    charge_cents: charge_cents.map_or(5_000, |(_, cents)| *cents),
                    ..row(0.95 - f64::from(at) / 25.0, denied)
                }
            })
            .collect()
    }

    #[test]
    fn the_top_of_the_list_catches_denials_and_their_charges() {
        let measured = metrics(&twenty());
        // One denial in the top two, against three in twenty.
        assert!(near(measured.lift_top_decile.unwrap(), 0.5 / 0.15));
        assert!(near(measured.recall_top_fifth.unwrap(), 2.0 / 3.0));
        assert!(near(measured.dollar_recall_top_fifth.unwrap(), 0.3));
    }

    #[test]
    fn the_lift_curve_starts_at_the_best_claim_and_ends_at_one() {
        let curve = lift_curve(&twenty());
        assert_eq!(curve.len(), 100);
        assert!(near(curve[4].0, 0.05) && near(curve[4].1, 20.0 / 3.0));
        assert!(near(curve[9].1, metrics(&twenty()).lift_top_decile.unwrap()));
        assert!(near(curve[99].0, 1.0) && near(curve[99].1, 1.0));
        assert!(lift_curve(&[row(0.5, false)]).is_empty() && lift_curve(&[]).is_empty());
    }
}
