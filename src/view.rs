//! What people and programs see of claims, scores and remittances: the shapes of the API, the cache and the commands.
//!
//! Money is a decimal string, dates are ISO 8601. These structures hold patient data by their purpose; they are for
//! answers only and must never be logged: none of them prints itself.

mod answers;
mod changes;
mod fresh;
mod remittance;

pub use answers::{PatternView, PayerPatternsView, ReceiptView, WorklistItem};
pub use changes::{ChangeReason, FactorChange, ScoreChanges, changes};
pub use fresh::Given;
pub use remittance::{AdjustmentView, ProviderAdjustmentView, RemittanceLineView, RemittanceView};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::rules::Component;
use crate::domain::score::{Contribution, Recommendation, Score, Shadow};

/// The six components of a score, in odds points: 20 points double the odds of a denial, negative ones lower them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComponentScores {
    /// What this kind of payer does.
    pub payer: f64,
    /// Codes, modifiers, units.
    pub coding: f64,
    /// What should come with the claim.
    pub documentation: f64,
    /// Member and coverage.
    pub eligibility: f64,
    /// Who treated, ordered, billed.
    pub provider: f64,
    /// What happened before.
    pub historical: f64,
}

/// One reason of a score.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RiskFactor {
    /// Rule id, or `baseline` and `calibration`.
    pub code: String,
    /// Which component it belongs to.
    pub component: Option<String>,
    /// Service line, from 1.
    pub line: Option<u16>,
    /// Contribution in millionths of log-odds; all of a score's contributions sum to its `log_odds_micro`.
    pub contribution_micro: i64,
    /// The same in odds points: 20 double the odds.
    pub points: f64,
    /// Adjustment reason codes this leads to.
    pub carc: Vec<String>,
    /// Whether the claim would be turned away before adjudication.
    pub blocking: bool,
    /// In plain words.
    pub description: String,
    /// What in the claim shows it.
    pub evidence: String,
}

/// What to mend, and what it is worth.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecommendationView {
    /// Rule id.
    pub code: String,
    /// Service line, from 1.
    pub line: Option<u16>,
    /// What to do.
    pub action: String,
    /// Points of `overall_score` that it removes.
    pub points: f64,
    /// Whether the claim would be turned away as it is.
    pub blocking: bool,
}

/// A score with its reasons.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoreView {
    /// 0 to 100: the probability that the first adjudication denies the claim, a line or a material part.
    pub overall_score: f64,
    /// `low`, `medium`, `high` or `critical`.
    pub risk_level: String,
    /// Log-odds of the unrounded score, in millionths.
    pub log_odds_micro: i64,
    /// By component.
    pub component_scores: ComponentScores,
    /// All contributions, the largest first.
    pub risk_factors: Vec<RiskFactor>,
    /// What to mend, the most rewarding first.
    pub recommendations: Vec<RecommendationView>,
    /// Whether the claim would be turned away before adjudication.
    pub blocking: bool,
    /// Which model scored.
    pub model_version: String,
    /// Which rules judged.
    pub rule_set_version: String,
    /// Hash of all that was scored: same hash and same versions, same score.
    pub input_hash: String,
    /// What challengers said, to be stored beside; never shown.
    #[serde(skip)]
    #[schema(ignore)]
    pub shadows: Vec<Shadow>,
}

/// Tenths as a decimal number for people.
#[expect(clippy::cast_precision_loss, reason = "tenths of points are small")]
fn tenths(value: i64) -> f64 {
    value as f64 / 10.0
}

impl RiskFactor {
    fn of(contribution: &Contribution) -> Self {
        Self {
            code: contribution.code.to_owned(),
            component: contribution.component.map(|component| component.as_str().to_owned()),
            line: contribution.line,
            contribution_micro: contribution.micro_log_odds,
            points: tenths(contribution.points_tenths),
            carc: contribution.carcs.iter().map(|code| (*code).to_owned()).collect(),
            blocking: contribution.blocking,
            description: contribution.words.clone().into_owned(),
            evidence: contribution.evidence.clone().into_owned(),
        }
    }
}

impl RiskFactor {
    /// The points in tenths.
    #[expect(clippy::cast_possible_truncation, reason = "points of odds are small")]
    fn points_tenths(&self) -> i64 {
        (self.points * 10.0).round() as i64
    }
}

impl RecommendationView {
    fn of(recommendation: &Recommendation) -> Self {
        Self {
            code: recommendation.code.to_owned(),
            line: recommendation.line,
            action: recommendation.words.to_owned(),
            points: tenths(recommendation.points_tenths.into()),
            blocking: recommendation.blocking,
        }
    }
}

impl ScoreView {
    /// Shows a score.
    pub fn of(score: &Score) -> Self {
        let component = |component: Component| {
            let place = Component::ALL.iter().position(|known| *known == component).unwrap_or_default();
            tenths(crate::domain::score::odds_points_tenths(score.components[place]))
        };
        let mut factors: Vec<RiskFactor> = score.contributions.iter().map(RiskFactor::of).collect();
        factors.sort_by_key(|factor| std::cmp::Reverse(factor.contribution_micro));
        Self {
            overall_score: tenths(score.overall_tenths.into()),
            risk_level: score.level.as_str().to_owned(),
            log_odds_micro: score.logit_micro,
            component_scores: ComponentScores {
                payer: component(Component::Payer),
                coding: component(Component::Coding),
                documentation: component(Component::Documentation),
                eligibility: component(Component::Eligibility),
                provider: component(Component::Provider),
                historical: component(Component::Historical),
            },
            risk_factors: factors,
            recommendations: score.recommendations.iter().map(RecommendationView::of).collect(),
            blocking: score.blocking,
            model_version: score.model_version.to_string(),
            rule_set_version: score.rule_set_version.to_string(),
            input_hash: score.input_hash.clone(),
            shadows: score.shadows.clone(),
        }
    }

    /// The score in tenths of points.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    pub fn overall_tenths(&self) -> u16 {
        (self.overall_score * 10.0 + 0.5) as u16
    }

    /// The reasons that speak for a denial, without baseline and calibration.
    pub fn reasons(&self) -> impl Iterator<Item = &RiskFactor> {
        self.risk_factors.iter().filter(|factor| factor.component.is_some() && factor.contribution_micro > 0)
    }
}

/// A payer, by the id of its table and the id that events use.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PayerView {
    /// The id that events use.
    pub payer_id: String,
    /// Name.
    pub name: Option<String>,
}

/// The label of one submission.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeView {
    /// Claim frequency of the submission: `1` original, `7` replacement.
    pub claim_frequency_code: String,
    /// By the first final adjudication: `paid`, `partial`, `denied`.
    pub initial_outcome: Option<String>,
    /// After reversals and corrections; may also be `recouped`.
    pub final_outcome: Option<String>,
    /// What was paid, takebacks taken off.
    pub net_payment_amount: String,
    /// Whether a denial was changed in the practice's favour.
    pub overturned: bool,
}

/// One service line of a claim.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClaimLineView {
    /// Place in the claim, from 1.
    pub line_number: i32,
    /// The submitter's own number.
    pub line_item_control_number: Option<String>,
    /// Procedure code.
    pub procedure_code: Option<String>,
    /// Modifiers.
    pub procedure_modifiers: Vec<String>,
    /// Revenue code.
    pub revenue_code: Option<String>,
    /// Charge.
    pub line_item_charge_amount: String,
    /// Units.
    pub service_unit_count: Option<String>,
    /// Place of service, where it differs from the claim's.
    pub place_of_service_code: Option<String>,
    /// First day.
    pub service_date_from: Option<NaiveDate>,
    /// Last day.
    pub service_date_to: Option<NaiveDate>,
}

/// A claim as it stands now.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClaimView {
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
    /// Billing provider (table id).
    pub provider_id: Option<i64>,
    /// Billing provider's NPI or tax id.
    pub provider: Option<String>,
    /// Patient control number.
    pub patient_control_number: String,
    /// `P`, `S` or `T`.
    pub payer_responsibility_sequence: String,
    /// Clearinghouse's claim number.
    pub claim_control_number: Option<String>,
    /// The payer's number of the claim this one replaces.
    pub payer_claim_control_number: Option<String>,
    /// Claim frequency of the newest submission.
    pub claim_frequency_type: String,
    /// `professional`, `institutional` or `dental`.
    pub claim_type: String,
    /// Place of service or first digits of the type of bill.
    pub facility_type_code: Option<String>,
    /// Assignment.
    pub assignment_code: Option<String>,
    /// Charge.
    pub total_charge_amount: String,
    /// Statement date.
    pub statement_date: Option<NaiveDate>,
    /// Admission date.
    pub admission_date: Option<NaiveDate>,
    /// Discharge date.
    pub discharge_date: Option<NaiveDate>,
    /// First day of service.
    pub service_date: Option<NaiveDate>,
    /// Day it was sent.
    pub submitted_at: Option<NaiveDate>,
    /// Diagnoses, principal first.
    pub diagnosis_codes: Vec<String>,
    /// Principal diagnosis.
    pub principal_diagnosis: Option<String>,
    /// `submitted`, `accepted`, `rejected`, `paid`, `partial`, `denied`, `recouped` or `voided`.
    pub status: String,
    /// Current score, 0 to 100.
    pub overall_score: f64,
    /// `low`, `medium`, `high` or `critical`.
    pub risk_level: String,
    /// Charge x score.
    pub expected_loss: String,
    /// Labels of its submissions.
    pub outcomes: Vec<OutcomeView>,
    /// Service lines; left out in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<ClaimLineView>,
    /// Grows with each change.
    pub revision: i64,
    /// Time of the event that made this version.
    pub version_time: DateTime<Utc>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it changed.
    pub updated_at: DateTime<Utc>,
}

/// A score of a claim with where it belongs: what `risk_scores` holds, and the cache.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RiskScoreView {
    /// Id; grows with each score.
    pub id: i64,
    /// The claim.
    pub claim_id: i64,
    /// Which submission of the claim was scored.
    pub submission_id: i64,
    /// Claim frequency of that submission.
    pub claim_frequency_code: String,
    /// When it was scored.
    pub calculated_at: DateTime<Utc>,
    /// The score.
    #[serde(flatten)]
    pub score: ScoreView,
}

/// A claim and a remittance that belong together, and why that is believed.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EpisodeView {
    /// Id.
    pub id: i64,
    /// The claim.
    pub claim_id: i64,
    /// The remittance.
    pub remittance_id: i64,
    /// What the remittance is for the claim.
    pub status: String,
    /// Payment.
    pub payment_amount: String,
    /// Denials.
    pub denial_count: i32,
    /// Adjustments.
    pub adjustment_count: i32,
    /// How they were linked.
    pub link_method: String,
    /// How sure, between 0 and 1.
    pub link_confidence: f64,
    /// What agrees.
    pub link_evidence: Vec<String>,
    /// The next best claim.
    pub runner_up_claim_id: Option<i64>,
    /// How sure that one would have been.
    pub runner_up_confidence: Option<f64>,
    /// Grows with each change.
    pub revision: i64,
    /// When they were linked.
    pub linked_at: DateTime<Utc>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it changed.
    pub updated_at: DateTime<Utc>,
}
