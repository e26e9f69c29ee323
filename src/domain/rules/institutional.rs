//! Rules on hospital bills: type of bill, what an inpatient stay must say, revenue codes.
//!
//! Must never: judge professional or dental claims.

use super::{Component, Facts, Judgement, Rule, Verdict, is_digits, line_number, procedure, told};
use crate::domain::claim::{Claim, ClaimType};
use crate::domain::reference::{Code, Found};

/// A type of bill that cannot be one, or contradicts its parts.
///
/// Source: 837I CLM05-1 and CLM05-3; CMS manual 100-04 ch. 1 sec. 80: facility, classification, frequency, with an optional
/// leading zero. Which combinations exist, the table `types-of-bill` tells
/// (NUBC's list).
pub(super) const IN01: Rule = Rule {
    id: "IN01",
    name: "tob_invalid",
    component: Component::Documentation,
    prior_permille: 800,
    blocking: true,
    carcs: &["16", "5"],
    rarc: Some("MA30"),
    fixable: true,
    source: "CMS 100-04 ch. 1: type of bill",
    reason: "The type of bill is not valid",
    fix: "Correct the type of bill (facility, classification, frequency)",
    check: type_of_bill,
};

/// An inpatient bill without what belongs to a stay.
///
/// Source: 837I DTP*435 and CL1 (admission type, patient status); bills 11x, 18x, 21x, 41x. Status 30, still a patient, goes
/// with interim bills only (CMS 100-04 ch. 3). Type and status count as missing only when the claim was read whole.
pub(super) const IN02: Rule = Rule {
    id: "IN02",
    name: "inpatient_dates",
    component: Component::Documentation,
    prior_permille: 800,
    blocking: true,
    carcs: &["16"],
    rarc: Some("MA40"),
    fixable: true,
    source: "837I DTP*435, CL1",
    reason: "An inpatient bill lacks its admission or discharge data",
    fix: "Add the admission date, admission type and patient status",
    check: inpatient_data,
};

/// A revenue code that cannot be one, or a drug line without its code.
///
/// Source: NUBC's form of revenue codes (four digits); CMS manual 100-04 ch. 17: revenue code 0636 needs a HCPCS code on
/// outpatient bills. Others come from the table `revenue-codes`.
pub(super) const IN03: Rule = Rule {
    id: "IN03",
    name: "revenue_needs_hcpcs",
    component: Component::Coding,
    prior_permille: 600,
    blocking: false,
    carcs: &["16", "199"],
    rarc: Some("M20"),
    fixable: true,
    source: "CMS 100-04 ch. 17; NUBC",
    reason: "A revenue code is not valid or lacks its procedure code",
    fix: "Correct the revenue code, or add the procedure code it needs",
    check: revenue_code,
};

/// A procedure that Medicare pays for inpatients only, on an outpatient bill.
///
/// Source: IOCE edit 18; CMS's inpatient-only list (OPPS addendum E; table `procedure-codes`: inpatient_only); bills 13x.
pub(super) const IN04: Rule = Rule {
    id: "IN04",
    name: "inpatient_only",
    component: Component::Coding,
    prior_permille: 800,
    blocking: false,
    carcs: &["16", "50"],
    rarc: None,
    fixable: true,
    source: "IOCE edit 18; OPPS addendum E",
    reason: "A procedure that is paid for inpatients only is on an outpatient bill",
    fix: "Review the setting and the order to admit; bill the stay as inpatient where it was one",
    check: inpatient_only,
};

/// The facility and classification digits of an institutional claim, such as `11`; `None` when unknown or malformed.
pub(super) fn bill_class(claim: &Claim) -> Option<&str> {
    let class = match told(claim.type_of_bill.as_ref()) {
        Some(bill) => bill_parts(bill)?.0,
        None => told(claim.facility_type_code.as_ref())?,
    };
    is_digits(class, 2).then_some(class)
}

/// The frequency of an institutional claim: its own word, else the last digit of its type of bill.
pub(super) fn bill_frequency(claim: &Claim) -> Option<&str> {
    let own = Some(claim.frequency_code.trim()).filter(|code| !code.is_empty());
    own.or_else(|| bill_parts(told(claim.type_of_bill.as_ref())?).map(|(_, frequency)| frequency))
}

/// A type of bill in its two parts, class and frequency: `0111` and `111` give `11` and `1`.
fn bill_parts(bill: &str) -> Option<(&str, &str)> {
    let digits = if bill.len() == 4 { bill.strip_prefix('0')? } else { bill };
    (digits.len() == 3).then_some(())?;
    Some((digits.get(..2)?, digits.get(2..)?))
}

/// Whether a type of bill is in the list, with its frequency or for every one; also when the list cannot tell.
fn is_listed(class: &str, frequency: &str, facts: &Facts) -> bool {
    let Some(table) = facts.tables.types_of_bill.as_ref() else { return true };
    let Some((short, long)) = Code::of(class).zip(Code::of(&format!("{class}{frequency}"))) else { return true };
    table.0.get(short).is_some() || !matches!(table.0.find(long), Found::Absent)
}

fn type_of_bill(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Institutional {
        return Verdict::Abstain;
    }
    let facility = told(claim.facility_type_code.as_ref());
    let frequency = Some(claim.frequency_code.trim()).filter(|code| !code.is_empty());
    let is_class = |class: &str| is_digits(class, 2) && class.bytes().all(|byte| (b'1'..=b'9').contains(&byte));
    let is_frequency = |code: &str| code.len() == 1 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut judgement = Judgement::default();
    match told(claim.type_of_bill.as_ref()) {
        Some(bill) => match bill_parts(bill) {
            Some((class, code)) if is_class(class) && is_frequency(code) => {
                // A reader may fill the facility code with both digits or not at all; other lengths say nothing.
                if facility.is_some_and(|told| is_digits(told, 2) && told != class) {
                    judgement.hit(None, format!("type of bill {bill} does not fit the facility code"));
                } else if frequency.is_some_and(|told| told != code) {
                    judgement.hit(None, format!("type of bill {bill} does not fit the frequency"));
                } else if !is_listed(class, code, facts) {
                    judgement.hit(None, format!("type of bill {bill} is not in the list"));
                } else {
                    judgement.pass();
                }
            }
            _ => judgement.hit(None, "the type of bill is not facility, classification, frequency"),
        },
        None => match facility {
            Some(class) if is_class(class) => judgement.pass(),
            Some(_) => judgement.hit(None, "the facility code is not two digits from 1 to 9"),
            None => {}
        },
    }
    judgement.verdict()
}

fn inpatient_data(claim: &Claim, facts: &Facts) -> Verdict {
    let inpatient = matches!(bill_class(claim), Some("11" | "18" | "21" | "41"));
    if claim.claim_type != ClaimType::Institutional || !inpatient {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    if claim.admission_date.is_some() {
        judgement.pass();
    } else {
        judgement.hit(None, "no admission date");
    }
    let status = told(claim.discharge_status_code.as_ref());
    for (value, evidence) in
        [(told(claim.admission_type_code.as_ref()), "no admission type"), (status, "no patient status")]
    {
        if value.is_none() && facts.complete {
            judgement.hit(None, evidence);
        }
    }
    let frequency = claim.frequency_code.trim();
    match (status, frequency) {
        (Some("30"), "1" | "4") => {
            judgement.hit(None, format!("status 30 (still a patient) with frequency {frequency}"));
        }
        (Some(other), "2" | "3") if other != "30" => {
            judgement.hit(None, format!("an interim bill (frequency {frequency}) without status 30"));
        }
        _ => {}
    }
    judgement.verdict()
}

/// What the table says against a revenue code; `bare` when an outpatient line with it has no procedure code.
fn revenue_fault(code: &str, bare: bool, facts: &Facts) -> Option<&'static str> {
    let table = facts.tables.revenue_codes.as_ref()?;
    // Three digits stand for four with a leading zero.
    let whole = if code.len() == 3 { Code::of(&format!("0{code}"))? } else { Code::of(code)? };
    match table.find(whole) {
        Found::Absent => Some("the revenue code is not in the list"),
        Found::Entry(entry) if bare && entry.needs_hcpcs == Some(true) => {
            Some("the revenue code needs a procedure code")
        }
        Found::Entry(_) | Found::Unknown => None,
    }
}

fn inpatient_only(claim: &Claim, facts: &Facts) -> Verdict {
    let Some(table) = facts.tables.procedures.as_ref() else { return Verdict::Abstain };
    if claim.claim_type != ClaimType::Institutional || bill_class(claim) != Some("13") {
        return Verdict::Abstain;
    }
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        match procedure(line).and_then(|code| table.get(code)?.inpatient_only) {
            Some(true) => judgement.hit(line_number(index), "an inpatient-only procedure on an outpatient bill"),
            Some(false) => judgement.pass(),
            None => {}
        }
    }
    judgement.verdict()
}

fn revenue_code(claim: &Claim, facts: &Facts) -> Verdict {
    if claim.claim_type != ClaimType::Institutional {
        return Verdict::Abstain;
    }
    let outpatient = matches!(bill_class(claim), Some("13" | "14" | "85"));
    let mut judgement = Judgement::default();
    for (index, line) in claim.lines.iter().enumerate() {
        let Some(code) = told(line.revenue_code.as_ref()) else {
            continue;
        };
        if !is_digits(code, 4) && !is_digits(code, 3) {
            judgement.hit(line_number(index), "the revenue code is not four digits");
        } else if outpatient && code.trim_start_matches('0') == "636" && told(line.procedure_code.as_ref()).is_none() {
            judgement.hit(line_number(index), "revenue code 0636 without procedure code");
        } else if let Some(fault) =
            revenue_fault(code, outpatient && told(line.procedure_code.as_ref()).is_none(), facts)
        {
            judgement.hit(line_number(index), fault);
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

    fn billed(bill: &str, facility: &str, frequency: &str) -> Claim {
        Claim {
            type_of_bill: Some(bill.to_owned()).filter(|bill| !bill.is_empty()),
            facility_type_code: Some(facility.to_owned()).filter(|code| !code.is_empty()),
            frequency_code: frequency.to_owned(),
            ..stay()
        }
    }

    #[test]
    fn a_type_of_bill_is_whole_and_agrees_with_its_parts() {
        for (bill, facility, frequency) in
            [("0111", "11", "1"), ("111", "11", "1"), ("0131", "", "1"), ("", "83", "1"), ("013G", "13", "G")]
        {
            assert_eq!(verdict_of("IN01", &billed(bill, facility, frequency)), Verdict::Pass, "{bill} {facility}");
        }
        for (bill, facility, frequency) in [
            ("1111", "11", "1"),
            ("011", "11", "1"),
            ("0111", "13", "1"),
            ("0111", "11", "7"),
            ("", "1", "1"),
            ("", "XX", "1"),
        ] {
            assert_eq!(lines_hit("IN01", &billed(bill, facility, frequency)), vec![None], "{bill} {facility}");
        }
        assert_eq!(verdict_of("IN01", &billed("", "", "1")), Verdict::Abstain);
        assert_eq!(verdict_of("IN01", &office_visit()), Verdict::Abstain);
    }

    #[test]
    fn an_inpatient_bill_says_when_and_how_the_stay_began() {
        let undated = Claim { admission_date: None, ..stay() };
        assert_eq!(lines_hit("IN02", &undated), vec![None]);
        let untyped = Claim { admission_type_code: None, discharge_status_code: None, ..stay() };
        assert_eq!(lines_hit("IN02", &untyped), vec![None, None]);
        assert_eq!(verdict_with("IN02", &untyped, &Facts::default()), Verdict::Pass);
        let outpatient = Claim { admission_date: None, ..billed("0131", "13", "1") };
        assert_eq!(verdict_of("IN02", &outpatient), Verdict::Abstain);
        assert_eq!(verdict_of("IN02", &office_visit()), Verdict::Abstain);
    }

    #[test]
    fn still_a_patient_goes_with_interim_bills() {
        let with = |status: &str, bill: &str, frequency: &str| Claim {
            discharge_status_code: Some(status.to_owned()),
            ..billed(bill, "11", frequency)
        };
        assert_eq!(verdict_of("IN02", &with("30", "0112", "2")), Verdict::Pass);
        assert_eq!(lines_hit("IN02", &with("30", "0111", "1")), vec![None]);
        assert_eq!(lines_hit("IN02", &with("01", "0113", "3")), vec![None]);
    }

    #[test]
    fn an_outpatient_drug_line_has_a_procedure_code() {
        let mut claim = billed("0131", "13", "1");
        assert_eq!(verdict_of("IN03", &claim), Verdict::Pass);
        claim.lines[1].revenue_code = Some("0636".to_owned());
        assert_eq!(lines_hit("IN03", &claim), vec![Some(2)]);
        claim.lines[1].procedure_code = Some("J1885".to_owned());
        assert_eq!(verdict_of("IN03", &claim), Verdict::Pass);
        claim.lines[0].revenue_code = Some("12".to_owned());
        assert_eq!(lines_hit("IN03", &claim), vec![Some(1)]);
        assert_eq!(verdict_of("IN03", &office_visit()), Verdict::Abstain);
    }

    #[test]
    fn the_tables_tell_which_bills_and_revenue_codes_there_are() {
        let bills = |rows: &str| verdict_by("IN01", &stay(), &[(Kind::TypesOfBill, &format!("code\n{rows}\n"))]);
        for rows in ["*\n11", "*\n111", "13"] {
            assert_eq!(bills(rows), Verdict::Pass, "{rows}");
        }
        assert!(is_hit(&bills("*\n13")) && is_hit(&bills("11*\n112")));
        let outpatient = billed("0131", "13", "1");
        let codes = |claim: &Claim, rows: &str| {
            verdict_by("IN03", claim, &[(Kind::RevenueCodes, &format!("code,needs_hcpcs\n{rows}\n"))])
        };
        assert!(is_hit(&codes(&outpatient, "0250,yes")));
        assert_eq!(codes(&stay(), "0250,yes"), Verdict::Pass, "an inpatient bill");
        assert_eq!(codes(&outpatient, "0250,no"), Verdict::Pass);
        assert!(is_hit(&codes(&stay(), "*,\n0250,no")));
    }

    #[test]
    fn an_inpatient_procedure_is_not_billed_for_outpatients() {
        let tables = [(Kind::ProcedureCodes, "code,inpatient_only\nG0001,yes\nG0002,no\n")];
        let mut claim = billed("0131", "13", "1");
        assert_eq!(verdict_by("IN04", &claim, &tables), Verdict::Abstain);
        claim.lines[0].procedure_code = Some("G0002".to_owned());
        assert_eq!(verdict_by("IN04", &claim, &tables), Verdict::Pass);
        claim.lines[0].procedure_code = Some("G0001".to_owned());
        assert!(is_hit(&verdict_by("IN04", &claim, &tables)));
        assert_eq!(verdict_of("IN04", &claim), Verdict::Abstain);
        let inpatient = Claim { lines: claim.lines, ..stay() };
        assert_eq!(verdict_by("IN04", &inpatient, &tables), Verdict::Abstain);
    }
}
