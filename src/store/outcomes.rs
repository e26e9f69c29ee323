//! The SQL of labels: reads a claim's submissions and linked remittances, folds them, writes outcomes and status.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::claims::column;
use super::label_scores::{self, Label};
use super::reconcile::Changes;
use crate::domain::drift::Labelled;
use crate::domain::outcome::{Adjudicated, Adjudication, Outcome, Submission, SubmissionOutcome, fold};
use crate::domain::types::{Cents, Date, Instant, Phi};
use crate::error::Failure;

/// Locks claims in the order of their ids.
pub(super) async fn lock(connection: &mut PgConnection, claims: &[i64]) -> Result<(), Failure> {
    if !claims.is_empty() {
        sqlx::query!("SELECT id FROM claims WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE", claims)
            .fetch_all(connection)
            .await?;
    }
    Ok(())
}

/// A submission of a claim, in the order of its versions: the last of a claim is its current one.
struct Sent {
    claim_id: i64,
    submission: Submission,
    version_id: String,
    /// Whether the claim had been turned back so far.
    was_rejected: bool,
}

/// Claims with answers.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// All of them.
    pub(super) claims: Vec<i64>,
    /// Those that may have come to stand or fall for later claims: reversed, voided, turned back, or not any more.
    pub(super) unsteady: Vec<i64>,
    /// First labels.
    pub(super) labelled: Vec<Labelled>,
}

/// Recomputes outcomes and status of claims from their rows, and writes what differs.
pub(super) async fn update(
    connection: &mut PgConnection,
    claims: &[i64],
    changes: &mut Changes,
) -> Result<Answered, Failure> {
    let concerned = with_answers(connection, claims).await?;
    if concerned.is_empty() {
        return Ok(Answered::default());
    }
    let sent = submissions(connection, &concerned).await?;
    let mut answers = answers(connection, &concerned).await?;
    let acknowledgements = acknowledgements(connection, &concerned).await?;
    let (mut outcomes, mut statuses, mut unsteady) = (Vec::new(), Vec::new(), Vec::new());
    for of_claim in sent.chunk_by(|a, b| a.claim_id == b.claim_id) {
        let Some(current) = of_claim.iter().max_by_key(|sent| (sent.submission.version_time, &sent.version_id)) else {
            continue;
        };
        let submissions: Vec<Submission> = of_claim.iter().map(|sent| sent.submission.clone()).collect();
        let answers = answers.remove(&current.claim_id).unwrap_or_default().into_iter();
        let answers: Vec<Adjudicated> = answers.map(|(_, answer)| answer).collect();
        let folded = fold(&submissions, &answers);
        let acknowledged = acknowledgements.get(&current.claim_id);
        let turned_back = current.was_rejected || acknowledged.is_some_and(|(_, accepted)| !accepted);
        let voided = submissions.iter().any(|submission| submission.frequency_code == "8");
        if turned_back || voided || answers.iter().any(|answer| answer.adjudication == Adjudication::Reversal) {
            unsteady.push(current.claim_id);
        }
        let acknowledged =
            acknowledged.filter(|(time, _)| *time >= current.submission.version_time).map(|(_, accepted)| *accepted);
        statuses.push((current.claim_id, status(&current.submission, &folded, acknowledged)));
        outcomes.extend(folded.into_iter().map(|outcome| (current.claim_id, outcome)));
    }
    let labels = write_outcomes(connection, &concerned, &outcomes, changes).await?;
    write_statuses(connection, &statuses, changes).await?;
    let labelled = label_scores::bind(connection, &labels).await?;
    Ok(Answered { claims: concerned, unsteady, labelled })
}

/// A claim's status: what became of its current submission, else what was acknowledged, else that it was submitted.
fn status(current: &Submission, outcomes: &[SubmissionOutcome], acknowledged: Option<bool>) -> &'static str {
    if current.frequency_code == "8" {
        return "voided";
    }
    let outcome = outcomes.iter().find(|outcome| outcome.submission_id == current.id);
    match (outcome.and_then(|outcome| outcome.r#final.or(outcome.initial)), acknowledged) {
        (Some(outcome), _) => outcome.as_str(),
        (None, Some(true)) => "accepted",
        (None, Some(false)) => "rejected",
        (None, None) => "submitted",
    }
}

/// Of the given claims, those for which there is more than the claim itself: a remittance, an acknowledgement, an
/// outcome, several submissions, or a status that says so.
pub(super) async fn with_answers(connection: &mut PgConnection, claims: &[i64]) -> Result<Vec<i64>, Failure> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_scalar!(
        r#"SELECT found.id AS "id!" FROM (
               SELECT c.id FROM claims c WHERE c.id = ANY($1) AND (c.status <> 'submitted' OR c.claim_frequency_type = '8')
               UNION SELECT r.claim_id FROM remittances r WHERE r.claim_id = ANY($1)
               UNION SELECT o.claim_id FROM claim_outcomes o WHERE o.claim_id = ANY($1)
               UNION SELECT c.id FROM claims c CROSS JOIN LATERAL (SELECT FROM claim_acknowledgements a
                     WHERE a.practice_id = c.practice_id AND a.patient_control_number = c.patient_control_number
                     LIMIT 1) AS a WHERE c.id = ANY($1)
           ) AS found ORDER BY found.id"#,
        claims
    )
    .fetch_all(connection)
    .await?)
}

async fn submissions(connection: &mut PgConnection, claims: &[i64]) -> Result<Vec<Sent>, Failure> {
    let rows = sqlx::query!(
        r#"SELECT s.id, s.claim_id, s.frequency_code, s.predecessor, s.submitted_at, s.version_time, s.version_id,
               c.status = 'rejected' AS "was_rejected!"
           FROM claim_submissions s JOIN claims c ON c.id = s.claim_id WHERE s.claim_id = ANY($1)
           ORDER BY s.claim_id, s.id"#,
        claims
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Sent {
            claim_id: row.claim_id,
            version_id: row.version_id,
            was_rejected: row.was_rejected,
            submission: submission(row.id, row.frequency_code, row.predecessor, row.submitted_at, row.version_time),
        })
        .collect())
}

/// A submission as its columns tell of it.
pub(super) fn submission(
    id: i64,
    frequency_code: String,
    predecessor: String,
    submitted_at: Option<Date>,
    version_time: Instant,
) -> Submission {
    let payer_claim_control_number = Some(predecessor).filter(|text| !text.is_empty()).map(Phi::new);
    Submission { id, frequency_code, payer_claim_control_number, submitted_at, version_time }
}

/// The remittances linked to claims, with the times of their events.
pub(super) async fn answers(
    connection: &mut PgConnection,
    claims: &[i64],
) -> Result<BTreeMap<i64, Vec<(Instant, Adjudicated)>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT id, claim_id AS "claim_id!", adjudication, payment_date, trace_number, claim_ordinal,
               (payment_amount * 100)::bigint AS "payment!", claim_frequency_code, payer_claim_control_number,
               version_time
           FROM remittances WHERE claim_id = ANY($1) ORDER BY id"#,
        claims
    )
    .fetch_all(connection)
    .await?;
    let mut answers: BTreeMap<i64, Vec<(Instant, Adjudicated)>> = BTreeMap::new();
    for row in rows {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let adjudicated = Adjudicated {
            remittance_id: row.id,
            adjudication: Adjudication::parse(&row.adjudication).unwrap_or(Adjudication::Pending),
            payment_date: row.payment_date,
            trace_number: given(row.trace_number),
            ordinal: u32::try_from(row.claim_ordinal).unwrap_or(0),
            payment: Cents::new(row.payment),
            frequency_code: row.claim_frequency_code,
            payer_claim_control_number: given(row.payer_claim_control_number).map(Phi::new),
        };
        answers.entry(row.claim_id).or_default().push((row.version_time, adjudicated));
    }
    Ok(answers)
}

/// The newest acknowledgements of claims: when each came, and whether the claim was taken in.
pub(super) async fn acknowledgements(
    connection: &mut PgConnection,
    claims: &[i64],
) -> Result<BTreeMap<i64, (Instant, bool)>, sqlx::Error> {
    let rows = sqlx::query!(
        // One probe of the index per claim, whatever the planner thinks of the table.
        "SELECT c.id, a.version_time, a.accepted FROM claims c
         CROSS JOIN LATERAL (SELECT a.version_time, a.accepted FROM claim_acknowledgements a
             WHERE a.practice_id = c.practice_id AND a.patient_control_number = c.patient_control_number LIMIT 1) AS a
         WHERE c.id = ANY($1)",
        claims
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, (row.version_time, row.accepted))).collect())
}

/// Writes the outcomes that differ from what is stored; answers those that are labels.
async fn write_outcomes(
    connection: &mut PgConnection,
    claims: &[i64],
    outcomes: &[(i64, SubmissionOutcome)],
    changes: &mut Changes,
) -> Result<Vec<Label>, Failure> {
    let labelled: BTreeSet<i64> = outcomes.iter().map(|(_, outcome)| outcome.submission_id).collect();
    let labelled: Vec<i64> = labelled.into_iter().collect();
    sqlx::query!(
        "WITH gone AS (
             DELETE FROM claim_outcomes WHERE claim_id = ANY($1) AND submission_id <> ALL($2) RETURNING submission_id)
         INSERT INTO label_changes (submission_id) SELECT submission_id FROM gone",
        claims,
        &labelled
    )
    .execute(&mut *connection)
    .await?;
    let word = |outcome: Option<Outcome>| outcome.map(Outcome::as_str);
    let written = sqlx::query!(
        "INSERT INTO claim_outcomes AS o (claim_id, submission_id, initial_outcome, final_outcome, initial_remittance_id,
             final_remittance_id, initial_date, net_payment_amount, overturned)
         SELECT claim_id, submission_id, initial, final, initial_id, final_id, initial_date, net::numeric / 100, overturned
         FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::date[],
             $8::bigint[], $9::bool[])
             AS m (claim_id, submission_id, initial, final, initial_id, final_id, initial_date, net, overturned)
         ON CONFLICT (submission_id) DO UPDATE SET initial_outcome = excluded.initial_outcome,
             final_outcome = excluded.final_outcome, initial_remittance_id = excluded.initial_remittance_id,
             final_remittance_id = excluded.final_remittance_id, initial_date = excluded.initial_date,
             net_payment_amount = excluded.net_payment_amount, overturned = excluded.overturned, updated_at = now()
         WHERE (o.initial_outcome, o.final_outcome, o.initial_remittance_id, o.final_remittance_id, o.initial_date,
                o.net_payment_amount, o.overturned)
             IS DISTINCT FROM (excluded.initial_outcome, excluded.final_outcome, excluded.initial_remittance_id,
                excluded.final_remittance_id, excluded.initial_date, excluded.net_payment_amount, excluded.overturned)
         RETURNING o.claim_id, o.submission_id, o.initial_outcome, o.final_outcome",
        &column!(outcomes, |(claim_id, _)| *claim_id),
        &column!(outcomes, |(_, o)| o.submission_id),
        &column!(outcomes, |(_, o)| word(o.initial)) as _,
        &column!(outcomes, |(_, o)| word(o.r#final)) as _,
        &column!(outcomes, |(_, o)| o.initial_remittance_id) as _,
        &column!(outcomes, |(_, o)| o.final_remittance_id) as _,
        &column!(outcomes, |(_, o)| o.initial_date) as _,
        &column!(outcomes, |(_, o)| o.net_payment.get()),
        &column!(outcomes, |(_, o)| o.overturned)
    )
    .fetch_all(connection)
    .await?;
    let read = |word: Option<&str>| word.and_then(Outcome::parse);
    let mut labels = Vec::new();
    for row in written {
        changes.claims.insert(row.claim_id);
        changes.outcomes.extend(read(row.final_outcome.as_deref()).map(Outcome::as_str));
        if let Some(outcome) = read(row.initial_outcome.as_deref()) {
            let (claim_id, submission_id) = (row.claim_id, row.submission_id);
            labels.push(Label { claim_id, submission_id, denied: outcome.is_denial() });
        }
    }
    Ok(labels)
}

async fn write_statuses(
    connection: &mut PgConnection,
    statuses: &[(i64, &'static str)],
    changes: &mut Changes,
) -> Result<(), Failure> {
    // A claim shows its outcome: another outcome is another revision, even where the status stays.
    let relabelled: Vec<i64> = changes.claims.iter().copied().collect();
    let changed = sqlx::query_scalar!(
        "UPDATE claims c SET status = m.status, revision = c.revision + 1, updated_at = now()
         FROM unnest($1::bigint[], $2::text[]) AS m (id, status)
         WHERE c.id = m.id AND (c.status <> m.status OR c.id = ANY($3)) RETURNING c.id",
        &column!(statuses, |(id, _)| *id),
        &column!(statuses, |(_, status)| *status) as _,
        &relabelled
    )
    .fetch_all(connection)
    .await?;
    changes.claims.extend(changed);
    Ok(())
}
