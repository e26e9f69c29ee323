//! What is known around a claim, beyond the claim itself: the day, the reference tables, the member's history.
//!
//! Must never: be taken for the whole truth; what is `None` is unknown, and the rules that need it abstain.

use std::sync::Arc;

use super::payer_class::PayerClass;
use super::told;
use crate::domain::claim::{Claim, Responsibility};
use crate::domain::reference::{PayerRule, ReferenceTables};
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
    /// What is known of the member and of the practice's earlier claims.
    pub history: Option<Arc<History>>,
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

    /// The same facts with a history.
    #[must_use]
    pub fn with_history(self, history: Arc<History>) -> Self {
        Self { history: Some(history), ..self }
    }

    /// The day the claim was sent: its own word first, else the day it is judged.
    pub(crate) fn sent_on(&self, claim: &Claim) -> Option<Date> {
        claim.submitted_at.or(self.as_of)
    }

    /// The settings of the claim's payer, where a table names it.
    pub(super) fn payer_rule(&self, claim: &Claim) -> Option<&PayerRule> {
        self.tables.payer_rules.as_ref()?.of(payer_id(claim)?)
    }

    /// The earlier claims for the same member, where they are known.
    pub(super) fn earlier(&self) -> Option<&[EarlierClaim]> {
        self.history.as_ref()?.earlier.as_deref()
    }
}

/// The id by which tables name the claim's payer.
pub(super) fn payer_id(claim: &Claim) -> Option<&str> {
    told(claim.payer.id.as_ref())
}

/// What is known of the member and of the practice's earlier claims. Each part may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What the practice sent before for the same member, to any payer, without the claim that is judged; `Some` of none
    /// when nothing was sent.
    pub earlier: Option<Vec<EarlierClaim>>,
    /// The member's coverage, as an eligibility answer (271) told it.
    pub eligibility: Option<Vec<Span>>,
    /// The day of the member's death, where eligibility told it.
    pub died_on: Option<Phi<Date>>,
    /// The authorizations that payers granted for the member.
    pub authorizations: Option<Vec<GrantedAuthorization>>,
    /// What the practice usually charges this payer, by procedure.
    pub usual_charges: Option<Vec<UsualCharge>>,
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
    pub(super) const fn stands(self) -> bool {
        matches!(self, Self::Sent | Self::Paid | Self::Denied)
    }

    /// Whether the payer decided it.
    pub(super) const fn is_decided(self) -> bool {
        matches!(self, Self::Paid | Self::Denied)
    }
}

/// A claim that the practice sent before for the same member.
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

/// A time in which a payer covers the member; both days within, an open end is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The payer's key, as [`crate::domain::claim::Payer::key`] makes it.
    pub payer_key: String,
    /// The class of the insurance, where told.
    pub class: Option<PayerClass>,
    /// The payer's place among the member's payers, where told.
    pub responsibility: Option<Responsibility>,
    /// First day of coverage.
    pub from: Option<Date>,
    /// Last day of coverage.
    pub to: Option<Date>,
}

impl Span {
    /// Whether the span has a day.
    pub(super) fn covers(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.to.is_none_or(|to| day <= to)
    }
}

/// An authorization that a payer granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantedAuthorization {
    /// Its number (REF*G1).
    pub number: Phi<String>,
    /// The procedures it is for; empty when not told.
    pub procedure_codes: Vec<String>,
    /// NPI of the provider it is for, where told.
    pub npi: Option<String>,
    /// Units that are left of it, where told.
    pub units: Option<Units>,
    /// First day it holds.
    pub from: Option<Date>,
    /// Last day it holds.
    pub to: Option<Date>,
}

/// What the practice usually charges a payer for one unit of a procedure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsualCharge {
    /// Procedure code.
    pub procedure_code: String,
    /// Median charge of a unit.
    pub median: Cents,
    /// Median absolute deviation from the median.
    pub deviation: Cents,
    /// Lines it was made of.
    pub lines: u32,
}
