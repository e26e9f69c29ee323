//! Loads remittances and episodes by id, in the order of the ids.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sqlx::{PgConnection, PgPool};

use super::claims::in_order;
use crate::store;
use crate::view::{EpisodeView, PayerView, RemittanceLineView, RemittanceView};

/// A list that a `jsonb` column holds.
fn from_json<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, sqlx::Error> {
    // The error would quote what stands there.
    serde_json::from_str(text).map_err(|_| sqlx::Error::Decode("a list that is none".into()))
}

/// Remittances with their lines, in the order of `ids`.
///
/// # Errors
/// PostgreSQL is away.
pub async fn load_remittances(pool: &PgPool, ids: &[i64]) -> Result<Vec<RemittanceView>, sqlx::Error> {
    let mut snapshot = store::snapshot(pool).await?;
    let remittances = whole_remittances(&mut snapshot, ids).await?;
    snapshot.commit().await?;
    Ok(remittances)
}

/// The same within a snapshot.
pub(super) async fn whole_remittances(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<Vec<RemittanceView>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut remittances = heads(connection, ids).await?;
    let mut lines_of = lines(connection, ids).await?;
    for remittance in &mut remittances {
        remittance.lines = lines_of.remove(&remittance.id).unwrap_or_default();
    }
    Ok(remittances)
}

/// Remittances without their lines, in the order of `ids`.
///
/// # Errors
/// PostgreSQL is away.
pub async fn load_remittance_heads(pool: &PgPool, ids: &[i64]) -> Result<Vec<RemittanceView>, sqlx::Error> {
    let mut snapshot = store::snapshot(pool).await?;
    let remittances = heads(&mut snapshot, ids).await?;
    snapshot.commit().await?;
    Ok(remittances)
}

async fn heads(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<RemittanceView>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT r.id, r.practice_id, a.practice_key, r.payer_id, p.payer_key, p.name AS payer_name, r.claim_id,
               r.link_state, r.trace_number, r.patient_control_number, r.payer_claim_control_number, r.claim_ordinal,
               r.claim_status_code, r.claim_frequency_code, r.payment_date, r.service_date,
               r.total_charge_amount::text AS "total_charge_amount!", r.payment_amount::text AS "payment_amount!",
               r.patient_responsibility_amount::text AS patient_responsibility_amount, r.adjudication,
               r.denied_amount::text AS "denied_amount!", r.denial_count, r.adjustment_count, r.denial_reasons,
               r.adjustments::text AS "adjustments!", r.provider_adjustments::text AS "provider_adjustments!", r.remark_codes,
               r.crossover_payer, r.flags, r.revision, r.version_time, r.created_at, r.updated_at
           FROM remittances r
           JOIN practices a ON a.id = r.practice_id
           JOIN payers p ON p.id = r.payer_id
           WHERE r.id = ANY($1)"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    let mut remittances = Vec::with_capacity(rows.len());
    for row in rows {
        remittances.push(RemittanceView {
            id: row.id,
            practice_id: row.practice_id,
            practice: row.practice_key,
            payer_id: row.payer_id,
            payer: PayerView { payer_id: row.payer_key, name: row.payer_name },
            claim_id: row.claim_id,
            link_state: row.link_state,
            trace_number: row.trace_number,
            patient_control_number: row.patient_control_number,
            payer_claim_control_number: row.payer_claim_control_number,
            claim_ordinal: row.claim_ordinal,
            claim_status_code: row.claim_status_code,
            claim_frequency_code: row.claim_frequency_code,
            payment_date: row.payment_date,
            service_date: row.service_date,
            total_charge_amount: row.total_charge_amount,
            payment_amount: row.payment_amount,
            patient_responsibility_amount: row.patient_responsibility_amount,
            adjudication: row.adjudication,
            denied_amount: row.denied_amount,
            denial_count: row.denial_count,
            adjustment_count: row.adjustment_count,
            denial_reasons: row.denial_reasons,
            adjustments: from_json(&row.adjustments)?,
            provider_adjustments: from_json(&row.provider_adjustments)?,
            remark_codes: row.remark_codes,
            crossover_payer: row.crossover_payer,
            flags: row.flags,
            lines: Vec::new(),
            revision: row.revision,
            version_time: row.version_time,
            created_at: row.created_at,
            updated_at: row.updated_at,
        });
    }
    Ok(in_order(ids, remittances, |remittance| remittance.id))
}

async fn lines(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<BTreeMap<i64, Vec<RemittanceLineView>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT remittance_id, line_number, control_number, procedure_code, modifiers, revenue_code,
               charge_amount::text AS "charge_amount!", payment_amount::text AS "payment_amount!",
               trim_scale(units)::text AS units, service_date_from, service_date_to,
               adjustments::text AS "adjustments!", denial_reasons, remark_codes, outcome
           FROM remittance_lines WHERE remittance_id = ANY($1) ORDER BY remittance_id, line_number"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    let mut lines: BTreeMap<i64, Vec<RemittanceLineView>> = BTreeMap::new();
    for row in rows {
        lines.entry(row.remittance_id).or_default().push(RemittanceLineView {
            line_number: row.line_number,
            line_item_control_number: row.control_number,
            procedure_code: row.procedure_code,
            procedure_modifiers: row.modifiers,
            revenue_code: row.revenue_code,
            line_item_charge_amount: row.charge_amount,
            line_item_payment_amount: row.payment_amount,
            service_unit_count: row.units,
            service_date_from: row.service_date_from,
            service_date_to: row.service_date_to,
            adjustments: from_json(&row.adjustments)?,
            denial_reasons: row.denial_reasons,
            remark_codes: row.remark_codes,
            outcome: row.outcome,
        });
    }
    Ok(lines)
}

/// Episodes, in the order of `ids`.
///
/// # Errors
/// PostgreSQL is away.
pub async fn load_episodes(pool: &PgPool, ids: &[i64]) -> Result<Vec<EpisodeView>, sqlx::Error> {
    let mut snapshot = store::snapshot(pool).await?;
    let found = episodes(&mut snapshot, ids).await?;
    snapshot.commit().await?;
    Ok(found)
}

/// The same within a snapshot.
pub(super) async fn episodes(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<EpisodeView>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = sqlx::query_as!(
        EpisodeView,
        r#"SELECT id, claim_id, remittance_id, status, payment_amount::text AS "payment_amount!", denial_count,
               adjustment_count, link_method, link_confidence::float8 AS "link_confidence!", link_evidence,
               runner_up_claim_id, runner_up_confidence::float8 AS runner_up_confidence, revision, linked_at,
               created_at, updated_at
           FROM claim_episodes WHERE id = ANY($1)"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    Ok(in_order(ids, found, |episode| episode.id))
}
