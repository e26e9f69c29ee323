//! Answers that are put together from several tables: the worklist, receipts of events, denial patterns.
//!
//! As the other views these may hold patient data and none of them prints itself.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PayerView, RecommendationView, RiskFactor};

/// An open claim with what may be lost on it, why, and what to mend.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorklistItem {
    /// The claim.
    pub claim_id: i64,
    /// Practice (table id).
    pub practice_id: i64,
    /// Practice, as events name it.
    pub practice: String,
    /// Payer (table id).
    pub payer_id: i64,
    /// The payer.
    pub payer: PayerView,
    /// Patient control number.
    pub patient_control_number: String,
    /// Clearinghouse's claim number.
    pub claim_control_number: Option<String>,
    /// First day of service.
    pub service_date: Option<NaiveDate>,
    /// `submitted`, `accepted` or `rejected`.
    pub status: String,
    /// Charge.
    pub total_charge_amount: String,
    /// Current score, 0 to 100.
    pub overall_score: f64,
    /// `low`, `medium`, `high` or `critical`.
    pub risk_level: String,
    /// Charge x score: the order of the list.
    pub expected_loss: String,
    /// The strongest reasons for a denial, strongest first, at the most five.
    pub reasons: Vec<RiskFactor>,
    /// What to mend, the most rewarding first.
    pub recommendations: Vec<RecommendationView>,
}

/// What became of an event.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptView {
    /// Who published it.
    pub source: String,
    /// Its id at that source.
    pub id: String,
    /// What kind it is; `unknown` when that could not be told.
    pub event_type: String,
    /// `accepted`, `superseded`, `parked` or `rejected`.
    pub result: String,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Where it went wrong and how to mend it.
    pub detail: Option<String>,
    /// The claim it made, or found.
    pub claim_id: Option<i64>,
    /// The remittance it made.
    pub remittance_id: Option<i64>,
    /// When it was first seen.
    pub received_at: DateTime<Utc>,
    /// When its result last changed.
    pub updated_at: DateTime<Utc>,
}

/// How often a payer denies: a procedure, for a reason, or any of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PatternView {
    /// Procedure code; `REV:` and a revenue code where a line has only that; `NONE` where it has neither. Absent: all.
    pub procedure_code: Option<String>,
    /// Adjustment group and reason, such as `CO-197`. Absent: any.
    pub reason_code: Option<String>,
    /// Lines denied in whole or in part.
    pub denied_count: i64,
    /// Lines decided.
    pub line_count: i64,
    /// Money denied.
    pub denied_amount: String,
    /// denied / lines, between 0 and 1.
    pub denial_rate: f64,
    /// Lower end of the 95 % interval of the rate (Wilson).
    pub denial_rate_low: f64,
    /// Upper end of the 95 % interval of the rate (Wilson).
    pub denial_rate_high: f64,
}

/// What a payer denies.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PayerPatternsView {
    /// Payer (table id).
    pub payer_id: i64,
    /// The payer.
    pub payer: PayerView,
    /// All lines of the payer.
    pub overall: PatternView,
    /// By reason, over all procedures, the most frequent first.
    pub reasons: Vec<PatternView>,
    /// By procedure, over all reasons, the most often denied first.
    pub procedures: Vec<PatternView>,
    /// By procedure and reason, the most frequent first.
    pub patterns: Vec<PatternView>,
    /// When these were counted; none while no remittance of the payer has been.
    pub updated_at: Option<DateTime<Utc>>,
}
