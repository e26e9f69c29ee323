//! Lists of codes with what each code is and when it holds: procedures, diagnoses, modifiers, revenue codes, types of bill.
//!
//! A list may be a part of the code set. A line such as `J*` states that all codes which begin so are in the list, and
//! only then does an absent code count as no code. Must never: ship a licensed list; these are loaded by their licensees.

use std::collections::BTreeMap;

use super::code::Code;
use super::csv::{Column, Reader, Record, TableError};
use super::index::Index;
use super::{Content, Kind};
use crate::domain::types::Date;

/// What a list says of a code.
pub(crate) enum Found<'a, T> {
    /// The list cannot tell.
    Unknown,
    /// The list is whole for codes of this beginning, and has not this one.
    Absent,
    /// The entry of the code.
    Entry(&'a T),
}

/// Codes and what is known of each.
pub(crate) struct Listing<T> {
    entries: Index<T>,
    /// Beginnings for which the list is whole.
    whole: Vec<Code>,
}

impl<T> Listing<T> {
    /// What the list says of a code.
    pub(crate) fn find(&self, code: Code) -> Found<'_, T> {
        match self.entries.get(code.packed()) {
            Some(entry) => Found::Entry(entry),
            None if self.whole.iter().any(|&prefix| code.starts_with(prefix)) => Found::Absent,
            None => Found::Unknown,
        }
    }

    /// The entry of a code.
    pub(crate) fn get(&self, code: Code) -> Option<&T> {
        self.entries.get(code.packed())
    }

    fn read(reader: &mut Reader<'_>, entry: impl Fn(&Record<'_>) -> Result<T, TableError>) -> Result<Self, TableError> {
        let (mut entries, mut whole) = (BTreeMap::new(), Vec::new());
        while let Some(record) = reader.record()? {
            match record.text(0).strip_suffix('*') {
                Some("") => whole.push(Code::EMPTY),
                Some(prefix) => match Code::of(prefix) {
                    Some(prefix) => whole.push(prefix),
                    None => return Err(record.wrong(0, "a beginning has letters and digits only, such as J*")),
                },
                None => {
                    let code = record.code(0)?;
                    if entries.insert(code.packed(), entry(&record)?).is_some() {
                        return Err(record.wrong(0, format!("{code} stands there twice; keep one line")));
                    }
                }
            }
        }
        Ok(Self { entries: Index::new(entries), whole })
    }
}

/// When a code holds, both ends within; an open end is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Validity {
    from: Option<Date>,
    to: Option<Date>,
}

impl Validity {
    /// Whether the code holds on a day.
    pub(crate) fn holds(self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }

    fn read(record: &Record<'_>, from: usize, to: usize) -> Result<Self, TableError> {
        let (from, until) = (record.date(from)?, record.date(to)?);
        match (from, until) {
            (Some(first), Some(last)) if first > last => {
                Err(record.wrong(to, "the code ends before it begins; swap the days"))
            }
            _ => Ok(Self { from, to: until }),
        }
    }
}

/// Whom a code is for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patients {
    /// `F` or `M`; `None` for both.
    sex: Option<u8>,
    age_from: Option<u32>,
    age_to: Option<u32>,
}

impl Patients {
    /// Whether anything is said.
    pub(crate) fn is_limited(self) -> bool {
        self.sex.is_some() || self.age_from.is_some() || self.age_to.is_some()
    }

    /// Whether a patient of this sex (`F`, `M`, else unknown) and age in years contradicts the code; `None` when what is
    /// known does not decide it.
    pub(crate) fn excludes(self, sex: Option<&str>, age: Option<u32>) -> Option<bool> {
        let sex = sex.filter(|sex| matches!(*sex, "F" | "M")).map(str::as_bytes);
        let by_sex = match (self.sex, sex) {
            (None, _) => Some(false),
            (Some(wanted), Some([told])) => Some(wanted != *told),
            (Some(_), _) => None,
        };
        let by_age = match (self.age_from, self.age_to, age) {
            (None, None, _) => Some(false),
            (_, _, None) => None,
            (from, to, Some(age)) => Some(from.is_some_and(|from| age < from) || to.is_some_and(|to| age > to)),
        };
        match (by_sex, by_age) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }

    fn read(record: &Record<'_>, sex: usize, age_from: usize, age_to: usize) -> Result<Self, TableError> {
        let sex = match record.text(sex) {
            "" => None,
            "F" | "f" => Some(b'F'),
            "M" | "m" => Some(b'M'),
            _ => return Err(record.wrong(sex, "neither F nor M; leave it empty when the code is for both")),
        };
        Ok(Self { sex, age_from: record.number(age_from)?, age_to: record.number(age_to)? })
    }
}

/// The codes that an add-on code may be added to: single codes and ranges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Primaries(Vec<(Code, Code)>);

impl Primaries {
    /// Whether a code is among them; every code is when none are named.
    pub(crate) fn include(&self, code: Code) -> bool {
        self.0.is_empty() || self.0.iter().any(|&(first, last)| first <= code && code <= last)
    }

    fn read(record: &Record<'_>, column: usize) -> Result<Self, TableError> {
        let one = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Code::of(first).zip(Code::of(last)).filter(|(first, last)| first <= last).ok_or_else(|| {
                record.wrong(column, format!("{text:?} is neither a code nor a range; write J0001 or J0001-J0009"))
            })
        };
        record.text(column).split_whitespace().map(one).collect::<Result<_, _>>().map(Self)
    }
}

/// What is known of a procedure code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Procedure {
    pub(crate) validity: Validity,
    pub(crate) unlisted: Option<bool>,
    /// For an add-on code, what it is added to.
    pub(crate) primaries: Option<Primaries>,
    pub(crate) patients: Patients,
    pub(crate) telehealth: Option<bool>,
    pub(crate) facility_only: Option<bool>,
    /// Days of the global surgical package: 0, 10 or 90.
    pub(crate) global_days: Option<u16>,
    /// Whether it is a waived test, billed with QW.
    pub(crate) waived: Option<bool>,
    pub(crate) inpatient_only: Option<bool>,
    /// Modifiers of which one is needed; empty when none is, or it is not known.
    pub(crate) modifiers: Vec<Code>,
}

/// Procedure codes (HCPCS, CPT, CDT).
pub(crate) type Procedures = Listing<Procedure>;

impl Content for Procedures {
    const KIND: Kind = Kind::ProcedureCodes;
    const COLUMNS: &'static [Column] = &[
        Column::required("code"),
        Column::optional("valid_from"),
        Column::optional("valid_to"),
        Column::optional("unlisted"),
        Column::optional("add_on"),
        Column::optional("primaries"),
        Column::optional("sex"),
        Column::optional("age_from"),
        Column::optional("age_to"),
        Column::optional("telehealth"),
        Column::optional("facility_only"),
        Column::optional("global_days"),
        Column::optional("waived"),
        Column::optional("inpatient_only"),
        Column::optional("requires_modifier"),
    ];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        Self::read(reader, procedure)
    }
}

fn procedure(record: &Record<'_>) -> Result<Procedure, TableError> {
    let add_on = record.flag(4)?;
    let primaries = Primaries::read(record, 5)?;
    if add_on != Some(true) && !primaries.0.is_empty() {
        return Err(record.wrong(5, "primaries belong to add-on codes; write add_on = yes or leave them out"));
    }
    Ok(Procedure {
        validity: Validity::read(record, 1, 2)?,
        unlisted: record.flag(3)?,
        primaries: (add_on == Some(true)).then_some(primaries),
        patients: Patients::read(record, 6, 7, 8)?,
        telehealth: record.flag(9)?,
        facility_only: record.flag(10)?,
        global_days: match record.number(11)? {
            None => None,
            Some(days @ (0 | 10 | 90)) => Some(days),
            Some(_) => return Err(record.wrong(11, "not 0, 10 or 90; leave it empty for XXX, YYY, ZZZ and MMM")),
        },
        waived: record.flag(12)?,
        inpatient_only: record.flag(13)?,
        modifiers: record.codes(14)?,
    })
}

/// What is known of a diagnosis code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diagnosis {
    pub(crate) validity: Validity,
    /// `Some(false)` for a category that needs more characters.
    pub(crate) billable: Option<bool>,
    pub(crate) unacceptable_principal: Option<bool>,
    pub(crate) patients: Patients,
}

/// Diagnosis codes (ICD-10-CM).
pub(crate) type Diagnoses = Listing<Diagnosis>;

impl Content for Diagnoses {
    const KIND: Kind = Kind::DiagnosisCodes;
    const COLUMNS: &'static [Column] = &[
        Column::required("code"),
        Column::optional("valid_from"),
        Column::optional("valid_to"),
        Column::optional("billable"),
        Column::optional("unacceptable_principal"),
        Column::optional("sex"),
        Column::optional("age_from"),
        Column::optional("age_to"),
    ];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        Self::read(reader, |record| {
            Ok(Diagnosis {
                validity: Validity::read(record, 1, 2)?,
                billable: record.flag(3)?,
                unacceptable_principal: record.flag(4)?,
                patients: Patients::read(record, 5, 6, 7)?,
            })
        })
    }
}

/// Modifiers and when they hold.
pub(crate) struct Modifiers(pub(crate) Listing<Validity>);

impl Content for Modifiers {
    const KIND: Kind = Kind::Modifiers;
    const COLUMNS: &'static [Column] =
        &[Column::required("code"), Column::optional("valid_from"), Column::optional("valid_to")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        Listing::read(reader, |record| Validity::read(record, 1, 2)).map(Self)
    }
}

/// What is known of a revenue code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RevenueCode {
    /// Whether an outpatient line with it needs a procedure code.
    pub(crate) needs_hcpcs: Option<bool>,
}

/// Revenue codes; their four digits.
pub(crate) type RevenueCodes = Listing<RevenueCode>;

impl Content for RevenueCodes {
    const KIND: Kind = Kind::RevenueCodes;
    const COLUMNS: &'static [Column] = &[Column::required("code"), Column::optional("needs_hcpcs")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        Self::read(reader, |record| Ok(RevenueCode { needs_hcpcs: record.flag(1)? }))
    }
}

/// Types of bill, without their leading zero: facility and classification (`11`), or with the frequency (`111`).
pub(crate) struct TypesOfBill(pub(crate) Listing<()>);

impl Content for TypesOfBill {
    const KIND: Kind = Kind::TypesOfBill;
    const COLUMNS: &'static [Column] = &[Column::required("code")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        Listing::read(reader, |record| {
            let text = record.text(0);
            if !(2..=3).contains(&text.len()) || text.starts_with('0') {
                return Err(record.wrong(0, "not a type of bill; leave out the leading zero: 11 or 111"));
            }
            Ok(())
        })
        .map(Self)
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
    fn an_absent_code_is_none_only_where_the_list_is_whole() {
        let table: Table<Procedures> = Table::parse("code\nJ*\nJ0001\nG0001\n").unwrap();
        assert!(matches!(table.find(code("J0001")), Found::Entry(_)));
        assert!(matches!(table.find(code("J0002")), Found::Absent));
        assert!(matches!(table.find(code("G0002")), Found::Unknown));
        let whole: Table<Diagnoses> = Table::parse("code\n*\nE119\n").unwrap();
        assert!(matches!(whole.find(code("E11")), Found::Absent));
        assert_eq!(whole.rows, 2);
    }

    #[test]
    fn a_procedure_is_read_with_all_that_is_known_of_it() {
        let text = "code,valid_from,valid_to,unlisted,add_on,primaries,sex,age_from,age_to,telehealth,facility_only,\
                    global_days,waived,inpatient_only,requires_modifier\n\
                    J0001,2020-01-01,2020-12-31,no,yes,J0100 J0200-J0299,F,9,64,no,yes,90,no,yes,RT LT 50\n";
        let table: Table<Procedures> = Table::parse(text).unwrap();
        let procedure = table.get(code("J0001")).unwrap();
        let day = |year| Date::from_ymd_opt(year, 6, 1).unwrap();
        assert!(procedure.validity.holds(day(2020)) && !procedure.validity.holds(day(2021)));
        let primaries = procedure.primaries.as_ref().unwrap();
        assert!(
            primaries.include(code("J0100")) && primaries.include(code("J0250")) && !primaries.include(code("J0300"))
        );
        assert_eq!((procedure.global_days, procedure.modifiers.len()), (Some(90), 3));
        assert_eq!((procedure.unlisted, procedure.inpatient_only), (Some(false), Some(true)));
    }

    #[test]
    fn a_patient_contradicts_a_code_only_by_what_is_known() {
        let women = Patients { sex: Some(b'F'), age_from: Some(9), age_to: Some(64) };
        for (sex, age, excluded) in [
            (Some("F"), Some(30), Some(false)),
            (Some("M"), None, Some(true)),
            (None, Some(70), Some(true)),
            (Some("U"), Some(30), None),
            (Some("F"), None, None),
        ] {
            assert_eq!(women.excludes(sex, age), excluded, "{sex:?} {age:?}");
        }
        assert_eq!(Patients::default().excludes(None, None), Some(false));
        assert!(!Patients::default().is_limited());
    }

    #[test]
    fn lines_that_cannot_be_are_refused_with_their_place() {
        for (text, column) in [
            ("code,global_days\nJ0001,30\n", "global_days"),
            ("code,primaries\nJ0001,J0002\n", "primaries"),
            ("code,add_on,primaries\nJ0001,yes,J9-J1\n", "primaries"),
            ("code,sex\nJ0001,X\n", "sex"),
            ("code,valid_from,valid_to\nJ0001,2026-02-01,2026-01-01\n", "valid_to"),
            ("code\nJ-1\n", "code"),
            ("code\n-*\n", "code"),
        ] {
            let error = Table::<Procedures>::parse(text).err().unwrap();
            assert_eq!((error.line, error.column), (2, Some(column)), "{error}");
        }
        assert_eq!(Table::<Diagnoses>::parse("code\nE119\nE11.9\n").err().unwrap().line, 3);
        assert!(Table::<TypesOfBill>::parse("code\n0111\n").is_err());
        assert!(Table::<TypesOfBill>::parse("code\n*\n11\n131\n").is_ok());
    }
}
