//! What is known around a claim, beyond the claim itself: the day, the reference tables, what was sent before.
//!
//! Must never: be taken for the whole truth; what is `None` is unknown, and the rules that need it abstain.

use std::sync::Arc;

use super::told;
use crate::domain::claim::{Claim, Responsibility, ServiceLine};
use crate::domain::reference::{GrantedAuthorization, Member, PayerRule, ReferenceTables};
use crate::domain::types::{Cents, Date, Phi, Units};

/// What is known around a claim, beyond the claim itself. The default knows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The day the claim is judged (the event's day), where the claim does not say when it was sent.
    pub as_of: Option<Date>,
    /// Whether the claim was read whole from its 837, so that an optional field it lacks was *not sent*.
    ///
    /// See [`Claim::complete`]. Publishers of events may leave optional fields out: there, absent means unknown, and the
    /// rules that need such a field (`AT01`, `CB02`, `CP13`, `DR01`, `IN02`, `LB01`, `RF01`, `ID02` for the attending)
    /// abstain.
    pub complete: bool,
    /// The reference tables that are loaded.
    pub tables: Arc<ReferenceTables>,
    /// What the practice sent before for the same patient, to any payer, the newest first; `None` when that is unknown,
    /// `Some` of none when nothing was sent. See [`crate::domain::earlier`].
    pub earlier: Option<Vec<EarlierClaim>>,
}

impl Facts {
    /// What is known of a claim that stands alone: the day it was sent, or the day of its event where it does not say.
    pub fn of(claim: &Claim, event_day: Date) -> Self {
        Self { as_of: Some(claim.submitted_at.unwrap_or(event_day)), complete: claim.complete, ..Self::default() }
    }

    /// The same facts with reference tables.
    #[must_use]
    pub fn with_tables(self, tables: Arc<ReferenceTables>) -> Self {
        Self { tables, ..self }
    }

    /// The same facts with what was sent before.
    #[must_use]
    pub fn with_earlier(self, earlier: Option<Vec<EarlierClaim>>) -> Self {
        Self { earlier, ..self }
    }

    /// The day the claim was sent: its own word first, else the day it is judged.
    pub(crate) fn sent_on(&self, claim: &Claim) -> Option<Date> {
        claim.submitted_at.or(self.as_of)
    }

    /// The settings of the claim's payer, where a table names it.
    pub(super) fn payer_rule(&self, claim: &Claim) -> Option<&PayerRule> {
        self.tables.payer_rules.as_ref()?.of(payer_id(claim)?)
    }

    /// What eligibility answers told of the claim's member.
    pub(super) fn member(&self, claim: &Claim) -> Option<&Member> {
        self.tables.eligibility.as_ref()?.of(claim.member_key()?)
    }

    /// The authorizations that payers granted for the claim's member.
    pub(super) fn authorizations(&self, claim: &Claim) -> Option<&[GrantedAuthorization]> {
        self.tables.authorizations.as_ref()?.of(claim.member_key()?)
    }
}

/// The id by which tables name the claim's payer.
pub(super) fn payer_id(claim: &Claim) -> Option<&str> {
    told(claim.payer.id.as_ref())
}

/// How far an earlier claim got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum EarlierStatus {
    /// Sent; nothing was heard of a decision yet.
    #[default]
    Sent,
    /// Turned back before adjudication (277CA): it counts as never sent.
    Rejected,
    /// Paid, whole or in part.
    Paid,
    /// Denied.
    Denied,
    /// Voided by the practice, or reversed by the payer: it counts as taken back.
    Reversed,
}

impl EarlierStatus {
    /// Whether the payer still holds the claim.
    pub(crate) const fn stands(self) -> bool {
        matches!(self, Self::Sent | Self::Paid | Self::Denied)
    }

    /// Whether the payer decided it.
    pub(crate) const fn is_decided(self) -> bool {
        matches!(self, Self::Paid | Self::Denied)
    }
}

/// A claim that the practice sent before for the same patient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierClaim {
    /// The payer's key, as [`crate::domain::claim::Payer::key`] makes it.
    pub payer_key: String,
    /// Patient control number.
    pub patient_control_number: Phi<String>,
    /// Which payer of the patient's it went to.
    pub responsibility: Responsibility,
    /// NPI of the billing provider.
    pub billing_npi: Option<String>,
    /// Specialty of the rendering provider, else of the billing one.
    pub taxonomy_code: Option<String>,
    /// How far it got.
    pub status: EarlierStatus,
    /// The day of the payer's first decision.
    pub decided_on: Option<Date>,
    /// Its service lines.
    pub lines: Vec<EarlierLine>,
}

impl EarlierClaim {
    /// Whether it is the claim itself, as it was sent before: only then does its decision matter, not whether it stands.
    pub(crate) fn is_same_claim(&self, claim: &Claim) -> bool {
        self.patient_control_number == claim.patient_control_number
            && self.responsibility == claim.responsibility
            && self.payer_key == claim.payer.key()
    }

    /// A claim as later ones find it, just sent.
    pub fn of(claim: &Claim) -> Self {
        let rendering = claim.rendering_provider.as_ref().and_then(|provider| told(provider.taxonomy_code.as_ref()));
        let specialty = rendering.or_else(|| told(claim.billing_provider.taxonomy_code.as_ref()));
        let line = |line: &ServiceLine| EarlierLine {
            procedure_code: line.procedure_code.clone().unwrap_or_default(),
            modifiers: line.modifiers.clone(),
            service_from: line.service_from,
            units: line.units,
            charge: line.charge,
        };
        Self {
            payer_key: claim.payer.key(),
            patient_control_number: claim.patient_control_number.clone(),
            responsibility: claim.responsibility,
            billing_npi: claim.billing_provider.npi.clone(),
            taxonomy_code: specialty.map(str::to_owned),
            status: EarlierStatus::Sent,
            decided_on: None,
            lines: claim.lines.iter().map(line).collect(),
        }
    }
}

/// A service line of an earlier claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierLine {
    /// Procedure code.
    pub procedure_code: String,
    /// Modifiers, in order.
    pub modifiers: Vec<String>,
    /// First day of service.
    pub service_from: Option<Date>,
    /// Units, where told.
    pub units: Option<Units>,
    /// Charge.
    pub charge: Cents,
}
