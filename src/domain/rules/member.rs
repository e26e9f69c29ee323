//! Rules on the patient: the member id, birth date and sex that the payer finds the member by.
//!
//! Must never: put any of these into an evidence text.

use super::payer_class::is_injury_insurance;
use super::{Component, Facts, Judgement, Rule, Verdict};
use crate::domain::claim::Claim;
use crate::domain::types::Date;

/// A claim without a usable member id.
///
/// Source: CARC 31; 837 loop 2010BA NM109. Not judged for workers' compensation and liability insurers, which know their
/// cases by other numbers, nor when nothing at all is told of the member.
pub(super) const MB01: Rule = Rule {
    id: "MB01",
    name: "member_id_missing",
    component: Component::Eligibility,
    prior_permille: 900,
    blocking: true,
    carcs: &["31", "16"],
    rarc: Some("N382"),
    fixable: true,
    source: "CARC 31; 837 loop 2010BA NM109",
    reason: "The member id is missing or a filler",
    fix: "Check the insurance card and run an eligibility inquiry (270), then add the member id",
    check: member_id_missing,
};

/// A birth date or sex that cannot be right.
///
/// Source: 837 loop 2010BA/2010CA DMG02 and DMG03 (`F`, `M`, `U`). What is absent is not judged.
pub(super) const MB03: Rule = Rule {
    id: "MB03",
    name: "demographics",
    component: Component::Eligibility,
    prior_permille: 600,
    blocking: true,
    carcs: &["16", "140", "31"],
    rarc: Some("N329"),
    fixable: true,
    source: "837 DMG02, DMG03",
    reason: "The patient's birth date or sex cannot be right",
    fix: "Correct the birth date or sex as the insurance card has it",
    check: demographics,
};

/// A newborn on another member's insurance.
///
/// Source: CARC 34 and 128. The catalogue's prior of 0.4 is for a newborn whom the payer does not know; the claim alone
/// only says that a child of at most sixty days is billed as a dependent, hence half of it. The table `payer-rules` tells for how
/// many days a payer takes newborns under a parent's id.
pub(super) const MB04: Rule = Rule {
    id: "MB04",
    name: "newborn",
    component: Component::Eligibility,
    prior_permille: 200,
    blocking: false,
    carcs: &["34", "31", "128"],
    rarc: None,
    fixable: true,
    source: "CARC 34, 128",
    reason: "A newborn is billed under a parent's insurance and may not be enrolled yet",
    fix: "Check that the newborn is enrolled, or bill by the payer's rule for newborns",
    check: newborn,
};

/// Days after birth in which a child may still be unknown to the payer.
const NEWBORN_DAYS: i64 = 60;
/// No patient is older, in years.
const OLDEST_YEARS: u32 = 120;

fn member_id_missing(claim: &Claim, _: &Facts) -> Verdict {
    let subscriber = &claim.subscriber;
    let member_is_told = subscriber.member_id.is_some()
        || subscriber.birth_date.is_some()
        || subscriber.gender.is_some()
        || claim.patient_is_dependent;
    if !member_is_told || is_injury_insurance(claim) {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    match subscriber.member_id.as_ref().map(|id| id.expose().trim()) {
        None | Some("") => judgement.hit(None, "no member id"),
        Some(_) if subscriber.usable_member_id().is_none() => judgement.hit(None, "the member id is a filler"),
        Some(_) => judgement.pass(),
    }
    judgement.verdict()
}

/// Whole years from one day to another.
pub(super) fn years_between(from: Date, to: Date) -> Option<u32> {
    to.years_since(from)
}

fn demographics(claim: &Claim, facts: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    match claim.subscriber.gender.as_ref().map(|sex| sex.expose().trim()) {
        None | Some("") => {}
        Some("F" | "M" | "U") => judgement.pass(),
        Some(_) => judgement.hit(None, "the sex is not one of the codes F, M, U"),
    }
    let day = claim.service_date().or_else(|| facts.sent_on(claim));
    if let (Some(born), Some(day)) = (claim.subscriber.birth_date.as_ref(), day) {
        match years_between(*born.expose(), day) {
            None => judgement.hit(None, "the birth date is after the first day of service"),
            Some(years) if years > OLDEST_YEARS => {
                judgement.hit(None, format!("the birth date makes the patient older than {OLDEST_YEARS}"));
            }
            Some(_) => judgement.pass(),
        }
    }
    judgement.verdict()
}

fn newborn(claim: &Claim, facts: &Facts) -> Verdict {
    let (Some(born), Some(day)) = (claim.subscriber.birth_date.as_ref(), claim.service_date()) else {
        return Verdict::Abstain;
    };
    let age_days = day.signed_duration_since(*born.expose()).num_days();
    // A payer that takes newborns under a parent's id says for how long.
    let allowed = facts.payer_rule(claim).and_then(|rule| rule.newborn_days).unwrap_or(-1);
    let mut judgement = Judgement::default();
    if claim.patient_is_dependent && age_days > allowed && (0..=NEWBORN_DAYS).contains(&age_days) {
        judgement.hit(None, format!("a dependent of at most {NEWBORN_DAYS} days"));
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{day, lines_hit, office_visit, verdict_by, verdict_of};
    use super::*;
    use crate::domain::claim::Subscriber;
    use crate::domain::reference::Kind;
    use crate::domain::types::Phi;

    fn with_member_id(id: Option<&str>) -> Claim {
        let mut claim = office_visit();
        claim.subscriber.member_id = id.map(Phi::from);
        claim
    }

    #[test]
    fn a_member_id_must_say_who_it_is() {
        for id in [None, Some(""), Some(" "), Some("unknown"), Some("N/A"), Some("999999999"), Some("XXXX")] {
            assert_eq!(lines_hit("MB01", &with_member_id(id)), vec![None], "{id:?}");
        }
        for id in [Some("W123456789"), Some("1EG4TE5MK73"), Some("11")] {
            assert_eq!(verdict_of("MB01", &with_member_id(id)), Verdict::Pass, "{id:?}");
        }
    }

    #[test]
    fn a_member_of_whom_nothing_is_told_is_not_judged() {
        let claim = Claim { subscriber: Subscriber::default(), ..office_visit() };
        assert_eq!(verdict_of("MB01", &claim), Verdict::Abstain);
        assert_eq!(verdict_of("MB03", &claim), Verdict::Abstain);
        assert_eq!(verdict_of("MB04", &claim), Verdict::Abstain);
        let injury = Claim { filing_indicator: Some("WC".to_owned()), ..with_member_id(None) };
        assert_eq!(verdict_of("MB01", &injury), Verdict::Abstain);
    }

    fn born(year: i32, month: u32, day_of_month: u32) -> Claim {
        let mut claim = office_visit();
        claim.subscriber.birth_date = Some(Phi::new(day(year, month, day_of_month)));
        claim
    }

    #[test]
    fn a_birth_date_lies_before_the_service_and_not_too_far() {
        assert_eq!(verdict_of("MB03", &born(2026, 10, 30)), Verdict::Pass);
        assert_eq!(lines_hit("MB03", &born(2026, 10, 31)), vec![None]);
        assert_eq!(verdict_of("MB03", &born(1906, 10, 30)), Verdict::Pass);
        assert_eq!(lines_hit("MB03", &born(1900, 1, 1)), vec![None]);
    }

    #[test]
    fn a_sex_is_one_of_three_codes() {
        let mut claim = office_visit();
        claim.subscriber.gender = Some(Phi::from("X"));
        assert_eq!(lines_hit("MB03", &claim), vec![None]);
        claim.subscriber.gender = Some(Phi::from("U"));
        assert_eq!(verdict_of("MB03", &claim), Verdict::Pass);
    }

    #[test]
    fn a_newborn_is_noticed_only_as_a_dependent() {
        let own = born(2026, 10, 1);
        assert_eq!(verdict_of("MB04", &own), Verdict::Pass);
        let dependent = Claim { patient_is_dependent: true, ..own };
        assert_eq!(lines_hit("MB04", &dependent), vec![None]);
        let takes = |days: &str| {
            verdict_by("MB04", &dependent, &[(Kind::PayerRules, &format!("payer_id,newborn_days\n60054,{days}\n"))])
        };
        assert_eq!(takes("30"), Verdict::Pass);
        assert!(matches!(takes("28"), Verdict::Hit(_)));
        let older = Claim { patient_is_dependent: true, ..born(2026, 8, 30) };
        assert_eq!(verdict_of("MB04", &older), Verdict::Pass);
    }
}
