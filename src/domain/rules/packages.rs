//! Rules on services that belong to others: visits within a surgery's package, add-on codes, new patients who are not new.
//!
//! Must never: take a missing record of earlier services for there being none.

use super::procedures::has_modifier;
use super::{Component, EarlierClaim, Facts, Judgement, Rule, Verdict, five_digits, line_number, procedure, told};
use crate::domain::claim::{Claim, ClaimType, ServiceLine};
use crate::domain::reference::{Code, Procedure};
use crate::domain::types::Date;

/// A visit on the day of a small procedure that includes it.
///
/// Source: IOCE edit 21; CMS manual 100-04 ch. 12 sec. 40: a procedure with a package of 0 or 10 days (table
/// `procedure-codes`) includes the visit of its day, unless the visit has modifier 25 (57 for the decision to operate).
pub(super) const CP09: Rule = Rule {
    id: "CP09",
    name: "em_same_day",
    component: Component::Coding,
    prior_permille: 500,
    blocking: false,
    carcs: &["97", "4"],
    rarc: None,
    fixable: true,
    source: "IOCE edit 21; CMS 100-04 ch. 12 sec. 40",
    reason: "A visit is billed on the day of a procedure that includes it",
    fix: "Add modifier 25 if the visit was separate and the record shows it; else remove the visit",
    check: visit_same_day,
};

/// A visit within the days of an earlier surgery's package.
///
/// Source: CMS manual 100-04 ch. 12 sec. 40: 10 or 90 days (table `procedure-codes`) after the practice's own surgery; 24,
/// 57 and 79 say that the service is another matter.
pub(super) const CP10: Rule = Rule {
    id: "CP10",
    name: "global_period",
    component: Component::Coding,
    prior_permille: 500,
    blocking: false,
    carcs: &["97"],
    rarc: None,
    fixable: true,
    source: "CMS 100-04 ch. 12 sec. 40: global surgical days",
    reason: "A visit falls within the package of the practice's own earlier surgery",
    fix: "Add modifier 24 if the visit had another cause; else it is paid with the surgery",
    check: global_period,
};

/// An add-on code without the procedure it is added to.
///
/// Source: CARC 107 and B15; CMS's list of add-on code edits (table `procedure-codes`: add_on, primaries).
pub(super) const CP11: Rule = Rule {
    id: "CP11",
    name: "addon_without_primary",
    component: Component::Coding,
    prior_permille: 800,
    blocking: false,
    carcs: &["107", "B15"],
    rarc: None,
    fixable: true,
    source: "NCCI add-on code edits; CARC 107",
    reason: "An add-on code is billed without the procedure it belongs to",
    fix: "Bill the primary procedure on the same claim, or remove the add-on code",
    check: addon_without_primary,
};

/// A visit as a new patient of someone whom the practice has seen.
///
/// Source: CARC B16; CMS manual 100-04 ch. 12 sec. 30.6.7: new is who had no face-to-face service by the same group and
/// specialty within three years. Earlier visits and operations count, tests do not.
pub(super) const CP12: Rule = Rule {
    id: "CP12",
    name: "new_patient_history",
    component: Component::Coding,
    prior_permille: 500,
    blocking: false,
    carcs: &["B16"],
    rarc: None,
    fixable: true,
    source: "CMS 100-04 ch. 12 sec. 30.6.7; CARC B16",
    reason: "A new patient's visit is billed for someone seen within three years",
    fix: "Use the code for an established patient",
    check: new_patient_history,
};

/// Whether a code is a visit: evaluation and management, or of the eyes.
fn is_visit(code: u32) -> bool {
    matches!(code, 99_202..=99_499 | 92_002..=92_014)
}

/// The visits of a claim with their places.
fn visits(claim: &Claim) -> impl Iterator<Item = (usize, &ServiceLine)> {
    claim
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| told(line.procedure_code.as_ref()).and_then(five_digits).is_some_and(is_visit))
}

fn visit_same_day(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(table) = facts.tables.procedures.as_ref() else { return Verdict::Abstain };
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, visit) in visits(claim) {
        let Some(day) = visit.service_from else { continue };
        let packaged = claim.lines.iter().filter(|line| line.service_from == Some(day)).find_map(|line| {
            let code = procedure(line)?;
            matches!(table.get(code)?.global_days, Some(0 | 10)).then_some(code)
        });
        match packaged {
            Some(code) if !has_modifier(visit, &["25", "57", "24", "79"]) => {
                judgement.hit(line_number(index), format!("on the day of {code} without modifier 25"));
            }
            _ => judgement.pass(),
        }
    }
    judgement.verdict()
}

/// Claims of the same practice that stand.
fn own_earlier<'a>(claim: &'a Claim, facts: &'a Facts) -> Option<impl Iterator<Item = &'a EarlierClaim>> {
    let npi = told(claim.billing_provider.npi.as_ref())?;
    let own = move |earlier: &&EarlierClaim| {
        earlier.status.stands() && told(earlier.billing_npi.as_ref()).is_some_and(|other| other == npi)
    };
    Some(facts.earlier.as_ref()?.iter().filter(own))
}

fn global_period(claim: &Claim, facts: &Facts) -> Verdict {
    let (Some(table), ClaimType::Professional) = (&facts.tables.procedures, claim.claim_type) else {
        return Verdict::Abstain;
    };
    let Some(earlier) = own_earlier(claim, facts) else { return Verdict::Abstain };
    let packages: Vec<(Code, Date, i64)> = earlier
        .flat_map(|claim| &claim.lines)
        .filter_map(|line| {
            let code = Code::of(&line.procedure_code)?;
            let days = table.get(code)?.global_days.filter(|days| *days > 0)?;
            Some((code, line.service_from?, i64::from(days)))
        })
        .collect();
    let mut judgement = Judgement::default();
    for (index, visit) in visits(claim) {
        let Some(day) = visit.service_from else { continue };
        let within = |(_, surgery, days): &&(Code, Date, i64)| {
            (1..=*days).contains(&day.signed_duration_since(*surgery).num_days())
        };
        match packages.iter().find(within) {
            Some((code, _, days)) if !has_modifier(visit, &["24", "57", "79"]) => {
                judgement.hit(line_number(index), format!("within {days} days after {code}"));
            }
            _ => judgement.pass(),
        }
    }
    judgement.verdict()
}

fn addon_without_primary(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(table) = facts.tables.procedures.as_ref() else { return Verdict::Abstain };
    let entry = |line: &ServiceLine| procedure(line).and_then(|code| table.get(code));
    let is_add_on = |entry: Option<&Procedure>| entry.is_some_and(|entry| entry.primaries.is_some());
    let same_day = |one: &ServiceLine, other: &ServiceLine| match (one.service_from, other.service_from) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(primaries) = entry(line).and_then(|entry| entry.primaries.as_ref()) else { continue };
        let is_primary = |other: &ServiceLine| {
            let code = procedure(other).filter(|&code| primaries.include(code) && procedure(line) != Some(code));
            code.is_some() && !is_add_on(entry(other)) && same_day(line, other)
        };
        if claim.lines.iter().any(is_primary) {
            judgement.pass();
        } else {
            judgement.hit(line_number(index), "its primary procedure is not on the claim");
        }
    }
    judgement.verdict()
}

/// Whether an earlier service was face to face: a visit or an operation.
fn is_face_to_face(code: &str) -> bool {
    five_digits(code).is_some_and(|code| is_visit(code) || matches!(code, 10_004..=69_990))
}

fn new_patient_history(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let Some(earlier) = own_earlier(claim, facts) else { return Verdict::Abstain };
    let rendering = claim.rendering_provider.as_ref().and_then(|provider| told(provider.taxonomy_code.as_ref()));
    let specialty = rendering.or_else(|| told(claim.billing_provider.taxonomy_code.as_ref()));
    let same_specialty =
        |earlier: &&EarlierClaim| specialty.is_some() && told(earlier.taxonomy_code.as_ref()) == specialty;
    let seen: Vec<Date> = earlier
        .filter(same_specialty)
        .flat_map(|claim| &claim.lines)
        .filter(|line| is_face_to_face(line.procedure_code.trim()))
        .filter_map(|line| line.service_from)
        .collect();
    let mut judgement = Judgement::default();
    for (index, visit) in visits(claim) {
        let is_new = |code| matches!(code, 99_202..=99_205);
        let new = told(visit.procedure_code.as_ref()).and_then(five_digits).is_some_and(is_new);
        let (true, Some(day), true) = (new, visit.service_from, specialty.is_some()) else { continue };
        let within = |before: &&Date| **before < day && day.years_since(**before).is_some_and(|years| years < 3);
        if seen.iter().any(|before| within(&before)) {
            judgement.hit(line_number(index), "seen by the same group and specialty within three years");
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::EarlierStatus;
    use super::super::fixtures::{
        day, facts_with, is_hit, office_visit, sent_before, verdict_after, verdict_by, verdict_of, verdict_with,
    };
    use super::*;
    use crate::domain::reference::Kind;

    const CODES: &str = "code,add_on,primaries,global_days\nG0010,,,10\nG0090,,,90\nG0001,yes,G0090,\nG0002,yes,,\n";

    fn claim(codes: &[&str]) -> Claim {
        let mut claim = office_visit();
        let line = ServiceLine { modifiers: Vec::new(), ..claim.lines[0].clone() };
        let with = |code: &&str| ServiceLine { procedure_code: Some((*code).to_owned()), ..line.clone() };
        claim.lines = codes.iter().map(with).collect();
        claim
    }

    fn judged(id: &str, claim: &Claim) -> Verdict {
        verdict_by(id, claim, &[(Kind::ProcedureCodes, CODES)])
    }

    #[test]
    fn a_visit_beside_a_small_procedure_needs_modifier_25() {
        let mut both = claim(&["99213", "G0010"]);
        assert!(is_hit(&judged("CP09", &both)));
        both.lines[0].modifiers = vec!["25".to_owned()];
        assert_eq!(judged("CP09", &both), Verdict::Pass);
        assert_eq!(judged("CP09", &claim(&["99213", "G0090"])), Verdict::Pass);
        assert_eq!(judged("CP09", &claim(&["G0010"])), Verdict::Abstain);
        assert_eq!(verdict_of("CP09", &both), Verdict::Abstain);
    }

    fn after(id: &str, claim: &Claim, earlier: EarlierClaim) -> Verdict {
        let facts = facts_with(&[(Kind::ProcedureCodes, CODES)]).with_earlier(Some(vec![earlier]));
        verdict_with(id, claim, &facts)
    }

    #[test]
    fn a_visit_after_the_practices_own_surgery_is_included_for_its_days() {
        let visit = claim(&["99213"]);
        let surgery = |code: &str, on: Date| {
            let mut earlier = sent_before(&claim(&[code]));
            earlier.lines[0].service_from = Some(on);
            earlier
        };
        for (earlier, hit) in [
            (surgery("G0010", day(2026, 10, 20)), true),
            (surgery("G0010", day(2026, 10, 19)), false),
            (surgery("G0090", day(2026, 10, 1)), true),
            (surgery("G0090", day(2026, 10, 30)), false),
            (surgery("G0090", day(2026, 11, 30)), false),
            (EarlierClaim { billing_npi: Some("1234567893".to_owned()), ..surgery("G0090", day(2026, 10, 1)) }, false),
            (EarlierClaim { status: EarlierStatus::Reversed, ..surgery("G0090", day(2026, 10, 1)) }, false),
        ] {
            assert_eq!(is_hit(&after("CP10", &visit, earlier.clone())), hit, "{earlier:?}");
        }
        let mut unrelated = visit.clone();
        unrelated.lines[0].modifiers = vec!["24".to_owned()];
        assert_eq!(after("CP10", &unrelated, surgery("G0090", day(2026, 10, 1))), Verdict::Pass);
        assert_eq!(judged("CP10", &visit), Verdict::Abstain, "no history");
    }

    #[test]
    fn an_add_on_code_stands_beside_its_primary() {
        assert_eq!(judged("CP11", &claim(&["G0090", "G0001"])), Verdict::Pass);
        assert!(is_hit(&judged("CP11", &claim(&["G0001", "G0010"]))));
        assert!(is_hit(&judged("CP11", &claim(&["G0002"]))));
        assert!(is_hit(&judged("CP11", &claim(&["G0002", "G0001"]))), "an add-on code is no primary");
        assert_eq!(judged("CP11", &claim(&["G0002", "99213"])), Verdict::Pass);
        assert_eq!(judged("CP11", &claim(&["99213"])), Verdict::Abstain);
        assert_eq!(verdict_of("CP11", &claim(&["G0001"])), Verdict::Abstain);
    }

    #[test]
    fn a_new_patient_was_not_seen_for_three_years() {
        let new = claim(&["99203"]);
        let seen = |code: &str, on: Date| {
            let mut earlier = sent_before(&claim(&[code]));
            earlier.lines[0].service_from = Some(on);
            earlier
        };
        assert!(is_hit(&verdict_after("CP12", &new, seen("99213", day(2023, 10, 31)))));
        assert_eq!(verdict_after("CP12", &new, seen("99213", day(2023, 10, 30))), Verdict::Pass);
        assert_eq!(verdict_after("CP12", &new, seen("80053", day(2026, 1, 1))), Verdict::Pass);
        assert_eq!(verdict_after("CP12", &claim(&["99213"]), seen("99213", day(2026, 1, 1))), Verdict::Abstain);
        assert_eq!(verdict_of("CP12", &new), Verdict::Abstain);
        let mut other = new;
        other.billing_provider.taxonomy_code = Some("111N00000X".to_owned());
        assert_eq!(verdict_after("CP12", &other, seen("99213", day(2026, 1, 1))), Verdict::Pass);
    }
}
