//! Which claim a remittance answers: the ladder of four rungs, the highest one that finds anything winning.
//!
//! A function of the remittance and of a set of candidate claims of the same practice, whatever their order. Must
//! never: link when two claims fit equally well (they are listed instead), or look at a lower rung once a higher one
//! found a claim.
//!
//! | rung | confidence in permille |
//! | --- | --- |
//! | 1 control number, exact | 1000 |
//! | 2 payer's claim number: a sibling remittance names the claim; the claim carries it; it is a replacement or void that names its predecessor by it, and the answer is to one; the same, frequency of the answer unknown | 950; 940; 920; 870 |
//! | 3 control number as payers mangle it | 800, charge equal +20, dates +10, payer +5, member +5 |
//! | 4 member, dates and charge | 700, payer equal +10 |
//!
//! Each fact that is known on both sides and differs takes off: charge 10 (on rung 3: 100), dates 10, payer 10, the
//! payer's place (CLP02) 5, member 5.

mod control_number;
mod ladder;

use super::claim::{Claim, Responsibility};
use super::remittance::Remittance;
use super::types::{Cents, Date, Phi};

pub use control_number::{mangled_keys, mangled_match, normalise_control_number};
pub use ladder::link;

/// How a link was found; the rungs of the ladder, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// The patient control number, exactly (CLP01 = CLM01).
    ControlNumber,
    /// The payer's claim number (CLP07).
    PayerClaimControlNumber,
    /// The patient control number as payers mangle it.
    MangledControlNumber,
    /// Member, dates of service and charge.
    MemberDatesCharge,
}

impl Method {
    /// The word used in tables and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ControlNumber => "control_number",
            Self::PayerClaimControlNumber => "payer_claim_control_number",
            Self::MangledControlNumber => "mangled_control_number",
            Self::MemberDatesCharge => "member_dates_charge",
        }
    }
}

/// A fact that remittance and claim agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// The total charge (CLP03, CLM02), the sign of a reversal apart.
    ChargeEqual,
    /// The dates of service.
    DatesEqual,
    /// The payer.
    PayerEqual,
    /// The member id.
    MemberEqual,
    /// The payer's place: CLP02 says primary, secondary or tertiary, as the claim does.
    ResponsibilityEqual,
    /// The payer's claim number.
    PayerClaimControlNumberEqual,
    /// Another remittance with the same payer's claim number names the claim's control number.
    SiblingRemittance,
}

impl Evidence {
    /// The word used in tables and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChargeEqual => "charge_equal",
            Self::DatesEqual => "dates_equal",
            Self::PayerEqual => "payer_equal",
            Self::MemberEqual => "member_equal",
            Self::ResponsibilityEqual => "responsibility_equal",
            Self::PayerClaimControlNumberEqual => "payer_claim_control_number_equal",
            Self::SiblingRemittance => "sibling_remittance",
        }
    }
}

/// A claim of the remittance's practice that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Surrogate id of the claim.
    pub claim_id: i64,
    /// Patient control number (CLM01).
    pub patient_control_number: Phi<String>,
    /// Which payer the claim went to.
    pub responsibility: Responsibility,
    /// The payer, spelt as [`RemittanceKey::payer_key`] spells it.
    pub payer_key: Option<String>,
    /// Frequency of its current submission (CLM05-3).
    pub frequency_code: String,
    /// The payer's claim number it carries (REF*F8); on a replacement or void this is its predecessor's.
    pub payer_claim_control_number: Option<Phi<String>>,
    /// Member id.
    pub member_id: Option<Phi<String>>,
    /// First day of service.
    pub service_from: Option<Date>,
    /// Last day of service.
    pub service_to: Option<Date>,
    /// Total charge (CLM02).
    pub total_charge: Cents,
    /// Whether some other remittance with the same payer's claim number names this claim's control number exactly.
    pub sibling: bool,
    /// Day its current submission was sent.
    pub submitted_at: Option<Date>,
}

impl Candidate {
    /// A claim as the ladder sees it; no sibling remittance names it yet.
    pub fn of(claim: &Claim, claim_id: i64) -> Self {
        Self {
            claim_id,
            patient_control_number: claim.patient_control_number.clone(),
            responsibility: claim.responsibility,
            payer_key: Some(claim.payer.key()),
            frequency_code: claim.frequency_code.clone(),
            payer_claim_control_number: filled(claim.payer_claim_control_number.as_ref()),
            member_id: filled(claim.subscriber.member_id.as_ref()),
            service_from: claim.service_date(),
            service_to: claim.last_service_date(),
            total_charge: claim.total_charge,
            sibling: false,
            submitted_at: claim.submitted_at,
        }
    }
}

/// What is known of the remittance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemittanceKey {
    /// Patient control number as handed back (CLP01).
    pub patient_control_number: Phi<String>,
    /// The payer, spelt as [`Candidate::payer_key`] spells it.
    pub payer_key: Option<String>,
    /// The payer's claim number (CLP07).
    pub payer_claim_control_number: Option<Phi<String>>,
    /// Claim status (CLP02).
    pub status_code: String,
    /// Frequency handed back (CLP09).
    pub frequency_code: Option<String>,
    /// Member id.
    pub member_id: Option<Phi<String>>,
    /// First day of service.
    pub service_from: Option<Date>,
    /// Last day of service.
    pub service_to: Option<Date>,
    /// Total charge (CLP03); negative on reversals.
    pub total_charge: Cents,
    /// Day of payment.
    pub payment_date: Option<Date>,
}

impl RemittanceKey {
    /// A remittance as the ladder sees it.
    pub fn of(remittance: &Remittance) -> Self {
        let last = remittance.lines.iter().filter_map(|line| line.service_to.or(line.service_from)).max();
        Self {
            patient_control_number: remittance.patient_control_number.clone(),
            payer_key: Some(remittance.payer.key()),
            payer_claim_control_number: filled(remittance.payer_claim_control_number.as_ref()),
            status_code: remittance.status_code.clone(),
            frequency_code: remittance.frequency_code.clone(),
            member_id: filled(remittance.member_id.as_ref()),
            service_from: remittance.service_date(),
            service_to: last.or(remittance.service_to),
            total_charge: remittance.total_charge,
            payment_date: remittance.payment_date,
        }
    }
}

fn filled(text: Option<&Phi<String>>) -> Option<Phi<String>> {
    text.filter(|text| !text.expose().is_empty()).cloned()
}

/// The answer of [`link`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// One claim is meant.
    Linked {
        /// The claim.
        claim_id: i64,
        /// The rung that found it.
        method: Method,
        /// How sure that is, 0 to 1000.
        confidence_permille: u16,
        /// What else agreed, in the order of [`Evidence`].
        evidence: Vec<Evidence>,
        /// The next best claim of the same rung and its confidence.
        runner_up: Option<(i64, u16)>,
    },
    /// Several claims fit equally well: none is linked, these are listed, by id, each with its confidence.
    Ambiguous {
        /// Claims and their confidence in permille.
        candidates: Vec<(i64, u16)>,
    },
    /// No claim fits; the remittance waits for one.
    None,
}
