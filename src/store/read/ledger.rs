//! Receipts of events.

use sqlx::PgPool;

use crate::view::ReceiptView;

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
