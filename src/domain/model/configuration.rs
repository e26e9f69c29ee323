//! How a model learns: what a challenger may do otherwise than the model in force.
//!
//! Part of a model's content and so of its version. Must never: change what a label is, or which factors there are.

use std::fmt;
use std::str::FromStr;

use super::Kind;

/// How a model learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Days after which evidence counts half, 30 to 3650.
    half_life_days: u16,
    /// Width of the priors (standard deviations) in percent of those of the catalogue, 10 to 400.
    prior_percent: u16,
}

impl Default for Configuration {
    /// A year, and the priors of the catalogue.
    fn default() -> Self {
        Self { half_life_days: 365, prior_percent: 100 }
    }
}

impl Configuration {
    /// Days after which evidence counts half.
    pub(super) fn half_life(self) -> f64 {
        f64::from(self.half_life_days)
    }

    /// The prior of a cell by its kind and first word: mean in log-odds and variance in millionths.
    pub(crate) fn prior(self, kind: Kind, name: &str) -> (f64, i64) {
        let (mean, variance) = super::prior(kind, name);
        let percent = i64::from(self.prior_percent);
        (mean, if percent == 100 { variance } else { (variance * percent * percent).div_euclid(10_000) })
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "half-life={} prior={}", self.half_life_days, self.prior_percent)
    }
}

impl FromStr for Configuration {
    type Err = String;

    /// Reads `half-life=180 prior=140`; what is not named is as usual.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for part in text.split_whitespace() {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}`: write NAME=NUMBER"))?;
            let (slot, range) = match name {
                "half-life" => (&mut read.half_life_days, 30..=3650),
                "prior" => (&mut read.prior_percent, 10..=400),
                _ => return Err(format!("`{name}`: there are half-life (days) and prior (percent)")),
            };
            let number = value.parse().ok().filter(|number| range.contains(number));
            *slot =
                number.ok_or_else(|| format!("{name}: a whole number from {} to {}", range.start(), range.end()))?;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_what_is_odd_is_refused() {
        for text in ["half-life=180 prior=140", "half-life=30 prior=10"] {
            assert_eq!(text.parse::<Configuration>().map(|read| read.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("".parse(), Ok(Configuration::default()));
        for text in ["half-life=29", "prior=401", "prior", "tau=3", "prior=x"] {
            assert!(text.parse::<Configuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn wider_priors_have_the_square_of_the_variance_and_the_same_mean() {
        let wide: Configuration = "prior=200".parse().expect("a configuration");
        let (mean, variance) = Configuration::default().prior(Kind::Bias, "");
        assert_eq!(wide.prior(Kind::Bias, ""), (mean, variance * 4));
    }
}
