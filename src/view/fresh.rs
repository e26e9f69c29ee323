//! A claim that was stored just now for the first time, and its score, as they will be read back from their tables.
//!
//! Must never: show anything else than the rows do. `tests/it/fresh.rs` compares them, value by value.

use super::{ClaimLineView, ClaimView, PayerView};
use crate::domain::claim::{Claim, Responsibility};
use crate::domain::earlier::frequency;
use crate::domain::score::{Score, expected_loss};
use crate::domain::types::{Instant, Phi};
use crate::store::UNIT_SEPARATOR;

/// What the tables gave to a new claim.
#[derive(Clone, Debug)]
pub struct Given<'a> {
    /// Id of its row.
    pub id: i64,
    /// Its practice.
    pub practice_id: i64,
    /// Its payer.
    pub payer_id: i64,
    /// The payer's name, as its row has it.
    pub payer_name: Option<&'a str>,
    /// Its billing provider.
    pub provider_id: Option<i64>,
    /// The billing provider, as events name it.
    pub provider: Option<&'a str>,
    /// When it was stored.
    pub stored_at: Instant,
    /// Time of its event.
    pub version_time: Instant,
}

fn shown(number: Option<&Phi<String>>) -> Option<String> {
    number.map(|number| number.expose().clone())
}

/// A list of codes as its column holds it, having gone there as one text: a list of one empty code is empty.
fn listed(codes: &[String]) -> Vec<String> {
    let parts: Vec<String> = codes.iter().flat_map(|code| code.split(UNIT_SEPARATOR)).map(str::to_owned).collect();
    if matches!(&parts[..], [only] if only.is_empty()) { Vec::new() } else { parts }
}

fn lines(claim: &Claim) -> Vec<ClaimLineView> {
    let view = |(line, line_number): (&crate::domain::claim::ServiceLine, i32)| ClaimLineView {
        line_number,
        line_item_control_number: shown(line.control_number.as_ref()),
        procedure_code: line.procedure_code.clone(),
        procedure_modifiers: listed(&line.modifiers),
        revenue_code: line.revenue_code.clone(),
        line_item_charge_amount: line.charge.to_string(),
        service_unit_count: line.units.map(|units| units.to_string()),
        place_of_service_code: line.place_of_service.clone(),
        service_date_from: line.service_from,
        service_date_to: line.service_to,
    };
    claim.lines.iter().zip(1..).map(view).collect()
}

impl ClaimView {
    /// A claim in its first version, of which nothing is known but itself.
    pub fn fresh(claim: &Claim, score: &Score, given: &Given<'_>) -> Self {
        let diagnosis_codes = listed(&claim.diagnosis_codes);
        Self {
            id: given.id,
            practice_id: given.practice_id,
            practice: claim.practice_key().unwrap_or_default().to_owned(),
            payer_id: given.payer_id,
            payer: PayerView { payer_id: claim.payer.key(), name: given.payer_name.map(str::to_owned) },
            provider_id: given.provider_id,
            provider: given.provider.map(str::to_owned),
            patient_control_number: claim.patient_control_number.expose().clone(),
            payer_responsibility_sequence: Responsibility::code(claim.responsibility).to_owned(),
            claim_control_number: shown(claim.claim_control_number.as_ref()),
            payer_claim_control_number: shown(claim.payer_claim_control_number.as_ref()),
            claim_frequency_type: frequency(claim).to_owned(),
            claim_type: claim.claim_type.as_str().to_owned(),
            facility_type_code: claim.facility_type_code.clone(),
            assignment_code: claim.assignment_code.clone(),
            total_charge_amount: claim.total_charge.to_string(),
            statement_date: claim.statement_date,
            admission_date: claim.admission_date,
            discharge_date: claim.discharge_date,
            service_date: claim.service_date(),
            submitted_at: claim.submitted_at,
            principal_diagnosis: diagnosis_codes.first().cloned(),
            diagnosis_codes,
            status: "submitted".to_owned(),
            overall_score: super::tenths(score.overall_tenths.into()),
            risk_level: score.level.as_str().to_owned(),
            expected_loss: expected_loss(claim.total_charge, score.overall_tenths).to_string(),
            outcomes: Vec::new(),
            lines: lines(claim),
            revision: 1,
            version_time: given.version_time,
            created_at: given.stored_at,
            updated_at: given.stored_at,
        }
    }
}
