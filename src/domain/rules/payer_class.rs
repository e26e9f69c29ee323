//! Which of a few broad classes of insurance a claim is for.
//!
//! Must never: guess a class from a payer's name.

use crate::domain::claim::Claim;

/// A broad class of insurance, as published denial rates tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayerClass {
    /// Medicare as the government runs it (Part A and Part B).
    Medicare,
    /// Medicare through a private plan.
    MedicareAdvantage,
    /// Commercial insurance, Blue Cross and Blue Shield included.
    Commercial,
    /// Medicaid, whether run by the state or by a plan.
    Medicaid,
    /// Everything else, and what is not told.
    Other,
}

impl PayerClass {
    /// All classes.
    pub const ALL: [Self; 5] = [Self::Medicare, Self::MedicareAdvantage, Self::Commercial, Self::Medicaid, Self::Other];

    /// The class of a claim, by its filing indicator (X12 837 SBR09).
    pub fn of(claim: &Claim) -> Self {
        match claim.filing_indicator.as_deref().map(str::trim) {
            Some("MA" | "MB") => Self::Medicare,
            Some("16") => Self::MedicareAdvantage,
            Some("MC") => Self::Medicaid,
            Some("CI" | "BL" | "HM" | "12" | "13" | "14" | "15") => Self::Commercial,
            _ => Self::Other,
        }
    }

    /// The key of the class in a model.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Medicare => "medicare",
            Self::MedicareAdvantage => "medicare_advantage",
            Self::Commercial => "commercial",
            Self::Medicaid => "medicaid",
            Self::Other => "other",
        }
    }

    /// Reads the key of a class.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }

    /// The class in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Medicare => "Medicare",
            Self::MedicareAdvantage => "Medicare Advantage",
            Self::Commercial => "Commercial insurance",
            Self::Medicaid => "Medicaid",
            Self::Other => "A payer of no known class",
        }
    }
}

/// Whether the claim goes to Medicare itself (not to a Medicare Advantage plan).
pub(super) fn is_medicare(claim: &Claim) -> bool {
    PayerClass::of(claim) == PayerClass::Medicare
}

/// Whether the claim goes to workers' compensation or to a liability insurer: no member id, own code sets.
pub(super) fn is_injury_insurance(claim: &Claim) -> bool {
    matches!(claim.filing_indicator.as_deref().map(str::trim), Some("WC" | "AM" | "LM" | "LI"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filing_indicator_names_the_class() {
        for (code, class) in [
            ("MA", PayerClass::Medicare),
            ("MB", PayerClass::Medicare),
            ("16", PayerClass::MedicareAdvantage),
            ("MC", PayerClass::Medicaid),
            ("BL", PayerClass::Commercial),
            ("14", PayerClass::Commercial),
            ("WC", PayerClass::Other),
        ] {
            let claim = Claim { filing_indicator: Some(code.to_owned()), ..Claim::default() };
            assert_eq!(PayerClass::of(&claim), class, "{code}");
        }
        assert_eq!(PayerClass::of(&Claim::default()), PayerClass::Other);
    }
}
