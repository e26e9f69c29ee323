//! Rules on procedures: form of the code, modifiers, unlisted services, place of service, lines billed twice.
//!
//! Must never: carry a table of CPT codes; those belong to the AMA and are loaded, not shipped.

use super::payer_class::is_injury_insurance;
use super::{Component, Facts, Judgement, Rule, Verdict, five_digits, line_number, told};
use crate::domain::claim::{Claim, ClaimType, ServiceLine};
use crate::domain::types::Phi;

/// The same line twice on one claim.
///
/// Source: CARC 18; the half of the catalogue's near-duplicate edit that one claim can answer: same code, modifiers, days,
/// units, charge, place and drug, without a modifier that says it was repeated.
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
    reason: "Two service lines are the same",
    fix: "Remove the second line, raise the units, or add a repeat modifier (76, 77, 91, 59) if it was done again",
    check: near_duplicate,
};

/// A procedure code that cannot be one.
///
/// Source: 837 SV101-2, SV202-2, SV301-2: HCPCS, CPT and CDT codes have five letters or digits. Only the form is judged;
/// whether a code is valid on the day needs the table. Injury insurers use codes of their own and are not judged.
pub(super) const CP01: Rule = Rule {
    id: "CP01",
    name: "code_invalid",
    component: Component::Coding,
    prior_permille: 800,
    blocking: false,
    carcs: &["181", "16"],
    rarc: Some("M51"),
    fixable: true,
    source: "HCPCS, CPT and CDT code form; CARC 181",
    reason: "A procedure code does not have five letters or digits",
    fix: "Correct the procedure code; modifiers go into their own fields",
    check: code_invalid,
};

/// Modifiers that exclude each other, or are none.
///
/// Source: CARC 4 and 182, IOCE edit 22 for the form; CMS manual 100-04 ch. 12 and 20: 50 is both sides already, 26 and TC
/// are parts of one service, GA and GZ, JW and JZ, NU, RR and UE say opposite things.
pub(super) const CP03: Rule = Rule {
    id: "CP03",
    name: "modifier_invalid",
    component: Component::Coding,
    prior_permille: 600,
    blocking: false,
    carcs: &["182", "4"],
    rarc: Some("N519"),
    fixable: true,
    source: "IOCE edit 22; CMS 100-04 ch. 12, 20",
    reason: "The modifiers of a line are not valid together",
    fix: "Keep the modifier that describes the service and remove the other",
    check: modifier_invalid,
};

/// An unlisted procedure that nobody describes.
///
/// Source: CARC 189; 837P SV101-7 is required with not-otherwise-classified codes. Judged by CMS's own HCPCS codes and by
/// the ending 999 of CPT's unlisted codes; only when the claim was read whole, since the description is optional.
pub(super) const CP13: Rule = Rule {
    id: "CP13",
    name: "unlisted_code",
    component: Component::Documentation,
    prior_permille: 500,
    blocking: false,
    carcs: &["189", "16", "252"],
    rarc: Some("N350"),
    fixable: true,
    source: "CARC 189; 837 SV101-7",
    reason: "An unlisted procedure is billed without a description",
    fix: "Describe the service on the line, or send the record",
    check: unlisted_code,
};

/// A place of service that contradicts the procedure.
///
/// Source: CARC 5; CPT's headings: emergency department visits happen there (23), hospital visits not in an office (11).
/// Other pairs need a table.
pub(super) const PS01: Rule = Rule {
    id: "PS01",
    name: "pos_inconsistent",
    component: Component::Coding,
    prior_permille: 600,
    blocking: false,
    carcs: &["5", "58"],
    rarc: Some("M77"),
    fixable: true,
    source: "CARC 5",
    reason: "The place of service does not fit the procedure",
    fix: "Correct the place of service or the procedure code",
    check: pos_inconsistent,
};

/// Modifiers that say that the same service was done again, or apart.
const REPEATED: [&str; 8] = ["76", "77", "91", "59", "XE", "XS", "XP", "XU"];

/// Pairs of modifiers that cannot stand on one line.
const CONFLICTS: [(&str, &str); 8] =
    [("50", "RT"), ("50", "LT"), ("26", "TC"), ("GA", "GZ"), ("JW", "JZ"), ("NU", "RR"), ("NU", "UE"), ("RR", "UE")];

/// CMS's not-otherwise-classified codes (HCPCS level II, public).
const UNLISTED_HCPCS: [&str; 38] = [
    "A0999", "A4421", "A4641", "A4649", "A9150", "A9699", "A9900", "A9999", "B9998", "B9999", "C9399", "E1399",
    "E1699", "G0501", "J1599", "J3490", "J3590", "J7599", "J7699", "J7799", "J7999", "J8498", "J8499", "J8597",
    "J8999", "J9999", "K0108", "L0999", "L1499", "L2999", "L3649", "L3999", "L5999", "L7499", "L8039", "L8499",
    "L8699", "V2799",
];

/// Whether a line carries one of some modifiers.
pub(super) fn has_modifier(line: &ServiceLine, wanted: &[&str]) -> bool {
    line.modifiers.iter().any(|modifier| wanted.contains(&modifier.trim()))
}

/// Where a professional service was given: the line's word, else the claim's.
pub(super) fn place_of_service<'a>(claim: &'a Claim, line: &'a ServiceLine) -> Option<&'a str> {
    told(line.place_of_service.as_ref()).or_else(|| told(claim.facility_type_code.as_ref()))
}

fn near_duplicate(claim: &Claim, _: &Facts) -> Verdict {
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

fn code_invalid(claim: &Claim, _: &Facts) -> Verdict {
    if is_injury_insurance(claim) {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = told(line.procedure_code.as_ref()) else {
            continue;
        };
        if code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            judgement.pass();
        } else {
            judgement.hit(line_number(index), format!("a code of {} characters", code.chars().count()));
        }
    }
    judgement.verdict()
}

fn modifier_invalid(claim: &Claim, _: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        if line.modifiers.is_empty() {
            continue;
        }
        let number = line_number(index);
        let is_form = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let conflict = CONFLICTS.iter().find(|(one, other)| has_modifier(line, &[one]) && has_modifier(line, &[other]));
        if !line.modifiers.iter().all(|modifier| is_form(modifier.trim())) {
            judgement.hit(number, "a modifier is not two letters or digits");
        } else if let Some((one, other)) = conflict {
            judgement.hit(number, format!("modifier {one} with {other}"));
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

fn is_unlisted(code: &str) -> bool {
    five_digits(code).is_some_and(|number| number % 1000 == 999) || UNLISTED_HCPCS.contains(&code)
}

fn unlisted_code(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = told(line.procedure_code.as_ref()).filter(|code| is_unlisted(code)) else {
            continue;
        };
        let described = told(line.description.as_ref().map(Phi::expose)).is_some();
        if described || !claim.attachments.is_empty() {
            judgement.pass();
        } else if facts.complete {
            judgement.hit(line_number(index), format!("{code} without description or attachment"));
        }
    }
    judgement.verdict()
}

fn pos_inconsistent(claim: &Claim, _: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = told(line.procedure_code.as_ref()).and_then(five_digits) else {
            continue;
        };
        let Some(place) = place_of_service(claim, line) else {
            continue;
        };
        let wrong = match code {
            99_281..=99_285 => place != "23",
            99_221..=99_223 | 99_231..=99_233 | 99_238..=99_239 => place == "11",
            _ => false,
        };
        if wrong {
            let place: String = place.chars().take(2).collect();
            judgement.hit(line_number(index), format!("{code} at place of service {place}"));
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{lines_hit, office_visit, stay, verdict_of, verdict_with};
    use super::*;
    use crate::domain::types::Cents;

    fn with_code(code: &str) -> Claim {
        let mut claim = office_visit();
        claim.lines[0].procedure_code = Some(code.to_owned());
        claim.lines[0].modifiers.clear();
        claim
    }

    fn with_modifiers(modifiers: &[&str]) -> Claim {
        let mut claim = office_visit();
        claim.lines[0].modifiers = modifiers.iter().map(|&text| text.to_owned()).collect();
        claim
    }

    #[test]
    fn a_line_billed_twice_is_found_unless_it_says_why() {
        let mut claim = with_code("73560");
        assert_eq!(verdict_of("DU02", &claim), Verdict::Pass);
        claim.lines.push(claim.lines[0].clone());
        claim.lines[1].control_number = Some("2".to_owned());
        assert_eq!(lines_hit("DU02", &claim), vec![Some(2)]);
        let mut repeated = claim.clone();
        repeated.lines[1].modifiers = vec!["76".to_owned()];
        assert_eq!(verdict_of("DU02", &repeated), Verdict::Pass);
        claim.lines[1].charge = Cents::new(1);
        assert_eq!(verdict_of("DU02", &claim), Verdict::Pass);
        assert_eq!(verdict_of("DU02", &stay()), Verdict::Abstain);
    }

    #[test]
    fn a_procedure_code_has_five_characters() {
        for code in ["99213", "J3490", "0001U", "D0120", "0513T"] {
            assert_eq!(verdict_of("CP01", &with_code(code)), Verdict::Pass, "{code}");
        }
        for code in ["9921", "9921325", "99 13", "99213-25"] {
            assert_eq!(lines_hit("CP01", &with_code(code)), vec![Some(1)], "{code}");
        }
        assert_eq!(verdict_of("CP01", &stay()), Verdict::Abstain);
        let injury = Claim { filing_indicator: Some("WC".to_owned()), ..with_code("99199-07") };
        assert_eq!(verdict_of("CP01", &injury), Verdict::Abstain);
    }

    #[test]
    fn modifiers_do_not_contradict_each_other() {
        for pair in [["50", "RT"], ["LT", "50"], ["TC", "26"], ["GZ", "GA"], ["NU", "RR"], ["JZ", "JW"]] {
            assert_eq!(lines_hit("CP03", &with_modifiers(&pair)), vec![Some(1)], "{pair:?}");
        }
        assert_eq!(lines_hit("CP03", &with_modifiers(&["2"])), vec![Some(1)]);
        assert_eq!(verdict_of("CP03", &with_modifiers(&["25", "RT", "LT"])), Verdict::Pass);
        assert_eq!(verdict_of("CP03", &with_modifiers(&[])), Verdict::Abstain);
    }

    #[test]
    fn an_unlisted_procedure_is_described() {
        for code in ["64999", "J3490"] {
            let mut claim = with_code(code);
            assert_eq!(lines_hit("CP13", &claim), vec![Some(1)], "{code}");
            assert_eq!(verdict_with("CP13", &claim, &Facts::default()), Verdict::Abstain);
            claim.lines[0].description = Some(Phi::from("nerve procedure"));
            assert_eq!(verdict_of("CP13", &claim), Verdict::Pass);
        }
        assert_eq!(verdict_of("CP13", &office_visit()), Verdict::Abstain);
    }

    #[test]
    fn an_emergency_visit_happens_in_the_emergency_department() {
        let mut claim = with_code("99284");
        assert_eq!(lines_hit("PS01", &claim), vec![Some(1)]);
        claim.lines[0].place_of_service = Some("23".to_owned());
        assert_eq!(verdict_of("PS01", &claim), Verdict::Pass);
        // The line's place is unknown: the claim's counts.
        claim.lines[0].place_of_service = None;
        assert_eq!(lines_hit("PS01", &claim), vec![Some(1)]);
        claim.facility_type_code = None;
        assert_eq!(verdict_of("PS01", &claim), Verdict::Abstain);
        assert_eq!(lines_hit("PS01", &with_code("99231")), vec![Some(1)]);
    }
}
