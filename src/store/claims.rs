//! Stores claims: the claim's row, its submissions, its lines, its scores. In bulk, arrays in, ids out.
//!
//! A claim's row shows its newest event; each submission keeps its own newest version and is scored on its own.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::apply::Item;
use super::earlier;
use crate::domain::claim::Claim;
use crate::domain::earlier::frequency;
use crate::domain::link::normalise_control_number;
use crate::domain::member::MemberKey;
use crate::domain::score::{Score, Shadow, expected_loss};
use crate::domain::types::Instant;
use crate::error::Failure;
use crate::view::ScoreView;
use crate::wire::{ClaimData, Reason};

/// Separates the elements of a list inside one text value; no code or identifier contains it.
pub(super) const UNIT_SEPARATOR: &str = "\u{1f}";

/// Collects one column of a row set.
macro_rules! column {
    ($rows:expr, |$row:pat_param| $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}
pub(super) use column;

type Identity<'a> = (i64, &'a str, &'static str);
type SubmissionKey<'a> = (Identity<'a>, &'a str, &'a str);

/// A claim event of the batch.
#[derive(Clone, Copy)]
struct Row<'a> {
    place: usize,
    identity: Identity<'a>,
    claim: &'a Claim,
    score: &'a Score,
    version: (Instant, &'a str),
    payer_id: i64,
    provider_id: Option<i64>,
}

impl<'a> Row<'a> {
    fn submission(&self) -> SubmissionKey<'a> {
        (self.identity, frequency(self.claim), predecessor(self.claim))
    }

    fn member_number(&self) -> Option<i64> {
        self.claim.member_key().map(MemberKey::number)
    }
}

/// What a replacement or void names; an original names nothing.
fn predecessor(claim: &Claim) -> &str {
    crate::domain::earlier::predecessor(claim).map_or("", |number| number.expose())
}

/// Stores the claims of a batch and notes in each item where it went. Answers which members the claims named before, and
/// since when.
pub(super) async fn store(
    connection: &mut PgConnection,
    items: &mut [Item<'_>],
) -> Result<Vec<(i64, Instant)>, Failure> {
    let rows = rows(items)?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let newest = newest_by(&rows, |row| row.identity);
    let heads: Vec<Row<'_>> = newest.values().map(|place| rows[*place]).collect();
    let upserted = upsert_claims(connection, &heads).await?;
    let ids = with_older(connection, &newest, &upserted).await?;
    let submissions = newest_by(&rows, Row::submission);
    let is_new = |key: &Identity<'_>| upserted.get(key).is_some_and(|row| row.inserted);
    let known: Vec<i64> = ids.iter().filter(|(key, _)| !is_new(key)).map(|(_, id)| *id).collect();
    let left = earlier::members_of(connection, &known).await?;
    let stored = upsert_submissions(connection, &rows, &submissions, &ids).await?;
    replace_lines(connection, &heads, &upserted).await?;
    insert_scores(connection, &rows, &newest, &upserted, &stored).await?;
    for row in &rows {
        let item = &mut items[row.place];
        item.stored.claim_id = ids.get(&row.identity).copied();
        let newest_version = submissions.get(&row.submission()).is_some_and(|at| rows[*at].place == row.place);
        item.stored.superseded = !(newest_version && stored.contains_key(&row.submission()));
    }
    Ok(left)
}

fn rows<'a>(items: &[Item<'a>]) -> Result<Vec<Row<'a>>, Failure> {
    let mut rows = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let Some((claim, score)) = item.claim() else { continue };
        let payer_id =
            item.payer_id.ok_or_else(|| Failure::Permanent(Reason::Internal, "payer without an id".to_owned()))?;
        let event = &item.work.event;
        rows.push(Row {
            place,
            identity: (item.practice_id, claim.patient_control_number.expose(), claim.responsibility.code()),
            claim,
            score,
            version: (event.time, &event.id),
            payer_id,
            provider_id: item.provider_id,
        });
    }
    Ok(rows)
}

/// The place in `rows` of the newest version per key, in the order of the keys.
fn newest_by<'a, K: Ord>(rows: &[Row<'a>], key: impl Fn(&Row<'a>) -> K) -> BTreeMap<K, usize> {
    let mut newest: BTreeMap<K, usize> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        let best = newest.entry(key(row)).or_insert(at);
        if rows[*best].version < row.version {
            *best = at;
        }
    }
    newest
}

/// A claim's row that this batch wrote.
#[derive(Clone, Copy)]
struct Upserted {
    id: i64,
    inserted: bool,
}

/// Inserts new claims and updates those whose row is older. Rows of newer versions are left alone and not answered.
async fn upsert_claims<'a>(
    connection: &mut PgConnection,
    heads: &[Row<'a>],
) -> Result<BTreeMap<Identity<'a>, Upserted>, Failure> {
    let lists = column!(heads, |row| row.claim.diagnosis_codes.join(UNIT_SEPARATOR));
    let exposed = |number: &'a Option<crate::domain::types::Phi<String>>| number.as_ref().map(|n| n.expose().as_str());
    let answer = sqlx::query_file!(
        "src/store/sql/upsert_claims.sql",
        &column!(heads, |row| row.identity.0),
        &column!(heads, |row| row.payer_id),
        &column!(heads, |row| row.provider_id) as _,
        &column!(heads, |row| row.identity.1) as _,
        &column!(heads, |row| normalise_control_number(row.identity.1)),
        &column!(heads, |row| row.identity.2) as _,
        &column!(heads, |row| exposed(&row.claim.claim_control_number)) as _,
        &column!(heads, |row| exposed(&row.claim.payer_claim_control_number)) as _,
        &column!(heads, |row| frequency(row.claim)) as _,
        &column!(heads, |row| row.claim.claim_type.as_str()) as _,
        &column!(heads, |row| row.claim.filing_indicator.as_deref()) as _,
        &column!(heads, |row| row.claim.facility_type_code.as_deref()) as _,
        &column!(heads, |row| row.claim.assignment_code.as_deref()) as _,
        &column!(heads, |row| row.claim.total_charge.get()),
        &column!(heads, |row| row.claim.statement_date) as _,
        &column!(heads, |row| row.claim.admission_date) as _,
        &column!(heads, |row| row.claim.discharge_date) as _,
        &column!(heads, |row| row.claim.service_date()) as _,
        &column!(heads, |row| row.claim.last_service_date()) as _,
        &column!(heads, |row| row.claim.submitted_at) as _,
        &column!(heads, |row| exposed(&row.claim.subscriber.member_id)) as _,
        &lists,
        &column!(heads, |row| i64::from(row.score.overall_tenths)),
        &column!(heads, |row| row.score.level.as_str()) as _,
        &column!(heads, |row| expected_loss(row.claim.total_charge, row.score.overall_tenths).get()),
        &column!(heads, |row| row.version.0),
        &column!(heads, |row| row.version.1) as _,
        &(0..heads.len() as i64).collect::<Vec<_>>(),
        UNIT_SEPARATOR
    )
    .fetch_all(connection)
    .await?;
    let written: BTreeMap<(i64, String, String), Upserted> = answer
        .into_iter()
        .map(|row| {
            let identity = (row.practice_id, row.patient_control_number, row.responsibility);
            (identity, Upserted { id: row.id, inserted: row.inserted })
        })
        .collect();
    let find =
        |identity: &Identity<'_>| written.get(&(identity.0, identity.1.to_owned(), identity.2.to_owned())).copied();
    Ok(heads.iter().filter_map(|row| Some((row.identity, find(&row.identity)?))).collect())
}

/// Adds the ids of the claims whose rows were newer than the batch.
async fn with_older<'a>(
    connection: &mut PgConnection,
    newest: &BTreeMap<Identity<'a>, usize>,
    upserted: &BTreeMap<Identity<'a>, Upserted>,
) -> Result<BTreeMap<Identity<'a>, i64>, Failure> {
    let mut ids: BTreeMap<Identity<'a>, i64> = upserted.iter().map(|(key, row)| (*key, row.id)).collect();
    let older: Vec<Identity<'a>> = newest.keys().filter(|key| !ids.contains_key(*key)).copied().collect();
    if older.is_empty() {
        return Ok(ids);
    }
    let rows = sqlx::query!(
        r#"SELECT c.id, r.place AS "place!"
           FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS r (practice_id, number, responsibility, place)
           JOIN claims c ON c.practice_id = r.practice_id AND c.patient_control_number = r.number
                        AND c.responsibility = r.responsibility"#,
        &column!(older, |key| key.0),
        &column!(older, |key| key.1) as _,
        &column!(older, |key| key.2) as _
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let key = usize::try_from(row.place - 1).ok().and_then(|place| older.get(place));
        ids.extend(key.map(|key| (*key, row.id)));
    }
    Ok(ids)
}

/// Inserts new submissions and new versions of known ones; answers the ids of those written.
async fn upsert_submissions<'a>(
    connection: &mut PgConnection,
    rows: &[Row<'a>],
    submissions: &BTreeMap<SubmissionKey<'a>, usize>,
    ids: &BTreeMap<Identity<'a>, i64>,
) -> Result<BTreeMap<SubmissionKey<'a>, i64>, Failure> {
    let mut newest: Vec<(i64, Row<'a>)> =
        submissions.values().filter_map(|at| Some((*ids.get(&rows[*at].identity)?, rows[*at]))).collect();
    newest.sort_unstable_by_key(|(claim_id, row)| (*claim_id, frequency(row.claim), predecessor(row.claim)));
    let first_times = first_times(rows, &newest);
    let bodies = newest
        .iter()
        .map(|(_, row)| serde_json::to_string(&ClaimData::from(row.claim)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Failure::Permanent(Reason::Internal, "claim cannot be written as JSON".to_owned()))?;
    let answer = sqlx::query!(
        r#"INSERT INTO claim_submissions AS s (claim_id, frequency_code, predecessor, submitted_at, body, version_time,
               version_id, member_key, first_time)
           SELECT claim_id, frequency, predecessor, submitted, body::jsonb, time, event, member, first
           FROM unnest($1::bigint[], $2::text[], $3::text[], $4::date[], $5::text[], $6::timestamptz[], $7::text[],
               $8::bigint[], $9::timestamptz[])
               AS r (claim_id, frequency, predecessor, submitted, body, time, event, member, first)
           ON CONFLICT ON CONSTRAINT claim_submissions_identity DO UPDATE SET
               submitted_at = excluded.submitted_at, body = excluded.body, version_time = excluded.version_time,
               version_id = excluded.version_id, member_key = excluded.member_key,
               first_time = least(s.first_time, excluded.first_time)
           WHERE (excluded.version_time, excluded.version_id) > (s.version_time, s.version_id)
           RETURNING id, claim_id, frequency_code, predecessor"#,
        &column!(newest, |(claim_id, _)| *claim_id),
        &column!(newest, |(_, row)| frequency(row.claim)) as _,
        &column!(newest, |(_, row)| predecessor(row.claim)) as _,
        &column!(newest, |(_, row)| row.claim.submitted_at) as _,
        &bodies,
        &column!(newest, |(_, row)| row.version.0),
        &column!(newest, |(_, row)| row.version.1) as _,
        &column!(newest, |(_, row)| row.member_number()) as _,
        &first_times
    )
    .fetch_all(&mut *connection)
    .await?;
    // A label teaches of the claim as it was sent last: the learner has to look again.
    let ids_written: Vec<i64> = answer.iter().map(|row| row.id).collect();
    sqlx::query!("UPDATE claim_outcomes SET updated_at = now() WHERE submission_id = ANY($1)", &ids_written)
        .execute(&mut *connection)
        .await?;
    if answer.len() < newest.len() {
        lower_first_times(connection, &newest, &first_times).await?;
    }
    let written: BTreeMap<(i64, &str, &str), i64> = answer
        .iter()
        .map(|row| ((row.claim_id, row.frequency_code.as_str(), row.predecessor.as_str()), row.id))
        .collect();
    Ok(newest
        .iter()
        .filter_map(|(claim_id, row)| {
            let id = written.get(&(*claim_id, frequency(row.claim), predecessor(row.claim)))?;
            Some((row.submission(), *id))
        })
        .collect())
}

/// The time of the oldest version in the batch of each of these submissions.
fn first_times(rows: &[Row<'_>], newest: &[(i64, Row<'_>)]) -> Vec<Instant> {
    let mut first: BTreeMap<SubmissionKey<'_>, Instant> = BTreeMap::new();
    for row in rows {
        let time = first.entry(row.submission()).or_insert(row.version.0);
        *time = row.version.0.min(*time);
    }
    column!(newest, |(_, row)| first.get(&row.submission()).copied().unwrap_or(row.version.0))
}

/// A version that is older than the stored one may still be the first.
async fn lower_first_times(
    connection: &mut PgConnection,
    newest: &[(i64, Row<'_>)],
    first_times: &[Instant],
) -> Result<(), Failure> {
    sqlx::query!(
        "UPDATE claim_submissions s SET first_time = r.first
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[]) AS r (claim_id, frequency, predecessor, first)
         WHERE s.claim_id = r.claim_id AND s.frequency_code = r.frequency AND s.predecessor = r.predecessor
           AND r.first < s.first_time",
        &column!(newest, |(claim_id, _)| *claim_id),
        &column!(newest, |(_, row)| frequency(row.claim)) as _,
        &column!(newest, |(_, row)| predecessor(row.claim)) as _,
        first_times
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The claim's lines are those of its newest event.
async fn replace_lines<'a>(
    connection: &mut PgConnection,
    heads: &[Row<'a>],
    upserted: &BTreeMap<Identity<'a>, Upserted>,
) -> Result<(), Failure> {
    let updated: Vec<i64> = upserted.values().filter(|row| !row.inserted).map(|row| row.id).collect();
    if !updated.is_empty() {
        sqlx::query!("DELETE FROM claim_lines WHERE claim_id = ANY($1)", &updated).execute(&mut *connection).await?;
    }
    let mut lines = Vec::new();
    for row in heads {
        let Some(written) = upserted.get(&row.identity) else { continue };
        lines.extend(row.claim.lines.iter().zip(1_i32..).map(|(line, number)| (written.id, number, line)));
    }
    sqlx::query!(
        "INSERT INTO claim_lines (claim_id, line_number, control_number, procedure_code, modifiers, revenue_code,
             charge_amount, units, place_of_service, service_date_from, service_date_to)
         SELECT claim_id, number, control, code, string_to_array(modifiers, $12), revenue, charge::numeric / 100,
             units::numeric / 1000, place, from_date, to_date
         FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
             $9::text[], $10::date[], $11::date[])
             AS r (claim_id, number, control, code, modifiers, revenue, charge, units, place, from_date, to_date)",
        &column!(lines, |line| line.0),
        &column!(lines, |line| line.1),
        &column!(lines, |line| line.2.control_number.as_ref().map(|number| number.expose().as_str())) as _,
        &column!(lines, |line| line.2.procedure_code.as_deref()) as _,
        &column!(lines, |line| line.2.modifiers.join(UNIT_SEPARATOR)),
        &column!(lines, |line| line.2.revenue_code.as_deref()) as _,
        &column!(lines, |line| line.2.charge.get()),
        &column!(lines, |line| line.2.units.map(crate::domain::types::Units::thousandths)) as _,
        &column!(lines, |line| line.2.place_of_service.as_deref()) as _,
        &column!(lines, |line| line.2.service_from) as _,
        &column!(lines, |line| line.2.service_to) as _,
        UNIT_SEPARATOR
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Appends the scores of the submissions written, the claim's newest last; where the claim's newest submission is not
/// among them, its score is appended once more, so that a claim's newest score row is always its current one.
async fn insert_scores<'a>(
    connection: &mut PgConnection,
    rows: &[Row<'a>],
    newest: &BTreeMap<Identity<'a>, usize>,
    upserted: &BTreeMap<Identity<'a>, Upserted>,
    stored: &BTreeMap<SubmissionKey<'a>, i64>,
) -> Result<(), Failure> {
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
    append_scores(connection, &scores).await?;
    let outdated: Vec<Identity<'a>> = outdated.into_iter().collect();
    if !outdated.is_empty() {
        repeat_current_scores(connection, &outdated).await?;
    }
    Ok(())
}

/// Appends scores of submissions, in the order given.
pub(super) async fn append_scores(
    connection: &mut PgConnection,
    scores: &[(i64, &ScoreView)],
) -> Result<Vec<i64>, Failure> {
    let json = |value: serde_json::Result<String>| value.unwrap_or_else(|_| "null".to_owned());
    let ids = sqlx::query_scalar!(
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
         RETURNING id",
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
    append_shadows(connection, &ids, scores).await?;
    Ok(ids)
}

/// Stores what challengers said beside the scores, whose ids come in the same order.
async fn append_shadows(
    connection: &mut PgConnection,
    ids: &[i64],
    scores: &[(i64, &ScoreView)],
) -> Result<(), Failure> {
    let shadows: Vec<(i64, &Shadow)> =
        ids.iter().zip(scores).flat_map(|(id, (_, view))| view.shadows.iter().map(|shadow| (*id, shadow))).collect();
    // A score without its submission would have shifted the order; and mostly nobody challenges.
    if shadows.is_empty() || ids.len() != scores.len() {
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
