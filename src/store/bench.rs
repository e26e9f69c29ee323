//! The SQL of `claimrisk bench`: the rows of a run read as they are and written in bulk elsewhere, with nothing computed
//! and nothing looked up, as the raw limit of PostgreSQL.
//!
//! The tables stand in variables here, so the statements are not checked when compiling. Must never: be used on a
//! database that is not the bench's own.

mod fill;

pub use fill::fill;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::error::CommandError;

/// Connections that write side by side.
const CONNECTIONS: usize = 2;

/// What other rows refer to, and no event brings alone.
const REFERENCES: [&str; 3] = ["payers", "providers", "practices"];

/// Which rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// What claims leave behind.
    Claims,
    /// What remittances leave behind, for claims that are there.
    Remittances,
}

impl Rows {
    /// The tables in an order that keeps their foreign keys, each with what tells the rows of the claims from `$1` to
    /// before `$2`; row `t` of the table.
    const fn tables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Claims => &[
                ("claims", "t.id >= $1 AND t.id < $2"),
                ("claim_submissions", "t.claim_id >= $1 AND t.claim_id < $2"),
                ("claim_lines", "t.claim_id >= $1 AND t.claim_id < $2"),
                ("risk_scores", "t.claim_id >= $1 AND t.claim_id < $2"),
                ("ingest_events", "t.event_type = 'claim.submitted' AND t.claim_id >= $1 AND t.claim_id < $2"),
            ],
            // A remittance that found no claim comes with those of the claims from 0 on.
            Self::Remittances => &[
                ("remittances", "coalesce(t.claim_id, 0) >= $1 AND coalesce(t.claim_id, 0) < $2"),
                (
                    "remittance_lines",
                    "t.remittance_id IN (SELECT r.id FROM remittances r
                         WHERE coalesce(r.claim_id, 0) >= $1 AND coalesce(r.claim_id, 0) < $2)",
                ),
                ("claim_episodes", "t.claim_id >= $1 AND t.claim_id < $2"),
                ("claim_outcomes", "t.claim_id >= $1 AND t.claim_id < $2"),
                (
                    "ingest_events",
                    "t.remittance_id IN (SELECT r.id FROM remittances r
                         WHERE coalesce(r.claim_id, 0) >= $1 AND coalesce(r.claim_id, 0) < $2)",
                ),
            ],
        }
    }

    /// The claim of each event. The ledger does not tell that of a remittance, which is linked later.
    const fn events(self) -> &'static str {
        match self {
            Self::Claims => "SELECT claim_id AS claim FROM ingest_events WHERE event_type = 'claim.submitted'",
            Self::Remittances => "SELECT coalesce(claim_id, 0) AS claim FROM remittances",
        }
    }
}

/// The rows of some events, one text per table: an array of the table's row type.
pub struct Chunk(Vec<String>);

/// Reads the rows, in chunks of about so many events: the rows of one claim stand in one chunk.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn chunks(pool: &PgPool, rows: Rows, events: i64) -> Result<Vec<Chunk>, CommandError> {
    let bounds = format!(
        "SELECT DISTINCT claim FROM (SELECT claim, row_number() OVER (ORDER BY claim) - 1 AS place FROM ({}) AS e) AS p
         WHERE place % $1 = 0 ORDER BY claim",
        rows.events()
    );
    let bounds: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(bounds)).bind(events).fetch_all(pool).await?;
    let ends = bounds.iter().skip(1).copied().chain([i64::MAX]);
    let mut chunks = Vec::with_capacity(bounds.len());
    for (from, to) in bounds.iter().copied().zip(ends) {
        let mut chunk = Vec::new();
        for (table, belongs) in rows.tables() {
            let sql =
                format!("SELECT coalesce(array_agg(t ORDER BY t.id)::text, '{{}}') FROM {table} t WHERE {belongs}");
            chunk.push(sqlx::query_scalar(AssertSqlSafe(sql)).bind(from).bind(to).fetch_one(pool).await?);
        }
        chunks.push(Chunk(chunk));
    }
    Ok(chunks)
}

/// How many claims are stored.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn count_claims(pool: &PgPool) -> Result<i64, CommandError> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM claims").fetch_one(pool).await?)
}

/// Bytes of the database on the disk.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn size(pool: &PgPool) -> Result<i64, CommandError> {
    Ok(sqlx::query_scalar("SELECT pg_database_size(current_database())").fetch_one(pool).await?)
}

/// Copies payers, providers and practices.
///
/// # Errors
/// PostgreSQL cannot be reached, or refuses.
pub async fn copy_references(from: &PgPool, to: &PgPool) -> Result<(), CommandError> {
    let mut connection = to.acquire().await?;
    for table in REFERENCES {
        let sql = format!("SELECT coalesce(array_agg(t)::text, '{{}}') FROM {table} t");
        let rows: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(from).await?;
        insert(&mut connection, table, &rows).await?;
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, table: &str, rows: &str) -> Result<u64, sqlx::Error> {
    let sql = format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM unnest($1::text::{table}[])");
    Ok(sqlx::query(AssertSqlSafe(sql)).bind(rows).execute(connection).await?.rows_affected())
}

/// Writes chunks, each in a transaction of its own, on two connections side by side: how many events, and how long it
/// took.
///
/// # Errors
/// PostgreSQL cannot be reached, or refuses.
pub async fn write(pool: &PgPool, rows: Rows, chunks: &[Chunk]) -> Result<(u64, Duration), CommandError> {
    let waiting = Mutex::new(chunks.iter().collect::<VecDeque<_>>());
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = pool.acquire().await?;
        sqlx::query("SET synchronous_commit = on").execute(&mut *connection).await?;
        connections.push(connection);
    }
    let started = Instant::now();
    let written = connections.iter_mut().map(|connection| write_waiting(connection, rows, &waiting));
    let events = futures_util::future::try_join_all(written).await?.into_iter().sum();
    Ok((events, started.elapsed()))
}

async fn write_waiting(
    connection: &mut PgConnection,
    rows: Rows,
    waiting: &Mutex<VecDeque<&Chunk>>,
) -> Result<u64, sqlx::Error> {
    let next = || waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
    let mut events = 0;
    while let Some(Chunk(texts)) = next() {
        sqlx::query("BEGIN").execute(&mut *connection).await?;
        let mut count = 0;
        for ((table, _), text) in rows.tables().iter().zip(texts) {
            // The ledger comes last: it has a row per event.
            count = insert(connection, table, text).await?;
        }
        sqlx::query("COMMIT").execute(&mut *connection).await?;
        events += count;
    }
    Ok(events)
}
