//! Rules on what was sent before: the same claim again, the same service twice, an original where a replacement is due.
//!
//! Must never: take a missing history for an empty one.

use super::procedures::has_modifier;
use super::{Component, EarlierClaim, EarlierLine, Facts, Judgement, Rule, Verdict, line_number, told};
use crate::domain::claim::{Claim, ClaimType, ServiceLine};

/// A service that was sent before, just so.
///
/// Source: CARC 18 (group OA): same payer, billing provider, day, code, modifiers, units and charge on an earlier claim that
/// was neither rejected nor reversed. Replacements and voids repeat their services, and are not judged.
pub(super) const DU01: Rule = Rule {
    id: "DU01",
    name: "exact_duplicate",
    component: Component::Historical,
    prior_permille: 800,
    blocking: false,
    carcs: &["18"],
    rarc: None,
    fixable: true,
    source: "CARC 18; earlier claims for the member",
    reason: "The same service was sent to this payer before",
    fix: "Do not send it again; ask for the status of the earlier claim (276)",
    check: exact_duplicate,
};

/// The same line twice on one claim, or much the same on an earlier one.
///
/// Source: CARC 18. On one claim: same code, modifiers, days, units, charge, place and drug. Against what was sent before: same
/// payer, provider, day and code with other modifiers or another charge. A modifier that says it was repeated explains both.
pub(super) const DU02: Rule = Rule {
    id: "DU02",
    name: "near_duplicate",
    component: Component::Coding,
    prior_permille: 400,
    blocking: false,
    carcs: &["18", "97"],
    rarc: None,
    fixable: true,
    source: "CARC 18",
    reason: "A service line is the same as another one, or nearly",
    fix: "Remove the line, raise the units, send a replacement, or add a repeat modifier (76, 77, 91, 59) if it was done again",
    check: near_duplicate,
};

/// An original for a claim that the payer has decided.
///
/// Source: CARC 18; CLM05-3: what was adjudicated is changed by a replacement (7), under the payer's own claim number.
pub(super) const FQ02: Rule = Rule {
    id: "FQ02",
    name: "original_after_adjudication",
    component: Component::Historical,
    prior_permille: 600,
    blocking: false,
    carcs: &["18"],
    rarc: None,
    fixable: true,
    source: "837 CLM05-3; CARC 18; earlier claims for the member",
    reason: "The payer has decided this claim already, and it is sent as a new one",
    fix: "Send it as a replacement (frequency 7) with the payer's claim control number",
    check: original_after_adjudication,
};

/// Modifiers that say that the same service was done again, or apart.
const REPEATED: [&str; 8] = ["76", "77", "91", "59", "XE", "XS", "XP", "XU"];

/// Earlier claims to the same payer by the same billing provider that still stand; `None` when that is unknown.
fn standing<'a>(claim: &'a Claim, facts: &'a Facts) -> Option<impl Iterator<Item = &'a EarlierClaim>> {
    let npi = told(claim.billing_provider.npi.as_ref())?;
    let earlier = facts.earlier.as_deref()?;
    let key = claim.payer.key();
    Some(
        earlier.iter().filter(move |one| {
            one.status.stands() && one.payer_key == key && told(one.billing_npi.as_ref()) == Some(npi)
        }),
    )
}

/// Whether an earlier line is of the same procedure and day.
fn is_same_day(line: &ServiceLine, earlier: &EarlierLine) -> bool {
    line.service_from.is_some()
        && line.service_from == earlier.service_from
        && told(line.procedure_code.as_ref()) == Some(earlier.procedure_code.trim())
}

/// Whether an earlier line of the same procedure and day is the same in all that it says.
fn is_exact(line: &ServiceLine, earlier: &EarlierLine) -> bool {
    line.modifiers == earlier.modifiers
        && line.charge == earlier.charge
        && (line.units.is_none() || earlier.units.is_none() || line.units == earlier.units)
}

fn exact_duplicate(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.is_replacement() || claim.is_void() {
        return Verdict::Abstain;
    }
    let Some(earlier) = standing(claim, facts) else { return Verdict::Abstain };
    let before: Vec<&EarlierLine> = earlier.flat_map(|claim| &claim.lines).collect();
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        if line.service_from.is_none() || line.procedure_code.is_none() {
            continue;
        }
        if before.iter().any(|other| is_same_day(line, other) && is_exact(line, other)) {
            judgement.hit(line_number(index), "sent before with the same modifiers and charge");
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

/// The half of the near duplicates that looks at earlier claims.
fn near_earlier(claim: &Claim, facts: &Facts, judgement: &mut Judgement) {
    if claim.is_replacement() || claim.is_void() {
        return;
    }
    let Some(earlier) = standing(claim, facts) else { return };
    let before: Vec<&EarlierLine> = earlier.flat_map(|claim| &claim.lines).collect();
    for (index, line) in claim.lines.iter().enumerate() {
        let mut same = before.iter().filter(|other| is_same_day(line, other)).peekable();
        // An exact duplicate is the other rule's.
        if same.peek().is_some() && !has_modifier(line, &REPEATED) && !same.any(|other| is_exact(line, other)) {
            judgement.hit(line_number(index), "sent before with other modifiers or another charge");
        }
    }
}

fn original_after_adjudication(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.frequency_code.trim() != "1" {
        return Verdict::Abstain;
    }
    let Some(earlier) = facts.earlier.as_deref() else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    if earlier.iter().any(|one| one.is_same_claim(claim) && one.status.is_decided()) {
        judgement.hit(None, "the payer decided an earlier submission of this claim");
    } else if !claim.patient_control_number.expose().is_empty() {
        judgement.pass();
    }
    judgement.verdict()
}

fn near_duplicate(claim: &Claim, facts: &Facts) -> Verdict {
    // Dental lines differ by tooth, hospital lines by nothing that is known here.
    if claim.claim_type != ClaimType::Professional || claim.lines.is_empty() {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    let mut lines: Vec<(usize, &ServiceLine)> = claim
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.procedure_code.is_some() && line.service_from.is_some())
        .collect();
    let order = |(index, line): &(usize, &ServiceLine)| (line.service_from, line.charge, line.units, *index);
    // Sorted by what is cheap to compare; the full comparison then looks at neighbours of one group only.
    lines.sort_unstable_by(|one, other| {
        one.1.procedure_code.cmp(&other.1.procedure_code).then_with(|| order(one).cmp(&order(other)))
    });
    for (place, (index, line)) in lines.iter().enumerate() {
        judgement.pass();
        if has_modifier(line, &REPEATED) {
            continue;
        }
        let earlier = lines.get(..place).unwrap_or_default().iter().rev();
        let twin = earlier
            .take_while(|(_, other)| other.procedure_code == line.procedure_code)
            .take(MOST_COMPARED)
            .find(|(_, other)| is_same_service(line, other));
        if let Some((twin, _)) = twin {
            judgement.hit(line_number(*index), format!("same as line {}", twin + 1));
        }
    }
    near_earlier(claim, facts, &mut judgement);
    judgement.verdict()
}

/// So many neighbours are compared at most, so that a claim of a thousand like lines stays cheap.
const MOST_COMPARED: usize = 32;

fn is_same_service(line: &ServiceLine, other: &ServiceLine) -> bool {
    (line.service_from, line.service_to, line.charge, line.units)
        == (other.service_from, other.service_to, other.charge, other.units)
        && line.modifiers == other.modifiers
        && line.place_of_service == other.place_of_service
        && line.diagnosis_pointers == other.diagnosis_pointers
        && line.ndc == other.ndc
        && line.description == other.description
}

#[cfg(test)]
mod tests {
    use super::super::EarlierStatus;
    use super::super::fixtures::{is_hit, lines_hit, office_visit, sent_before, stay, verdict_after, verdict_of};
    use super::*;
    use crate::domain::types::{Cents, Phi};

    #[test]
    fn a_line_billed_twice_is_found_unless_it_says_why() {
        let mut claim = with_code("73560");
        assert_eq!(verdict_of("DU02", &claim), Verdict::Pass);
        claim.lines.push(claim.lines[0].clone());
        claim.lines[1].control_number = Some("2".into());
        assert_eq!(lines_hit("DU02", &claim), vec![Some(2)]);
        let mut repeated = claim.clone();
        repeated.lines[1].modifiers = vec!["76".to_owned()];
        assert_eq!(verdict_of("DU02", &repeated), Verdict::Pass);
        claim.lines[1].charge = Cents::new(1);
        assert_eq!(verdict_of("DU02", &claim), Verdict::Pass);
        assert_eq!(verdict_of("DU02", &stay()), Verdict::Abstain);
    }

    fn with_code(code: &str) -> Claim {
        let mut claim = office_visit();
        claim.lines[0].procedure_code = Some(code.to_owned());
        claim.lines[0].modifiers.clear();
        claim
    }

    fn judged(id: &str, claim: &Claim, earlier: EarlierClaim) -> Verdict {
        verdict_after(id, claim, earlier)
    }

    #[test]
    fn the_same_service_is_not_sent_twice() {
        let claim = office_visit();
        let before = sent_before(&claim);
        assert!(is_hit(&judged("DU01", &claim, before.clone())));
        let mut dearer = before.clone();
        dearer.lines[0].charge = Cents::new(1);
        for other in [
            dearer,
            EarlierClaim { status: EarlierStatus::Rejected, ..before.clone() },
            EarlierClaim { status: EarlierStatus::Reversed, ..before.clone() },
            EarlierClaim { payer_key: "OTHER".to_owned(), ..before.clone() },
            EarlierClaim { billing_npi: Some("1234567893".to_owned()), ..before.clone() },
        ] {
            assert_eq!(judged("DU01", &claim, other.clone()), Verdict::Pass, "{other:?}");
        }
        assert_eq!(verdict_of("DU01", &claim), Verdict::Abstain);
        let replacement = Claim { frequency_code: "7".to_owned(), ..claim };
        assert_eq!(judged("DU01", &replacement, before), Verdict::Abstain);
    }

    #[test]
    fn nearly_the_same_service_needs_a_modifier_that_says_why() {
        let mut claim = office_visit();
        let mut before = sent_before(&claim);
        assert_eq!(judged("DU02", &claim, before.clone()), Verdict::Pass, "exact, which is the other rule's");
        before.lines[0].charge = Cents::new(1);
        assert!(is_hit(&judged("DU02", &claim, before.clone())));
        claim.lines[0].modifiers = vec!["76".to_owned()];
        assert_eq!(judged("DU02", &claim, before), Verdict::Pass);
    }

    #[test]
    fn a_decided_claim_is_replaced_and_not_sent_anew() {
        let claim = office_visit();
        let with = |status| EarlierClaim { status, ..sent_before(&claim) };
        for (status, hit) in [
            (EarlierStatus::Paid, true),
            (EarlierStatus::Denied, true),
            (EarlierStatus::Sent, false),
            (EarlierStatus::Rejected, false),
        ] {
            assert_eq!(is_hit(&judged("FQ02", &claim, with(status))), hit, "{status:?}");
        }
        let other = EarlierClaim { patient_control_number: Phi::from("OTHER"), ..with(EarlierStatus::Paid) };
        assert_eq!(judged("FQ02", &claim, other), Verdict::Pass);
        assert_eq!(verdict_of("FQ02", &claim), Verdict::Abstain);
        let replacement = Claim { frequency_code: "7".to_owned(), ..claim.clone() };
        assert_eq!(judged("FQ02", &replacement, with(EarlierStatus::Paid)), Verdict::Abstain);
    }
}
