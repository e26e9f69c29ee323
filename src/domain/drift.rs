//! How well the probabilities that stood when labels came agree with these labels, as sums in whole millionths: the sums
//! of several processes add up exactly, and to those of the table.
//!
//! Must never: add up fractions; the order of arrival would decide on the last digits.

use super::score::probability_of;

/// How many bins there are: one for each tenth of the probability.
pub const BINS: usize = 10;
/// The bins by their lower ends, as metrics and answers name them.
pub const BIN_NAMES: [&str; BINS] = ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"];

const MILLION: u32 = 1_000_000;

/// The probability of log-odds, both in millionths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1,000,000")]
pub fn probability_micro(log_odds_micro: i64) -> u32 {
    libm::round(probability_of(log_odds_micro) * f64::from(MILLION)) as u32
}

/// The bin of a probability in millionths; certainty is in the last one.
pub fn bin(probability_micro: u32) -> usize {
    usize::try_from(probability_micro / (MILLION / 10)).map_or(BINS - 1, |bin| bin.min(BINS - 1))
}

/// A first label, with the probability of denial that stood when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// In millionths.
    pub probability_micro: u32,
    /// In whole or in part.
    pub denied: bool,
}

impl Labelled {
    /// The squared distance of probability and label, in millionths.
    pub fn loss_micro(self) -> u64 {
        let missed = u64::from(self.probability_micro.abs_diff(if self.denied { MILLION } else { 0 }));
        (missed * missed + u64::from(MILLION / 2)) / u64::from(MILLION)
    }
}

/// What the labels of one bin add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BinSum {
    /// The probabilities, in millionths.
    pub predicted_micro: u64,
    /// Labels that say denied.
    pub denied: u64,
    /// Labels that say paid.
    pub paid: u64,
    /// The squared distances, in millionths.
    pub loss_micro: u64,
}

impl BinSum {
    /// Adds a label.
    pub fn add(&mut self, labelled: Labelled) {
        self.predicted_micro += u64::from(labelled.probability_micro);
        *(if labelled.denied { &mut self.denied } else { &mut self.paid }) += 1;
        self.loss_micro += labelled.loss_micro();
    }

    /// Adds the sums of another bin.
    pub fn merge(&mut self, other: &Self) {
        self.predicted_micro += other.predicted_micro;
        self.denied += other.denied;
        self.paid += other.paid;
        self.loss_micro += other.loss_micro;
    }

    /// How many labels.
    pub const fn labels(&self) -> u64 {
        self.denied + self.paid
    }

    /// The mean probability, 0 to 1; none without labels.
    pub fn predicted_mean(&self) -> Option<f64> {
        mean_of_micro(self.predicted_micro, self.labels())
    }

    /// The share that was denied, 0 to 1; none without labels.
    pub fn denied_share(&self) -> Option<f64> {
        mean_of_micro(self.denied * u64::from(MILLION), self.labels())
    }

    /// The mean squared distance of probability and label (Brier 1950); none without labels.
    pub fn brier(&self) -> Option<f64> {
        mean_of_micro(self.loss_micro, self.labels())
    }
}

/// What all labels add up to, by bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// From the lowest probability.
    pub bins: [BinSum; BINS],
}

impl Drift {
    /// All bins together.
    pub fn total(&self) -> BinSum {
        self.bins.iter().fold(BinSum::default(), |mut total, bin| {
            total.merge(bin);
            total
        })
    }

    /// The expected calibration error over the bins: the distance of predicted and denied, weighted by labels; none
    /// without labels.
    pub fn calibration_error(&self) -> Option<f64> {
        let apart = |bin: &BinSum| bin.predicted_micro.abs_diff(bin.denied * u64::from(MILLION));
        mean_of_micro(self.bins.iter().map(apart).sum(), self.total().labels())
    }
}

/// A sum of millionths, shared out; none among nobody.
#[expect(clippy::cast_precision_loss, reason = "sums are far below 2^53 millionths")]
fn mean_of_micro(sum_micro: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum_micro as f64 / (count as f64 * f64::from(MILLION)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(probability_micro: u32, denied: bool) -> Labelled {
        Labelled { probability_micro, denied }
    }

    #[test]
    fn a_bin_is_a_tenth_of_the_probability_and_certainty_is_in_the_last() {
        let bins = [0, 99_999, 100_000, 899_999, 900_000, 1_000_000].map(bin);
        assert_eq!(bins, [0, 0, 1, 8, 9, 9]);
        assert_eq!([i64::MIN, 0, i64::MAX].map(probability_micro), [0, 500_000, 1_000_000]);
        assert_eq!(probability_micro(-2_197_225), 100_000);
    }

    #[test]
    fn the_loss_is_the_squared_distance_rounded_to_millionths() {
        assert_eq!(labelled(200_000, false).loss_micro(), 40_000);
        assert_eq!(labelled(200_000, true).loss_micro(), 640_000);
        assert_eq!([labelled(0, true), labelled(1_000_000, true)].map(Labelled::loss_micro), [1_000_000, 0]);
        // 0.000707 squared is 0.49985 millionths, 0.000708 squared 0.50126.
        assert_eq!([labelled(707, false), labelled(708, false)].map(Labelled::loss_micro), [0, 1]);
    }

    #[test]
    fn bins_that_are_off_in_both_directions_do_not_cancel() {
        let mut drift = Drift::default();
        // Of five at 0.25 two were denied, of five at 0.65 three: 0.75 too few, 0.25 too many.
        for (probability, denials) in [(250_000, 2), (650_000, 3)] {
            (0..5).for_each(|n| drift.bins[bin(probability)].add(labelled(probability, n < denials)));
        }
        let near = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-12;
        assert!(near(drift.calibration_error(), (0.75 + 0.25) / 10.0));
        assert!(near(drift.total().predicted_mean(), 0.45) && near(drift.total().denied_share(), 0.5));
        let squares = 2.0 * 0.75 * 0.75 + 3.0 * 0.25 * 0.25 + 3.0 * 0.35 * 0.35 + 2.0 * 0.65 * 0.65;
        assert!(near(drift.total().brier(), squares / 10.0));
    }

    #[test]
    fn without_labels_there_is_nothing_to_tell() {
        let none = Drift::default();
        assert_eq!((none.calibration_error(), none.total().brier(), none.total().denied_share()), (None, None, None));
    }
}
