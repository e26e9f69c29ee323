//! The simulator's chance: named, independent streams that give the same numbers on every machine.
//!
//! Every patient, payer, claim and mechanism has a stream of its own, so that a change to one part of the simulator
//! does not shift the numbers of another. Must never: read the operating system's randomness or a clock, or draw a
//! float.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One million: probabilities are integers in parts per million.
pub const MILLION: u32 = 1_000_000;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rand(ChaCha8Rng);

impl Rand {
    /// The stream of one thing: `part` names its kind, `index` which one it is.
    pub fn of(seed: u64, part: &str, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(&index.to_le_bytes());
        hasher.update(part.as_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// A whole number from 0 to `bound - 1`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a 64 x 64 bit product: its bias is below 2^-40 for every bound used here.
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A place in a list of `length` items; 0 when it is empty.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap_or(0))).unwrap_or(0)
    }

    /// A whole number from `low` to `high`, both included; `low` when the range is empty.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high.saturating_sub(low).saturating_add(1)).unwrap_or(0);
        low.saturating_add(i64::try_from(self.below(width)).unwrap_or(0))
    }

    /// Whether something with this probability (parts per million) happens.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below(u64::from(MILLION)) < u64::from(ppm)
    }

    /// A number around `mean`, bell-shaped (the mean of four even draws), never further away than `reach`.
    pub fn around(&mut self, mean: i64, reach: i64) -> i64 {
        let sum: i64 = (0..4).map(|_| self.between(-reach, reach)).sum();
        mean.saturating_add(sum / 4)
    }

    /// A place in `weights`, in proportion to the weight there; 0 when all are zero.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut left = self.below(total);
        for (place, &weight) in weights.iter().enumerate() {
            if left < u64::from(weight) {
                return place;
            }
            left -= u64::from(weight);
        }
        0
    }

    /// Digits, the first not a zero.
    pub fn digits(&mut self, count: u32) -> String {
        let mut text = String::new();
        for place in 0..count {
            let digit = self.between(i64::from(place == 0), 9);
            text.push_str(&digit.to_string());
        }
        text
    }

    /// One of `choices`; `None` when there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.index(choices.len()))
    }
}

/// The probability (parts per million) whose log-odds are `milli` thousandths.
///
/// `libm` instead of the platform's `exp`, so that every machine rounds alike.
pub fn probability(milli: i64) -> u32 {
    let odds = libm::exp(f64::from(i32::try_from(milli.clamp(-30_000, 30_000)).unwrap_or(0)) / 1000.0);
    // A float between 0 and a million: the cast drops nothing.
    libm::round(odds / (1.0 + odds) * 1_000_000.0) as u32
}

/// A National Provider Identifier with a right check digit: nine digits, then Luhn over `80840` and these.
pub fn npi(rand: &mut Rand) -> String {
    let nine = format!("1{}", rand.digits(8));
    format!("{nine}{}", npi_check_digit(&nine))
}

/// The check digit of an NPI's first nine digits (Luhn with the prefix 80840, which adds 24).
pub fn npi_check_digit(nine: &str) -> u32 {
    let sum: u32 = nine
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            let doubled = digit * 2;
            if place % 2 == 1 {
                digit
            } else if doubled > 9 {
                doubled - 9
            } else {
                doubled
            }
        })
        .sum();
    (10 - (sum + 24) % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_example_npi_has_the_right_check_digit() {
        // The worked example of the NPI standard: 123456789 takes 3.
        assert_eq!(npi_check_digit("123456789"), 3);
    }

    #[test]
    fn streams_repeat_themselves_and_differ_from_each_other() {
        let draw = |seed, part, index| {
            let mut rand = Rand::of(seed, part, index);
            (0..8).map(|_| rand.below(1 << 32)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "claim", 7), draw(1, "claim", 7));
        assert_ne!(draw(1, "claim", 7), draw(2, "claim", 7));
        assert_ne!(draw(1, "claim", 7), draw(1, "payer", 7));
        assert_ne!(draw(1, "claim", 7), draw(1, "claim", 8));
    }

    #[test]
    fn log_odds_become_probabilities() {
        assert_eq!(probability(0), 500_000);
        assert_eq!(probability(-2197), 100_020);
        assert_eq!(probability(30_000), MILLION);
        assert_eq!(probability(-30_000), 0);
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut rand = Rand::of(3, "range", 0);
        for _ in 0..1000 {
            assert!((-3..=4).contains(&rand.between(-3, 4)));
            assert!(rand.below(5) < 5);
            assert_eq!(rand.weighted(&[0, 3, 0]), 1);
        }
        assert_eq!(rand.below(0), 0);
    }
}
