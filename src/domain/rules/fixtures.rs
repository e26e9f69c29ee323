//! Claims that are in order, for the tests of rules and scores to break one thing at a time.
//!
//! Must never: hold data of a real person.

use super::{CATALOGUE, EarlierClaim, Facts, Verdict};
use crate::domain::claim::{Claim, ClaimType, Payer, Provider, ServiceLine, Subscriber};
use crate::domain::reference::{Kind, ReferenceTables};
use crate::domain::types::{Cents, Date, Phi, Units};

/// A day; the arguments are year, month, day.
pub(crate) fn day(year: i32, month: u32, day: u32) -> Date {
    Date::from_ymd_opt(year, month, day).expect("a day of the calendar")
}

/// A provider with an NPI.
pub(crate) fn provider(npi: &str) -> Provider {
    Provider { npi: Some(npi.to_owned()), ..Provider::default() }
}

/// The claim of the event contract's example: an office visit, commercial insurance, in order.
pub(crate) fn office_visit() -> Claim {
    Claim {
        practice_id: Some("PR01".to_owned()),
        patient_control_number: Phi::from("PCN-1112223333"),
        frequency_code: "1".to_owned(),
        filing_indicator: Some("CI".to_owned()),
        claim_type: ClaimType::Professional,
        facility_type_code: Some("11".to_owned()),
        assignment_code: Some("A".to_owned()),
        payer: Payer { id: Some("60054".to_owned()), name: Some("Example Health Plan".to_owned()) },
        subscriber: Subscriber {
            member_id: Some(Phi::from("W123456789")),
            birth_date: Some(Phi::new(day(1980, 1, 1))),
            gender: Some(Phi::from("F")),
        },
        billing_provider: Provider { taxonomy_code: Some("207Q00000X".to_owned()), ..provider("1760854442") },
        rendering_provider: Some(provider("1942788757")),
        submitted_at: Some(day(2026, 11, 2)),
        total_charge: Cents::new(80_000),
        diagnosis_codes: vec!["E119".to_owned(), "I10".to_owned()],
        lines: vec![ServiceLine {
            control_number: Some("1".into()),
            procedure_code: Some("99213".to_owned()),
            modifiers: vec!["25".to_owned()],
            charge: Cents::new(80_000),
            units: Some(Units::ONE),
            place_of_service: Some("11".to_owned()),
            service_from: Some(day(2026, 10, 30)),
            diagnosis_pointers: vec![1],
            ..ServiceLine::default()
        }],
        ..Claim::default()
    }
}

/// A line of a hospital's bill.
fn revenue_line(code: &str, cents: i64) -> ServiceLine {
    ServiceLine {
        revenue_code: Some(code.to_owned()),
        charge: Cents::new(cents),
        units: Some(Units::ONE),
        unit_type: Some("UN".to_owned()),
        ..ServiceLine::default()
    }
}

/// A Medicare inpatient stay, in order; one line carries no charge.
pub(crate) fn stay() -> Claim {
    Claim {
        claim_type: ClaimType::Institutional,
        filing_indicator: Some("MA".to_owned()),
        facility_type_code: Some("11".to_owned()),
        type_of_bill: Some("0111".to_owned()),
        rendering_provider: None,
        attending_provider: Some(provider("1942788757")),
        statement_date: Some(day(2026, 10, 1)),
        statement_to_date: Some(day(2026, 10, 5)),
        admission_date: Some(day(2026, 10, 1)),
        discharge_date: Some(day(2026, 10, 5)),
        admission_type_code: Some("1".to_owned()),
        admission_source_code: Some("1".to_owned()),
        discharge_status_code: Some("01".to_owned()),
        total_charge: Cents::new(1_250_000),
        diagnosis_codes: vec!["I2109".to_owned(), "I10".to_owned()],
        lines: vec![revenue_line("0120", 1_000_000), revenue_line("0250", 250_000), revenue_line("0258", 0)],
        ..office_visit()
    }
}

/// What one rule says of a claim that was read whole.
pub(crate) fn verdict_of(id: &str, claim: &Claim) -> Verdict {
    verdict_with(id, claim, &Facts { complete: true, ..Facts::default() })
}

/// What one rule says of a claim, with the given facts.
pub(crate) fn verdict_with(id: &str, claim: &Claim, facts: &Facts) -> Verdict {
    let rule = CATALOGUE.iter().find(|rule| rule.id == id).expect("a rule of the catalogue");
    (rule.check)(claim, facts)
}

/// Facts of a claim that was read whole, with tables made of their texts.
pub(crate) fn facts_with(tables: &[(Kind, &str)]) -> Facts {
    let mut loaded = ReferenceTables::default();
    for (kind, text) in tables {
        loaded.load(*kind, text).expect("a table that follows its format");
    }
    Facts { complete: true, ..Facts::default() }.with_tables(loaded.into())
}

/// What one rule says of a claim that was read whole, with tables.
pub(crate) fn verdict_by(id: &str, claim: &Claim, tables: &[(Kind, &str)]) -> Verdict {
    verdict_with(id, claim, &facts_with(tables))
}

/// What one rule says of a claim that was read whole, after one that was sent before.
pub(crate) fn verdict_after(id: &str, claim: &Claim, earlier: EarlierClaim) -> Verdict {
    let facts = Facts { complete: true, ..Facts::default() };
    verdict_with(id, claim, &facts.with_earlier(Some(vec![earlier])))
}

/// The claim itself as one that was sent before.
pub(crate) fn sent_before(claim: &Claim) -> EarlierClaim {
    EarlierClaim::of(claim)
}

/// Whether a verdict is a hit.
pub(crate) const fn is_hit(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Hit(_))
}

/// The lines at which one rule fires.
pub(crate) fn lines_hit(id: &str, claim: &Claim) -> Vec<Option<u16>> {
    match verdict_of(id, claim) {
        Verdict::Hit(findings) => findings.into_iter().map(|finding| finding.line).collect(),
        Verdict::Abstain | Verdict::Pass => Vec::new(),
    }
}
