//! The reference tables as they were loaded: the text of each, which is parsed anew by whoever scores.
//!
//! Must never: keep a text that does not follow its format; what is stored was read before.

use sqlx::PgPool;

use crate::domain::reference::{Kind, Loaded, ReferenceTables};
use crate::domain::types::Instant;
use crate::error::CommandError;

/// A table that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which one; a word that this program does not know is kept as it is.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// When it was loaded.
    pub loaded_at: Instant,
    /// The number of its rows.
    pub rows: i64,
}

/// Stores a table in the place of the one of its kind. The same text again changes nothing but the time.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn save(pool: &PgPool, loaded: &Loaded, content: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO reference_tables (kind, version, row_count, content) VALUES ($1, $2, $3, $4)
         ON CONFLICT (kind) DO UPDATE SET version = excluded.version, row_count = excluded.row_count,
             content = excluded.content, loaded_at = now()",
        loaded.kind.as_str(),
        loaded.version,
        i64::try_from(loaded.rows).unwrap_or(i64::MAX),
        content
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The tables that are stored, without their content, by kind.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn versions(pool: &PgPool) -> Result<Vec<Stored>, sqlx::Error> {
    sqlx::query_as!(Stored, "SELECT kind, version, loaded_at, row_count AS rows FROM reference_tables ORDER BY kind")
        .fetch_all(pool)
        .await
}

/// All stored tables, read. A kind that this program does not know, of a newer one, is passed over.
///
/// # Errors
/// PostgreSQL cannot be reached; or a stored text does not follow its format, which an older or newer program may have
/// stored: load the table again.
pub async fn load_all(pool: &PgPool) -> Result<ReferenceTables, CommandError> {
    let rows = sqlx::query!("SELECT kind, content FROM reference_tables ORDER BY kind").fetch_all(pool).await?;
    let read = move || {
        let mut tables = ReferenceTables::default();
        for row in rows {
            let Some(kind) = Kind::parse(&row.kind) else { continue };
            tables.load(kind, &row.content).map_err(|error| {
                CommandError::Failed(format!(
                    "stored reference table {}: {error}; load it again with `claimrisk reference load`",
                    row.kind
                ))
            })?;
        }
        Ok(tables)
    };
    // A million pairs take a second to read: not on a thread that serves others.
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| CommandError::Failed("the reference tables could not be read".to_owned()))?
}
