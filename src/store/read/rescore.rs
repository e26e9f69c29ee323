//! Scores a claim anew: its newest submission as it was sent, and the new score beside it.

use sqlx::{PgPool, types::Json};

use crate::domain::earlier::Moment;
use crate::domain::types::Instant;
use crate::error::Failure;
use crate::store::claims::append_scores;
use crate::view::ScoreView;

/// The newest submission of a claim.
pub struct Submitted {
    /// Id of the submission.
    pub id: i64,
    /// The claim as sent, in the vocabulary of the events.
    pub body: Vec<u8>,
    /// Time of its event.
    pub version_time: Instant,
    /// Id of its event.
    pub version_id: String,
}

impl Submitted {
    /// When it was sent.
    pub fn moment(&self) -> Moment<'_> {
        (self.version_time, &self.version_id)
    }
}

/// A claim with its current score.
pub struct ScoredClaim {
    /// The claim.
    pub claim_id: i64,
    /// Its current score, in tenths.
    pub overall_tenths: u16,
    /// Its current level.
    pub risk_level: String,
    /// The digest of what its current score was made of.
    pub input_hash: String,
    /// Its newest submission.
    pub submitted: Submitted,
}

/// Reads open claims with their newest submissions, in the order of their ids, from behind `after` on.
///
/// # Errors
/// PostgreSQL is away.
pub async fn open_claims(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<ScoredClaim>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM claims WHERE status IN ('submitted', 'accepted', 'rejected') AND id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    scored_claims(pool, &ids).await
}

/// Reads claims with their newest submissions, in the order of their ids.
///
/// # Errors
/// PostgreSQL is away.
pub async fn scored_claims(pool: &PgPool, ids: &[i64]) -> Result<Vec<ScoredClaim>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT c.id AS claim_id, (c.overall_score * 10)::bigint AS "tenths!", c.risk_level, r.input_hash, s.id, s.version_time,
               s.version_id, s.body AS "body: Json<Box<serde_json::value::RawValue>>"
           FROM claims c CROSS JOIN LATERAL (SELECT s.id, s.version_time, s.version_id, s.body FROM claim_submissions s
               WHERE s.claim_id = c.id ORDER BY s.version_time DESC, s.version_id DESC LIMIT 1) AS s
           CROSS JOIN LATERAL (SELECT r.input_hash FROM risk_scores r WHERE r.claim_id = c.id ORDER BY r.id DESC LIMIT 1) AS r
           WHERE c.id = ANY($1) ORDER BY c.id"#,
        ids
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ScoredClaim {
            claim_id: row.claim_id,
            overall_tenths: u16::try_from(row.tenths).unwrap_or(0),
            risk_level: row.risk_level,
            input_hash: row.input_hash,
            submitted: Submitted {
                id: row.id,
                body: row.body.0.get().as_bytes().to_vec(),
                version_time: row.version_time,
                version_id: row.version_id,
            },
        })
        .collect())
}

/// What came of storing a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescored {
    /// It is the claim's current score now.
    Stored,
    /// The claim was sent again meanwhile: what was scored is not its newest submission any more.
    Outdated,
}

/// Reads the newest submission of a claim; `None` when there is no such claim.
///
/// # Errors
/// PostgreSQL is away.
pub async fn newest_submission(pool: &PgPool, claim_id: i64) -> Result<Option<Submitted>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT id, body AS "body: Json<Box<serde_json::value::RawValue>>", version_time, version_id
           FROM claim_submissions WHERE claim_id = $1 ORDER BY version_time DESC, version_id DESC LIMIT 1"#,
        claim_id
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Submitted {
        id: row.id,
        body: row.body.0.get().as_bytes().to_vec(),
        version_time: row.version_time,
        version_id: row.version_id,
    }))
}

/// Appends a score of `submitted` and makes it the claim's current one, in one transaction. To be run in a task that is
/// not cancelled.
///
/// # Errors
/// PostgreSQL is away or busy; nothing is kept then.
pub async fn store_score(
    pool: &PgPool,
    claim_id: i64,
    submitted: &Submitted,
    score: &ScoreView,
) -> Result<Rescored, Failure> {
    let mut transaction = crate::store::begin(pool).await?;
    sqlx::query!("SELECT id FROM claims WHERE id = $1 FOR NO KEY UPDATE", claim_id)
        .fetch_one(&mut *transaction)
        .await?;
    let newest = sqlx::query!(
        "SELECT id, version_time, version_id FROM claim_submissions WHERE claim_id = $1
         ORDER BY version_time DESC, version_id DESC LIMIT 1",
        claim_id
    )
    .fetch_one(&mut *transaction)
    .await?;
    let scored = (submitted.id, submitted.version_time, submitted.version_id.as_str());
    if (newest.id, newest.version_time, newest.version_id.as_str()) != scored {
        transaction.rollback().await?;
        return Ok(Rescored::Outdated);
    }
    append_scores(&mut transaction, &[(submitted.id, score.clone())]).await?;
    sqlx::query!(
        "UPDATE claims SET overall_score = $2::bigint::numeric / 10, risk_level = $3,
             expected_loss = round(total_charge_amount * $2::bigint / 1000, 2), revision = revision + 1, updated_at = now()
         WHERE id = $1",
        claim_id,
        i64::from(score.overall_tenths()),
        score.risk_level
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Rescored::Stored)
}
