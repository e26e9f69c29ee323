//! The ledger of events: which were applied, with what result. Its unique key is what makes a redelivery harmless.

use sqlx::{PgConnection, PgPool};

use super::apply::{Item, Stored, Work};
use crate::domain::types::Instant;
use crate::wire::{EventType, Rejection};

/// What the ledger holds of an event that was applied before.
pub(super) struct Known {
    pub(super) body_hash: Vec<u8>,
    pub(super) stored: Stored,
}

/// Looks the batch's events up; the answer has its order. Rejected events do not count: nothing of them was applied.
pub(super) async fn look_up(connection: &mut PgConnection, batch: &[Work]) -> Result<Vec<Option<Known>>, sqlx::Error> {
    let sources: Vec<&str> = batch.iter().map(|work| work.event.source.as_str()).collect();
    let ids: Vec<&str> = batch.iter().map(|work| work.event.id.as_str()).collect();
    let rows = sqlx::query!(
        r#"SELECT seen.place AS "place!", e.body_hash, e.claim_id, e.remittance_id, e.acknowledgement_id
           FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS seen (source, event_id, place)
           JOIN ingest_events e ON e.source = seen.source AND e.event_id = seen.event_id
           WHERE e.result <> 'rejected'"#,
        &sources as _,
        &ids as _
    )
    .fetch_all(connection)
    .await?;
    let mut known: Vec<Option<Known>> = batch.iter().map(|_| None).collect();
    for row in rows {
        let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
        if let Some(slot) = known.get_mut(place) {
            let stored = Stored {
                claim_id: row.claim_id,
                remittance_id: row.remittance_id,
                acknowledgement_id: row.acknowledgement_id,
                superseded: false,
            };
            *slot = Some(Known { body_hash: row.body_hash, stored });
        }
    }
    Ok(known)
}

/// Whether an event of this id is applied, with whatever body.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn is_applied(pool: &PgPool, source: &str, id: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM ingest_events WHERE source = $1 AND event_id = $2 AND result <> 'rejected') AS "applied!""#,
        source,
        id
    )
    .fetch_one(pool)
    .await
}

/// Enters applied events. `false` when one of them is there already, entered by another worker meanwhile.
pub(super) async fn insert(connection: &mut PgConnection, items: &[Item<'_>]) -> Result<bool, sqlx::Error> {
    if items.is_empty() {
        return Ok(true);
    }
    // In the order of the key, so that two workers with the same events wait for each other instead of deadlocking.
    let mut rows: Vec<&Item<'_>> = items.iter().collect();
    rows.sort_unstable_by_key(|item| (&item.work.event.source, &item.work.event.id));
    let column = |pick: fn(&Stored) -> Option<i64>| rows.iter().map(|item| pick(&item.stored)).collect::<Vec<_>>();
    let sources: Vec<&str> = rows.iter().map(|item| item.work.event.source.as_str()).collect();
    let ids: Vec<&str> = rows.iter().map(|item| item.work.event.id.as_str()).collect();
    let types: Vec<&str> = rows.iter().map(|item| item.work.event.event_type.as_str()).collect();
    let times: Vec<Instant> = rows.iter().map(|item| item.work.event.time).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|item| &item.work.event.body_hash[..]).collect();
    let results: Vec<&str> =
        rows.iter().map(|item| if item.stored.superseded { "superseded" } else { "accepted" }).collect();
    let inserted = sqlx::query!(
        "INSERT INTO ingest_events AS e (source, event_id, event_type, event_time, body_hash, result, claim_id,
                                         remittance_id, acknowledgement_id)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::bytea[], $6::text[],
                              $7::bigint[], $8::bigint[], $9::bigint[])
         ON CONFLICT (source, event_id) DO UPDATE SET
             event_type = excluded.event_type, event_time = excluded.event_time, body_hash = excluded.body_hash,
             result = excluded.result, reason = NULL, detail = NULL, claim_id = excluded.claim_id,
             remittance_id = excluded.remittance_id, acknowledgement_id = excluded.acknowledgement_id, updated_at = now()
         WHERE e.result = 'rejected'",
        &sources as _,
        &ids as _,
        &types as _,
        &times,
        &hashes as _,
        &results as _,
        &column(|stored| stored.claim_id) as _,
        &column(|stored| stored.remittance_id) as _,
        &column(|stored| stored.acknowledgement_id) as _
    )
    .execute(connection)
    .await?
    .rows_affected();
    Ok(inserted == items.len() as u64)
}

/// Enters refused events whose source and id are known, so that their publisher can ask what became of them.
/// An event that was applied before keeps its entry.
///
/// # Errors
/// PostgreSQL is away.
pub async fn insert_rejected(pool: &PgPool, rejections: &[&Rejection]) -> Result<(), sqlx::Error> {
    let mut rows: Vec<(&str, &str, &Rejection)> = rejections
        .iter()
        .filter_map(|rejection| Some((rejection.source.as_deref()?, rejection.id.as_deref()?, *rejection)))
        .collect();
    rows.sort_unstable_by_key(|(source, id, _)| (*source, *id));
    rows.dedup_by_key(|(source, id, _)| (*source, *id));
    if rows.is_empty() {
        return Ok(());
    }
    let sources: Vec<&str> = rows.iter().map(|row| row.0).collect();
    let ids: Vec<&str> = rows.iter().map(|row| row.1).collect();
    let types: Vec<&str> = rows.iter().map(|row| row.2.event_type.map_or("unknown", EventType::as_str)).collect();
    let reasons: Vec<&str> = rows.iter().map(|row| row.2.reason.as_str()).collect();
    let details: Vec<&str> = rows.iter().map(|row| row.2.detail.as_str()).collect();
    sqlx::query!(
        "INSERT INTO ingest_events AS e (source, event_id, event_type, reason, detail, body_hash, result)
         SELECT source, event_id, event_type, reason, detail, ''::bytea, 'rejected'
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
              AS r (source, event_id, event_type, reason, detail)
         ON CONFLICT (source, event_id) DO UPDATE SET reason = excluded.reason, detail = excluded.detail,
             event_type = excluded.event_type, updated_at = now()
         WHERE e.result = 'rejected'",
        &sources as _,
        &ids as _,
        &types as _,
        &reasons as _,
        &details as _
    )
    .execute(pool)
    .await?;
    Ok(())
}
