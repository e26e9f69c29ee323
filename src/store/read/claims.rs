//! Loads claims by id, in the order of the ids, with their labels and lines; and the rows of the worklist.

use std::collections::BTreeMap;

use sqlx::{PgConnection, PgPool};

use super::scores::load_scores;
use crate::store;
use crate::view::{ClaimLineView, ClaimView, OutcomeView, PayerView, WorklistItem};

/// Reasons shown per claim of the worklist.
const REASONS: usize = 5;

/// Puts rows into the order of the ids; ids without a row are left out.
pub(super) fn in_order<T>(ids: &[i64], rows: Vec<T>, id: impl Fn(&T) -> i64) -> Vec<T> {
    let mut by_id: BTreeMap<i64, T> = rows.into_iter().map(|row| (id(&row), row)).collect();
    ids.iter().filter_map(|id| by_id.remove(id)).collect()
}

/// Claims with their lines, in the order of `ids`.
///
/// # Errors
/// PostgreSQL is away.
pub async fn load_claims(pool: &PgPool, ids: &[i64]) -> Result<Vec<ClaimView>, sqlx::Error> {
    let mut snapshot = store::snapshot(pool).await?;
    let claims = whole_claims(&mut snapshot, ids).await?;
    snapshot.commit().await?;
    Ok(claims)
}

/// The same within a snapshot.
pub(super) async fn whole_claims(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<ClaimView>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut claims = heads(connection, ids).await?;
    let mut lines_of = lines(connection, ids).await?;
    for claim in &mut claims {
        claim.lines = lines_of.remove(&claim.id).unwrap_or_default();
    }
    Ok(claims)
}

/// Claims without their lines, in the order of `ids`.
///
/// # Errors
/// PostgreSQL is away.
pub async fn load_claim_heads(pool: &PgPool, ids: &[i64]) -> Result<Vec<ClaimView>, sqlx::Error> {
    let mut snapshot = store::snapshot(pool).await?;
    let claims = heads(&mut snapshot, ids).await?;
    snapshot.commit().await?;
    Ok(claims)
}

async fn heads(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<ClaimView>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT c.id, c.practice_id, a.practice_key, c.payer_id, p.payer_key, p.name AS payer_name, c.provider_id,
               b.provider_key AS "provider_key?", c.patient_control_number, c.responsibility, c.claim_control_number,
               c.payer_claim_control_number, c.claim_frequency_type, c.claim_type, c.facility_type_code,
               c.assignment_code, c.total_charge_amount::text AS "total_charge_amount!", c.statement_date,
               c.admission_date, c.discharge_date, c.service_date, c.submitted_at, c.diagnosis_codes,
               c.principal_diagnosis, c.status, c.overall_score::float8 AS "overall_score!", c.risk_level,
               c.expected_loss::text AS "expected_loss!", c.revision, c.version_time, c.created_at, c.updated_at
           FROM claims c
           JOIN practices a ON a.id = c.practice_id
           JOIN payers p ON p.id = c.payer_id
           LEFT JOIN providers b ON b.id = c.provider_id
           WHERE c.id = ANY($1)"#,
        ids
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut outcomes = outcomes(connection, ids).await?;
    let claims = rows.into_iter().map(|row| ClaimView {
        id: row.id,
        practice_id: row.practice_id,
        practice: row.practice_key,
        payer_id: row.payer_id,
        payer: PayerView { payer_id: row.payer_key, name: row.payer_name },
        provider_id: row.provider_id,
        provider: row.provider_key,
        patient_control_number: row.patient_control_number,
        payer_responsibility_sequence: row.responsibility,
        claim_control_number: row.claim_control_number,
        payer_claim_control_number: row.payer_claim_control_number,
        claim_frequency_type: row.claim_frequency_type,
        claim_type: row.claim_type,
        facility_type_code: row.facility_type_code,
        assignment_code: row.assignment_code,
        total_charge_amount: row.total_charge_amount,
        statement_date: row.statement_date,
        admission_date: row.admission_date,
        discharge_date: row.discharge_date,
        service_date: row.service_date,
        submitted_at: row.submitted_at,
        diagnosis_codes: row.diagnosis_codes,
        principal_diagnosis: row.principal_diagnosis,
        status: row.status,
        overall_score: row.overall_score,
        risk_level: row.risk_level,
        expected_loss: row.expected_loss,
        outcomes: outcomes.remove(&row.id).unwrap_or_default(),
        lines: Vec::new(),
        revision: row.revision,
        version_time: row.version_time,
        created_at: row.created_at,
        updated_at: row.updated_at,
    });
    Ok(in_order(ids, claims.collect(), |claim| claim.id))
}

async fn outcomes(
    connection: &mut PgConnection,
    claims: &[i64],
) -> Result<BTreeMap<i64, Vec<OutcomeView>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT o.claim_id, o.initial_outcome, o.final_outcome,
               o.net_payment_amount::text AS "net_payment_amount!", o.overturned,
               (SELECT s.frequency_code FROM claim_submissions s WHERE s.id = o.submission_id) AS "frequency_code!"
           FROM claim_outcomes o WHERE o.claim_id = ANY($1) ORDER BY o.claim_id, o.submission_id"#,
        claims
    )
    .fetch_all(connection)
    .await?;
    let mut outcomes: BTreeMap<i64, Vec<OutcomeView>> = BTreeMap::new();
    for row in rows {
        outcomes.entry(row.claim_id).or_default().push(OutcomeView {
            claim_frequency_code: row.frequency_code,
            initial_outcome: row.initial_outcome,
            final_outcome: row.final_outcome,
            net_payment_amount: row.net_payment_amount,
            overturned: row.overturned,
        });
    }
    Ok(outcomes)
}

async fn lines(
    connection: &mut PgConnection,
    claims: &[i64],
) -> Result<BTreeMap<i64, Vec<ClaimLineView>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT claim_id, line_number, control_number, procedure_code, modifiers, revenue_code,
               charge_amount::text AS "charge_amount!", trim_scale(units)::text AS units, place_of_service,
               service_date_from, service_date_to
           FROM claim_lines WHERE claim_id = ANY($1) ORDER BY claim_id, line_number"#,
        claims
    )
    .fetch_all(connection)
    .await?;
    let mut lines: BTreeMap<i64, Vec<ClaimLineView>> = BTreeMap::new();
    for row in rows {
        lines.entry(row.claim_id).or_default().push(ClaimLineView {
            line_number: row.line_number,
            line_item_control_number: row.control_number,
            procedure_code: row.procedure_code,
            procedure_modifiers: row.modifiers,
            revenue_code: row.revenue_code,
            line_item_charge_amount: row.charge_amount,
            service_unit_count: row.units,
            place_of_service_code: row.place_of_service,
            service_date_from: row.service_date_from,
            service_date_to: row.service_date_to,
        });
    }
    Ok(lines)
}

/// Rows of the worklist, in the order of `ids`, with the reasons of each claim's current score.
///
/// # Errors
/// PostgreSQL is away.
pub async fn worklist(pool: &PgPool, ids: &[i64]) -> Result<Vec<WorklistItem>, sqlx::Error> {
    let claims = load_claim_heads(pool, ids).await?;
    let mut scores: BTreeMap<i64, _> =
        load_scores(pool, ids).await?.into_iter().map(|score| (score.claim_id, score.score)).collect();
    let items = claims.into_iter().map(|claim| {
        let score = scores.remove(&claim.id);
        let reasons = score.iter().flat_map(crate::view::ScoreView::reasons).take(REASONS).cloned().collect();
        WorklistItem {
            claim_id: claim.id,
            practice_id: claim.practice_id,
            practice: claim.practice,
            payer_id: claim.payer_id,
            payer: claim.payer,
            patient_control_number: claim.patient_control_number,
            claim_control_number: claim.claim_control_number,
            service_date: claim.service_date,
            status: claim.status,
            total_charge_amount: claim.total_charge_amount,
            overall_score: claim.overall_score,
            risk_level: claim.risk_level,
            expected_loss: claim.expected_loss,
            reasons,
            recommendations: score.map(|score| score.recommendations).unwrap_or_default(),
        }
    });
    Ok(items.collect())
}
