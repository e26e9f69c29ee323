//! Receipts of events, and the log of who read what.

use sqlx::PgPool;

use crate::view::ReceiptView;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEntity {
    /// A claim, or its score.
    Claim,
    /// A remittance.
    Remittance,
}

impl AuditEntity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Remittance => "remittance",
        }
    }
}

/// Enters one reading (or `action`) per id into the audit log, all in one statement. To be awaited before answering: an
/// answer that could not be entered is not given.
///
/// # Errors
/// PostgreSQL is away; nothing is entered then.
pub async fn audit(
    pool: &PgPool,
    actor: &str,
    action: &str,
    entity: AuditEntity,
    ids: &[i64],
) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO audit_log (actor, action, entity, entity_id) SELECT $1, $2, $3, unnest($4::bigint[])",
        actor,
        action,
        entity.as_str(),
        ids
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What became of an event, by its source and id.
///
/// # Errors
/// PostgreSQL is away.
pub async fn receipt(pool: &PgPool, source: &str, id: &str) -> Result<Option<ReceiptView>, sqlx::Error> {
    // A remittance that was parked learns its claim later; the ledger keeps what was known when the event was applied.
    sqlx::query_as!(
        ReceiptView,
        r#"SELECT e.source, e.event_id AS id, e.event_type, e.result, e.reason, e.detail,
               coalesce(e.claim_id, r.claim_id) AS claim_id, e.remittance_id, e.received_at, e.updated_at
           FROM ingest_events e LEFT JOIN remittances r ON r.id = e.remittance_id
           WHERE e.source = $1 AND e.event_id = $2"#,
        source,
        id
    )
    .fetch_optional(pool)
    .await
}
