//! Rules on ordered services: who ordered them, and the laboratory's certificate.
//!
//! Must never: ask for an order where the payer asks for none; only Medicare's public rules are judged.

use super::payer_class::is_medicare;
use super::procedures::has_modifier;
use super::{Component, Facts, Judgement, Rule, Verdict, five_digits, line_number, procedure, told};
use crate::domain::claim::{Claim, ClaimType, Provider, ServiceLine};
use crate::domain::types::Date;

/// Laboratory, imaging or equipment without the one who ordered it.
///
/// Source: 42 CFR 424.507 (Medicare Part B: laboratory, imaging, DMEPOS), enforced from 6 January 2014 on; 837P loops 2310A
/// and 2420E. Only when the claim was read whole, since the ordering provider is optional; screening mammography needs no order.
pub(super) const RF01: Rule = Rule {
    id: "RF01",
    name: "ordering_missing",
    component: Component::Provider,
    prior_permille: 700,
    blocking: false,
    carcs: &["16"],
    rarc: Some("N265"),
    fixable: true,
    source: "42 CFR 424.507",
    reason: "Medicare needs to know who ordered this test or equipment",
    fix: "Add the ordering or referring provider with their NPI",
    check: ordering_missing,
};

/// A laboratory test without a valid CLIA number.
///
/// Source: 42 CFR 493 and CMS manual 100-04 ch. 16 (RARC MA120); 837 REF*X4: two digits, D, seven digits. The form is judged
/// wherever a number stands beside a test; a missing one only for Medicare and when the claim was read whole.
pub(super) const LB01: Rule = Rule {
    id: "LB01",
    name: "clia",
    component: Component::Documentation,
    prior_permille: 800,
    blocking: false,
    carcs: &["16"],
    rarc: Some("MA120"),
    fixable: true,
    source: "42 CFR 493; RARC MA120",
    reason: "A laboratory test is billed without a valid CLIA number",
    fix: "Add the laboratory's CLIA number (two digits, D, seven digits)",
    check: clia,
};

/// A waived test of a laboratory that may do only such, without the modifier that says so.
///
/// Source: CMS manual 100-04 ch. 16 sec. 70.8 and CMS's list of waived tests (table `procedure-codes`: waived); whether the
/// laboratory has a certificate of waiver, the table `clia-certificates` tells.
pub(super) const LB02: Rule = Rule {
    id: "LB02",
    name: "qw_missing",
    component: Component::Coding,
    prior_permille: 600,
    blocking: false,
    carcs: &["B7", "4"],
    rarc: None,
    fixable: true,
    source: "CMS 100-04 ch. 16 sec. 70.8: QW",
    reason: "A waived test by a laboratory with a certificate of waiver lacks modifier QW",
    fix: "Add modifier QW to the test",
    check: qw_missing,
};

/// Medicare denies unordered services from this day on.
const ORDERS_SINCE: Option<Date> = Date::from_ymd_opt(2014, 1, 6);
/// Screening mammography, which a patient may ask for herself.
const SELF_REFERRED: [u32; 2] = [77_063, 77_067];
/// Pathology and laboratory codes that need no certificate (CMS's list of codes not subject to CLIA edits, in part).
const CLIA_EXEMPT: [u32; 21] = [
    80_500, 80_502, 80_503, 80_504, 80_505, 80_506, 81_050, 82_075, 83_013, 83_014, 83_987, 86_077, 86_078, 86_079,
    86_910, 86_960, 88_125, 88_329, 88_720, 88_738, 88_740,
];

/// Whether a code is a laboratory test (CPT section 8xxxx).
fn is_laboratory(code: u32) -> bool {
    (80_047..=89_398).contains(&code)
}

/// Whether a line is plainly laboratory, imaging or durable equipment.
pub(super) fn needs_order(line: &ServiceLine) -> bool {
    let Some(text) = told(line.procedure_code.as_ref()) else {
        return false;
    };
    match five_digits(text) {
        Some(code) if SELF_REFERRED.contains(&code) => false,
        Some(code) => is_laboratory(code) || matches!(code, 70_010..=76_999 | 77_046..=77_086 | 78_012..=78_999),
        // Durable equipment (E), its temporary codes (K), orthotics and prosthetics (L).
        None => text.len() == 5 && matches!(text.bytes().next(), Some(b'E' | b'K' | b'L')),
    }
}

fn ordering_missing(claim: &Claim, facts: &Facts) -> Verdict {
    let judged_day = claim.service_date().is_some_and(|day| ORDERS_SINCE.is_some_and(|since| day >= since));
    if claim.claim_type != ClaimType::Professional || !is_medicare(claim) || !judged_day {
        return Verdict::Abstain;
    }
    let has_npi = |provider: Option<&Provider>| provider.is_some_and(|provider| told(provider.npi.as_ref()).is_some());
    let for_claim = has_npi(claim.referring_provider.as_ref()) || has_npi(claim.ordering_provider.as_ref());
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        if !needs_order(line) {
            continue;
        }
        if for_claim || has_npi(line.ordering_provider.as_ref()) {
            judgement.pass();
        } else if facts.complete {
            let code = line.procedure_code.as_deref().unwrap_or_default();
            judgement.hit(line_number(index), format!("{code} without ordering provider"));
        }
    }
    judgement.verdict()
}

/// Whether a text is a CLIA number: `05D1234567`.
fn is_clia(text: &str) -> bool {
    let text = text.as_bytes();
    text.len() == 10
        && text.iter().enumerate().all(|(place, byte)| match place {
            2 => matches!(byte, b'D' | b'd'),
            _ => byte.is_ascii_digit(),
        })
}

fn clia(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Professional {
        return Verdict::Abstain;
    }
    let number = told(claim.clia_number.as_ref());
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let code = told(line.procedure_code.as_ref()).and_then(five_digits);
        // The professional component (26) is a physician's reading, not a laboratory's test.
        let Some(code) =
            code.filter(|&code| is_laboratory(code) && !CLIA_EXEMPT.contains(&code) && !has_modifier(line, &["26"]))
        else {
            continue;
        };
        match number {
            Some(number) if is_clia(number) => judgement.pass(),
            Some(_) => judgement.hit(line_number(index), format!("{code} with a CLIA number of wrong form")),
            None if facts.complete && is_medicare(claim) => {
                judgement.hit(line_number(index), format!("{code} without CLIA number"));
            }
            None => {}
        }
    }
    judgement.verdict()
}

fn qw_missing(claim: &Claim, facts: &Facts) -> Verdict {
    let tables = &facts.tables;
    let (Some(codes), Some(certificates)) = (&tables.procedures, &tables.certificates) else { return Verdict::Abstain };
    let waiver = told(claim.clia_number.as_ref()).and_then(|number| certificates.is_waiver(number));
    let (Some(waiver), ClaimType::Professional) = (waiver, claim.claim_type) else { return Verdict::Abstain };
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(waived) = procedure(line).and_then(|code| codes.get(code)?.waived) else { continue };
        if waiver && waived && !has_modifier(line, &["QW"]) {
            judgement.hit(line_number(index), "a waived test without QW");
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{
        day, is_hit, lines_hit, office_visit, provider, verdict_by, verdict_of, verdict_with,
    };
    use super::*;
    use crate::domain::reference::Kind;

    fn medicare(code: &str) -> Claim {
        let mut claim = office_visit();
        claim.filing_indicator = Some("MB".to_owned());
        claim.lines[0].procedure_code = Some(code.to_owned());
        claim.lines[0].modifiers.clear();
        claim
    }

    #[test]
    fn medicare_wants_the_one_who_ordered() {
        for code in ["80053", "70553", "E0601", "78452"] {
            let mut claim = medicare(code);
            assert_eq!(lines_hit("RF01", &claim), vec![Some(1)], "{code}");
            assert_eq!(verdict_with("RF01", &claim, &Facts::default()), Verdict::Abstain);
            claim.referring_provider = Some(provider("1942788757"));
            assert_eq!(verdict_of("RF01", &claim), Verdict::Pass);
            claim.referring_provider = None;
            claim.lines[0].ordering_provider = Some(provider("1942788757"));
            assert_eq!(verdict_of("RF01", &claim), Verdict::Pass);
        }
    }

    #[test]
    fn orders_are_not_asked_for_elsewhere() {
        for code in ["99213", "77067", "J3490"] {
            assert_eq!(verdict_of("RF01", &medicare(code)), Verdict::Abstain, "{code}");
        }
        let commercial = Claim { filing_indicator: Some("CI".to_owned()), ..medicare("80053") };
        assert_eq!(verdict_of("RF01", &commercial), Verdict::Abstain);
        let mut early = medicare("80053");
        early.lines[0].service_from = Some(day(2013, 12, 31));
        assert_eq!(verdict_of("RF01", &early), Verdict::Abstain);
    }

    #[test]
    fn a_clia_number_has_its_form() {
        let mut claim = medicare("80053");
        for (number, good) in [("05D1234567", true), ("05E1234567", false), ("05D123456", false), ("D512345678", false)]
        {
            claim.clia_number = Some(number.to_owned());
            assert_eq!(verdict_of("LB01", &claim) == Verdict::Pass, good, "{number}");
        }
        claim.lines[0].modifiers = vec!["26".to_owned()];
        assert_eq!(verdict_of("LB01", &claim), Verdict::Abstain);
    }

    #[test]
    fn a_missing_clia_number_counts_for_medicare_in_a_whole_claim() {
        let claim = medicare("80053");
        assert_eq!(lines_hit("LB01", &claim), vec![Some(1)]);
        assert_eq!(verdict_with("LB01", &claim, &Facts::default()), Verdict::Abstain);
        let commercial = Claim { filing_indicator: Some("CI".to_owned()), ..claim };
        assert_eq!(verdict_of("LB01", &commercial), Verdict::Abstain);
        assert_eq!(verdict_of("LB01", &medicare("86077")), Verdict::Abstain);
    }

    #[test]
    fn a_waived_test_of_a_waived_laboratory_says_so() {
        let tables = [
            (Kind::ProcedureCodes, "code,waived\nG0001,yes\nG0002,no\n"),
            (Kind::CliaCertificates, "clia_number,certificate\n05D1234567,waiver\n05D7654321,compliance\n"),
        ];
        let mut claim = Claim { clia_number: Some("05D1234567".to_owned()), ..medicare("G0001") };
        assert!(is_hit(&verdict_by("LB02", &claim, &tables)));
        assert_eq!(verdict_by("LB02", &claim, &tables[..1]), Verdict::Abstain);
        assert_eq!(verdict_of("LB02", &claim), Verdict::Abstain);
        let full = Claim { clia_number: Some("05D7654321".to_owned()), ..claim.clone() };
        assert_eq!(verdict_by("LB02", &full, &tables), Verdict::Pass);
        let unknown = Claim { clia_number: Some("05D0000000".to_owned()), ..claim.clone() };
        assert_eq!(verdict_by("LB02", &unknown, &tables), Verdict::Abstain);
        claim.lines[0].modifiers = vec!["QW".to_owned()];
        assert_eq!(verdict_by("LB02", &claim, &tables), Verdict::Pass);
    }
}
