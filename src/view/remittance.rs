//! Remittances as answers and the cache show them.
//!
//! As the other views these hold patient data and none of them prints itself.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PayerView;
use crate::domain::remittance::{Adjustment, ProviderAdjustment};

/// One adjustment.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdjustmentView {
    /// `CO`, `PR`, `OA`, `PI`, `CR`.
    pub group_code: String,
    /// Adjustment reason code, CARC.
    pub reason_code: String,
    /// Amount.
    pub amount: String,
    /// Units adjusted.
    pub quantity: Option<String>,
}

impl From<&Adjustment> for AdjustmentView {
    fn from(adjustment: &Adjustment) -> Self {
        Self {
            group_code: adjustment.group_code.clone(),
            reason_code: adjustment.reason_code.clone(),
            amount: adjustment.amount.to_string(),
            quantity: adjustment.quantity.map(|units| units.to_string()),
        }
    }
}

/// An adjustment of the whole payment, not of one claim.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProviderAdjustmentView {
    /// Reason (PLB03).
    pub reason_code: String,
    /// Amount.
    pub amount: String,
}

impl From<&ProviderAdjustment> for ProviderAdjustmentView {
    fn from(adjustment: &ProviderAdjustment) -> Self {
        Self { reason_code: adjustment.reason_code.clone(), amount: adjustment.amount.to_string() }
    }
}

/// One service line of a remittance.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RemittanceLineView {
    /// Place in the remittance, from 1.
    pub line_number: i32,
    /// The submitter's own number, as the payer gave it back.
    pub line_item_control_number: Option<String>,
    /// Procedure code.
    pub procedure_code: Option<String>,
    /// Modifiers.
    pub procedure_modifiers: Vec<String>,
    /// Revenue code.
    pub revenue_code: Option<String>,
    /// Charge.
    pub line_item_charge_amount: String,
    /// Payment.
    pub line_item_payment_amount: String,
    /// Units.
    pub service_unit_count: Option<String>,
    /// First day.
    pub service_date_from: Option<NaiveDate>,
    /// Last day.
    pub service_date_to: Option<NaiveDate>,
    /// Adjustments of the line.
    pub adjustments: Vec<AdjustmentView>,
    /// Denials on it, such as `CO-197`.
    pub denial_reasons: Vec<String>,
    /// Remark codes, RARC.
    pub remark_codes: Vec<String>,
    /// `paid`, `reduced`, `denied` or `no_decision`.
    pub outcome: String,
}

/// A remittance as it stands now.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RemittanceView {
    /// Id.
    pub id: i64,
    /// Practice (table id).
    pub practice_id: i64,
    /// Practice, as events name it.
    pub practice: String,
    /// Payer (table id).
    pub payer_id: i64,
    /// The payer.
    pub payer: PayerView,
    /// The claim it answers; none while it has not been found.
    pub claim_id: Option<i64>,
    /// `linked`, `unlinked` or `ambiguous`.
    pub link_state: String,
    /// Check or transfer number.
    pub trace_number: String,
    /// Patient control number, as the payer gave it back.
    pub patient_control_number: String,
    /// The payer's claim number; empty when it gave none.
    pub payer_claim_control_number: String,
    /// Place of the claim in its 835, from 1.
    pub claim_ordinal: i32,
    /// Claim status (CLP02).
    pub claim_status_code: String,
    /// Claim frequency, as the payer gave it back.
    pub claim_frequency_code: Option<String>,
    /// Day of payment.
    pub payment_date: Option<NaiveDate>,
    /// First day of service.
    pub service_date: Option<NaiveDate>,
    /// Charge.
    pub total_charge_amount: String,
    /// Payment.
    pub payment_amount: String,
    /// The patient's share.
    pub patient_responsibility_amount: Option<String>,
    /// `paid`, `partial`, `denied`, `pending`, `reversal`, `routed` or `predetermination`.
    pub adjudication: String,
    /// Sum of the denials.
    pub denied_amount: String,
    /// Denials.
    pub denial_count: i32,
    /// Adjustments.
    pub adjustment_count: i32,
    /// Denials, such as `CO-197`.
    pub denial_reasons: Vec<String>,
    /// Adjustments of the claim as a whole.
    pub adjustments: Vec<AdjustmentView>,
    /// Adjustments of the payment, not of this claim.
    pub provider_adjustments: Vec<ProviderAdjustmentView>,
    /// Remark codes, RARC.
    pub remark_codes: Vec<String>,
    /// Another payer that it was sent on to.
    pub crossover_payer: Option<String>,
    /// What is odd about the data, such as `unbalanced`.
    pub flags: Vec<String>,
    /// Service lines; left out in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<RemittanceLineView>,
    /// Grows with each change.
    pub revision: i64,
    /// Time of the event that made this version.
    pub version_time: DateTime<Utc>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it changed.
    pub updated_at: DateTime<Utc>,
}
