//! The sample tables that are shipped, for tests.
//!
//! Must never: be read outside tests; a sample holds invented codes.

use super::{Kind, ReferenceTables};

/// The sample of a kind.
pub(crate) const fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::PayerRules => include_str!("../../../deploy/reference/payer-rules.csv"),
        Kind::Authorization => include_str!("../../../deploy/reference/authorization.csv"),
        Kind::Attachment => include_str!("../../../deploy/reference/attachment.csv"),
        Kind::Enrollment => include_str!("../../../deploy/reference/enrollment.csv"),
        Kind::NcciPtp => include_str!("../../../deploy/reference/ncci-ptp.csv"),
        Kind::Mue => include_str!("../../../deploy/reference/mue.csv"),
        Kind::ProcedureCodes => include_str!("../../../deploy/reference/procedure-codes.csv"),
        Kind::DiagnosisCodes => include_str!("../../../deploy/reference/diagnosis-codes.csv"),
        Kind::Coverage => include_str!("../../../deploy/reference/coverage.csv"),
        Kind::Modifiers => include_str!("../../../deploy/reference/modifiers.csv"),
        Kind::RevenueCodes => include_str!("../../../deploy/reference/revenue-codes.csv"),
        Kind::TypesOfBill => include_str!("../../../deploy/reference/types-of-bill.csv"),
        Kind::Npi => include_str!("../../../deploy/reference/npi.csv"),
        Kind::OrderReferring => include_str!("../../../deploy/reference/order-referring.csv"),
        Kind::CliaCertificates => include_str!("../../../deploy/reference/clia-certificates.csv"),
        Kind::TaxonomyScope => include_str!("../../../deploy/reference/taxonomy-scope.csv"),
        Kind::Eligibility => include_str!("../../../deploy/reference/eligibility.csv"),
        Kind::GrantedAuthorizations => include_str!("../../../deploy/reference/granted-authorizations.csv"),
        Kind::UsualCharges => include_str!("../../../deploy/reference/usual-charges.csv"),
    }
}

/// All samples, loaded.
pub(crate) fn all() -> ReferenceTables {
    let mut tables = ReferenceTables::default();
    for kind in Kind::ALL {
        tables.load(kind, of(kind)).expect("a sample follows its format");
    }
    tables
}
