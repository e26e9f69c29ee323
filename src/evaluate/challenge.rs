//! Whether a challenger may take over, and whether the model in force has got worse: rules over stored scores and answers.
//!
//! Must never: let a challenger take over on few answers, by chance, or at the cost of one payer's claims.

use super::{Interval, Scored, metrics, paired};

/// Answers and denials that a comparison needs.
const ENOUGH: (u64, u64) = (5_000, 500);
/// The calibration error may grow by so much.
const CALIBRATION_SLACK: f64 = 0.003;
/// No payer with so many answers ...
const PAYER_CLAIMS: usize = 500;
/// ... may fare worse by more log-loss.
const PAYER_SLACK: f64 = 0.01;
/// Rounds and seed of the bootstrap: the same answers give the same verdict.
const BOOTSTRAP: (u32, u64) = (200, 20_260);

/// A challenger beside the model in force, on the same answered claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Answers.
    pub labels: u64,
    /// Denials among them.
    pub denials: u64,
    /// The challenger's log-loss less the champion's; below 0 the challenger is better.
    pub log_loss_gain: f64,
    /// Its 95 % interval.
    pub interval: Option<Interval>,
    /// Expected calibration errors, champion and challenger.
    pub calibration_errors: (f64, f64),
    /// Why the challenger may not take over; empty when it may.
    pub against: Vec<String>,
}

/// Compares; `shown` and `shadow` hold the same claims in the same order.
#[must_use]
pub fn compare(shown: &[Scored], shadow: &[Scored]) -> Comparison {
    let (champion, challenger) = (metrics(shown), metrics(shadow));
    let (rounds, seed) = BOOTSTRAP;
    let gap = paired(shadow, shown, rounds, seed);
    let mut against = Vec::new();
    if challenger.claims < ENOUGH.0 || challenger.denials < ENOUGH.1 {
        against.push(format!("it takes {} answers with {} denials", ENOUGH.0, ENOUGH.1));
    }
    if gap.as_ref().is_none_or(|gap| gap.log_loss.interval.high >= 0.0) {
        against.push("its log-loss is not certainly lower".to_owned());
    }
    if challenger.calibration_error > champion.calibration_error + CALIBRATION_SLACK {
        against.push("it is calibrated worse".to_owned());
    }
    let worse = payers_worse(shown, shadow);
    if worse > 0 {
        against.push(format!("{worse} payers with {PAYER_CLAIMS} answers or more fare worse"));
    }
    Comparison {
        labels: challenger.claims,
        denials: challenger.denials,
        log_loss_gain: challenger.log_loss - champion.log_loss,
        interval: gap.map(|gap| gap.log_loss.interval),
        calibration_errors: (champion.calibration_error, challenger.calibration_error),
        against,
    }
}

fn payers_worse(shown: &[Scored], shadow: &[Scored]) -> usize {
    let payers: std::collections::BTreeSet<u32> = shown.iter().map(|one| one.payer).collect();
    let of =
        |all: &[Scored], payer: u32| -> Vec<Scored> { all.iter().filter(|one| one.payer == payer).cloned().collect() };
    let is_worse = |payer: &u32| {
        let (champion, challenger) = (of(shown, *payer), of(shadow, *payer));
        champion.len() >= PAYER_CLAIMS && metrics(&challenger).log_loss > metrics(&champion).log_loss + PAYER_SLACK
    };
    payers.iter().filter(|payer| is_worse(payer)).count()
}

/// Days that are looked at for getting worse.
pub const RECENT_DAYS: i32 = 7;
/// Days before them that make the usual.
const USUAL_DAYS: usize = 14;

/// The log-loss of the last days against the days before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lately {
    /// Mean log-loss of the last [`RECENT_DAYS`] days.
    pub recent: f64,
    /// Mean of the daily means before.
    pub usual: f64,
    /// How many standard deviations of such a mean the last days lie above the usual.
    pub deviations: f64,
}

impl Lately {
    /// Whether to roll back: three standard deviations.
    pub fn is_worse(&self) -> bool {
        self.deviations > 3.0
    }
}

/// Looks at the log-loss by day: age of the answer in days, and the claim. None without two weeks before the last.
#[must_use]
pub fn lately(answers: &[(i32, Scored)]) -> Option<Lately> {
    let mut recent = Vec::new();
    let mut days: std::collections::BTreeMap<i32, Vec<Scored>> = std::collections::BTreeMap::new();
    for (age, scored) in answers {
        match *age < RECENT_DAYS {
            true => recent.push(scored.clone()),
            false => days.entry(*age).or_default().push(scored.clone()),
        }
    }
    if recent.is_empty() || days.len() < USUAL_DAYS {
        return None;
    }
    let means: Vec<f64> = days.values().map(|day| metrics(day).log_loss).collect();
    let count = means.len() as f64;
    let usual = means.iter().sum::<f64>() / count;
    let variance = means.iter().map(|mean| (mean - usual) * (mean - usual)).sum::<f64>() / (count - 1.0);
    let deviation = (variance / f64::from(RECENT_DAYS)).sqrt().max(1e-9);
    let recent = metrics(&recent).log_loss;
    Some(Lately { recent, usual, deviations: (recent - usual) / deviation })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Claims of which one in five is denied, scored `right` for those that are and for those that are not.
    fn scored(count: u32, right: (f64, f64)) -> Vec<Scored> {
        (0..count)
            .map(|number| {
                let denied = number % 5 == 0;
                Scored {
                    p: if denied { right.0 } else { right.1 },
                    denied,
                    charge_cents: 100,
                    payer: number % 7,
                    cluster: number % 50,
                    truth: None,
                }
            })
            .collect()
    }

    #[test]
    fn a_better_challenger_may_take_over_on_enough_answers_only() {
        let (champion, challenger) = ((0.4, 0.15), (0.8, 0.05));
        let many = compare(&scored(6000, champion), &scored(6000, challenger));
        assert_eq!(many.against, Vec::<String>::new());
        assert!(many.log_loss_gain < 0.0);
        let few = compare(&scored(600, champion), &scored(600, challenger));
        assert_eq!(few.against.len(), 1, "{:?}", few.against);
    }

    #[test]
    fn the_same_or_worse_may_not_and_neither_may_what_harms_one_payer() {
        let champion = scored(6000, (0.6, 0.1));
        assert!(!compare(&champion, &champion).against.is_empty());
        assert!(compare(&champion, &scored(6000, (0.3, 0.2))).against.len() >= 2);
        let mut harmful = scored(6000, (0.9, 0.03));
        for one in harmful.iter_mut().filter(|one| one.payer == 3) {
            one.p = 0.5;
        }
        let against = compare(&champion, &harmful).against;
        assert!(against.iter().any(|why| why.contains("1 payers")), "{against:?}");
    }

    #[test]
    fn a_week_far_above_the_usual_is_told_and_an_ordinary_one_is_not() {
        let days = |last: f64| -> Vec<(i32, Scored)> {
            (0..40)
                .flat_map(|age| {
                    let p = if age < RECENT_DAYS { last } else { 0.1 + 0.01 * f64::from(age % 3) };
                    scored(100, (0.5, p)).into_iter().map(move |one| (age, one))
                })
                .collect()
        };
        assert!(lately(&days(0.6)).is_some_and(|found| found.is_worse()));
        assert!(lately(&days(0.11)).is_some_and(|found| !found.is_worse()));
        assert_eq!(lately(&days(0.6)[..700]), None);
    }
}
