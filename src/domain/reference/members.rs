//! What is known of single members: their coverage, and the authorizations that payers granted for them.
//!
//! A member is found by a digest of practice and member id. Must never: keep a member id, show an authorization's number,
//! or take a member that a table does not name for one without coverage.

use std::collections::BTreeMap;

use super::code::Code;
use super::csv::{Column, Reader, Record, TableError};
use super::{Content, Kind};
use crate::domain::claim::Responsibility;
use crate::domain::member::MemberKey;
use crate::domain::rules::PayerClass;
use crate::domain::types::{Date, Phi, Units};

/// A time in which a payer covers the member; both days within, an open end is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The payer's key, as [`crate::domain::claim::Payer::key`] makes it.
    pub(crate) payer_key: String,
    /// The class of the insurance, where told.
    pub(crate) class: Option<PayerClass>,
    /// The payer's place among the member's payers, where told.
    pub(crate) responsibility: Option<Responsibility>,
    from: Option<Date>,
    to: Option<Date>,
}

impl Span {
    /// Whether the span has a day.
    pub(crate) fn covers(&self, day: Date) -> bool {
        !self.begins_after(day) && !self.ended_before(day)
    }

    /// Whether the coverage begins only after a day.
    pub(crate) fn begins_after(&self, day: Date) -> bool {
        self.from.is_some_and(|from| day < from)
    }

    /// Whether the coverage had ended before a day.
    pub(crate) fn ended_before(&self, day: Date) -> bool {
        self.to.is_some_and(|to| to < day)
    }
}

/// What eligibility answers (271) told of a member.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) spans: Vec<Span>,
    pub(crate) died_on: Option<Phi<Date>>,
}

/// Members' coverage. One that is absent is unknown.
pub(crate) struct Eligibility(BTreeMap<MemberKey, Member>);

impl Eligibility {
    /// What is known of a member.
    pub(crate) fn of(&self, member: MemberKey) -> Option<&Member> {
        self.0.get(&member)
    }
}

fn member_key(record: &Record<'_>) -> Result<MemberKey, TableError> {
    Ok(MemberKey::of(record.filled(0)?, record.filled(1)?))
}

/// The days of two columns, the first of them `from`.
fn days(record: &Record<'_>, from: usize) -> Result<(Option<Date>, Option<Date>), TableError> {
    let (first, last) = (record.date(from)?, record.date(from + 1)?);
    match (first, last) {
        (Some(first), Some(last)) if first > last => {
            Err(record.wrong(from + 1, "it ends before it begins; swap the days"))
        }
        days => Ok(days),
    }
}

impl Content for Eligibility {
    const KIND: Kind = Kind::Eligibility;
    const PRIVATE: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::required("practice_id"),
        Column::required("member_id"),
        Column::required("payer_id"),
        Column::optional("class"),
        Column::optional("place"),
        Column::optional("from"),
        Column::optional("to"),
        Column::optional("died_on"),
    ];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut members: BTreeMap<MemberKey, Member> = BTreeMap::new();
        while let Some(record) = reader.record()? {
            let class = PayerClass::parse(record.text(3));
            if class.is_none() && !record.text(3).is_empty() {
                let words = PayerClass::ALL.map(PayerClass::as_str).join(", ");
                return Err(record.wrong(3, format!("not one of {words}; leave it empty when it is not known")));
            }
            let responsibility = Responsibility::parse(record.text(4));
            if responsibility.is_none() && !record.text(4).is_empty() {
                return Err(record.wrong(4, "neither P (first payer) nor S nor T; leave it empty when it is not known"));
            }
            let (from, to) = days(&record, 5)?;
            let payer_key = record.filled(2)?.to_owned();
            let member = members.entry(member_key(&record)?).or_default();
            member.spans.push(Span { payer_key, class, responsibility, from, to });
            if let Some(day) = record.date(7)?.map(Phi::new) {
                // Of two days the first: service between them is doubtful enough.
                member.died_on = Some(member.died_on.take().map_or(day.clone(), |known| known.min(day)));
            }
        }
        Ok(Self(members))
    }
}

/// An authorization that a payer granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantedAuthorization {
    /// Its number (REF*G1).
    pub(crate) number: Phi<String>,
    /// The procedures it is for; empty when not told.
    pub(crate) procedures: Vec<Code>,
    /// NPI of the provider it is for, where told.
    pub(crate) npi: Option<u64>,
    /// Units that are left of it, where told.
    pub(crate) units: Option<Units>,
    /// First day it holds.
    pub(crate) from: Option<Date>,
    /// Last day it holds.
    pub(crate) to: Option<Date>,
}

/// Authorizations that payers granted, by member. A member that is absent is unknown.
pub(crate) struct GrantedAuthorizations(BTreeMap<MemberKey, Vec<GrantedAuthorization>>);

impl GrantedAuthorizations {
    /// The authorizations of a member.
    pub(crate) fn of(&self, member: MemberKey) -> Option<&[GrantedAuthorization]> {
        self.0.get(&member).map(Vec::as_slice)
    }
}

impl Content for GrantedAuthorizations {
    const KIND: Kind = Kind::GrantedAuthorizations;
    const PRIVATE: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::required("practice_id"),
        Column::required("member_id"),
        Column::required("number"),
        Column::optional("procedure_codes"),
        Column::optional("npi"),
        Column::optional("units"),
        Column::optional("from"),
        Column::optional("to"),
    ];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut members: BTreeMap<MemberKey, Vec<GrantedAuthorization>> = BTreeMap::new();
        while let Some(record) = reader.record()? {
            let (from, to) = days(&record, 6)?;
            let granted = GrantedAuthorization {
                number: record.filled(2)?.into(),
                procedures: record.codes(3)?,
                npi: if record.text(4).is_empty() { None } else { Some(record.npi(4)?) },
                units: record.units(5)?,
                from,
                to,
            };
            members.entry(member_key(&record)?).or_default().push(granted);
        }
        Ok(Self(members))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::*;

    fn day(day: u32) -> Date {
        Date::from_ymd_opt(2026, 1, day).unwrap()
    }

    #[test]
    fn a_member_of_a_practice_has_spans_and_another_is_unknown() {
        let text = "practice_id,member_id,payer_id,class,place,from,to,died_on\n\
                    PR1,M1,P1,medicare,P,2026-01-02,2026-01-04,2026-01-09\nPR1,m1,P2,,,,,2026-01-08\n";
        let table: Table<Eligibility> = Table::parse(text).unwrap();
        let member = table.of(MemberKey::of("PR1", "M1")).unwrap();
        assert_eq!((member.spans.len(), &member.died_on), (2, &Some(Phi::new(day(8)))));
        let covered = [1, 2, 4, 5].map(|number| member.spans[0].covers(day(number)));
        assert_eq!(covered, [false, true, true, false]);
        assert!(member.spans[0].class == Some(PayerClass::Medicare) && member.spans[1].covers(day(9)));
        assert!(table.of(MemberKey::of("PR2", "M1")).is_none() && table.of(MemberKey::of("PR1", "M2")).is_none());
    }

    #[test]
    fn an_authorization_belongs_to_its_member() {
        let text = "practice_id,member_id,number,procedure_codes,npi,units,from,to\nPR1,M1,A1,J1 J2,1234567893,2.5,,\n";
        let table: Table<GrantedAuthorizations> = Table::parse(text).unwrap();
        let granted = &table.of(MemberKey::of("PR1", "M1")).unwrap()[0];
        assert_eq!((granted.procedures.len(), granted.npi), (2, Some(1_234_567_893)));
        assert_eq!((granted.units, granted.from), (Some(Units::from_thousandths(2500)), None));
        assert!(table.of(MemberKey::of("PR1", "M2")).is_none());
    }

    #[test]
    fn a_refusal_names_the_place_and_nothing_of_the_member() {
        let head = "practice_id,member_id,payer_id,class,place,from,to,died_on\n";
        for (row, column) in [
            ("PR1,SECRET,P1,gold,,,,", "class"),
            ("PR1,SECRET,P1,,Q,,,", "place"),
            ("PR1,SECRET,P1,,,SECRET,,", "from"),
            ("PR1,SECRET,P1,,,2026-02-01,2026-01-01,", "to"),
            ("PR1,,P1,,,,,", "member_id"),
        ] {
            let error = Table::<Eligibility>::parse(&format!("{head}{row}\n")).err().unwrap();
            assert_eq!((error.line, error.column), (2, Some(column)), "{error}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
        let text = "practice_id,member_id,number,units\nPR1,SECRET,SECRET,SECRET\n";
        let error = Table::<GrantedAuthorizations>::parse(text).err().unwrap();
        assert!(error.column == Some("units") && !error.to_string().contains("SECRET"), "{error}");
        assert!(!Table::<Eligibility>::parse("PR1,SECRET,P1\n").err().unwrap().to_string().contains("SECRET"));
    }
}
