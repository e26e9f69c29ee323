//! Labels: what one remittance decided ([`judge()`]), and what that makes of a claim's submissions ([`fold()`]).
//!
//! Must never: use floats, depend on the order in which remittances arrived, or drop a remittance because its sums do
//! not balance (it is flagged).

mod fold;
mod judge;

pub use fold::{Adjudicated, Submission, SubmissionOutcome, fold};
pub use judge::{DataQuality, Judged, LineOutcome, LineVerdict, judge};

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Allowed; what is unpaid is price, cost share or another payer's part.
    Paid,
    /// A line, or a material part of the money, was denied.
    Partial,
    /// Nothing was allowed.
    Denied,
    /// The payment was taken back and nothing came after. Only ever a final outcome.
    Recouped,
}

impl Outcome {
    /// The word used in tables, answers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Partial => "partial",
            Self::Denied => "denied",
            Self::Recouped => "recouped",
        }
    }

    /// Reads the word back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Paid, Self::Partial, Self::Denied, Self::Recouped].into_iter().find(|o| o.as_str() == text)
    }

    /// The main training target: the first adjudication denied the claim, a line of it, or a material part.
    pub const fn is_denial(self) -> bool {
        matches!(self, Self::Partial | Self::Denied)
    }
}

/// What one remittance is for its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Adjudication {
    /// A final decision: never `Recouped`, which only a history can be.
    Label(Outcome),
    /// No decision yet (CARC 133, a pended status), or none to take (zero charge, reporting-only codes).
    Pending,
    /// Takes an earlier remittance back (CLP02 = 22).
    Reversal,
    /// Not this payer's claim; forwarded (CLP02 = 23, CARC B11).
    Routed,
    /// An estimate before the service (CLP02 = 25, CARC 101).
    Predetermination,
}

impl Adjudication {
    const ALL: [Self; 7] = [
        Self::Label(Outcome::Paid),
        Self::Label(Outcome::Partial),
        Self::Label(Outcome::Denied),
        Self::Pending,
        Self::Reversal,
        Self::Routed,
        Self::Predetermination,
    ];

    /// The word used in tables: the outcome's where there is one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Label(outcome) => outcome.as_str(),
            Self::Pending => "pending",
            Self::Reversal => "reversal",
            Self::Routed => "routed",
            Self::Predetermination => "predetermination",
        }
    }

    /// Reads the word back; `recouped` is no adjudication.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|adjudication| adjudication.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for adjudication in Adjudication::ALL {
            assert_eq!(Adjudication::parse(adjudication.as_str()), Some(adjudication));
        }
        assert_eq!(Adjudication::parse("recouped"), None);
        assert_eq!(Outcome::parse("recouped"), Some(Outcome::Recouped));
        assert_eq!(Outcome::parse("Paid"), None);
    }
}
