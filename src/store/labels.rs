//! The labels that models are learned from, and the history they belong to, as they are stored.
//!
//! Must never: make a label that a history in memory would not make of the same events.

use std::sync::Arc;

use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use crate::domain::claim::Claim;
use crate::domain::model::{Answered, Features, Label, LineOfClaim, LineOfRemittance, OrderKey, line_labels};
use crate::domain::outcome::{LineVerdict, Outcome};
use crate::domain::reference::ReferenceTables;
use crate::domain::rules::Facts;
use crate::domain::score::factors;
use crate::domain::types::{Date, Instant};
use crate::history::{Answer, History, Told};
use crate::wire;

/// Where reading the labels goes on: what changed last, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cursor {
    at: Option<Instant>,
    id: i64,
}

impl Cursor {
    /// The time of the last change that was read.
    pub const fn at(&self) -> Option<Instant> {
        self.at
    }

    /// The same a little earlier, for what was committed late.
    #[must_use]
    pub fn back(self, by: chrono::Duration) -> Self {
        Self { at: self.at.map(|at| at - by), id: 0 }
    }
}

/// A submission whose label changed.
pub struct Changed {
    /// The submission.
    pub submission_id: i64,
    /// Its label, with its place in the ledger and what bears on the claim; none when it has no label any more.
    pub label: Option<(OrderKey, Features, Label)>,
}

/// Reads labels that changed after a place, a page of them; an empty page is the end.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn changed(
    connection: &mut PgConnection,
    cursor: &mut Cursor,
    page: i64,
    tables: &Arc<ReferenceTables>,
) -> Result<Vec<Changed>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT o.id, o.updated_at, o.submission_id, o.initial_outcome, s.predecessor, s.version_time, s.version_id,
               s.body AS "body: Json<Box<serde_json::value::RawValue>>", r.version_time AS "arrived?",
               r.trace_number AS "trace_number?",
               r.payer_claim_control_number AS "payer_number?", r.claim_ordinal AS "ordinal?",
               coalesce(o.initial_date, (r.version_time AT TIME ZONE 'UTC')::date) AS decided,
               (SELECT json_agg(json_build_array(l.control_number, coalesce(l.procedure_code, l.revenue_code), l.outcome)
                    ORDER BY l.line_number) FROM remittance_lines l WHERE l.remittance_id = r.id)
                   AS "lines: Json<Vec<LineRow>>"
           FROM claim_outcomes o JOIN claim_submissions s ON s.id = o.submission_id
           LEFT JOIN remittances r ON r.id = o.initial_remittance_id
           WHERE (o.updated_at, o.id) > (coalesce($1, '-infinity'::timestamptz), $2)
           ORDER BY o.updated_at, o.id LIMIT $3"#,
        cursor.at,
        cursor.id,
        page
    )
    .fetch_all(connection)
    .await?;
    if let Some(last) = rows.last() {
        *cursor = Cursor { at: Some(last.updated_at), id: last.id };
    }
    Ok(rows.iter().map(|row| Changed { submission_id: row.submission_id, label: row.label(tables) }).collect())
}

/// Submissions that lost their label since a time; some of them may have one again. What is a day old is cleared.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn removed(connection: &mut PgConnection, since: Instant) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query!("DELETE FROM label_removals WHERE removed_at < now() - interval '1 day'")
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar!("SELECT submission_id FROM label_removals WHERE removed_at >= $1", since)
        .fetch_all(connection)
        .await
}

/// All submissions with their answers, as a history to play again.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn history(pool: &PgPool, tables: &Arc<ReferenceTables>) -> Result<History, sqlx::Error> {
    let (mut submissions, mut after) = (Vec::new(), 0);
    loop {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT s.id, s.created_at AS updated_at, s.id AS submission_id, o.initial_outcome AS "initial_outcome?",
                   s.predecessor, s.version_time, s.version_id, s.body AS "body: Json<Box<serde_json::value::RawValue>>",
                   r.version_time AS "arrived?", r.trace_number AS "trace_number?",
                   r.payer_claim_control_number AS "payer_number?", r.claim_ordinal AS "ordinal?",
                   coalesce(o.initial_date, (r.version_time AT TIME ZONE 'UTC')::date) AS decided,
                   (SELECT json_agg(json_build_array(l.control_number, coalesce(l.procedure_code, l.revenue_code), l.outcome)
                        ORDER BY l.line_number) FROM remittance_lines l WHERE l.remittance_id = r.id)
                       AS "lines: Json<Vec<LineRow>>"
               FROM claim_submissions s LEFT JOIN claim_outcomes o ON o.submission_id = s.id
               LEFT JOIN remittances r ON r.id = o.initial_remittance_id
               WHERE s.id > $1 ORDER BY s.id LIMIT 1000"#,
            after
        )
        .fetch_all(pool)
        .await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        submissions.extend(rows.iter().filter_map(|row| row.told(tables)));
    }
    Ok(History::of_submissions(submissions))
}

struct Row {
    id: i64,
    updated_at: Instant,
    submission_id: i64,
    initial_outcome: Option<String>,
    predecessor: String,
    version_time: Instant,
    version_id: String,
    body: Json<Box<serde_json::value::RawValue>>,
    arrived: Option<Instant>,
    trace_number: Option<String>,
    payer_number: Option<String>,
    ordinal: Option<i32>,
    decided: Option<Date>,
    lines: Option<Json<Vec<LineRow>>>,
}

/// The submitter's line number, the procedure or revenue code, what was decided.
type LineRow = (Option<String>, Option<String>, String);

impl Row {
    /// The claim as it was sent, with the facts around it. What is stored was read before, when its event came.
    fn claim(&self, tables: &Arc<ReferenceTables>) -> Option<(Claim, Facts)> {
        let claim = wire::read_claim(self.body.0.get().as_bytes()).ok()?;
        let facts = Facts::of(&claim, self.version_time.date_naive()).with_tables(Arc::clone(tables));
        Some((claim, facts))
    }

    fn label(&self, tables: &Arc<ReferenceTables>) -> Option<(OrderKey, Features, Label)> {
        let (claim, facts) = self.claim(tables)?;
        let (order, label) = self.answer(&claim, &facts)?;
        Some((order, factors(&claim, &facts), label))
    }

    fn told(&self, tables: &Arc<ReferenceTables>) -> Option<Told> {
        let (claim, facts) = self.claim(tables)?;
        let answer = self.answer(&claim, &facts).and_then(|(order, label)| {
            let outcome = Outcome::parse(self.initial_outcome.as_deref()?)?;
            Some(Answer { outcome, label, order, arrived: self.arrived?, features: None })
        });
        Some(Told::of(&claim, &facts, (self.version_time, self.version_id.clone()), answer))
    }

    fn answer(&self, claim: &Claim, facts: &Facts) -> Option<(OrderKey, Label)> {
        let denied = Outcome::parse(self.initial_outcome.as_deref()?)?.is_denial();
        let decided = self.decided?;
        let order = OrderKey::new(
            decided,
            &Answered {
                practice: claim.practice_key().unwrap_or_default(),
                number: claim.patient_control_number.expose(),
                place: claim.responsibility.code(),
                frequency: &claim.frequency_code,
                predecessor: &self.predecessor,
                trace: self.trace_number.as_deref().unwrap_or_default(),
                payer_number: self.payer_number.as_deref().unwrap_or_default(),
                ordinal: self.ordinal.and_then(|ordinal| u32::try_from(ordinal).ok()).unwrap_or(0),
            },
        );
        let of_claim: Vec<LineOfClaim> = claim.lines.iter().map(LineOfClaim::of).collect();
        let lines = self.lines.iter().flat_map(|lines| &lines.0);
        let remitted: Vec<LineOfRemittance> = lines
            .map(|(control_number, code, outcome)| LineOfRemittance {
                control_number: control_number.clone(),
                code: code.clone(),
                verdict: LineVerdict::parse(outcome).unwrap_or(LineVerdict::NoDecision),
            })
            .collect();
        let sent = facts.as_of.unwrap_or_else(|| self.version_time.date_naive());
        Some((order, Label::new(sent, decided, denied, line_labels(&of_claim, denied, &remitted))))
    }
}
