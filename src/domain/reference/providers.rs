//! What registries say of providers and laboratories: NPI numbers, who may order and refer, CLIA certificates, and which
//! specialty may bill what.
//!
//! Must never: hold more of a provider than its number and kind; names are not needed.

use std::collections::{BTreeMap, BTreeSet};

use super::code::Code;
use super::csv::{Column, Reader, TableError};
use super::index::Index;
use super::{Content, Kind};
use crate::domain::types::Date;

/// What the registry says of an NPI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered {
    /// Entity type 2; a person is type 1.
    pub(crate) is_organization: bool,
    pub(crate) deactivated_on: Option<Date>,
}

/// NPIs that are known. One that is absent is unknown, not wrong.
pub(crate) struct Registry(Index<Registered>);

impl Registry {
    /// What is known of an NPI.
    pub(crate) fn of(&self, npi: u64) -> Option<Registered> {
        self.0.get(npi).copied()
    }
}

impl Content for Registry {
    const KIND: Kind = Kind::Npi;
    const COLUMNS: &'static [Column] =
        &[Column::required("npi"), Column::required("entity_type"), Column::optional("deactivated_on")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut registry = BTreeMap::new();
        while let Some(record) = reader.record()? {
            let is_organization = match record.text(1) {
                "1" => false,
                "2" => true,
                _ => return Err(record.wrong(1, "neither 1 (person) nor 2 (organisation)")),
            };
            let entry = Registered { is_organization, deactivated_on: record.date(2)? };
            if registry.insert(record.npi(0)?, entry).is_some() {
                return Err(record.wrong(0, "the NPI stands there twice; keep one line"));
            }
        }
        Ok(Self(Index::new(registry)))
    }
}

/// NPIs that may order and refer for Medicare. The list is whole: one that is absent may not.
pub(crate) struct OrderReferring(BTreeSet<u64>);

impl OrderReferring {
    /// Whether a provider may order.
    pub(crate) fn allows(&self, npi: u64) -> bool {
        self.0.contains(&npi)
    }
}

impl Content for OrderReferring {
    const KIND: Kind = Kind::OrderReferring;
    const COLUMNS: &'static [Column] = &[Column::required("npi")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut list = BTreeSet::new();
        while let Some(record) = reader.record()? {
            list.insert(record.npi(0)?);
        }
        Ok(Self(list))
    }
}

/// Laboratories' certificates: whether each is a certificate of waiver.
pub(crate) struct Certificates(BTreeMap<String, bool>);

impl Certificates {
    /// Whether a laboratory holds a certificate of waiver only; `None` when it is not in the table.
    pub(crate) fn is_waiver(&self, clia_number: &str) -> Option<bool> {
        self.0.get(clia_number).copied()
    }
}

impl Content for Certificates {
    const KIND: Kind = Kind::CliaCertificates;
    const COLUMNS: &'static [Column] = &[Column::required("clia_number"), Column::required("certificate")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut table = BTreeMap::new();
        while let Some(record) = reader.record()? {
            let waiver = match record.text(1) {
                "waiver" => true,
                "ppm" | "registration" | "compliance" | "accreditation" => false,
                _ => {
                    return Err(record.wrong(1, "not waiver, ppm, registration, compliance or accreditation"));
                }
            };
            if table.insert(record.filled(0)?.to_ascii_uppercase(), waiver).is_some() {
                return Err(record.wrong(0, "the laboratory stands there twice; keep one line"));
            }
        }
        Ok(Self(table))
    }
}

/// One range of procedures and a specialty that may bill it.
#[derive(Clone, Debug)]
struct Range {
    last: Code,
    taxonomy: String,
}

/// Which specialties may bill ranges of procedures. A procedure in no range is for everyone.
pub(crate) struct TaxonomyScope {
    /// By first code, so that a search ends at the first range that begins after the procedure.
    ranges: BTreeMap<Code, Vec<Range>>,
}

impl TaxonomyScope {
    /// Whether a specialty may bill a procedure; `None` when no range has it.
    pub(crate) fn allows(&self, procedure: Code, taxonomy: &str) -> Option<bool> {
        let mut named = false;
        for range in self.ranges.range(..=procedure).flat_map(|(_, ranges)| ranges) {
            if procedure <= range.last {
                named = true;
                if taxonomy.starts_with(&range.taxonomy) {
                    return Some(true);
                }
            }
        }
        named.then_some(false)
    }
}

impl Content for TaxonomyScope {
    const KIND: Kind = Kind::TaxonomyScope;
    const COLUMNS: &'static [Column] =
        &[Column::required("code_from"), Column::optional("code_to"), Column::required("taxonomy_prefix")];

    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError> {
        let mut ranges: BTreeMap<Code, Vec<Range>> = BTreeMap::new();
        while let Some(record) = reader.record()? {
            let first = record.code(0)?;
            let last = if record.text(1).is_empty() { first } else { record.code(1)? };
            if first > last {
                return Err(record.wrong(1, "the range ends before it begins; swap the codes"));
            }
            let range = Range { last, taxonomy: record.filled(2)?.to_ascii_uppercase() };
            ranges.entry(first).or_default().push(range);
        }
        Ok(Self { ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::*;

    #[test]
    fn the_registry_tells_persons_from_organisations() {
        let table: Table<Registry> =
            Table::parse("npi,entity_type,deactivated_on\n1234567893,2,\n1760854442,1,2020-05-01\n").unwrap();
        assert!(table.of(1_234_567_893).unwrap().is_organization);
        assert_eq!(table.of(1_760_854_442).unwrap().deactivated_on, Date::from_ymd_opt(2020, 5, 1));
        assert!(table.of(1_942_788_757).is_none());
        for text in ["npi,entity_type\n123,1\n", "npi,entity_type\n1234567893,3\n"] {
            assert!(Table::<Registry>::parse(text).is_err());
        }
    }

    #[test]
    fn orders_and_certificates_are_looked_up() {
        let table: Table<OrderReferring> = Table::parse("npi\n1234567893\n").unwrap();
        assert!(table.allows(1_234_567_893) && !table.allows(1_760_854_442));
        let table: Table<Certificates> =
            Table::parse("clia_number,certificate\n05D1234567,waiver\n05D7654321,compliance\n").unwrap();
        assert_eq!(table.is_waiver("05D1234567"), Some(true));
        assert_eq!(table.is_waiver("05D7654321"), Some(false));
        assert_eq!(table.is_waiver("05D0000000"), None);
        assert!(Table::<Certificates>::parse("clia_number,certificate\n05D1234567,golden\n").is_err());
    }

    #[test]
    fn a_range_is_for_the_specialties_it_names() {
        let text = "code_from,code_to,taxonomy_prefix\nG0100,G0199,207R\nG0150,,208\nG0100,G0110,111N\n";
        let table: Table<TaxonomyScope> = Table::parse(text).unwrap();
        let allows = |code, taxonomy| table.allows(Code::of(code).unwrap(), taxonomy);
        assert_eq!(allows("G0150", "2080P0006X"), Some(true));
        assert_eq!(allows("G0151", "2080P0006X"), Some(false));
        assert_eq!(allows("G0105", "111N00000X"), Some(true));
        assert_eq!(allows("G0200", "111N00000X"), None);
        assert!(Table::<TaxonomyScope>::parse("code_from,code_to,taxonomy_prefix\nG2,G1,2\n").is_err());
    }
}
