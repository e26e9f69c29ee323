//! Stored models.
//!
//! Must never: change a stored model's content; the same content published again only becomes the newest again.

use sqlx::PgPool;

use crate::domain::score::Snapshot;

/// Models that are kept of each configuration; older ones are removed.
const KEPT: i64 = 50;

/// Stores a model and makes it the newest of its configuration.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn publish(pool: &PgPool, snapshot: &Snapshot) -> Result<(), sqlx::Error> {
    let configuration = snapshot.configuration().to_string();
    sqlx::query!(
        "INSERT INTO model_snapshots (configuration, model_version, trained_on, content, created_at)
         VALUES ($1, $2, $3, $4::text::jsonb, clock_timestamp())
         ON CONFLICT (model_version) DO UPDATE SET created_at = clock_timestamp()",
        configuration,
        snapshot.version(),
        i64::try_from(snapshot.labels()).unwrap_or(i64::MAX),
        snapshot.content()
    )
    .execute(pool)
    .await?;
    sqlx::query!(
        "DELETE FROM model_snapshots WHERE id IN (SELECT id FROM model_snapshots WHERE configuration = $2
                                                  ORDER BY created_at DESC OFFSET $1)",
        KEPT,
        configuration
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The newest model of a configuration that scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The configuration's number.
    pub configuration_id: i32,
    /// Whether it is the one in force.
    pub champion: bool,
    /// The model's version.
    pub model_version: String,
}

/// The newest model of each configuration that scores, the one in force first; those without a model yet are left out.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn newest(pool: &PgPool) -> Result<Vec<Newest>, sqlx::Error> {
    sqlx::query_as!(
        Newest,
        r#"SELECT c.id AS configuration_id, c.role = 'champion' AS "champion!", m.model_version
           FROM model_configurations c
           CROSS JOIN LATERAL (SELECT model_version FROM model_snapshots s WHERE s.configuration = c.settings
                               ORDER BY created_at DESC LIMIT 1) AS m
           WHERE c.role IN ('champion', 'challenger') ORDER BY c.role, c.id"#
    )
    .fetch_all(pool)
    .await
}

/// The content of a model; `None` when it was removed meanwhile.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn content(pool: &PgPool, version: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT content::text AS "content!" FROM model_snapshots WHERE model_version = $1"#, version)
        .fetch_optional(pool)
        .await
}
