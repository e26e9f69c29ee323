//! Loads scores: the current one of claims, and all of one claim.

use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use super::claims::in_order;
use crate::domain::types::Instant;
use crate::store;
use crate::view::{ComponentScores, RecommendationView, RiskFactor, RiskScoreView, ScoreView};

/// A row of `risk_scores`.
struct Row {
    id: i64,
    claim_id: i64,
    submission_id: i64,
    frequency_code: String,
    overall_score: f64,
    risk_level: String,
    log_odds_micro: i64,
    component_scores: Json<ComponentScores>,
    risk_factors: Json<Vec<RiskFactor>>,
    recommendations: Json<Vec<RecommendationView>>,
    blocking: bool,
    model_version: String,
    rule_set_version: String,
    input_hash: String,
    calculated_at: Instant,
}

impl From<Row> for RiskScoreView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            claim_id: row.claim_id,
            submission_id: row.submission_id,
            claim_frequency_code: row.frequency_code,
            calculated_at: row.calculated_at,
            score: ScoreView {
                overall_score: row.overall_score,
                risk_level: row.risk_level,
                log_odds_micro: row.log_odds_micro,
                component_scores: row.component_scores.0,
                risk_factors: row.risk_factors.0,
                recommendations: row.recommendations.0,
                blocking: row.blocking,
                model_version: row.model_version,
                rule_set_version: row.rule_set_version,
                input_hash: row.input_hash,
                shadows: Vec::new(),
            },
        }
    }
}

/// The current scores of claims: the newest row of each, in the order of `claim_ids`.
///
/// # Errors
/// PostgreSQL is away.
pub async fn load_scores(pool: &PgPool, claim_ids: &[i64]) -> Result<Vec<RiskScoreView>, sqlx::Error> {
    let mut snapshot = store::snapshot(pool).await?;
    let scores = current_scores(&mut snapshot, claim_ids).await?;
    snapshot.commit().await?;
    Ok(scores)
}

/// The same within a snapshot.
pub(super) async fn current_scores(
    connection: &mut PgConnection,
    claim_ids: &[i64],
) -> Result<Vec<RiskScoreView>, sqlx::Error> {
    if claim_ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT r.id AS "id!", r.claim_id AS "claim_id!", r.submission_id AS "submission_id!",
               (SELECT s.frequency_code FROM claim_submissions s WHERE s.id = r.submission_id) AS "frequency_code!",
               r.overall_score::float8 AS "overall_score!",
               r.risk_level AS "risk_level!", r.log_odds_micro AS "log_odds_micro!",
               r.component_scores AS "component_scores!: Json<ComponentScores>",
               r.risk_factors AS "risk_factors!: Json<Vec<RiskFactor>>",
               r.recommendations AS "recommendations!: Json<Vec<RecommendationView>>", r.blocking AS "blocking!",
               r.model_version AS "model_version!", r.rule_set_version AS "rule_set_version!",
               r.input_hash AS "input_hash!", r.calculated_at AS "calculated_at!"
           FROM unnest($1::bigint[]) AS wanted (claim_id)
           CROSS JOIN LATERAL (SELECT * FROM risk_scores q WHERE q.claim_id = wanted.claim_id
                               ORDER BY q.id DESC LIMIT 1) AS r"#,
        claim_ids
    )
    .fetch_all(connection)
    .await?;
    Ok(in_order(claim_ids, rows.into_iter().map(RiskScoreView::from).collect(), |score| score.claim_id))
}

/// The scores of a claim, the newest first.
///
/// # Errors
/// PostgreSQL is away.
pub async fn history(pool: &PgPool, claim_id: i64, skip: i64, limit: i64) -> Result<Vec<RiskScoreView>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT r.id, r.claim_id, r.submission_id,
               (SELECT s.frequency_code FROM claim_submissions s WHERE s.id = r.submission_id) AS "frequency_code!",
               r.overall_score::float8 AS "overall_score!",
               r.risk_level, r.log_odds_micro, r.component_scores AS "component_scores: Json<ComponentScores>",
               r.risk_factors AS "risk_factors: Json<Vec<RiskFactor>>",
               r.recommendations AS "recommendations: Json<Vec<RecommendationView>>", r.blocking, r.model_version,
               r.rule_set_version, r.input_hash, r.calculated_at
           FROM risk_scores r WHERE r.claim_id = $1 ORDER BY r.id DESC OFFSET $2 LIMIT $3"#,
        claim_id,
        skip,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(RiskScoreView::from).collect())
}

/// How many scores a claim has had.
///
/// # Errors
/// PostgreSQL is away.
pub async fn history_length(pool: &PgPool, claim_id: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM risk_scores WHERE claim_id = $1"#, claim_id)
        .fetch_one(pool)
        .await
}
