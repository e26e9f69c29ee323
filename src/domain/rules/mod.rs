//! The edits: what a claim, and what is known around it, tells of why a payer might deny it.
//!
//! Each rule is a pure function of one claim and the [`Facts`] around it, in the file of its family. The numbers, the
//! prior probabilities and the reason codes follow the catalogue of edits. A rule that needs a payer's settings, a reference
//! table or the member's history abstains without it, or judges only the half that the claim can answer.
//!
//! Must never: judge what is unknown (it abstains instead), or put patient data into a reason or an evidence text.

mod amounts;
mod authorization;
mod coding;
mod coverage;
mod dates;
mod drugs;
mod duplicates;
mod eligibility;
mod enrollment;
mod facts;
mod institutional;
mod member;
mod ncci;
mod orders;
mod packages;
mod payer_class;
mod payer_terms;
mod procedures;
mod providers;
mod scope;

#[cfg(test)]
pub(crate) mod fixtures;

pub use facts::{EarlierClaim, EarlierLine, EarlierStatus, Facts};
pub use payer_class::PayerClass;

use std::borrow::Cow;

use super::claim::{Claim, ServiceLine};
use super::reference::Code;

/// The version of the catalogue: changes when a rule, its wording or its prior changes.
pub const RULE_SET_VERSION: &str = "2026.3";

/// The six groups that contributions are added up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// What the payer is like, and its limits (timely filing).
    Payer,
    /// Diagnoses, procedures, modifiers, units.
    Coding,
    /// What the claim has to say or bring along: dates, totals, references, documents.
    Documentation,
    /// The member and the order of payers.
    Eligibility,
    /// The providers named on the claim.
    Provider,
    /// What was learned from earlier remittances.
    Historical,
}

impl Component {
    /// All of them, in the order of `component_scores`.
    pub const ALL: [Self; 6] =
        [Self::Payer, Self::Coding, Self::Documentation, Self::Eligibility, Self::Provider, Self::Historical];

    /// The names of all, in the same order.
    pub const NAMES: [&str; 6] = [
        const { Self::ALL[0].as_str() },
        const { Self::ALL[1].as_str() },
        const { Self::ALL[2].as_str() },
        const { Self::ALL[3].as_str() },
        const { Self::ALL[4].as_str() },
        const { Self::ALL[5].as_str() },
    ];

    /// The key used in `component_scores`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payer => "payer",
            Self::Coding => "coding",
            Self::Documentation => "documentation",
            Self::Eligibility => "eligibility",
            Self::Provider => "provider",
            Self::Historical => "historical",
        }
    }
}

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Service line, from 1; `None` when the whole claim is meant.
    pub line: Option<u16>,
    /// What was seen, in a few plain words without patient data.
    pub evidence: Cow<'static, str>,
}

/// What a rule says of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What the rule needs is not known.
    Abstain,
    /// Judged, and in order.
    Pass,
    /// Broken, at one place or several.
    Hit(Vec<Finding>),
}

/// One edit of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable code, such as `ID01`.
    pub id: &'static str,
    /// Stable name, such as `npi_check_digit`.
    pub name: &'static str,
    /// The group its contribution counts in.
    pub component: Component,
    /// Prior probability, in thousandths, that a claim which breaks the rule is denied for it. An expert's guess.
    pub prior_permille: u16,
    /// Whether such a claim is usually rejected at the payer's door (277CA), before any adjudication.
    pub blocking: bool,
    /// Claim adjustment reason codes it leads to, the likeliest first.
    pub carcs: &'static [&'static str],
    /// Remittance advice remark code that goes with them.
    pub rarc: Option<&'static str>,
    /// Whether the biller can put it right.
    pub fixable: bool,
    /// Where the rule comes from.
    pub source: &'static str,
    /// What is wrong, for billers.
    pub reason: &'static str,
    /// What to do about it.
    pub fix: &'static str,
    /// The judgement itself.
    pub check: fn(&Claim, &Facts) -> Verdict,
}

/// A rule that a claim breaks, at one place.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The rule.
    pub rule: &'static Rule,
    /// The rule's place in [`CATALOGUE`].
    pub place: usize,
    /// Service line, from 1; `None` when the whole claim is meant.
    pub line: Option<u16>,
    /// What was seen, without patient data.
    pub evidence: Cow<'static, str>,
}

/// All rules, in the order in which hits are reported.
pub const CATALOGUE: &[Rule] = &[
    providers::ID01,
    providers::ID02,
    providers::ID03,
    enrollment::ID04,
    providers::ID05,
    enrollment::ID06,
    member::MB01,
    payer_terms::MB02,
    member::MB03,
    member::MB04,
    eligibility::EL01,
    eligibility::EL02,
    eligibility::EL03,
    eligibility::EL04,
    eligibility::CB01,
    coverage::CB02,
    coverage::CB03,
    dates::TM01,
    dates::TM02,
    payer_terms::TM03,
    dates::DT01,
    dates::DT02,
    duplicates::DU01,
    duplicates::DU02,
    coverage::FQ01,
    duplicates::FQ02,
    payer_terms::FQ03,
    coding::DX01,
    coding::DX02,
    coding::DX03,
    scope::DX04,
    coding::DX05,
    procedures::CP01,
    scope::CP02,
    procedures::CP03,
    scope::CP04,
    ncci::CP05,
    ncci::CP06,
    ncci::CP07,
    ncci::CP08,
    packages::CP09,
    packages::CP10,
    packages::CP11,
    packages::CP12,
    procedures::CP13,
    procedures::PS01,
    scope::PS02,
    scope::PV01,
    authorization::AU01,
    authorization::AU02,
    authorization::AU03,
    orders::RF01,
    enrollment::RF02,
    orders::LB01,
    orders::LB02,
    drugs::DR01,
    drugs::AN01,
    authorization::AT01,
    institutional::IN01,
    institutional::IN02,
    institutional::IN03,
    institutional::IN04,
    amounts::AM01,
    amounts::AM02,
    amounts::AM03,
    amounts::AM04,
];

/// The catalogue at a fixed address, so that hits can point into it.
static RULES: &[Rule] = CATALOGUE;

/// Judges a claim by every rule; the hits come in catalogue order, then by line, the whole claim first.
pub fn judge(claim: &Claim, facts: &Facts) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (place, rule) in RULES.iter().enumerate() {
        if let Verdict::Hit(mut findings) = (rule.check)(claim, facts) {
            // A stable sort: several findings of one line keep the order in which the rule looked.
            findings.sort_by_key(|finding| finding.line);
            hits.extend(findings.into_iter().map(|finding| Hit {
                rule,
                place,
                line: finding.line,
                evidence: finding.evidence,
            }));
        }
    }
    hits
}

/// The rule of a code, such as `ID01`.
pub fn find(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// Gathers what a rule saw, and turns it into a verdict at the end.
#[derive(Default)]
pub(crate) struct Judgement {
    judged: bool,
    findings: Vec<Finding>,
}

impl Judgement {
    /// Notes that something could be judged and was in order.
    pub(crate) fn pass(&mut self) {
        self.judged = true;
    }

    /// Notes a broken place.
    pub(crate) fn hit(&mut self, line: Option<u16>, evidence: impl Into<Cow<'static, str>>) {
        self.judged = true;
        self.findings.push(Finding { line, evidence: evidence.into() });
    }

    /// The verdict: a hit if anything was broken, a pass if anything could be judged, else an abstention.
    pub(crate) fn verdict(self) -> Verdict {
        match (self.judged, self.findings.is_empty()) {
            (_, false) => Verdict::Hit(self.findings),
            (true, true) => Verdict::Pass,
            (false, true) => Verdict::Abstain,
        }
    }
}

/// The number of a line as people count, from 1.
pub(crate) fn line_number(index: usize) -> Option<u16> {
    // A claim has 999 lines at most (X12); one that has more still gets a number that fits.
    Some(u16::try_from(index.saturating_add(1)).unwrap_or(u16::MAX))
}

/// A text that says something: present and not blank.
pub(crate) fn told(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim_ascii()).filter(|text| !text.is_empty())
}

/// Whether a text is exactly so many ASCII digits.
pub(crate) fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The procedure code of a line.
pub(crate) fn procedure(line: &ServiceLine) -> Option<Code> {
    line.procedure_code.as_deref().and_then(Code::of)
}

/// A procedure code of five digits as a number (CPT categories with a letter give `None`).
pub(crate) fn five_digits(code: &str) -> Option<u32> {
    if is_digits(code, 5) { code.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{office_visit, stay};
    use super::*;
    use crate::domain::reference::samples;
    use std::collections::BTreeSet;

    /// No facts, or all sample tables and that nothing was sent before.
    fn around(known: bool) -> Facts {
        if !known {
            return Facts::default();
        }
        Facts::default().with_earlier(Some(Vec::new())).with_tables(samples::all().into())
    }

    #[test]
    fn every_rule_has_its_own_code_name_and_words() {
        let mut seen = BTreeSet::new();
        for rule in CATALOGUE {
            assert!(seen.insert(rule.id) && seen.insert(rule.name), "{} twice", rule.id);
            assert!((1..1000).contains(&rule.prior_permille), "{}", rule.id);
            assert!(!rule.carcs.is_empty() && !rule.source.is_empty(), "{}", rule.id);
            assert!(rule.reason.len() > 10 && rule.fix.len() > 10, "{}", rule.id);
            assert!(find(rule.id).is_some_and(|found| found.name == rule.name));
        }
        assert!(find("XX99").is_none());
    }

    #[test]
    fn the_catalogue_has_its_sixty_six_edits() {
        assert_eq!(CATALOGUE.len(), 66);
    }

    #[test]
    fn good_claims_break_no_rule() {
        for claim in [office_visit(), stay()] {
            for (complete, tables) in [(false, false), (true, false), (false, true), (true, true)] {
                let facts = Facts { complete, ..around(tables) };
                let codes: Vec<_> = judge(&claim, &facts).iter().map(|hit| hit.rule.id).collect();
                assert_eq!(codes, Vec::<&str>::new(), "{}", claim.claim_type.as_str());
            }
        }
    }

    #[test]
    fn an_empty_claim_is_unknown_to_every_rule() {
        for rule in CATALOGUE {
            for facts in [around(false), around(true)] {
                let verdict = (rule.check)(&Claim::default(), &facts);
                assert_eq!(verdict, Verdict::Abstain, "{}", rule.id);
            }
        }
    }

    #[test]
    fn hits_come_in_catalogue_order_then_by_line() {
        let mut claim = office_visit();
        claim.lines.push(claim.lines[0].clone());
        claim.lines[1].units = Some(crate::domain::types::Units::default());
        claim.lines[0].units = Some(crate::domain::types::Units::default());
        claim.billing_provider.npi = Some("123".to_owned());
        let hits = judge(&claim, &Facts::default());
        let places: Vec<_> = hits.iter().map(|hit| (hit.place, hit.line)).collect();
        let mut sorted = places.clone();
        sorted.sort_unstable();
        assert_eq!(places, sorted);
        assert!(hits.iter().filter(|hit| hit.rule.id == "AM01").count() == 2);
        assert_eq!(hits[0].rule.id, "ID01");
    }
}
