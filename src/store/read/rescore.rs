//! Scores claims anew: their newest submissions as they were sent, and the new scores beside them.

use sqlx::{PgConnection, PgPool, types::Json};

use crate::domain::earlier::Moment;
use crate::domain::types::Instant;
use crate::error::Failure;
use crate::store::scores;
use crate::view::ScoreView;

/// A claim with its current score and its newest submission.
pub struct ScoredClaim {
    /// The claim.
    pub claim_id: i64,
    /// Its current score, in tenths.
    pub overall_tenths: u16,
    /// Its current level.
    pub risk_level: String,
    /// The digest of what its current score was made of.
    pub input_hash: String,
    /// Id of the submission.
    pub submission_id: i64,
    /// The claim as sent, in the vocabulary of the events.
    pub body: Vec<u8>,
    /// Time of its event.
    pub version_time: Instant,
    /// Id of its event.
    pub version_id: String,
}

impl ScoredClaim {
    /// When it was sent.
    pub fn moment(&self) -> Moment<'_> {
        (self.version_time, &self.version_id)
    }
}

/// Open claims in the order of their ids, from behind `after` on.
///
/// # Errors
/// PostgreSQL is away.
pub async fn open_claims(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT id FROM claims WHERE status IN ('submitted', 'accepted', 'rejected') AND id > $1 ORDER BY id LIMIT $2",
        after,
        limit
    )
    .fetch_all(pool)
    .await
}

/// Locks claims in the order of their ids, until the end of the transaction.
///
/// # Errors
/// PostgreSQL is away or busy.
pub async fn lock_claims(connection: &mut PgConnection, ids: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT id FROM claims WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", ids)
        .fetch_all(connection)
        .await?;
    Ok(())
}

/// Reads claims with their current scores and newest submissions, in the order of their ids.
///
/// # Errors
/// PostgreSQL is away.
pub async fn scored_claims(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<ScoredClaim>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT c.id AS claim_id, (c.overall_score * 10)::bigint AS "tenths!", c.risk_level, r.input_hash, s.id, s.version_time,
               s.version_id, s.body AS "body: Json<Box<serde_json::value::RawValue>>"
           FROM claims c CROSS JOIN LATERAL (SELECT s.id, s.version_time, s.version_id, s.body FROM claim_submissions s
               WHERE s.claim_id = c.id ORDER BY s.version_time DESC, s.version_id DESC LIMIT 1) AS s
           CROSS JOIN LATERAL (SELECT r.input_hash FROM risk_scores r WHERE r.claim_id = c.id ORDER BY r.id DESC LIMIT 1) AS r
           WHERE c.id = ANY($1) ORDER BY c.id"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ScoredClaim {
            claim_id: row.claim_id,
            overall_tenths: u16::try_from(row.tenths).unwrap_or(0),
            risk_level: row.risk_level,
            input_hash: row.input_hash,
            submission_id: row.id,
            body: row.body.0.get().as_bytes().to_vec(),
            version_time: row.version_time,
            version_id: row.version_id,
        })
        .collect())
}

/// A score of a claim's newest submission.
pub struct NewScore {
    /// The claim.
    pub claim_id: i64,
    /// Its newest submission.
    pub submission_id: i64,
    /// The score.
    pub score: ScoreView,
}

/// Appends scores and makes them the claims' current ones. The claims are locked since before their submissions were read.
///
/// # Errors
/// PostgreSQL is away or busy.
pub async fn store_scores(connection: &mut PgConnection, new: &[NewScore]) -> Result<(), Failure> {
    let appended: Vec<(i64, &ScoreView)> = new.iter().map(|new| (new.submission_id, &new.score)).collect();
    scores::append(connection, &appended).await?;
    sqlx::query!(
        "UPDATE claims c SET overall_score = r.tenths::numeric / 10, risk_level = r.level,
             expected_loss = round(c.total_charge_amount * r.tenths / 1000, 2), revision = c.revision + 1, updated_at = now()
         FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS r (id, tenths, level) WHERE c.id = r.id",
        &new.iter().map(|new| new.claim_id).collect::<Vec<_>>(),
        &new.iter().map(|new| i64::from(new.score.overall_tenths())).collect::<Vec<_>>(),
        &new.iter().map(|new| new.score.risk_level.as_str()).collect::<Vec<_>>() as _
    )
    .execute(connection)
    .await?;
    Ok(())
}
