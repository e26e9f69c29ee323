//! Stored models.
//!
//! Must never: change a stored model's content; the same content published again only becomes the newest again.

use sqlx::PgPool;

use crate::domain::score::Snapshot;

/// Models that are kept; older ones are removed.
const KEPT: i64 = 50;

/// Stores a model and makes it the newest.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn publish(pool: &PgPool, snapshot: &Snapshot) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO model_snapshots (model_version, trained_on, content, created_at)
         VALUES ($1, $2, $3::text::jsonb, clock_timestamp())
         ON CONFLICT (model_version) DO UPDATE SET created_at = clock_timestamp()",
        snapshot.version(),
        i64::try_from(snapshot.labels()).unwrap_or(i64::MAX),
        snapshot.content()
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM model_snapshots WHERE id IN (SELECT id FROM model_snapshots ORDER BY created_at DESC OFFSET $1)",
        KEPT
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The version of the newest model.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn newest_version(pool: &PgPool) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT model_version FROM model_snapshots ORDER BY created_at DESC LIMIT 1")
        .fetch_optional(pool)
        .await
}

/// The content of the newest model.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn newest(pool: &PgPool) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT content::text AS "content!" FROM model_snapshots ORDER BY created_at DESC LIMIT 1"#)
        .fetch_optional(pool)
        .await
}
