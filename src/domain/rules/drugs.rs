//! Rules on drugs and anaesthesia: the National Drug Code, and the minutes and modifiers of anaesthesia.
//!
//! Must never: ask for a drug code that the payer is not known to want.

use super::payer_class::is_medicare;
use super::procedures::has_modifier;
use super::{Component, Facts, Judgement, Rule, Verdict, five_digits, line_number, told};
use crate::domain::claim::{Claim, ClaimType, Ndc, ServiceLine};

/// A drug code that cannot be one.
///
/// Source: 837 loop 2410 LIN03 (eleven digits, 5-4-2) and CTP05-1 (`F2`, `GR`, `ML`, `UN`, `ME`); RARC M119. A code
/// that is missing counts where the payer wants one (table `payer-rules`) and the claim was read whole.
pub(super) const DR01: Rule = Rule {
    id: "DR01",
    name: "ndc_missing",
    component: Component::Documentation,
    prior_permille: 700,
    blocking: false,
    carcs: &["16"],
    rarc: Some("M119"),
    fixable: true,
    source: "837 loop 2410 LIN, CTP; RARC M119",
    reason: "A drug code (NDC) is missing, or it, its unit or its quantity is not valid",
    fix: "Give the NDC in eleven digits (5-4-2) with unit F2, GR, ML, UN or ME and the quantity",
    check: ndc,
};

/// Anaesthesia without minutes or without the modifier that says who gave it.
///
/// Source: 837P SV103 = `MJ`; CMS manual 100-04 ch. 12 sec. 50 and 140 for the modifiers, which only Medicare must have here.
/// Codes that are not paid by time (01953, 01996, 01999) are left out.
pub(super) const AN01: Rule = Rule {
    id: "AN01",
    name: "anesthesia",
    component: Component::Coding,
    prior_permille: 700,
    blocking: false,
    carcs: &["4", "16"],
    rarc: Some("N203"),
    fixable: true,
    source: "837 SV103; CMS 100-04 ch. 12",
    reason: "Anaesthesia is billed without its minutes or its modifier",
    fix: "Bill the minutes (unit MJ) and add AA, AD, QK, QX, QY or QZ",
    check: anesthesia,
};

/// Units of measure that a drug may be counted in (CTP05-1).
const NDC_UNITS: [&str; 5] = ["F2", "GR", "ML", "UN", "ME"];
/// Modifiers that say who gave or directed the anaesthesia.
const ANESTHESIA_MODIFIERS: [&str; 6] = ["AA", "AD", "QK", "QX", "QY", "QZ"];

/// What is wrong with a drug, if anything.
fn ndc_fault(ndc: &Ndc) -> Option<&'static str> {
    let digits = ndc.code.bytes().filter(u8::is_ascii_digit).count();
    let others = ndc.code.trim().bytes().filter(|byte| !byte.is_ascii_digit() && *byte != b'-').count();
    if digits != 11 || others != 0 {
        return Some("the drug code is not eleven digits");
    }
    if told(ndc.unit.as_ref()).is_some_and(|unit| !NDC_UNITS.contains(&unit)) {
        return Some("the drug's unit is not F2, GR, ML, UN or ME");
    }
    if ndc.quantity.is_some_and(|quantity| quantity.thousandths() <= 0) {
        return Some("the drug's quantity is not above zero");
    }
    None
}

/// Whether a line is a drug by its code: J codes, and those Q codes that CMS gives to drugs and biologicals.
fn is_drug(line: &ServiceLine) -> bool {
    told(line.procedure_code.as_ref()).is_some_and(|code| {
        code.len() == 5 && (code.starts_with('J') || code.starts_with("Q5") || code.starts_with("Q20"))
    })
}

fn ndc(claim: &Claim, facts: &Facts) -> Verdict {
    let wanted = facts.payer_rule(claim).and_then(|rule| rule.requires_ndc);
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        match line.ndc.as_ref().map(ndc_fault) {
            Some(Some(fault)) => judgement.hit(line_number(index), fault),
            Some(None) => judgement.pass(),
            None if wanted == Some(true) && is_drug(line) && facts.complete => {
                judgement.hit(line_number(index), "a drug without its code (NDC)");
            }
            None if wanted == Some(false) || (wanted == Some(true) && !is_drug(line)) => judgement.pass(),
            None => {}
        }
    }
    judgement.verdict()
}

/// Whether a code is anaesthesia paid by time.
fn is_timed_anesthesia(code: &str) -> bool {
    five_digits(code).is_some_and(|number| (100..=1_999).contains(&number) && !matches!(number, 1_953 | 1_996 | 1_999))
}

fn anesthesia(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = told(line.procedure_code.as_ref()).filter(|code| is_timed_anesthesia(code)) else {
            continue;
        };
        let number = line_number(index);
        let modifier = has_modifier(line, &ANESTHESIA_MODIFIERS);
        match told(line.unit_type.as_ref()) {
            Some("MJ") if modifier || !is_medicare(claim) => judgement.pass(),
            Some("MJ") => judgement.hit(number, format!("{code} without anaesthesia modifier")),
            Some(_) => judgement.hit(number, format!("{code} is not counted in minutes")),
            None if !modifier && (facts.complete || is_medicare(claim)) => {
                judgement.hit(number, format!("{code} without minutes and modifier"));
            }
            None => {}
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{facts_with, lines_hit, office_visit, verdict_by, verdict_of, verdict_with};
    use super::*;
    use crate::domain::reference::Kind;
    use crate::domain::types::Units;

    fn with_drug(code: &str, unit: Option<&str>, quantity: i64) -> Claim {
        let mut claim = office_visit();
        claim.lines[0].ndc = Some(Ndc {
            code: code.to_owned(),
            unit: unit.map(str::to_owned),
            quantity: Some(Units::from_thousandths(quantity)),
        });
        claim
    }

    #[test]
    fn a_drug_code_has_eleven_digits_a_unit_and_a_quantity() {
        for claim in [with_drug("00409123401", Some("ML"), 1000), with_drug("00409-1234-01", None, 1)] {
            assert_eq!(verdict_of("DR01", &claim), Verdict::Pass);
        }
        for claim in [
            with_drug("0409123401", Some("ML"), 1000),
            with_drug("N400409123401", Some("ML"), 1000),
            with_drug("00409123401", Some("MG"), 1000),
            with_drug("00409123401", Some("UN"), 0),
        ] {
            assert_eq!(lines_hit("DR01", &claim), vec![Some(1)]);
        }
        assert_eq!(verdict_of("DR01", &office_visit()), Verdict::Abstain);
    }

    #[test]
    fn a_drug_code_is_missed_where_the_payer_wants_one() {
        let table = |flag: &str| format!("payer_id,requires_ndc\n60054,{flag}\n");
        let judged = |claim: &Claim, flag: &str| verdict_by("DR01", claim, &[(Kind::PayerRules, &table(flag))]);
        let mut claim = office_visit();
        assert_eq!(judged(&claim, "yes"), Verdict::Pass);
        claim.lines[0].procedure_code = Some("J1885".to_owned());
        assert!(matches!(judged(&claim, "yes"), Verdict::Hit(_)));
        assert_eq!(judged(&claim, "no"), Verdict::Pass);
        assert_eq!(judged(&claim, ""), Verdict::Abstain);
        let unsure = Facts { complete: false, ..facts_with(&[(Kind::PayerRules, &table("yes"))]) };
        assert_eq!(verdict_with("DR01", &claim, &unsure), Verdict::Abstain);
    }

    fn anesthetic(payer: &str, unit: Option<&str>, modifiers: &[&str]) -> Claim {
        let mut claim = office_visit();
        claim.filing_indicator = Some(payer.to_owned());
        claim.lines[0].procedure_code = Some("00142".to_owned());
        claim.lines[0].unit_type = unit.map(str::to_owned);
        claim.lines[0].modifiers = modifiers.iter().map(|&text| text.to_owned()).collect();
        claim
    }

    #[test]
    fn anaesthesia_is_counted_in_minutes_by_someone() {
        for (payer, unit, modifiers, good) in [
            ("CI", Some("MJ"), &["QK", "QS"][..], true),
            ("CI", Some("MJ"), &[], true),
            ("MB", Some("MJ"), &["AA"], true),
            ("MB", Some("MJ"), &["P1"], false),
            ("CI", Some("UN"), &["AA"], false),
            ("CI", None, &[], false),
        ] {
            let verdict = verdict_of("AN01", &anesthetic(payer, unit, modifiers));
            assert_eq!(verdict == Verdict::Pass, good, "{payer} {unit:?} {modifiers:?}");
        }
    }

    #[test]
    fn anaesthesia_whose_unit_is_unknown_is_not_judged() {
        let unknown = anesthetic("CI", None, &["AA"]);
        assert_eq!(verdict_of("AN01", &unknown), Verdict::Abstain);
        let bare = anesthetic("CI", None, &[]);
        assert_eq!(verdict_with("AN01", &bare, &Facts::default()), Verdict::Abstain);
        let mut daily = anesthetic("CI", Some("UN"), &[]);
        daily.lines[0].procedure_code = Some("01996".to_owned());
        assert_eq!(verdict_of("AN01", &daily), Verdict::Abstain);
    }
}
