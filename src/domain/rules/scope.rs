//! Rules on whether a procedure fits: the diagnosis, the patient, its modifiers, telehealth, the provider's specialty.
//!
//! Must never: judge a procedure that no table knows.

use super::coding::patient;
use super::facts::payer_id;
use super::payer_class::is_medicare;
use super::procedures::{has_modifier, place_of_service};
use super::{Component, Facts, Judgement, Rule, Verdict, line_number, procedure, told};
use crate::domain::claim::{Claim, ClaimType, ServiceLine};
use crate::domain::reference::Code;

/// A procedure that is not covered for the diagnoses it is billed with.
///
/// Source: CARC 50, 11 and 167; Medicare's coverage determinations, or the payer's own list (table `coverage`). The
/// diagnoses are those the line points at, else all of the claim.
pub(super) const DX04: Rule = Rule {
    id: "DX04",
    name: "dx_not_covered",
    component: Component::Coding,
    prior_permille: 500,
    blocking: false,
    carcs: &["50", "11", "167"],
    rarc: Some("N115"),
    fixable: true,
    source: "table coverage (LCD, NCD); CARC 50",
    reason: "The procedure is not covered for the diagnoses it is billed with",
    fix: "Check the coverage policy; bill the diagnosis that the record supports, or have the patient sign a notice (GA)",
    check: dx_not_covered,
};

/// A procedure that does not fit the patient's sex or age.
///
/// Source: IOCE edits 7 and 8; CARC 6 and 7 (table `procedure-codes`). Condition code 45 lifts the conflict.
pub(super) const CP02: Rule = Rule {
    id: "CP02",
    name: "proc_age_sex",
    component: Component::Coding,
    prior_permille: 600,
    blocking: false,
    carcs: &["6", "7"],
    rarc: None,
    fixable: true,
    source: "IOCE edits 7, 8; table procedure-codes",
    reason: "A procedure does not fit the patient's sex or age",
    fix: "Correct the procedure or the patient's data; condition code 45 or modifier KX where the conflict is real",
    check: proc_age_sex,
};

/// A procedure without the modifier it needs.
///
/// Source: CARC 4; table `procedure-codes`: requires_modifier, of which one is enough.
pub(super) const CP04: Rule = Rule {
    id: "CP04",
    name: "modifier_missing",
    component: Component::Coding,
    prior_permille: 500,
    blocking: false,
    carcs: &["4"],
    rarc: Some("N822"),
    fixable: true,
    source: "table procedure-codes: requires_modifier; CARC 4",
    reason: "A procedure is billed without the modifier it needs",
    fix: "Add the modifier that describes the service",
    check: modifier_missing,
};

/// Telehealth that is none, or without the payer's modifier.
///
/// Source: CARC 4 and 5; CMS's list of telehealth services (table `procedure-codes`), the payer's modifier (table
/// `payer-rules`); places of service 02 and 10.
pub(super) const PS02: Rule = Rule {
    id: "PS02",
    name: "telehealth",
    component: Component::Coding,
    prior_permille: 500,
    blocking: false,
    carcs: &["4", "5"],
    rarc: None,
    fixable: true,
    source: "CMS list of telehealth services; table payer-rules: telehealth_modifier",
    reason: "A telehealth service is not on the list, or lacks the payer's modifier",
    fix: "Correct the place of service, or add the modifier that the payer wants",
    check: telehealth,
};

/// A service outside the provider's specialty.
///
/// Source: CARC 8, 170, 172 and 185; table `taxonomy-scope`. The specialty is the rendering provider's, else the billing one's.
pub(super) const PV01: Rule = Rule {
    id: "PV01",
    name: "specialty_scope",
    component: Component::Provider,
    prior_permille: 400,
    blocking: false,
    carcs: &["8", "170", "172", "185"],
    rarc: None,
    fixable: true,
    source: "table taxonomy-scope; CARC 8",
    reason: "The service is outside what the provider's specialty may bill",
    fix: "Name the provider who gave the service, or correct the taxonomy code",
    check: specialty_scope,
};

/// The diagnoses that a line is billed with.
fn diagnoses<'a>(claim: &'a Claim, line: &'a ServiceLine) -> impl Iterator<Item = Code> + 'a {
    let pointed = line
        .diagnosis_pointers
        .iter()
        .filter_map(|&pointer| claim.diagnosis_codes.get(usize::from(pointer).checked_sub(1)?));
    let all = claim.diagnosis_codes.iter().filter(|_| line.diagnosis_pointers.is_empty());
    pointed.chain(all).filter_map(|code| Code::of(code))
}

fn dx_not_covered(claim: &Claim, facts: &Facts) -> Verdict {
    let lists = facts.tables.coverage.as_ref().and_then(|table| table.of(payer_id(claim), is_medicare(claim)));
    let Some(lists) = lists.filter(|_| !claim.diagnosis_codes.is_empty()) else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = procedure(line) else { continue };
        match lists.covers(code, diagnoses(claim, line)) {
            Some(true) => judgement.pass(),
            Some(false) => judgement.hit(line_number(index), format!("{code}: no diagnosis of the line is covered")),
            None => {}
        }
    }
    judgement.verdict()
}

fn proc_age_sex(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(table) = facts.tables.procedures.as_ref() else { return Verdict::Abstain };
    if claim.condition_codes.iter().any(|code| code.trim() == "45") {
        return Verdict::Abstain;
    }
    let (sex, age) = patient(claim);
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate().filter(|(_, line)| !has_modifier(line, &["KX"])) {
        let Some((code, entry)) = procedure(line).and_then(|code| Some((code, table.get(code)?))) else { continue };
        match entry.patients.excludes(sex, age) {
            Some(true) => judgement.hit(line_number(index), format!("{code} does not fit the sex or age given")),
            Some(false) => judgement.pass(),
            None => {}
        }
    }
    judgement.verdict()
}

fn modifier_missing(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(table) = facts.tables.procedures.as_ref() else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some((code, entry)) = procedure(line).and_then(|code| Some((code, table.get(code)?))) else { continue };
        let has = |wanted: &Code| line.modifiers.iter().any(|modifier| Code::of(modifier) == Some(*wanted));
        if entry.modifiers.is_empty() || entry.modifiers.iter().any(has) {
            judgement.pass();
        } else {
            judgement.hit(line_number(index), format!("{code} without {}", one_of(&entry.modifiers)));
        }
    }
    judgement.verdict()
}

/// Modifiers in words: `RT, LT or 50`.
fn one_of(modifiers: &[Code]) -> String {
    let texts: Vec<String> = modifiers.iter().map(Code::to_string).collect();
    match texts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn telehealth(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let wanted = facts.payer_rule(claim).map_or(&[][..], |rule| &rule.telehealth_modifiers);
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        if !matches!(place_of_service(claim, line), Some("02" | "10")) {
            continue;
        }
        let entry = procedure(line).and_then(|code| facts.tables.procedures.as_ref()?.get(code));
        let listed = entry.and_then(|entry| entry.telehealth);
        let has = |wanted: &Code| line.modifiers.iter().any(|modifier| Code::of(modifier) == Some(*wanted));
        if listed == Some(false) {
            judgement.hit(line_number(index), "not a telehealth service");
        } else if !wanted.is_empty() && !wanted.iter().any(has) {
            judgement.hit(line_number(index), format!("telehealth without {}", one_of(wanted)));
        } else if listed == Some(true) || !wanted.is_empty() {
            judgement.pass();
        }
    }
    judgement.verdict()
}

fn specialty_scope(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(table) = facts.tables.taxonomy_scope.as_ref() else { return Verdict::Abstain };
    let rendering = claim.rendering_provider.as_ref().and_then(|provider| told(provider.taxonomy_code.as_ref()));
    let Some(specialty) = rendering.or_else(|| told(claim.billing_provider.taxonomy_code.as_ref())) else {
        return Verdict::Abstain;
    };
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = procedure(line) else { continue };
        match table.allows(code, specialty) {
            Some(true) => judgement.pass(),
            Some(false) => judgement.hit(line_number(index), format!("{code} is not for taxonomy {specialty}")),
            None => {}
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{is_hit, office_visit, verdict_by, verdict_of};
    use super::*;
    use crate::domain::reference::Kind;
    use crate::domain::types::Phi;

    fn with_code(code: &str) -> Claim {
        let mut claim = office_visit();
        claim.lines[0].procedure_code = Some(code.to_owned());
        claim
    }

    #[test]
    fn a_procedure_is_covered_for_a_diagnosis_its_line_points_at() {
        let judged = |claim: &Claim, rows: &str| {
            let text = format!("payer_id,procedure_code,diagnosis_prefix\n{rows}\n");
            verdict_by("DX04", claim, &[(Kind::Coverage, &text)])
        };
        let mut claim = with_code("G0001");
        assert_eq!(judged(&claim, "60054,G0001,E11"), Verdict::Pass);
        assert!(is_hit(&judged(&claim, "60054,G0001,I10")), "the line points at the first diagnosis only");
        assert_eq!(judged(&claim, "60054,G0002,I10"), Verdict::Abstain);
        assert_eq!(judged(&claim, ",G0001,I10"), Verdict::Abstain, "Medicare's list");
        claim.filing_indicator = Some("MB".to_owned());
        assert!(is_hit(&judged(&claim, ",G0001,I10")));
        claim.lines[0].diagnosis_pointers.clear();
        assert_eq!(judged(&claim, ",G0001,I10"), Verdict::Pass);
        assert_eq!(verdict_of("DX04", &claim), Verdict::Abstain);
    }

    fn by_codes(id: &str, claim: &Claim, columns: &str, values: &str) -> Verdict {
        verdict_by(id, claim, &[(Kind::ProcedureCodes, &format!("code,{columns}\nG0001,{values}\n"))])
    }

    #[test]
    fn a_procedure_fits_the_patient() {
        let mut claim = with_code("G0001");
        assert_eq!(by_codes("CP02", &claim, "sex,age_from", "F,18"), Verdict::Pass);
        assert!(is_hit(&by_codes("CP02", &claim, "sex", "M")));
        assert!(is_hit(&by_codes("CP02", &claim, "age_to", "17")));
        claim.subscriber.gender = Some(Phi::from("U"));
        assert_eq!(by_codes("CP02", &claim, "sex", "M"), Verdict::Abstain);
        assert_eq!(by_codes("CP02", &with_code("G0002"), "sex", "M"), Verdict::Abstain);
        let bypassed = Claim { condition_codes: vec!["45".to_owned()], ..with_code("G0001") };
        assert_eq!(by_codes("CP02", &bypassed, "sex", "M"), Verdict::Abstain);
        assert_eq!(verdict_of("CP02", &claim), Verdict::Abstain);
    }

    #[test]
    fn a_procedure_has_one_of_the_modifiers_it_needs() {
        let claim = with_code("G0001");
        assert_eq!(by_codes("CP04", &claim, "requires_modifier", "RT 25"), Verdict::Pass);
        let Verdict::Hit(findings) = by_codes("CP04", &claim, "requires_modifier", "RT LT 50") else {
            panic!("no hit")
        };
        assert_eq!(findings[0].evidence, "G0001 without RT, LT or 50");
        assert_eq!(by_codes("CP04", &with_code("G0002"), "requires_modifier", "RT"), Verdict::Abstain);
        assert_eq!(verdict_of("CP04", &claim), Verdict::Abstain);
    }

    #[test]
    fn telehealth_is_on_the_list_and_has_the_payers_modifier() {
        let mut claim = with_code("G0001");
        assert_eq!(by_codes("PS02", &claim, "telehealth", "no"), Verdict::Abstain, "in the office");
        claim.lines[0].place_of_service = Some("10".to_owned());
        assert!(is_hit(&by_codes("PS02", &claim, "telehealth", "no")));
        assert_eq!(by_codes("PS02", &claim, "telehealth", "yes"), Verdict::Pass);
        assert_eq!(verdict_of("PS02", &claim), Verdict::Abstain);
        let terms = |modifier: &str| {
            let text = format!("payer_id,telehealth_modifier\n60054,{modifier}\n");
            verdict_by("PS02", &claim, &[(Kind::PayerRules, &text)])
        };
        assert!(is_hit(&terms("95 93")));
        assert_eq!(terms("25"), Verdict::Pass);
    }

    #[test]
    fn a_service_is_within_the_specialty() {
        let judged = |claim: &Claim, rows: &str| {
            let text = format!("code_from,code_to,taxonomy_prefix\n{rows}\n");
            verdict_by("PV01", claim, &[(Kind::TaxonomyScope, &text)])
        };
        let mut claim = with_code("G0001");
        assert_eq!(judged(&claim, "G0000,G0009,207Q"), Verdict::Pass);
        assert!(is_hit(&judged(&claim, "G0000,G0009,111N")));
        assert_eq!(judged(&claim, "G0002,G0009,111N"), Verdict::Abstain);
        claim.billing_provider.taxonomy_code = None;
        assert_eq!(judged(&claim, "G0000,G0009,111N"), Verdict::Abstain);
        assert_eq!(verdict_of("PV01", &claim), Verdict::Abstain);
    }
}
