//! Rules on diagnoses: pointers, format, what may come first, age and sex.
//!
//! Must never: name a diagnosis in an evidence text; it names the place in the list instead.

use super::member::years_between;
use super::payer_class::is_injury_insurance;
use super::{Component, Facts, Judgement, Rule, Verdict, line_number};
use crate::domain::claim::{Claim, ClaimType};
use crate::domain::reference::{Code, Diagnosis, Found};
use crate::domain::types::Date;

/// A line that points at no diagnosis.
///
/// Source: 837P SV107 and 837D SV311: places in the claim's own list, at most four. An empty pointer counts only where
/// other lines of a professional claim have theirs; else pointers are unknown.
pub(super) const DX01: Rule = Rule {
    id: "DX01",
    name: "diagnosis_pointer",
    component: Component::Coding,
    prior_permille: 800,
    blocking: true,
    carcs: &["16", "11"],
    rarc: Some("M76"),
    fixable: true,
    source: "837 SV107, SV311",
    reason: "A service line does not point at a diagnosis of the claim",
    fix: "Set the diagnosis pointers of the line",
    check: diagnosis_pointer,
};

/// A code that cannot be an ICD-10-CM code.
///
/// Source: ICD-10-CM official guidelines: a letter, a digit, a digit or A or B, then up to four more. The format is
/// judged for service from 1 October 2015 on, and whether the code is billable on the day where the table `diagnosis-codes`
/// tells.
pub(super) const DX02: Rule = Rule {
    id: "DX02",
    name: "icd_invalid",
    component: Component::Coding,
    prior_permille: 800,
    blocking: false,
    carcs: &["146", "16"],
    rarc: Some("M76"),
    fixable: true,
    source: "ICD-10-CM guidelines; 45 CFR 162.1002",
    reason: "A diagnosis code is not a valid ICD-10 code on the day of service",
    fix: "Code the diagnosis in ICD-10-CM to its full length",
    check: icd_invalid,
};

/// An external cause as the first diagnosis.
///
/// Source: ICD-10-CM official guidelines I.C.20 and IOCE edit 5: V, W, X and Y codes never come first. Manifestation codes
/// and others come from the table `diagnosis-codes`.
pub(super) const DX03: Rule = Rule {
    id: "DX03",
    name: "unacceptable_principal",
    component: Component::Coding,
    prior_permille: 700,
    blocking: false,
    carcs: &["16"],
    rarc: Some("MA63"),
    fixable: true,
    source: "ICD-10-CM guidelines I.C.20; IOCE edit 5",
    reason: "The first diagnosis is one that cannot stand first",
    fix: "Put the injury or illness first, and its external cause or manifestation after it",
    check: unacceptable_principal,
};

/// A diagnosis that does not fit the patient's sex or age.
///
/// Source: IOCE edits 2 and 3; ICD-10-CM chapter 15 (O codes: women of 9 to 64 years) and block N40-N53 (male organs).
/// These whole blocks are judged, and single codes by the table `diagnosis-codes`; condition code 45 lifts the conflict.
pub(super) const DX05: Rule = Rule {
    id: "DX05",
    name: "dx_age_sex",
    component: Component::Coding,
    prior_permille: 600,
    blocking: false,
    carcs: &["9", "10"],
    rarc: None,
    fixable: true,
    source: "IOCE edits 2, 3; ICD-10-CM chapters 14, 15",
    reason: "A diagnosis does not fit the patient's sex or age",
    fix: "Correct the diagnosis or the patient's data; condition code 45 where the conflict is real",
    check: dx_age_sex,
};

/// The first day of ICD-10 in US claims.
const ICD10_SINCE: Option<Date> = Date::from_ymd_opt(2015, 10, 1);
/// SV107 has room for so many pointers.
const MOST_POINTERS: usize = 4;

fn diagnosis_pointer(claim: &Claim, _: &Facts) -> Verdict {
    if claim.claim_type == ClaimType::Institutional || claim.diagnosis_codes.is_empty() {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    let known = claim.claim_type == ClaimType::Professional
        && claim.lines.iter().any(|line| !line.diagnosis_pointers.is_empty());
    let count = claim.diagnosis_codes.len();
    for (index, line) in claim.lines.iter().enumerate() {
        let number = line_number(index);
        let wrong = |&&pointer: &&u8| pointer == 0 || usize::from(pointer) > count;
        if line.diagnosis_pointers.is_empty() {
            if known {
                judgement.hit(number, "no diagnosis pointer");
            }
        } else if let Some(pointer) = line.diagnosis_pointers.iter().find(wrong) {
            judgement.hit(number, format!("pointer {pointer}, but the claim has {count} diagnoses"));
        } else if line.diagnosis_pointers.len() > MOST_POINTERS {
            judgement.hit(number, format!("more than {MOST_POINTERS} diagnosis pointers"));
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

/// Whether the claim falls wholly under ICD-10; `false` also when its dates are unknown.
fn is_icd10_era(claim: &Claim) -> bool {
    // Injury insurers are outside HIPAA, and some stayed with the older codes.
    !is_injury_insurance(claim) && claim.service_date().is_some_and(|day| ICD10_SINCE.is_some_and(|since| day >= since))
}

/// Whether a text has the form of an ICD-10-CM code, with or without its dot.
fn is_icd10_form(code: &str) -> bool {
    let code = code.trim_ascii().as_bytes();
    let [chapter, second, third, rest @ ..] = code else {
        return false;
    };
    let rest = rest.strip_prefix(b".").unwrap_or(rest);
    let dangling = rest.is_empty() && code.len() > 3;
    chapter.is_ascii_alphabetic()
        && second.is_ascii_digit()
        && matches!(third, b'0'..=b'9' | b'A' | b'B' | b'a' | b'b')
        && rest.len() <= 4
        && rest.iter().all(u8::is_ascii_alphanumeric)
        && !dangling
}

/// What the table says against a diagnosis on the days of service. The year's table is chosen by the last day, as hospitals
/// code by discharge.
fn code_fault(code: &str, claim: &Claim, facts: &Facts) -> Option<&'static str> {
    match facts.tables.diagnoses.as_ref()?.find(Code::of(code)?) {
        Found::Unknown => None,
        Found::Absent => Some("is not in the code list"),
        Found::Entry(entry) if entry.billable == Some(false) => Some("needs more characters"),
        Found::Entry(entry) => {
            let day = claim.last_service_date()?;
            (!entry.validity.holds(day)).then_some("does not hold on the day of service")
        }
    }
}

fn icd_invalid(claim: &Claim, facts: &Facts) -> Verdict {
    if !is_icd10_era(claim) {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    let count = claim.diagnosis_codes.len();
    for (index, code) in claim.diagnosis_codes.iter().enumerate() {
        if !is_icd10_form(code) {
            judgement.hit(None, format!("diagnosis {} of {count}", index + 1));
        } else if let Some(fault) = code_fault(code, claim, facts) {
            judgement.hit(None, format!("diagnosis {} of {count} {fault}", index + 1));
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

fn unacceptable_principal(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(first) = claim.diagnosis_codes.first().filter(|code| is_icd10_form(code)) else {
        return Verdict::Abstain;
    };
    if !is_icd10_era(claim) {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    if matches!(first.trim_ascii().bytes().next(), Some(b'V'..=b'Y' | b'v'..=b'y')) {
        judgement.hit(None, "diagnosis 1 is an external cause");
    } else if entry(first, facts).and_then(|entry| entry.unacceptable_principal) == Some(true) {
        judgement.hit(None, "diagnosis 1 cannot stand first");
    } else {
        judgement.pass();
    }
    judgement.verdict()
}

/// The first letter and the two-digit category of an ICD-10 code.
fn category(code: &str) -> Option<(u8, u32)> {
    let code = code.trim_ascii();
    let letter = code.bytes().next()?.to_ascii_uppercase();
    // A third character A or B belongs to no block that is asked for here.
    let number = code.get(1..3)?.parse().ok()?;
    Some((letter, number))
}

/// The patient's sex as the claim writes it, and age in years on the first day of service.
pub(super) fn patient(claim: &Claim) -> (Option<&str>, Option<u32>) {
    let sex = claim.subscriber.gender.as_ref().map(|sex| sex.expose().trim_ascii());
    let born = claim.subscriber.birth_date.as_ref().zip(claim.service_date());
    (sex, born.and_then(|(born, day)| years_between(*born.expose(), day)))
}

/// What the table knows of a diagnosis.
fn entry<'a>(code: &str, facts: &'a Facts) -> Option<&'a Diagnosis> {
    facts.tables.diagnoses.as_ref()?.get(Code::of(code)?)
}

fn dx_age_sex(claim: &Claim, facts: &Facts) -> Verdict {
    if !is_icd10_era(claim) || claim.condition_codes.iter().any(|code| code.trim_ascii() == "45") {
        return Verdict::Abstain;
    }
    let (sex, age) = patient(claim);
    let sex_known = matches!(sex, Some("F" | "M"));
    if !sex_known && age.is_none() {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, code) in claim.diagnosis_codes.iter().enumerate() {
        let limits = entry(code, facts).map(|entry| entry.patients).filter(|patients| patients.is_limited());
        if let Some(excluded) = limits.and_then(|patients| patients.excludes(sex, age)) {
            if excluded {
                judgement.hit(None, format!("diagnosis {} does not fit the sex or age given", index + 1));
            } else {
                judgement.pass();
            }
            continue;
        }
        let conflict = match category(code) {
            Some((b'O', _)) => sex == Some("M") || age.is_some_and(|years| !(9..=64).contains(&years)),
            Some((b'N', 40..=53)) => sex == Some("F"),
            Some(_) => false,
            None => continue,
        };
        if conflict {
            judgement.hit(None, format!("diagnosis {} does not fit the sex or age given", index + 1));
        } else {
            judgement.pass();
        }
    }
    judgement.verdict()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{day, is_hit, lines_hit, office_visit, stay, verdict_by, verdict_of};
    use super::*;
    use crate::domain::reference::Kind;
    use crate::domain::types::Phi;

    fn with_codes(codes: &[&str]) -> Claim {
        Claim { diagnosis_codes: codes.iter().map(|&code| code.to_owned()).collect(), ..office_visit() }
    }

    #[test]
    fn a_pointer_points_into_the_list() {
        let mut claim = office_visit();
        assert_eq!(verdict_of("DX01", &claim), Verdict::Pass);
        for pointers in [vec![3], vec![1, 0], vec![1, 2, 1, 2, 1]] {
            claim.lines[0].diagnosis_pointers = pointers;
            assert_eq!(lines_hit("DX01", &claim), vec![Some(1)]);
        }
        claim.claim_type = ClaimType::Dental;
        assert_eq!(lines_hit("DX01", &claim), vec![Some(1)]);
    }

    #[test]
    fn an_empty_pointer_counts_only_beside_others() {
        let mut claim = office_visit();
        claim.lines.push(claim.lines[0].clone());
        claim.lines[1].diagnosis_pointers.clear();
        assert_eq!(lines_hit("DX01", &claim), vec![Some(2)]);
        claim.lines[0].diagnosis_pointers.clear();
        assert_eq!(verdict_of("DX01", &claim), Verdict::Abstain);
        assert_eq!(verdict_of("DX01", &with_codes(&[])), Verdict::Abstain);
        assert_eq!(verdict_of("DX01", &stay()), Verdict::Abstain);
    }

    #[test]
    fn icd_10_codes_are_known_by_their_form() {
        for code in ["E119", "I10", "E11.9", "C4A0", "S72001A", "S72.001A", "U071", "Z3A39", "i10"] {
            assert!(is_icd10_form(code), "{code}");
        }
        for code in ["25000", "4019", "E1", "", "E11.", "EE19", "I10ABCDE", "1119", "E11 9"] {
            assert!(!is_icd10_form(code), "{code}");
        }
    }

    #[test]
    fn the_form_of_a_code_is_judged_from_october_2015_on() {
        let mut claim = with_codes(&["E119", "4019"]);
        assert_eq!(lines_hit("DX02", &claim), vec![None]);
        claim.lines[0].service_from = Some(day(2015, 10, 1));
        assert_eq!(lines_hit("DX02", &claim), vec![None]);
        claim.lines[0].service_from = Some(day(2015, 9, 30));
        assert_eq!(verdict_of("DX02", &claim), Verdict::Abstain);
        claim.lines[0].service_from = None;
        assert_eq!(verdict_of("DX02", &claim), Verdict::Abstain);
        assert_eq!(verdict_of("DX02", &office_visit()), Verdict::Pass);
    }

    #[test]
    fn an_external_cause_does_not_come_first() {
        assert_eq!(lines_hit("DX03", &with_codes(&["W1830XA", "S52501A"])), vec![None]);
        assert_eq!(verdict_of("DX03", &with_codes(&["S52501A", "W1830XA"])), Verdict::Pass);
        assert_eq!(verdict_of("DX03", &with_codes(&["Z0000"])), Verdict::Pass);
        assert_eq!(verdict_of("DX03", &with_codes(&[])), Verdict::Abstain);
        let mut old = with_codes(&["V700"]);
        old.lines[0].service_from = Some(day(2014, 1, 1));
        assert_eq!(verdict_of("DX03", &old), Verdict::Abstain);
    }

    #[test]
    fn a_diagnosis_fits_sex_and_age() {
        let pregnancy = with_codes(&["O80", "Z370"]);
        assert_eq!(verdict_of("DX05", &pregnancy), Verdict::Pass);
        let mut man = pregnancy.clone();
        man.subscriber.gender = Some(Phi::from("M"));
        assert_eq!(lines_hit("DX05", &man), vec![None]);
        man.condition_codes = vec!["45".to_owned()];
        assert_eq!(verdict_of("DX05", &man), Verdict::Abstain);
        let mut old = pregnancy;
        old.subscriber.birth_date = Some(Phi::new(day(1950, 1, 1)));
        assert_eq!(lines_hit("DX05", &old), vec![None]);
        assert_eq!(lines_hit("DX05", &with_codes(&["I10", "N400"])), vec![None]);
        let mut unknown = with_codes(&["O80"]);
        unknown.subscriber.gender = Some(Phi::from("U"));
        unknown.subscriber.birth_date = None;
        assert_eq!(verdict_of("DX05", &unknown), Verdict::Abstain);
    }

    #[test]
    fn the_table_tells_what_is_billable_what_comes_first_and_whom_it_fits() {
        let judged = |id: &str, rows: &str| {
            let columns = "code,valid_to,billable,unacceptable_principal,sex,age_from,age_to";
            verdict_by(id, &with_codes(&["E119", "I10"]), &[(Kind::DiagnosisCodes, &format!("{columns}\n{rows}\n"))])
        };
        assert_eq!(judged("DX02", "E119,2026-10-30,yes,,,,"), Verdict::Pass);
        for rows in ["E119,2026-10-29,,,,,", "I10,,no,,,,", "E*,,,,,,\nE11,,,,,,"] {
            assert!(is_hit(&judged("DX02", rows)), "{rows}");
        }
        assert!(is_hit(&judged("DX03", "E119,,,yes,,,")));
        assert_eq!(judged("DX03", "I10,,,yes,,,"), Verdict::Pass);
        assert_eq!(judged("DX05", "I10,,,,F,18,"), Verdict::Pass);
        assert!(is_hit(&judged("DX05", "I10,,,,M,,")));
        assert!(is_hit(&judged("DX05", "I10,,,,,,17")));
    }
}
