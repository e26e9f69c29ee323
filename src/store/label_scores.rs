//! First labels beside the scores that stood when they came: written with the labels, and summed for the calibration.
//!
//! Must never: count a submission twice, whatever becomes of its label later.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::claims::column;
use crate::domain::drift::{BinSum, Drift, Labelled, probability_micro};
use crate::error::Failure;

/// A submission with a label.
pub(super) struct Label {
    pub(super) claim_id: i64,
    pub(super) submission_id: i64,
    pub(super) denied: bool,
}

/// Binds labels to the newest scores of their submissions, and answers those that are the first of their submission. The
/// claims are locked, so no score can come in between.
pub(super) async fn bind(connection: &mut PgConnection, labels: &[Label]) -> Result<Vec<Labelled>, Failure> {
    if labels.is_empty() {
        return Ok(Vec::new());
    }
    let scores = sqlx::query!(
        r#"SELECT l.submission_id AS "submission_id!", l.denied AS "denied!", r.id AS risk_score_id, r.log_odds_micro
           FROM unnest($1::bigint[], $2::bigint[], $3::bool[]) AS l (claim_id, submission_id, denied)
           CROSS JOIN LATERAL (SELECT q.id, q.log_odds_micro FROM risk_scores q
               WHERE q.claim_id = l.claim_id AND q.submission_id = l.submission_id ORDER BY q.id DESC LIMIT 1) AS r"#,
        &column!(labels, |label| label.claim_id),
        &column!(labels, |label| label.submission_id),
        &column!(labels, |label| label.denied)
    )
    .fetch_all(&mut *connection)
    .await?;
    let first = sqlx::query!(
        "INSERT INTO label_scores (submission_id, risk_score_id, probability_micro, denied)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bool[])
         ON CONFLICT (submission_id) DO NOTHING RETURNING probability_micro, denied",
        &column!(scores, |row| row.submission_id),
        &column!(scores, |row| row.risk_score_id),
        &column!(scores, |row| i64::from(probability_micro(row.log_odds_micro))),
        &column!(scores, |row| row.denied)
    )
    .fetch_all(connection)
    .await?;
    let labelled = first.into_iter().map(|row| Labelled {
        probability_micro: u32::try_from(row.probability_micro).unwrap_or(0),
        denied: row.denied,
    });
    Ok(labelled.collect())
}

/// What the labels add up to that came since a time, or all of them: the sum of the fleet's counters over that time.
///
/// # Errors
/// PostgreSQL is away.
pub async fn drift(pool: &PgPool, since: Option<DateTime<Utc>>) -> Result<Drift, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT bin, sum(probability_micro)::bigint AS "predicted!", count(*) FILTER (WHERE denied) AS "denied!",
               count(*) FILTER (WHERE NOT denied) AS "paid!", sum((missed * missed + 500000) / 1000000)::bigint AS "loss!"
           FROM (SELECT bin, probability_micro, denied,
                     (probability_micro - CASE WHEN denied THEN 1000000 ELSE 0 END)::bigint AS missed
                 FROM label_scores WHERE labelled_at >= coalesce($1, '-infinity'::timestamptz)) AS label
           GROUP BY bin"#,
        since
    )
    .fetch_all(pool)
    .await?;
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    let mut drift = Drift::default();
    for row in rows {
        if let Some(bin) = usize::try_from(row.bin).ok().and_then(|bin| drift.bins.get_mut(bin)) {
            *bin = BinSum {
                predicted_micro: count(row.predicted),
                denied: count(row.denied),
                paid: count(row.paid),
                loss_micro: count(row.loss),
            };
        }
    }
    Ok(drift)
}
