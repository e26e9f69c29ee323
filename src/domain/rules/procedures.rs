//! Rules on procedures: form of the code, modifiers, unlisted services, place of service.
//!
//! Must never: carry a table of CPT codes; those belong to the AMA and are loaded, not shipped.

use super::payer_class::is_injury_insurance;
use super::{Component, Facts, Judgement, Rule, Verdict, five_digits, line_number, procedure, told};
use crate::domain::claim::{Claim, ClaimType, ServiceLine};
use crate::domain::reference::{Code, Found, Procedure};
use crate::domain::types::Phi;

/// A procedure code that cannot be one.
///
/// Source: 837 SV101-2, SV202-2, SV301-2: HCPCS, CPT and CDT codes have five letters or digits. The form is always
/// judged, and whether a code is valid on the day where the table `procedure-codes` tells. Injury insurers use codes of their
/// own and are not judged.
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
    reason: "A procedure code is not valid on the day of service",
    fix: "Use the code that is current on that day; modifiers go into their own fields",
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
/// Source: CARC 189; 837P SV101-7 is required with not-otherwise-classified codes. Judged by the table
/// `procedure-codes`, else by CMS's own HCPCS codes and the ending 999 of CPT's unlisted codes; only when the claim was read whole, since the description is optional.
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
/// Whether another code is for facilities only, the table `procedure-codes` tells.
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
    line.modifiers.iter().any(|modifier| wanted.contains(&modifier.trim_ascii()))
}

/// Where a professional service was given: the line's word, else the claim's.
pub(super) fn place_of_service<'a>(claim: &'a Claim, line: &'a ServiceLine) -> Option<&'a str> {
    told(line.place_of_service.as_ref()).or_else(|| told(claim.facility_type_code.as_ref()))
}

fn code_invalid(claim: &Claim, facts: &Facts) -> Verdict {
    if is_injury_insurance(claim) {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = told(line.procedure_code.as_ref()) else {
            continue;
        };
        if code.len() != 5 || !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            judgement.hit(line_number(index), format!("a code of {} characters", code.chars().count()));
            continue;
        }
        let day = line.service_from.or_else(|| claim.service_date());
        match procedure(line).and_then(|code| Some(facts.tables.procedures.as_ref()?.find(code))) {
            Some(Found::Absent) => judgement.hit(line_number(index), format!("{code} is not in the code list")),
            Some(Found::Entry(entry)) if day.is_some_and(|day| !entry.validity.holds(day)) => {
                judgement.hit(line_number(index), format!("{code} does not hold on the day of service"));
            }
            _ => judgement.pass(),
        }
    }
    judgement.verdict()
}

fn modifier_invalid(claim: &Claim, facts: &Facts) -> Verdict {
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        if line.modifiers.is_empty() {
            continue;
        }
        let number = line_number(index);
        let is_form = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let conflict = CONFLICTS.iter().find(|(one, other)| has_modifier(line, &[one]) && has_modifier(line, &[other]));
        if !line.modifiers.iter().all(|modifier| is_form(modifier.trim_ascii())) {
            judgement.hit(number, "a modifier is not two letters or digits");
        } else if let Some((one, other)) = conflict {
            judgement.hit(number, format!("modifier {one} with {other}"));
        } else if line.modifiers.iter().any(|modifier| !is_current(modifier, line, claim, facts)) {
            judgement.hit(number, "a modifier is not valid on the day of service");
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

/// Whether a modifier holds on the day of service, as far as the table can tell.
fn is_current(modifier: &str, line: &ServiceLine, claim: &Claim, facts: &Facts) -> bool {
    let found = Code::of(modifier).and_then(|code| Some(facts.tables.modifiers.as_ref()?.0.find(code)));
    match found {
        Some(Found::Absent) => false,
        Some(Found::Entry(validity)) => {
            line.service_from.or_else(|| claim.service_date()).is_none_or(|day| validity.holds(day))
        }
        Some(Found::Unknown) | None => true,
    }
}

/// What the table knows of a line's procedure.
fn entry<'a>(line: &ServiceLine, facts: &'a Facts) -> Option<&'a Procedure> {
    facts.tables.procedures.as_ref()?.get(procedure(line)?)
}

fn is_unlisted(code: &str, entry: Option<&Procedure>) -> bool {
    if let Some(told) = entry.and_then(|entry| entry.unlisted) {
        return told;
    }
    five_digits(code).is_some_and(|number| number % 1000 == 999) || UNLISTED_HCPCS.contains(&code)
}

fn unlisted_code(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = told(line.procedure_code.as_ref()).filter(|code| is_unlisted(code, entry(line, facts))) else {
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

fn pos_inconsistent(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let (Some(text), Some(place)) = (told(line.procedure_code.as_ref()), place_of_service(claim, line)) else {
            continue;
        };
        let facility_only = entry(line, facts).and_then(|entry| entry.facility_only);
        let code = five_digits(text);
        if code.is_none() && facility_only.is_none() {
            continue;
        }
        let wrong = match code {
            Some(99_281..=99_285) => place != "23",
            Some(99_221..=99_223 | 99_231..=99_233 | 99_238..=99_239) => place == "11",
            _ => facility_only == Some(true) && place == "11",
        };
        if wrong {
            let place: String = place.chars().take(2).collect();
            judgement.hit(line_number(index), format!("{text} at place of service {place}"));
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{is_hit, lines_hit, office_visit, stay, verdict_by, verdict_of, verdict_with};
    use super::*;
    use crate::domain::reference::Kind;

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

    fn by_codes(id: &str, claim: &Claim, columns: &str, rows: &str) -> Verdict {
        verdict_by(id, claim, &[(Kind::ProcedureCodes, &format!("code,{columns}\n{rows}\n"))])
    }

    #[test]
    fn a_code_is_in_the_list_and_holds_on_the_day() {
        let claim = with_code("G0001");
        assert_eq!(by_codes("CP01", &claim, "valid_from", "G0001,2026-10-30"), Verdict::Pass);
        assert!(is_hit(&by_codes("CP01", &claim, "valid_from", "G0001,2026-10-31")));
        assert!(is_hit(&by_codes("CP01", &claim, "valid_to", "G0001,2026-10-29")));
        assert_eq!(by_codes("CP01", &claim, "valid_to", "G0002,"), Verdict::Pass, "the list is not whole");
        assert!(is_hit(&by_codes("CP01", &claim, "valid_to", "G*,\nG0002,")));
    }

    #[test]
    fn a_modifier_holds_on_the_day() {
        let judged = |rows: &str| {
            let text = format!("code,valid_from,valid_to\n{rows}\n");
            verdict_by("CP03", &with_modifiers(&["ZZ"]), &[(Kind::Modifiers, &text)])
        };
        assert_eq!(judged("ZZ,,"), Verdict::Pass);
        assert_eq!(judged("25,,"), Verdict::Pass, "the list is not whole");
        assert!(is_hit(&judged("*,,\n25,,")));
        assert!(is_hit(&judged("ZZ,,2026-10-29")));
    }

    #[test]
    fn the_table_tells_unlisted_codes_and_those_for_facilities() {
        let claim = with_code("G0001");
        assert!(is_hit(&by_codes("CP13", &claim, "unlisted", "G0001,yes")));
        assert_eq!(by_codes("CP13", &with_code("J3490"), "unlisted", "J3490,no"), Verdict::Abstain);
        assert!(is_hit(&by_codes("PS01", &claim, "facility_only", "G0001,yes")));
        assert_eq!(by_codes("PS01", &claim, "facility_only", "G0001,no"), Verdict::Pass);
        assert_eq!(by_codes("PS01", &claim, "facility_only", "G0001,"), Verdict::Abstain);
    }
}
