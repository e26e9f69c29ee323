//! A remitted claim (one CLP of an X12 835) and the 277CA acknowledgement, free of how they travelled.
//!
//! Must never: know JSON, X12 or SQL, or judge what an adjustment means (that is `outcome.rs`).

use super::claim::{Payer, Provider, practice_key};
use super::types::{Cents, Date, Phi, Units};

/// One adjustment (a triplet of CAS): who bears it, why, how much.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Adjustment {
    /// Group code: `CO`, `PR`, `OA`, `PI`, or `CR` in 4010 (CAS01).
    pub group_code: String,
    /// Claim adjustment reason code, CARC (CAS02, 05, 08 ...).
    pub reason_code: String,
    /// Amount; positive reduces what is paid (CAS03, 06, 09 ...).
    pub amount: Cents,
    /// Units adjusted (CAS04, 07, 10 ...).
    pub quantity: Option<Units>,
}

/// One remitted service line (SVC with its DTM, CAS, REF, LQ).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RemittanceLine {
    /// The submitter's own line number, handed back (REF*6R).
    pub control_number: Option<Phi<String>>,
    /// Procedure code as adjudicated (SVC01-2).
    pub procedure_code: Option<String>,
    /// Modifiers (SVC01-3 to 6).
    pub modifiers: Vec<String>,
    /// Revenue code (SVC04, or SVC01 with qualifier NU).
    pub revenue_code: Option<String>,
    /// Day of service (DTM*472, or DTM*150).
    pub service_from: Option<Date>,
    /// Last day of service (DTM*151).
    pub service_to: Option<Date>,
    /// Charge (SVC02).
    pub charge: Cents,
    /// Paid (SVC03).
    pub payment: Cents,
    /// Units paid (SVC05).
    pub units: Option<Units>,
    /// Adjustments of the line.
    pub adjustments: Vec<Adjustment>,
    /// Remark codes, RARC (LQ*HE).
    pub remark_codes: Vec<String>,
}

/// A provider-level adjustment (a pair of PLB), not tied to the claim.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ProviderAdjustment {
    /// Reason (PLB03-1).
    pub reason_code: String,
    /// Amount; positive reduces the payment (PLB04).
    pub amount: Cents,
}

/// What a payer said on one claim, once.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Remittance {
    /// Practice as named by the publisher; see [`Remittance::practice_key`].
    pub practice_id: Option<String>,
    /// The payee (loop 1000B N104 or REF*TJ).
    pub payee: Provider,
    /// The payer (loop 1000A).
    pub payer: Payer,
    /// Check or transfer trace number (TRN02).
    pub trace_number: Option<String>,
    /// Day of payment (BPR16).
    pub payment_date: Option<Date>,
    /// Patient control number, as the payer hands it back (CLP01).
    pub patient_control_number: Phi<String>,
    /// The payer's own claim number (CLP07).
    pub payer_claim_control_number: Option<Phi<String>>,
    /// Place of this claim in its 835, from 1.
    pub claim_ordinal: u32,
    /// Claim status (CLP02).
    pub status_code: String,
    /// Claim frequency, where handed back (CLP09).
    pub frequency_code: Option<String>,
    /// Kind of insurance (CLP06).
    pub filing_indicator: Option<String>,
    /// Facility type, where handed back (CLP08).
    pub facility_type_code: Option<String>,
    /// Charge (CLP03).
    pub total_charge: Cents,
    /// Paid (CLP04).
    pub payment: Cents,
    /// Patient responsibility (CLP05).
    pub patient_responsibility: Option<Cents>,
    /// Member id, where handed back (NM1*IL or NM1*QC, NM109).
    pub member_id: Option<Phi<String>>,
    /// First day of service of the claim (DTM*232), where given.
    pub service_from: Option<Date>,
    /// Last day of service of the claim (DTM*233), where given.
    pub service_to: Option<Date>,
    /// Claim-level adjustments (CAS before the first SVC).
    pub adjustments: Vec<Adjustment>,
    /// Claim-level remark codes (MIA, MOA).
    pub remark_codes: Vec<String>,
    /// Payer the claim was forwarded to (NM1*TT).
    pub crossover_payer: Option<String>,
    /// Provider-level adjustments of the same 835.
    pub provider_adjustments: Vec<ProviderAdjustment>,
    /// The remitted lines.
    pub lines: Vec<RemittanceLine>,
}

impl Remittance {
    /// The practice a remittance belongs to: the publisher's id, else the payee's NPI, else its tax id.
    pub fn practice_key(&self) -> Option<&str> {
        practice_key(self.practice_id.as_deref(), &self.payee)
    }

    /// The first day of service: the earliest of the lines, else the claim's own.
    pub fn service_date(&self) -> Option<Date> {
        self.lines.iter().filter_map(|line| line.service_from).min().or(self.service_from)
    }

    /// Whether this takes an earlier payment back (CLP02 = 22).
    pub fn is_reversal(&self) -> bool {
        self.status_code == "22"
    }

    /// All adjustments, those of the claim first.
    pub fn all_adjustments(&self) -> impl Iterator<Item = &Adjustment> {
        self.adjustments.iter().chain(self.lines.iter().flat_map(|line| &line.adjustments))
    }

    /// Whether charge less adjustments is what was paid, to the cent (835 balancing: CLP03 - CAS = CLP04).
    pub fn balances(&self) -> bool {
        let adjusted: Cents = self.all_adjustments().map(|a| a.amount).sum();
        (self.total_charge - adjusted - self.payment).abs() <= Cents::new(1)
    }
}

/// A payer's or clearinghouse's word on whether it took the claim in (277CA).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Acknowledgement {
    /// Practice as named by the publisher.
    pub practice_id: Option<String>,
    /// Billing provider's NPI, which names the practice where the publisher does not.
    pub billing_provider_npi: Option<String>,
    /// Patient control number (TRN02 of the claim's loop).
    pub patient_control_number: Phi<String>,
    /// Whether the claim was taken in.
    pub accepted: bool,
    /// Category (STC01-1), such as `A2` or `A7`.
    pub category_code: Option<String>,
    /// Status (STC01-2).
    pub status_code: Option<String>,
}

impl Acknowledgement {
    /// The practice the acknowledged claim belongs to.
    pub fn practice_key(&self) -> Option<&str> {
        self.practice_id
            .as_deref()
            .filter(|id| !id.is_empty())
            .or(self.billing_provider_npi.as_deref().filter(|npi| !npi.is_empty()))
    }
}
