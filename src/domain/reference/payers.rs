//! What single payers ask for and are charged: their settings, their lists of services that need an authorization or a
//! document, of providers enrolled with them, and what each practice usually charges them.
//!
//! Must never: take a payer that a table does not name for one that asks for nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::code::Code;
use super::csv::{Column, Reader, Record, TableError};
use super::{Content, Kind};
use crate::domain::types::{Cents, Date};

/// From which day a payer counts the days for a corrected claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorrectionStart {
    /// The last day of service.
    Service,
    /// The day of the decision that is corrected.
    Decision,
}

/// The settings of one payer. What is `None` is not known.
#[derive(Clone, Debug)]
pub(crate) struct PayerRule {
    /// Days from the last day of service within which a claim must be sent.
    pub(crate) timely_filing_days: Option<i64>,
    /// Days within which a corrected claim must be sent.
    pub(crate) corrected_claim_days: Option<i64>,
    pub(crate) corrected_claim_from: CorrectionStart,
    /// Forms that a member id may have; empty when not known.
    pub(crate) member_id_patterns: Vec<Vec<u8>>,
    pub(crate) requires_taxonomy: Option<bool>,
    pub(crate) requires_ndc: Option<bool>,
    pub(crate) requires_referral: Option<bool>,
    pub(crate) refuses_interim: Option<bool>,
    /// Modifiers of which telehealth lines need one; empty when not known.
    pub(crate) telehealth_modifiers: Vec<Code>,
    /// Days after birth in which a newborn is billed under a parent's id.
    pub(crate) newborn_days: Option<i64>,
}

impl PayerRule {
    /// Whether a member id has one of the payer's forms; `None` when no form is known.
    pub(crate) fn fits_member_id(&self, id: &str) -> Option<bool> {
        if self.member_id_patterns.is_empty() {
            return None;
        }
        let id = id.trim().as_bytes();
        Some(self.member_id_patterns.iter().any(|pattern| fits(pattern, id)))
    }
}

/// `A` is a letter, `9` a digit, `X` either; anything else stands for itself.
fn fits(pattern: &[u8], id: &[u8]) -> bool {
    pattern.len() == id.len()
        && pattern.iter().zip(id).all(|(form, byte)| match form {
            b'A' => byte.is_ascii_alphabetic(),
            b'9' => byte.is_ascii_digit(),
            b'X' => byte.is_ascii_alphanumeric(),
            // A literal letter is written in lower case, since the capitals A and X are taken.
            other => byte.eq_ignore_ascii_case(other),
        })
}

/// Settings by payer.
pub(crate) struct PayerRules(BTreeMap<String, PayerRule>);

impl PayerRules {
    /// The settings of a payer, by its id.
    pub(crate) fn of(&self, payer: &str) -> Option<&PayerRule> {
        self.0.get(payer)
    }
}

impl Content for PayerRules {
    const KIND: Kind = Kind::PayerRules;
    const COLUMNS: &'static [Column] = &[
        Column::required("payer_id"),
        Column::optional("timely_filing_days"),
        Column::optional("corrected_claim_days"),
        Column::optional("corrected_claim_from"),
        Column::optional("member_id_pattern"),
        Column::optional("requires_taxonomy"),
        Column::optional("requires_ndc"),
        Column::optional("requires_referral"),
        Column::optional("refuses_interim"),
        Column::optional("telehealth_modifier"),
        Column::optional("newborn_days"),
    ];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut rules = BTreeMap::new();
        while let Some(record) = reader.record()? {
            let payer = record.filled(0)?.to_owned();
            if rules.insert(payer, payer_rule(&record)?).is_some() {
                return Err(record.wrong(0, "the payer stands there twice; keep one line"));
            }
        }
        Ok(Self(rules))
    }
}

fn payer_rule(record: &Record<'_>) -> Result<PayerRule, TableError> {
    let days = |column: usize| match record.number::<i64>(column)? {
        Some(days) if !(1..=3660).contains(&days) => {
            Err(record.wrong(column, "not 1 to 3660 days; leave it empty when it is not known"))
        }
        days => Ok(days),
    };
    Ok(PayerRule {
        timely_filing_days: days(1)?,
        corrected_claim_days: days(2)?,
        corrected_claim_from: match record.text(3) {
            "" | "service" => CorrectionStart::Service,
            "decision" => CorrectionStart::Decision,
            _ => return Err(record.wrong(3, "neither service nor decision; write one of them or leave it empty")),
        },
        member_id_patterns: record.text(4).split_whitespace().map(|form| form.as_bytes().to_vec()).collect(),
        requires_taxonomy: record.flag(5)?,
        requires_ndc: record.flag(6)?,
        requires_referral: record.flag(7)?,
        refuses_interim: record.flag(8)?,
        telehealth_modifiers: record.codes(9)?,
        newborn_days: days(10)?,
    })
}

/// Whether a payer's list names a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// The payer has no list here.
    Unknown,
    /// The payer's list does not name the service.
    No,
    /// It does.
    Yes,
}

/// Services that need an authorization, by payer: procedure, and place of service or none for every place.
pub(crate) struct Authorization(BTreeMap<String, BTreeSet<(Code, Option<Code>)>>);

impl Authorization {
    /// Whether the payer wants an authorization for a procedure at a place.
    pub(crate) fn wants(&self, payer: &str, procedure: Code, place: Option<&str>) -> Listed {
        let Some(list) = self.0.get(payer) else { return Listed::Unknown };
        let here = place.and_then(Code::of).is_some_and(|place| list.contains(&(procedure, Some(place))));
        if here || list.contains(&(procedure, None)) { Listed::Yes } else { Listed::No }
    }
}

impl Content for Authorization {
    const KIND: Kind = Kind::Authorization;
    const COLUMNS: &'static [Column] =
        &[Column::required("payer_id"), Column::required("procedure_code"), Column::optional("place_of_service")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut lists: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        while let Some(record) = reader.record()? {
            let place = if record.text(2).is_empty() { None } else { Some(record.code(2)?) };
            lists.entry(record.filled(0)?.to_owned()).or_default().insert((record.code(1)?, place));
        }
        Ok(Self(lists))
    }
}

/// Services that need a document, by payer.
pub(crate) struct Attachments(BTreeMap<String, BTreeSet<Code>>);

impl Attachments {
    /// Whether the payer wants a document for a procedure.
    pub(crate) fn wants(&self, payer: &str, procedure: Code) -> Listed {
        match self.0.get(payer) {
            None => Listed::Unknown,
            Some(list) if list.contains(&procedure) => Listed::Yes,
            Some(_) => Listed::No,
        }
    }
}

impl Content for Attachments {
    const KIND: Kind = Kind::Attachment;
    const COLUMNS: &'static [Column] = &[Column::required("payer_id"), Column::required("procedure_code")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut lists: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        while let Some(record) = reader.record()? {
            lists.entry(record.filled(0)?.to_owned()).or_default().insert(record.code(1)?);
        }
        Ok(Self(lists))
    }
}

/// A span of days, both ends within; an open end is `None`.
type Days = (Option<Date>, Option<Date>);

/// Providers enrolled with payers, and since when.
pub(crate) struct Enrollment {
    spans: BTreeMap<String, BTreeMap<u64, Vec<Days>>>,
    providers: BTreeSet<u64>,
}

impl Enrollment {
    /// Whether a provider was enrolled with a payer on a day. `None` when the table does not name the payer, or names the
    /// provider with no payer at all: then somebody else keeps its enrolments.
    pub(crate) fn covers(&self, payer: &str, npi: u64, day: Date) -> Option<bool> {
        let payer = self.spans.get(payer)?;
        if !self.providers.contains(&npi) {
            return None;
        }
        let within = |&(from, to): &Days| from.is_none_or(|from| from <= day) && to.is_none_or(|to| day <= to);
        Some(payer.get(&npi).is_some_and(|spans| spans.iter().any(within)))
    }
}

impl Content for Enrollment {
    const KIND: Kind = Kind::Enrollment;
    const COLUMNS: &'static [Column] =
        &[Column::required("payer_id"), Column::required("npi"), Column::optional("from"), Column::optional("to")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut table = Self { spans: BTreeMap::new(), providers: BTreeSet::new() };
        while let Some(record) = reader.record()? {
            let (npi, from, to) = (record.npi(1)?, record.date(2)?, record.date(3)?);
            if let (Some(from), Some(to)) = (from, to)
                && from > to
            {
                return Err(record.wrong(3, "the enrolment ends before it begins; swap the days"));
            }
            table.providers.insert(npi);
            let payer = table.spans.entry(record.filled(0)?.to_owned()).or_default();
            payer.entry(npi).or_default().push((from, to));
        }
        Ok(table)
    }
}

/// What a practice usually charges a payer for one unit of a procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsualCharge {
    pub(crate) median: Cents,
    /// Median absolute deviation from the median.
    pub(crate) deviation: Cents,
    /// Lines it was made of.
    pub(crate) lines: u32,
}

/// Usual charges by practice and payer, then by procedure.
pub(crate) struct UsualCharges(BTreeMap<String, BTreeMap<String, BTreeMap<Code, UsualCharge>>>);

impl UsualCharges {
    /// What a practice usually charges a payer, by the payer's key, for one unit of a procedure.
    pub(crate) fn of(&self, practice: &str, payer_key: &str, procedure: Code) -> Option<UsualCharge> {
        self.0.get(practice)?.get(payer_key)?.get(&procedure).copied()
    }
}

impl Content for UsualCharges {
    const KIND: Kind = Kind::UsualCharges;
    const COLUMNS: &'static [Column] = &[
        Column::required("practice_id"),
        Column::required("payer_id"),
        Column::required("procedure_code"),
        Column::required("median"),
        Column::required("deviation"),
        Column::required("lines"),
    ];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut table = Self(BTreeMap::new());
        while let Some(record) = reader.record()? {
            let (practice, payer) = (record.filled(0)?.to_owned(), record.filled(1)?.to_owned());
            let charge =
                UsualCharge { median: record.amount(3)?, deviation: record.amount(4)?, lines: record.must_number(5)? };
            let charges = table.0.entry(practice).or_default().entry(payer).or_default();
            if charges.insert(record.code(2)?, charge).is_some() {
                return Err(record.wrong(2, "the procedure stands there twice for its payer; keep one line"));
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::*;

    fn code(text: &str) -> Code {
        Code::of(text).unwrap()
    }

    #[test]
    fn a_payers_settings_are_read_and_the_rest_is_unknown() {
        let text = "payer_id,timely_filing_days,member_id_pattern,requires_taxonomy,telehealth_modifier\n\
                    P1,90,A99999999 9AX9AX9AA99,yes,95 93\nP2,,,no,\n";
        let table: Table<PayerRules> = Table::parse(text).unwrap();
        let rule = table.of("P1").unwrap();
        assert_eq!((rule.timely_filing_days, rule.requires_taxonomy, rule.requires_ndc), (Some(90), Some(true), None));
        assert_eq!(rule.fits_member_id("W12345678"), Some(true));
        assert_eq!(rule.fits_member_id("1eg4te5mk73"), Some(true));
        assert_eq!(rule.fits_member_id("W1234567"), Some(false));
        assert_eq!(rule.telehealth_modifiers, [code("95"), code("93")]);
        assert_eq!(table.of("P2").unwrap().fits_member_id("x"), None);
        assert!(table.of("P3").is_none());
        assert_eq!(table.rows, 2);
    }

    #[test]
    fn a_literal_of_a_pattern_stands_for_itself() {
        assert!(fits(b"zz-9A", b"ZZ-1b") && !fits(b"zz-9A", b"ZY-1b"));
    }

    #[test]
    fn settings_that_cannot_be_are_refused_with_their_place() {
        for (text, column) in [
            ("payer_id,timely_filing_days\nP1,0\n", "timely_filing_days"),
            ("payer_id,timely_filing_days\nP1,ninety\n", "timely_filing_days"),
            ("payer_id,corrected_claim_from\nP1,birth\n", "corrected_claim_from"),
            ("payer_id,requires_ndc\nP1,perhaps\n", "requires_ndc"),
            ("payer_id,requires_ndc\n,yes\n", "payer_id"),
        ] {
            let error = Table::<PayerRules>::parse(text).err().unwrap();
            assert_eq!((error.line, error.column), (2, Some(column)), "{error}");
        }
        let twice = Table::<PayerRules>::parse("payer_id\nP1\nP1\n").err().unwrap();
        assert_eq!(twice.line, 3);
    }

    #[test]
    fn a_payer_without_a_list_is_unknown() {
        let table: Table<Authorization> =
            Table::parse("payer_id,procedure_code,place_of_service\nP1,J0001,\nP1,J0002,22\n").unwrap();
        assert_eq!(table.wants("P1", code("J0001"), None), Listed::Yes);
        assert_eq!(table.wants("P1", code("J0002"), Some("22")), Listed::Yes);
        assert_eq!(table.wants("P1", code("J0002"), Some("11")), Listed::No);
        assert_eq!(table.wants("P2", code("J0001"), None), Listed::Unknown);
        let table: Table<Attachments> = Table::parse("payer_id,procedure_code\nP1,J0001\n").unwrap();
        assert_eq!(table.wants("P1", code("J0001")), Listed::Yes);
        assert_eq!(table.wants("P1", code("J0002")), Listed::No);
        assert_eq!(table.wants("P2", code("J0001")), Listed::Unknown);
    }

    #[test]
    fn an_enrolment_holds_from_day_to_day() {
        let text =
            "payer_id,npi,from,to\nP1,1234567893,2026-01-01,2026-06-30\nP1,1234567893,20260801,\nP2,1760854442,,\n";
        let table: Table<Enrollment> = Table::parse(text).unwrap();
        let day = |month, day| Date::from_ymd_opt(2026, month, day).unwrap();
        assert_eq!(table.covers("P1", 1_234_567_893, day(6, 30)), Some(true));
        assert_eq!(table.covers("P1", 1_234_567_893, day(7, 1)), Some(false));
        assert_eq!(table.covers("P1", 1_234_567_893, day(9, 1)), Some(true));
        assert_eq!(table.covers("P1", 1_760_854_442, day(9, 1)), Some(false));
        assert_eq!(table.covers("P1", 1_942_788_757, day(9, 1)), None);
        assert_eq!(table.covers("P3", 1_234_567_893, day(9, 1)), None);
        let swapped = "payer_id,npi,from,to\nP1,1234567893,2026-02-01,2026-01-01\n";
        assert_eq!(Table::<Enrollment>::parse(swapped).err().unwrap().column, Some("to"));
    }

    #[test]
    fn usual_charges_are_those_of_a_practice_a_payer_and_a_procedure() {
        let head = "practice_id,payer_id,procedure_code,median,deviation,lines\n";
        let table: Table<UsualCharges> = Table::parse(&format!("{head}PR1,P1,G0001,120.00,4.5,32\n")).unwrap();
        let usual = UsualCharge { median: Cents::new(12_000), deviation: Cents::new(450), lines: 32 };
        assert_eq!(table.of("PR1", "P1", code("G0001")), Some(usual));
        for (practice, payer, other) in [("PR2", "P1", "G0001"), ("PR1", "P2", "G0001"), ("PR1", "P1", "G0002")] {
            assert_eq!(table.of(practice, payer, code(other)), None);
        }
        for row in
            ["PR1,P1,G0001,x,0,1", "PR1,P1,G0001,1,-1,1", "PR1,P1,G0001,1,0,", "PR1,P1,G0001,1,0,1\nPR1,P1,G0001,1,0,1"]
        {
            assert!(Table::<UsualCharges>::parse(&format!("{head}{row}\n")).is_err(), "{row}");
        }
    }
}
