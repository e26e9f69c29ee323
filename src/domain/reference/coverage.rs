//! Which diagnoses a payer covers a procedure for (local and national coverage determinations, payers' own lists).
//!
//! Must never: judge a procedure that no list names; most are covered for any diagnosis.

use std::collections::{BTreeMap, BTreeSet};

use super::code::Code;
use super::csv::{Column, Reader, TableError};
use super::{Content, Kind};

/// Beginnings of covered diagnoses, by procedure.
type Lists = BTreeMap<Code, BTreeSet<Code>>;

/// Covered diagnoses of procedures.
pub(crate) struct Coverage {
    /// Lines without a payer: Medicare's own.
    medicare: Lists,
    payers: BTreeMap<String, Lists>,
}

impl Coverage {
    /// The lists of a payer; of Medicare where it has none of its own and `is_medicare`.
    pub(crate) fn of(&self, payer: Option<&str>, is_medicare: bool) -> Option<CoverageOf<'_>> {
        let own = payer.and_then(|payer| self.payers.get(payer));
        own.or(is_medicare.then_some(&self.medicare)).map(CoverageOf)
    }
}

/// One payer's lists.
#[derive(Clone, Copy)]
pub(crate) struct CoverageOf<'a>(&'a Lists);

impl CoverageOf<'_> {
    /// Whether a procedure is covered for one of some diagnoses; `None` when no list names the procedure.
    pub(crate) fn covers(self, procedure: Code, diagnoses: impl IntoIterator<Item = Code>) -> Option<bool> {
        let list = self.0.get(&procedure)?;
        let covered = |code: Code| code.beginnings().any(|prefix| list.contains(&prefix));
        Some(diagnoses.into_iter().any(covered))
    }
}

impl Content for Coverage {
    const KIND: Kind = Kind::Coverage;
    const COLUMNS: &'static [Column] =
        &[Column::optional("payer_id"), Column::required("procedure_code"), Column::required("diagnosis_prefix")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut table = Self { medicare: BTreeMap::new(), payers: BTreeMap::new() };
        while let Some(record) = reader.record()? {
            let lists = match record.text(0) {
                "" => &mut table.medicare,
                payer => table.payers.entry(payer.to_owned()).or_default(),
            };
            lists.entry(record.code(1)?).or_default().insert(record.code(2)?);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::*;

    #[test]
    fn a_diagnosis_is_covered_by_its_beginning_for_the_payers_own_list() {
        let text = "payer_id,procedure_code,diagnosis_prefix\n,G0001,E11\n,G0001,I10\nP1,G0001,Z\n";
        let table: Table<Coverage> = Table::parse(text).unwrap();
        let covers = |payer, medicare, procedure, diagnoses: &[&str]| {
            let codes = diagnoses.iter().filter_map(|code| Code::of(code));
            table.of(payer, medicare)?.covers(Code::of(procedure)?, codes)
        };
        assert_eq!(covers(Some("M"), true, "G0001", &["A00", "E11.9"]), Some(true));
        assert_eq!(covers(None, true, "G0001", &["E10", "I1"]), Some(false));
        assert_eq!(covers(None, true, "G0002", &["E10"]), None);
        assert_eq!(covers(Some("P1"), true, "G0001", &["E119"]), Some(false));
        assert_eq!(covers(Some("P1"), false, "G0001", &["Z00"]), Some(true));
        assert_eq!(covers(Some("P2"), false, "G0001", &["Z00"]), None);
    }
}
