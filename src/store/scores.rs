//! Stores scores: those of the submissions that a batch wrote, with what challengers said beside. In bulk.
//!
//! Must never: change a score that is stored; a claim's newest row is its current score.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::claims::{Identity, Row, SubmissionKey, Upserted, column};
use super::refs;
use crate::domain::earlier::frequency;
use crate::domain::score::Shadow;
use crate::domain::types::Instant;
use crate::error::Failure;
use crate::view::{ClaimView, Given, RiskScoreView, ScoreView};

/// A claim that was not known before, and its only score, as they will be read back.
pub struct Fresh {
    /// The claim.
    pub claim: ClaimView,
    /// Its score.
    pub score: RiskScoreView,
}

impl std::fmt::Debug for Fresh {
    /// The views hold patient data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fresh({})", self.claim.id)
    }
}

/// Appends the scores of the submissions written, the claim's newest last; where the claim's newest submission is not
/// among them, its score is appended once more, so that a claim's newest score row is always its current one.
pub(super) async fn insert<'a>(
    connection: &mut PgConnection,
    rows: &[Row<'a>],
    newest: &BTreeMap<Identity<'a>, usize>,
    upserted: &BTreeMap<Identity<'a>, Upserted>,
    stored: &BTreeMap<SubmissionKey<'a>, i64>,
) -> Result<Vec<Scored<'a>>, Failure> {
    let mut written: Vec<(bool, i64, Row<'a>)> = Vec::new();
    let mut outdated: BTreeSet<Identity<'a>> = BTreeSet::new();
    for row in rows {
        let Some(submission_id) = stored.get(&row.submission()) else { continue };
        let is_head = newest.get(&row.identity).is_some_and(|at| rows[*at].place == row.place);
        let is_newest_version =
            is_head || !rows.iter().any(|other| other.submission() == row.submission() && other.version > row.version);
        if is_newest_version {
            written.push((is_head, *submission_id, *row));
        }
        if !upserted.contains_key(&row.identity) {
            outdated.insert(row.identity);
        }
    }
    written.sort_by_key(|(is_head, submission_id, _)| (*is_head, *submission_id));
    let views: Vec<ScoreView> = written.iter().map(|(.., row)| ScoreView::of(row.score)).collect();
    let scores: Vec<(i64, &ScoreView)> = written.iter().map(|(_, id, _)| *id).zip(&views).collect();
    let appended = append(connection, &scores).await?;
    let outdated: Vec<Identity<'a>> = outdated.into_iter().collect();
    if !outdated.is_empty() {
        repeat_current_scores(connection, &outdated).await?;
    }
    let scored = written.into_iter().zip(views).zip(appended);
    Ok(scored
        .map(|(((_, submission_id, row), view), appended)| Scored { row, submission_id, view, appended })
        .collect())
}

/// A score that was stored.
pub(super) struct Scored<'a> {
    row: Row<'a>,
    submission_id: i64,
    view: ScoreView,
    appended: Appended,
}

/// The claims of which nothing was known before and of which nothing else came with the batch.
pub(super) fn fresh(
    rows: &[Row<'_>],
    upserted: &BTreeMap<Identity<'_>, Upserted>,
    scored: Vec<Scored<'_>>,
) -> Vec<Fresh> {
    let mut events: BTreeMap<Identity<'_>, usize> = BTreeMap::new();
    for row in rows {
        *events.entry(row.identity).or_default() += 1;
    }
    let fresh = scored.into_iter().filter_map(|Scored { row, submission_id, view, appended }| {
        let claim = upserted.get(&row.identity).filter(|claim| claim.inserted)?;
        if events.get(&row.identity) != Some(&1) {
            return None;
        }
        let given = Given {
            id: claim.id,
            practice_id: row.identity.0,
            payer_id: row.payer_id,
            payer_name: row.payer_name,
            provider_id: row.provider_id,
            provider: row.provider_id.and(refs::provider_key(&row.claim.billing_provider)),
            stored_at: claim.stored_at,
            version_time: row.version.0,
        };
        let score = RiskScoreView {
            id: appended.id,
            claim_id: claim.id,
            submission_id,
            claim_frequency_code: frequency(row.claim).to_owned(),
            calculated_at: appended.calculated_at,
            score: view,
        };
        Some(Fresh { claim: ClaimView::fresh(row.claim, row.score, &given), score })
    });
    fresh.collect()
}

/// A score's row.
pub(super) struct Appended {
    id: i64,
    calculated_at: Instant,
}

/// Appends scores of submissions, in the order given.
pub(super) async fn append(
    connection: &mut PgConnection,
    scores: &[(i64, &ScoreView)],
) -> Result<Vec<Appended>, Failure> {
    let json = |value: serde_json::Result<String>| value.unwrap_or_else(|_| "null".to_owned());
    let appended = sqlx::query_as!(
        Appended,
        "INSERT INTO risk_scores (claim_id, submission_id, overall_score, risk_level, log_odds_micro, component_scores,
             risk_factors, recommendations, blocking, model_version, rule_set_version, input_hash)
         SELECT s.claim_id, s.id, score::numeric / 10, level, log_odds, components::jsonb, factors::jsonb,
             recommendations::jsonb, blocking, model, rules, input
         FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bool[],
             $9::text[], $10::text[], $11::text[]) WITH ORDINALITY
             AS r (submission_id, score, level, log_odds, components, factors, recommendations, blocking, model, rules,
                   input, place)
         JOIN claim_submissions s ON s.id = r.submission_id
         ORDER BY place
         RETURNING id, calculated_at",
        &column!(scores, |(id, _)| *id),
        &column!(scores, |(_, view)| i64::from(view.overall_tenths())),
        &column!(scores, |(_, view)| view.risk_level.as_str()) as _,
        &column!(scores, |(_, view)| view.log_odds_micro),
        &column!(scores, |(_, view)| json(serde_json::to_string(&view.component_scores))),
        &column!(scores, |(_, view)| json(serde_json::to_string(&view.risk_factors))),
        &column!(scores, |(_, view)| json(serde_json::to_string(&view.recommendations))),
        &column!(scores, |(_, view)| view.blocking),
        &column!(scores, |(_, view)| view.model_version.as_str()) as _,
        &column!(scores, |(_, view)| view.rule_set_version.as_str()) as _,
        &column!(scores, |(_, view)| view.input_hash.as_str()) as _
    )
    .fetch_all(&mut *connection)
    .await?;
    append_shadows(connection, &appended, scores).await?;
    Ok(appended)
}

/// Stores what challengers said beside the scores, whose ids come in the same order.
async fn append_shadows(
    connection: &mut PgConnection,
    appended: &[Appended],
    scores: &[(i64, &ScoreView)],
) -> Result<(), Failure> {
    let shadows: Vec<(i64, &Shadow)> = appended
        .iter()
        .zip(scores)
        .flat_map(|(row, (_, view))| view.shadows.iter().map(|shadow| (row.id, shadow)))
        .collect();
    // A score without its submission would have shifted the order; and mostly nobody challenges.
    if shadows.is_empty() || appended.len() != scores.len() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO shadow_scores (risk_score_id, configuration_id, model_version, log_odds_micro)
         SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[])",
        &column!(shadows, |(id, _)| *id),
        &column!(shadows, |(_, shadow)| shadow.configuration_id),
        &column!(shadows, |(_, shadow)| &*shadow.model_version) as _,
        &column!(shadows, |(_, shadow)| shadow.logit_micro)
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn repeat_current_scores(connection: &mut PgConnection, claims: &[Identity<'_>]) -> Result<(), Failure> {
    sqlx::query!(
        "INSERT INTO risk_scores (claim_id, submission_id, overall_score, risk_level, log_odds_micro, component_scores,
             risk_factors, recommendations, blocking, model_version, rule_set_version, input_hash)
         SELECT newest.claim_id, newest.submission_id, newest.overall_score, newest.risk_level, newest.log_odds_micro,
             newest.component_scores, newest.risk_factors, newest.recommendations, newest.blocking, newest.model_version,
             newest.rule_set_version, newest.input_hash
         FROM unnest($1::bigint[], $2::text[], $3::text[]) AS r (practice_id, number, responsibility)
         JOIN claims c ON c.practice_id = r.practice_id AND c.patient_control_number = r.number
                      AND c.responsibility = r.responsibility
         CROSS JOIN LATERAL (SELECT s.id FROM claim_submissions s WHERE s.claim_id = c.id
                             ORDER BY s.version_time DESC, s.version_id DESC LIMIT 1) AS current
         CROSS JOIN LATERAL (SELECT * FROM risk_scores q WHERE q.claim_id = c.id AND q.submission_id = current.id
                             ORDER BY q.id DESC LIMIT 1) AS newest",
        &column!(claims, |key| key.0),
        &column!(claims, |key| key.1) as _,
        &column!(claims, |key| key.2) as _
    )
    .execute(connection)
    .await?;
    Ok(())
}
