//! How sure the measures are: intervals from samples drawn again, billing provider by billing provider.
//!
//! Claims of one provider share its habits, so whole providers are drawn; single claims would make the intervals too
//! narrow. The sample is sorted once, and each round only counts anew. Must never: draw from anything but the seed.

use super::{CALIBRATION_BINS, Sample, Scored, brier, calibration, count, log_loss, rank, to_u64};

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The 2.5 % point.
    pub low: f64,
    /// The 97.5 % point.
    pub high: f64,
}

/// The intervals of one model's measures; each `None` when no round could answer it.
#[derive(Clone, Debug, PartialEq)]
pub struct Intervals {
    /// How many billing providers were drawn from. With few of them, the intervals are too narrow.
    pub clusters: u64,
    /// Of [`super::Metrics::auc`], over the rounds that drew both outcomes.
    pub auc: Option<Interval>,
    /// Of [`super::Metrics::brier`].
    pub brier: Option<Interval>,
    /// Of [`super::Metrics::log_loss`].
    pub log_loss: Option<Interval>,
    /// Of [`super::Metrics::calibration_error`]. Drawing again adds chance of its own, which only ever raises this
    /// measure: for a well calibrated model the interval lies too high, and may begin above the measure itself.
    pub calibration_error: Option<Interval>,
}

/// One model's measure less another's, on the same claims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// On the sample itself.
    pub point: f64,
    /// Over the rounds. One that does not hold 0 is a difference that chance hardly makes.
    pub interval: Interval,
}

/// The differences of two models' measures: the one less the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Differences {
    /// How many billing providers were drawn from.
    pub clusters: u64,
    /// Of [`super::Metrics::log_loss`]; below 0 the one is better.
    pub log_loss: Difference,
    /// Of [`super::Metrics::auc`]; above 0 the one is better. `None` unless there are both outcomes.
    pub auc: Option<Difference>,
    /// Of [`super::Metrics::brier`]; below 0 the one is better.
    pub brier: Difference,
}

/// The cluster bootstrap: 95 % percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
///
/// Each of `rounds` draws as many billing providers as there are, with replacement, and all claims of each. The same
/// claims, rounds and seed give the same intervals; the order of the claims does not matter.
#[must_use]
pub fn bootstrap(scored: &[Scored], rounds: u32, seed: u64) -> Intervals {
    let sample = Sample::of(scored);
    let (mut aucs, mut briers, mut losses, mut errors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut draws = Draws::new(sample.clusters, seed);
    let rounds = if sample.clusters == 0 { 0 } else { rounds };
    for _ in 0..rounds {
        let ties = sample.weighted(draws.next());
        aucs.extend(rank::auc(&ties));
        briers.push(brier(&ties));
        losses.push(log_loss(&ties));
        errors.push(calibration::error(&ties, CALIBRATION_BINS));
    }
    Intervals {
        clusters: to_u64(sample.clusters),
        auc: interval(aucs),
        brier: interval(briers),
        log_loss: interval(losses),
        calibration_error: interval(errors),
    }
}

/// The paired cluster bootstrap: intervals of the differences `one` less `other`, the same providers drawn for both.
///
/// Both hold the same claims in the same order. `None` when they do not (another number of claims, or a row with
/// another outcome, charge, payer or provider), when there are none, or when `rounds` is 0.
#[must_use]
pub fn paired(one: &[Scored], other: &[Scored], rounds: u32, seed: u64) -> Option<Differences> {
    let same = |(one, other): (&Scored, &Scored)| {
        (one.denied, one.charge_cents, one.payer, one.cluster)
            == (other.denied, other.charge_cents, other.payer, other.cluster)
    };
    if one.is_empty() || one.len() != other.len() || !one.iter().zip(other).all(same) {
        return None;
    }
    let (one, other) = (Sample::of(one), Sample::of(other));
    let (mut losses, mut aucs, mut briers) = (Vec::new(), Vec::new(), Vec::new());
    let mut draws = Draws::new(one.clusters, seed);
    for _ in 0..rounds {
        let gap = Gap::of(&one, &other, draws.next());
        losses.push(gap.log_loss);
        aucs.extend(gap.auc);
        briers.push(gap.brier);
    }
    let whole = Gap::of(&one, &other, &vec![1; one.clusters]);
    let difference = |point: f64, rounds: Vec<f64>| Some(Difference { point, interval: interval(rounds)? });
    Some(Differences {
        clusters: to_u64(one.clusters),
        log_loss: difference(whole.log_loss, losses)?,
        auc: whole.auc.and_then(|point| difference(point, aucs)),
        brier: difference(whole.brier, briers)?,
    })
}

/// One round's differences.
struct Gap {
    log_loss: f64,
    auc: Option<f64>,
    brier: f64,
}

impl Gap {
    fn of(one: &Sample, other: &Sample, weights: &[u32]) -> Self {
        let (one, other) = (one.weighted(weights), other.weighted(weights));
        Self {
            log_loss: log_loss(&one) - log_loss(&other),
            auc: rank::auc(&one).zip(rank::auc(&other)).map(|(one, other)| one - other),
            brier: brier(&one) - brier(&other),
        }
    }
}

/// The middle 95 % of `values`, between neighbours in proportion; `None` when there are none.
fn interval(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_unstable_by(f64::total_cmp);
    Some(Interval { low: quantile(&values, 25)?, high: quantile(&values, 975)? })
}

fn quantile(sorted: &[f64], permille: usize) -> Option<f64> {
    let place = sorted.len().checked_sub(1)? * permille;
    let low = *sorted.get(place / 1000)?;
    let high = sorted.get(place / 1000 + 1).copied().unwrap_or(low);
    Some(low + (high - low) * count(to_u64(place % 1000)) / 1000.0)
}

/// How often each cluster was drawn, round after round.
struct Draws {
    random: Random,
    weights: Vec<u32>,
}

impl Draws {
    fn new(clusters: usize, seed: u64) -> Self {
        Self { random: Random::new(seed), weights: vec![0; clusters] }
    }

    fn next(&mut self) -> &[u32] {
        self.weights.fill(0);
        let clusters = to_u64(self.weights.len());
        for _ in 0..clusters {
            let drawn = usize::try_from(self.random.below(clusters)).unwrap_or(0);
            if let Some(weight) = self.weights.get_mut(drawn) {
                *weight += 1;
            }
        }
        &self.weights
    }
}

/// Splitmix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014): small, and enough to
/// draw samples.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number from 0 to `bound - 1`; 0 when `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product: its bias is far below what any number of rounds could show.
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics;
    use super::super::tests::{near, row};
    use super::*;

    /// Claims of providers with habits of their own; scores in thousandths, so that there are ties.
    fn claims(number: u32, clusters: u32, seed: u64) -> Vec<Scored> {
        let mut random = Random::new(seed);
        let mut draw = |bound: u64| f64::from(u32::try_from(random.below(bound)).unwrap());
        (0..number)
            .map(|at| {
                let habit = f64::from(at % clusters % 5) * 0.03;
                let p = 0.05 + draw(400) / 1000.0 + habit;
                Scored { cluster: at % clusters, payer: at % 3, ..row(p, draw(1000) < 900.0 * p) }
            })
            .collect()
    }

    fn holds(interval: Option<Interval>, point: f64) -> bool {
        interval.is_some_and(|interval| interval.low < point && point < interval.high)
    }

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut random = Random::new(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        assert_eq!(Random::new(0).next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn the_intervals_hold_the_measures_and_are_narrow() {
        let rows = claims(4_000, 80, 1);
        let (measured, intervals) = (metrics(&rows), bootstrap(&rows, 200, 9));
        assert_eq!(intervals.clusters, 80);
        assert!(holds(intervals.auc, measured.auc.unwrap()));
        assert!(holds(intervals.brier, measured.brier));
        assert!(holds(intervals.log_loss, measured.log_loss));
        let (auc, error) = (intervals.auc.unwrap(), intervals.calibration_error.unwrap());
        assert!(auc.high - auc.low < 0.1);
        assert!(0.0 < error.low && error.low < error.high && error.high < 0.1);
    }

    #[test]
    fn the_same_seed_gives_the_same_intervals_in_any_order_of_claims() {
        let mut rows = claims(600, 20, 2);
        let before = bootstrap(&rows, 50, 9);
        assert_ne!(bootstrap(&rows, 50, 10), before);
        rows.reverse();
        assert_eq!(bootstrap(&rows, 50, 9), before);
    }

    #[test]
    fn a_round_measures_what_its_claims_written_out_would() {
        let rows = claims(300, 10, 3);
        let (sample, mut draws) = (Sample::of(&rows), Draws::new(10, 4));
        let weights = draws.next().to_vec();
        assert_eq!(weights.iter().sum::<u32>(), 10);
        let copies = |row: &Scored| vec![row.clone(); weights[row.cluster as usize] as usize];
        let (ties, written) = (sample.weighted(&weights), metrics(&rows.iter().flat_map(copies).collect::<Vec<_>>()));
        assert_eq!(rank::auc(&ties), written.auc);
        assert!(near(log_loss(&ties), written.log_loss) && near(brier(&ties), written.brier));
        assert!(near(calibration::error(&ties, CALIBRATION_BINS), written.calibration_error));
    }

    #[test]
    fn one_cluster_is_drawn_every_time() {
        let rows = claims(100, 1, 5);
        let (measured, auc) = (metrics(&rows).auc.unwrap(), bootstrap(&rows, 20, 1).auc.unwrap());
        assert!(near(auc.low, measured) && near(auc.high, measured));
    }

    #[test]
    fn without_claims_rounds_or_both_outcomes_there_are_no_intervals() {
        assert_eq!(bootstrap(&[], 20, 1).brier, None);
        assert_eq!(bootstrap(&claims(50, 5, 1), 0, 1).brier, None);
        let paid = bootstrap(&[row(0.1, false), row(0.2, false)], 20, 1);
        assert!(paid.auc.is_none() && paid.brier.is_some());
    }

    #[test]
    fn a_better_model_is_told_from_a_worse_one() {
        let better = claims(3_000, 60, 6);
        let worse: Vec<Scored> = better.iter().map(|row| Scored { p: row.p / 2.0, ..row.clone() }).collect();
        let flat: Vec<Scored> = better.iter().map(|row| Scored { p: 0.3, ..row.clone() }).collect();
        let against_flat = paired(&better, &flat, 100, 3).unwrap();
        assert!(against_flat.log_loss.interval.high < 0.0 && against_flat.brier.interval.high < 0.0);
        assert!(against_flat.auc.unwrap().interval.low > 0.0);
        let (one, other) = (metrics(&better), metrics(&worse));
        let differences = paired(&better, &worse, 100, 3).unwrap();
        assert!(near(differences.log_loss.point, one.log_loss - other.log_loss));
        // The order is the same, so the area is, in every round.
        assert_eq!(differences.auc.unwrap().interval, Interval { low: 0.0, high: 0.0 });
    }

    #[test]
    fn other_claims_are_not_compared() {
        let rows = claims(50, 5, 7);
        let mut other = rows.clone();
        assert!(paired(&rows, &other, 10, 1).is_some());
        assert_eq!(paired(&rows, &other, 0, 1), None);
        assert_eq!(paired(&rows, &rows[..49], 10, 1), None);
        assert_eq!(paired(&[], &[], 10, 1), None);
        other[3].denied = !other[3].denied;
        assert_eq!(paired(&rows, &other, 10, 1), None);
    }

    #[test]
    fn quantiles_lie_between_neighbours_in_proportion() {
        let values: Vec<f64> = (0..41).map(f64::from).rev().collect();
        let found = interval(values).unwrap();
        assert!(near(found.low, 1.0) && near(found.high, 39.0));
        assert!(near(quantile(&[1.0, 2.0], 25).unwrap(), 1.025));
        assert_eq!(interval(vec![]), None);
    }
}
