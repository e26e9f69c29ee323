//! The small value types that all others are made of: money, units, and the wrapper for patient data.
//!
//! Must never: hold money in a float, or print what belongs to a patient.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};

/// A calendar date as claims carry it (no time, no zone).
pub type Date = chrono::NaiveDate;
/// An instant in UTC.
pub type Instant = chrono::DateTime<chrono::Utc>;

/// Patient data: shows itself only when asked by name, never through `Debug` or `Display`.
///
/// The type has no `Display`, and its `Debug` prints a placeholder, so that a log line, a span field, a panic or an
/// error that formats a structure holding it says nothing of the patient.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Phi<T>(T);

impl<T> Phi<T> {
    /// Wraps a value that belongs to a patient.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for storage, linking and the places that are allowed to show it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Unwraps the value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl From<&str> for Phi<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

/// An amount of US money in integer cents.
///
/// Bounded to what `numeric(14,2)` holds, so that an amount that parses can be stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cents(i64);

/// Why a decimal number was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Not a plain decimal number (X12 data type R, without exponent).
    NotANumber,
    /// More digits behind the point than the unit allows, and they are not zeros.
    TooPrecise,
    /// Larger than the column that stores it.
    TooLarge,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotANumber => "not a plain decimal number",
            Self::TooPrecise => "too many digits behind the point",
            Self::TooLarge => "too large",
        })
    }
}

impl Cents {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest magnitude: what `numeric(14,2)` holds.
    pub const MAX: i64 = 99_999_999_999_999;

    /// Makes an amount from cents; clamps to the storable range.
    pub const fn new(cents: i64) -> Self {
        if cents > Self::MAX {
            Self(Self::MAX)
        } else if cents < -Self::MAX {
            Self(-Self::MAX)
        } else {
            Self(cents)
        }
    }

    /// The amount in cents.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads a decimal amount in dollars: `800`, `800.00`, `.5`, `-1.08`, `605.0000`.
    ///
    /// # Errors
    /// What is not a plain decimal, has a non-zero third decimal, or does not fit `numeric(14,2)`.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        parse_fixed(text.as_bytes(), 2, Self::MAX).map(Self)
    }

    /// The magnitude of the amount.
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// Whether the amount is above zero.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:02}", self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100)
    }
}

impl fmt::Debug for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Add for Cents {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Cents {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Cents {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.0.saturating_sub(other.0))
    }
}

impl Neg for Cents {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Cents {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// A count of service units in thousandths: `1`, `1.00`, `2.5`, `0.125`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Units(i64);

impl Units {
    /// One unit.
    pub const ONE: Self = Self(1000);
    const MAX: i64 = 999_999_999_999;

    /// Makes a count from thousandths of a unit.
    pub const fn from_thousandths(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// The count in thousandths of a unit.
    pub const fn thousandths(self) -> i64 {
        self.0
    }

    /// Whether the count is a whole number.
    pub const fn is_whole(self) -> bool {
        self.0 % 1000 == 0
    }

    /// Reads a decimal count.
    ///
    /// # Errors
    /// What is not a plain decimal, has more than three decimals, or is too large.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        parse_fixed(text.as_bytes(), 3, Self::MAX).map(Self)
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        if part == 0 {
            write!(f, "{sign}{whole}")
        } else {
            let digits = format!("{part:03}");
            write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
        }
    }
}

impl fmt::Debug for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a decimal as an integer of `decimals` places; further decimals must be zeros.
fn parse_fixed(text: &[u8], decimals: u32, max: i64) -> Result<i64, DecimalError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let mut value: i64 = 0;
    let mut places: Option<u32> = None;
    let mut seen_digit = false;
    for &byte in digits {
        match (byte, places) {
            (b'0'..=b'9', place) => {
                seen_digit = true;
                let digit = i64::from(byte - b'0');
                if place.is_some_and(|p| p >= decimals) {
                    if digit != 0 {
                        return Err(DecimalError::TooPrecise);
                    }
                    continue;
                }
                value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or(DecimalError::TooLarge)?;
                places = place.map(|p| p + 1);
            }
            (b'.', None) => places = Some(0),
            _ => return Err(DecimalError::NotANumber),
        }
    }
    if !seen_digit {
        return Err(DecimalError::NotANumber);
    }
    for _ in places.unwrap_or(0)..decimals {
        value = value.checked_mul(10).ok_or(DecimalError::TooLarge)?;
    }
    if value > max {
        return Err(DecimalError::TooLarge);
    }
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_what_x12_writes() {
        for (text, cents) in [
            ("800.00", 80_000),
            ("80", 8_000),
            (".5", 50),
            ("-1.08", -108),
            ("605.0000", 60_500),
            ("138018.4", 13_801_840),
            ("+3.", 300),
            ("0", 0),
        ] {
            assert_eq!(Cents::parse(text).map(Cents::get), Ok(cents), "{text}");
        }
    }

    #[test]
    fn money_refuses_what_is_no_amount() {
        for (text, why) in [
            ("", DecimalError::NotANumber),
            ("-", DecimalError::NotANumber),
            (".", DecimalError::NotANumber),
            ("1e3", DecimalError::NotANumber),
            ("1.2.3", DecimalError::NotANumber),
            ("NaN", DecimalError::NotANumber),
            ("1.005", DecimalError::TooPrecise),
            ("1000000000000.00", DecimalError::TooLarge),
            ("99999999999999999999999999", DecimalError::TooLarge),
        ] {
            assert_eq!(Cents::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn sums_stay_within_what_can_be_stored() {
        let most = Cents::new(Cents::MAX);
        assert_eq!([most, most].into_iter().sum::<Cents>(), most);
        assert_eq!(-most - most, -most);
    }

    #[test]
    fn money_and_units_print_what_they_read() {
        for text in ["0.00", "-1.08", "999999999999.99"] {
            assert_eq!(Cents::parse(text).map(|c| c.to_string()), Ok(text.to_owned()));
        }
        for text in ["1", "2.5", "-0.125", "0"] {
            assert_eq!(Units::parse(text).map(|u| u.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn patient_data_never_prints_itself() {
        let printed = format!("{:?}", Some(Phi::<String>::from("W123456789")));
        assert!(!printed.contains("W123"), "{printed}");
    }
}
