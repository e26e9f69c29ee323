//! The National Correct Coding Initiative's tables: pairs of procedures, and units that are medically unlikely.
//!
//! Must never: read one setting's table as the other's; practitioners and hospitals have tables of their own.

use std::collections::BTreeMap;

use super::code::Code;
use super::csv::{Column, Reader, Record, TableError};
use super::index::Index;
use super::{Content, Kind};
use crate::domain::types::Date;

/// Whose claims a line of a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// Professional claims.
    Practitioner,
    /// Outpatient hospital claims.
    Hospital,
}

/// The settings that a column names; both when it is empty.
fn settings(record: &Record<'_>, column: usize) -> Result<&'static [Setting], TableError> {
    match record.text(column) {
        "" => Ok(&[Setting::Practitioner, Setting::Hospital]),
        "practitioner" => Ok(&[Setting::Practitioner]),
        "hospital" => Ok(&[Setting::Hospital]),
        _ => Err(record.wrong(column, "neither practitioner nor hospital; leave it empty when it is for both")),
    }
}

/// Whether a modifier lets both codes of a pair be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indicator {
    /// `0`: never.
    Never,
    /// `1`: with a modifier that says so.
    WithModifier,
}

/// A pair, seen from its first code.
#[derive(Clone, Copy, Debug)]
struct Pair {
    setting: Setting,
    second: Code,
    effective: Option<Date>,
    deleted: Option<Date>,
    indicator: Indicator,
}

/// Procedure-to-procedure pairs. CMS publishes more than a million: they stand sorted, found by their first code and a binary search.
pub(crate) struct Pairs {
    /// For each first code, where its pairs begin and end.
    starts: Index<(u32, u32)>,
    pairs: Vec<Pair>,
}

/// The pairs of one first code.
#[derive(Clone, Copy)]
pub(crate) struct PairsOf<'a>(&'a [Pair]);

impl Pairs {
    /// The pairs that a code is the first of; `None` when there are none.
    pub(crate) fn of(&self, first: Code) -> Option<PairsOf<'_>> {
        let &(start, end) = self.starts.get(first.packed())?;
        self.pairs.get(start as usize..end as usize).map(PairsOf)
    }
}

impl PairsOf<'_> {
    /// What holds between the first code and a second one on a day; pairs that were deleted before it do not count.
    pub(crate) fn with(self, second: Code, setting: Setting, day: Date) -> Option<Indicator> {
        let from = self.0.partition_point(|pair| (pair.second, pair.setting) < (second, setting));
        let same = self.0.get(from..)?.iter().take_while(|pair| (pair.second, pair.setting) == (second, setting));
        let holds = |pair: &&Pair| {
            pair.effective.is_none_or(|first| first <= day) && pair.deleted.is_none_or(|last| day <= last)
        };
        same.into_iter().find(holds).map(|pair| pair.indicator)
    }
}

impl Content for Pairs {
    const KIND: Kind = Kind::NcciPtp;
    const COLUMNS: &'static [Column] = &[
        Column::required("column_1"),
        Column::required("column_2"),
        Column::required("effective_date"),
        Column::required("deletion_date"),
        Column::required("modifier_indicator"),
        Column::optional("setting"),
    ];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut rows: Vec<(Code, Pair)> = Vec::new();
        while let Some(record) = reader.record()? {
            let (first, second) = (record.code(0)?, record.code(1)?);
            let (effective, deleted) = (record.date(2)?, record.date(3)?);
            let indicator = match record.text(4) {
                "0" => Indicator::Never,
                "1" => Indicator::WithModifier,
                // The pair does not apply; CMS marks pairs so that were deleted on the day they began.
                "9" => continue,
                _ => return Err(record.wrong(4, "not 0, 1 or 9; copy the indicator from CMS's file")),
            };
            for &setting in settings(&record, 5)? {
                rows.push((first, Pair { setting, second, effective, deleted, indicator }));
            }
            if u32::try_from(rows.len()).is_err() {
                return Err(record.wrong(0, "more pairs than can be held; load one setting's table"));
            }
        }
        rows.sort_by_key(|(first, pair)| (*first, pair.second, pair.setting, pair.effective));
        let mut starts: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
        for (place, (first, _)) in (0_u32..).zip(&rows) {
            starts.entry(first.packed()).or_insert((place, place)).1 = place + 1;
        }
        Ok(Self { starts: Index::new(starts), pairs: rows.into_iter().map(|(_, pair)| pair).collect() })
    }
}

/// How units are counted against their limit (MUE adjudication indicator).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adjudication {
    /// 1: each line for itself.
    Line,
    /// 2: all of a day, without exception.
    DayByPolicy,
    /// 3: all of a day, unless the record shows more.
    DayByClinic,
}

/// Units above which a service is medically unlikely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) units: i64,
    pub(crate) adjudication: Adjudication,
}

/// Medically unlikely edits.
pub(crate) struct Mue(Index<Limits>);

/// The limits of a code for practitioners and for hospitals.
type Limits = [Option<Limit>; 2];

impl Mue {
    /// The limit of a code.
    pub(crate) fn of(&self, code: Code, setting: Setting) -> Option<Limit> {
        *self.0.get(code.packed())?.get(setting as usize)?
    }
}

impl Content for Mue {
    const KIND: Kind = Kind::Mue;
    const COLUMNS: &'static [Column] =
        &[Column::required("code"), Column::required("units"), Column::required("mai"), Column::optional("setting")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut limits: BTreeMap<u64, Limits> = BTreeMap::new();
        while let Some(record) = reader.record()? {
            let (code, units) = (record.code(0)?, record.must_number::<u32>(1)?);
            let adjudication = match record.text(2).bytes().next() {
                Some(b'1') => Adjudication::Line,
                Some(b'2') => Adjudication::DayByPolicy,
                Some(b'3') => Adjudication::DayByClinic,
                _ => return Err(record.wrong(2, "not 1, 2 or 3; copy the adjudication indicator from CMS's file")),
            };
            for &setting in settings(&record, 3)? {
                let limit = Limit { units: i64::from(units), adjudication };
                let slot = limits.entry(code.packed()).or_default().get_mut(setting as usize);
                if slot.is_some_and(|slot| slot.replace(limit).is_some()) {
                    return Err(record.wrong(0, format!("{code} stands there twice; keep one line")));
                }
            }
        }
        Ok(Self(Index::new(limits)))
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
    fn a_pair_is_found_by_both_codes_setting_and_day() {
        let text = "column_1,column_2,effective_date,deletion_date,modifier_indicator,setting\n\
                    G0002,G0009,20200101,*,1,practitioner\nG0001,G0003,20200101,20201231,0,\n\
                    G0001,G0003,20220101,*,1,\nG0001,G0004,20200101,20200101,9,\n";
        let table: Table<Pairs> = Table::parse(text).unwrap();
        let with = |first, second, setting, year| {
            let day = Date::from_ymd_opt(year, 6, 1).unwrap();
            table.of(code(first)).and_then(|pairs| pairs.with(code(second), setting, day))
        };
        use Setting::{Hospital, Practitioner};
        assert_eq!(with("G0002", "G0009", Practitioner, 2026), Some(Indicator::WithModifier));
        assert_eq!(with("G0002", "G0009", Hospital, 2026), None);
        assert_eq!(with("G0009", "G0002", Practitioner, 2026), None);
        assert_eq!(with("G0001", "G0003", Hospital, 2020), Some(Indicator::Never));
        assert_eq!(with("G0001", "G0003", Hospital, 2021), None);
        assert_eq!(with("G0001", "G0003", Hospital, 2022), Some(Indicator::WithModifier));
        assert_eq!(with("G0001", "G0004", Practitioner, 2020), None);
    }

    #[test]
    fn a_limit_is_found_by_code_and_setting() {
        let table: Table<Mue> =
            Table::parse("code,units,mai,setting\nG0001,2,3 Date of Service Edit: Clinical,practitioner\nG0002,1,1,\n")
                .unwrap();
        let limit = table.of(code("G0001"), Setting::Practitioner).unwrap();
        assert_eq!((limit.units, limit.adjudication), (2, Adjudication::DayByClinic));
        assert!(table.of(code("G0001"), Setting::Hospital).is_none());
        assert_eq!(table.of(code("G0002"), Setting::Hospital).unwrap().adjudication, Adjudication::Line);
    }

    #[test]
    fn lines_that_cannot_be_are_refused_with_their_place() {
        let pairs = "column_1,column_2,effective_date,deletion_date,modifier_indicator\nG0001,G0002,20200101,*,7\n";
        assert_eq!(Table::<Pairs>::parse(pairs).err().unwrap().column, Some("modifier_indicator"));
        for (line, column) in [("G1,x,1", "units"), ("G1,,1", "units"), ("G1,1,4", "mai"), ("G1,1,1,dme", "setting")] {
            let header = if line.ends_with("dme") { "code,units,mai,setting" } else { "code,units,mai" };
            let error = Table::<Mue>::parse(&format!("{header}\n{line}\n")).err().unwrap();
            assert_eq!(error.column, Some(column), "{error}");
        }
    }
}
