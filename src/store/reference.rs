//! The reference tables as they were loaded: the text of each, which is parsed anew by whoever scores; and the one that is
//! made of the stored claims.
//!
//! Must never: keep a text that does not follow its format; what is stored was read before.

use sqlx::PgPool;

use crate::domain::reference::{Kind, Loaded, ReferenceTables};
use crate::domain::types::{Cents, Instant};
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

/// What a practice usually charges a payer for one unit of a procedure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usual {
    /// The practice's key.
    pub practice: String,
    /// The payer's key.
    pub payer: String,
    /// Procedure code.
    pub procedure_code: String,
    /// Median charge of a unit.
    pub median: Cents,
    /// Median absolute deviation from it.
    pub deviation: Cents,
    /// Lines it is made of.
    pub lines: i64,
}

/// How long the stored lines may take to be read.
const PATIENCE: &str = "SET LOCAL statement_timeout = '10min'";

/// Usual charges of the stored claims, of at least so many lines each; what was turned back or voided does not count.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn usual_charges(pool: &PgPool, least_lines: i64) -> Result<Vec<Usual>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query(PATIENCE).execute(&mut *transaction).await?;
    // A discrete median is a charge that was made, and stays numeric; a continuous one would pass through floats.
    let rows = sqlx::query!(
        r#"WITH units AS (
               SELECT c.practice_id, c.payer_id, upper(trim(l.procedure_code)) AS code, l.charge_amount / l.units AS charge
               FROM claim_lines l JOIN claims c ON c.id = l.claim_id
               WHERE l.procedure_code ~ '^\s*[0-9A-Za-z]{1,8}\s*$' AND l.units > 0 AND l.charge_amount > 0
                 AND c.status NOT IN ('rejected', 'voided')),
           medians AS (
               SELECT practice_id, payer_id, code, count(*) AS lines,
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY charge) AS median
               FROM units GROUP BY practice_id, payer_id, code HAVING count(*) >= $1)
           SELECT r.practice_key AS practice, p.payer_key AS payer, m.code AS "code!", m.lines AS "lines!",
               round(m.median * 100)::bigint AS "median!",
               round(percentile_disc(0.5) WITHIN GROUP (ORDER BY abs(u.charge - m.median)) * 100)::bigint AS "deviation!"
           FROM medians m JOIN units u USING (practice_id, payer_id, code)
           JOIN practices r ON r.id = m.practice_id JOIN payers p ON p.id = m.payer_id
           GROUP BY r.practice_key, p.payer_key, m.code, m.lines, m.median
           ORDER BY r.practice_key, p.payer_key, m.code"#,
        least_lines
    )
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let usual = rows.into_iter().map(|row| Usual {
        practice: row.practice,
        payer: row.payer,
        procedure_code: row.code,
        median: Cents::new(row.median),
        deviation: Cents::new(row.deviation),
        lines: row.lines,
    });
    Ok(usual.collect())
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
