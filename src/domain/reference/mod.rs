//! Reference tables: what payers, CMS and registries publish, which a claim cannot say of itself.
//!
//! Each table is read from a documented CSV (see `deploy/reference/README.md`) and has a version, a digest of that text. A
//! rule whose table is not there abstains. Must never: do I/O, ship a licensed code list, or hold what names a patient other
//! than as a digest or in `Phi`.

mod code;
mod codes;
mod coverage;
mod csv;
mod edits;
mod index;
mod members;
mod payers;
mod providers;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use code::Code;
pub(crate) use codes::{Diagnoses, Diagnosis, Found, Modifiers, Procedure, Procedures, RevenueCodes, TypesOfBill};
pub(crate) use coverage::Coverage;
pub(crate) use csv::npi;
pub use csv::{Column, TableError};
pub(crate) use edits::{Adjudication, Indicator, Mue, Pairs, Setting};
pub(crate) use members::{Eligibility, GrantedAuthorization, GrantedAuthorizations, Member, Span};
pub(crate) use payers::{
    Attachments, Authorization, CorrectionStart, Enrollment, Listed, PayerRule, PayerRules, UsualCharges,
};
pub(crate) use providers::{Certificates, OrderReferring, Registry, TaxonomyScope};

use csv::Reader;

/// The kinds of tables, in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Settings of payers: limits, forms of member ids, what must be sent.
    PayerRules,
    /// Services that need a prior authorization.
    Authorization,
    /// Services that need a document.
    Attachment,
    /// Providers enrolled with payers.
    Enrollment,
    /// NCCI procedure-to-procedure pairs.
    NcciPtp,
    /// Medically unlikely edits.
    Mue,
    /// Procedure codes.
    ProcedureCodes,
    /// Diagnosis codes.
    DiagnosisCodes,
    /// Diagnoses for which a procedure is covered.
    Coverage,
    /// Modifiers.
    Modifiers,
    /// Revenue codes.
    RevenueCodes,
    /// Types of bill.
    TypesOfBill,
    /// NPIs, whether of a person, and when deactivated.
    Npi,
    /// NPIs that may order and refer for Medicare.
    OrderReferring,
    /// CLIA certificates of laboratories.
    CliaCertificates,
    /// Specialties that may bill ranges of procedures.
    TaxonomyScope,
    /// Members' coverage, as eligibility answers (271) told it.
    Eligibility,
    /// Authorizations that payers granted.
    GrantedAuthorizations,
    /// What practices usually charge.
    UsualCharges,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 19] = [
        Self::PayerRules,
        Self::Authorization,
        Self::Attachment,
        Self::Enrollment,
        Self::NcciPtp,
        Self::Mue,
        Self::ProcedureCodes,
        Self::DiagnosisCodes,
        Self::Coverage,
        Self::Modifiers,
        Self::RevenueCodes,
        Self::TypesOfBill,
        Self::Npi,
        Self::OrderReferring,
        Self::CliaCertificates,
        Self::TaxonomyScope,
        Self::Eligibility,
        Self::GrantedAuthorizations,
        Self::UsualCharges,
    ];

    /// The word on the command line and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PayerRules => "payer-rules",
            Self::Authorization => "authorization",
            Self::Attachment => "attachment",
            Self::Enrollment => "enrollment",
            Self::NcciPtp => "ncci-ptp",
            Self::Mue => "mue",
            Self::ProcedureCodes => "procedure-codes",
            Self::DiagnosisCodes => "diagnosis-codes",
            Self::Coverage => "coverage",
            Self::Modifiers => "modifiers",
            Self::RevenueCodes => "revenue-codes",
            Self::TypesOfBill => "types-of-bill",
            Self::Npi => "npi",
            Self::OrderReferring => "order-referring",
            Self::CliaCertificates => "clia-certificates",
            Self::TaxonomyScope => "taxonomy-scope",
            Self::Eligibility => "eligibility",
            Self::GrantedAuthorizations => "granted-authorizations",
            Self::UsualCharges => "usual-charges",
        }
    }

    /// Reads the word; `None` for another one.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A table's content: how it is read.
pub(crate) trait Content: Sized {
    /// Which table it is.
    const KIND: Kind;
    /// The columns of its format.
    const COLUMNS: &'static [Column];
    /// Whether it holds patient data, which no error may repeat.
    const PRIVATE: bool = false;

    /// Reads all records.
    fn read(reader: &mut Reader<'_>) -> Result<Self, TableError>;
}

/// A table with its version.
pub(crate) struct Table<T> {
    version: String,
    rows: usize,
    content: T,
}

impl<T> Deref for Table<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.content
    }
}

impl<T: Content> Table<T> {
    /// Reads a table; a table without a row is refused, since a whole list of nothing would deny everything.
    fn parse(text: &str) -> Result<Self, TableError> {
        let mut reader = Reader::new(text, T::COLUMNS, T::PRIVATE)?;
        let content = T::read(&mut reader)?;
        let rows = reader.records();
        if rows == 0 {
            let problem = "the table has no rows; add some, or do not load it".to_owned();
            return Err(TableError { line: 1, column: None, problem });
        }
        Ok(Self { version: version_of(T::KIND, text), rows, content })
    }
}

/// The start of a digest (BLAKE3) of a table's kind and text.
fn version_of(kind: Kind, text: &str) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(kind.as_str().as_bytes());
    digest.update(b"\n");
    digest.update(text.as_bytes());
    digest.finalize().to_hex().chars().take(16).collect()
}

/// A table that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Which one.
    pub kind: Kind,
    /// Its version: the same text has the same one.
    pub version: String,
    /// The number of its rows.
    pub rows: usize,
}

/// Declares the tables with their look-up types, and what is done with each of them by its kind.
macro_rules! tables {
    ($($field:ident: $content:ty = $kind:ident),+ $(,)?) => {
        /// All reference tables that are there. The default has none, so that every rule which needs one abstains.
        ///
        /// Cheap to clone: the tables are shared. Two are equal when they hold the same versions.
        #[derive(Clone, Default)]
        pub struct ReferenceTables {
            $(pub(crate) $field: Option<Arc<Table<$content>>>,)+
            version: Option<String>,
        }

        impl ReferenceTables {
            /// Reads a table and puts it in, in the place of the one of its kind that was there.
            ///
            /// # Errors
            /// The first line that does not follow the format; nothing is changed then.
            pub fn load(&mut self, kind: Kind, text: &str) -> Result<Loaded, TableError> {
                let loaded = match kind {
                    $(Kind::$kind => {
                        let table: Table<$content> = Table::parse(text)?;
                        let loaded = Loaded { kind, version: table.version.clone(), rows: table.rows };
                        self.$field = Some(Arc::new(table));
                        loaded
                    })+
                };
                self.version = self.digest();
                Ok(loaded)
            }

            /// The tables that are there with their versions, in the order of [`Kind::ALL`].
            pub fn versions(&self) -> Vec<(Kind, &str)> {
                let all = [$((Kind::$kind, self.$field.as_ref().map(|table| table.version.as_str())),)+];
                all.into_iter().filter_map(|(kind, version)| Some((kind, version?))).collect()
            }
        }
    };
}

tables! {
    payer_rules: PayerRules = PayerRules,
    authorization: Authorization = Authorization,
    attachments: Attachments = Attachment,
    enrollment: Enrollment = Enrollment,
    pairs: Pairs = NcciPtp,
    mue: Mue = Mue,
    procedures: Procedures = ProcedureCodes,
    diagnoses: Diagnoses = DiagnosisCodes,
    coverage: Coverage = Coverage,
    modifiers: Modifiers = Modifiers,
    revenue_codes: RevenueCodes = RevenueCodes,
    types_of_bill: TypesOfBill = TypesOfBill,
    registry: Registry = Npi,
    order_referring: OrderReferring = OrderReferring,
    certificates: Certificates = CliaCertificates,
    taxonomy_scope: TaxonomyScope = TaxonomyScope,
    eligibility: Eligibility = Eligibility,
    authorizations: GrantedAuthorizations = GrantedAuthorizations,
    usual_charges: UsualCharges = UsualCharges,
}

impl ReferenceTables {
    /// A digest over the versions of the tables that are there; `None` when there are none.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    fn digest(&self) -> Option<String> {
        let versions = self.versions();
        if versions.is_empty() {
            return None;
        }
        let mut digest = blake3::Hasher::new();
        for (kind, version) in versions {
            digest.update(format!("{} {version}\n", kind.as_str()).as_bytes());
        }
        Some(digest.finalize().to_hex().chars().take(16).collect())
    }
}

impl PartialEq for ReferenceTables {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
    }
}

impl Eq for ReferenceTables {}

impl fmt::Debug for ReferenceTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.versions().into_iter().map(|(kind, version)| (kind.as_str(), version))).finish()
    }
}

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_and_a_sample_that_loads() {
        let mut tables = ReferenceTables::default();
        assert_eq!(tables.version(), None);
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
            let loaded =
                tables.load(kind, samples::of(kind)).unwrap_or_else(|error| panic!("{}: {error}", kind.as_str()));
            assert!(loaded.rows > 0 && loaded.version.len() == 16 && loaded.kind == kind);
        }
        assert_eq!(Kind::parse("payers"), None);
        assert_eq!(tables.versions().len(), Kind::ALL.len());
        let order: Vec<Kind> = tables.versions().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(order, Kind::ALL);
    }

    #[test]
    fn a_version_follows_the_content() {
        let load = |text| {
            let mut tables = ReferenceTables::default();
            let loaded = tables.load(Kind::OrderReferring, text).unwrap();
            (loaded.version, tables)
        };
        let (one, first) = load("npi\n1234567893\n");
        let (same, second) = load("npi\n1234567893\n");
        let (other, third) = load("npi\n1760854442\n");
        assert_eq!((&one, &first), (&same, &second));
        assert_ne!((&one, first.version()), (&other, third.version()));
        assert_ne!(first, third);
    }

    #[test]
    fn a_refused_table_changes_nothing_and_an_empty_one_is_refused() {
        let mut tables = ReferenceTables::default();
        tables.load(Kind::OrderReferring, "npi\n1234567893\n").unwrap();
        let before = tables.clone();
        for text in ["npi\n", "npi\n12\n", "", "name\nx\n"] {
            assert!(tables.load(Kind::OrderReferring, text).is_err(), "{text:?}");
        }
        assert_eq!(tables, before);
        assert!(format!("{tables:?}").contains("order-referring"));
    }
}
