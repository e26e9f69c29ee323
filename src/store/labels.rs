//! The labels that models are learned from, and the history they belong to, as they are stored.
//!
//! Must never: make a label that a history in memory would not make of the same events.

use std::sync::Arc;

use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use super::earlier::{self, Asked};
use crate::domain::claim::Claim;
use crate::domain::earlier::{Moment, taught_at};
use crate::domain::model::{Answered, Features, Label, LineOfClaim, LineOfRemittance, OrderKey, line_labels};
use crate::domain::outcome::{LineVerdict, Outcome};
use crate::domain::reference::ReferenceTables;
use crate::domain::rules::{EarlierClaim, Facts};
use crate::domain::score::factors;
use crate::domain::types::{Date, Instant, Phi};
use crate::history::{Answer, History, Told};
use crate::wire;

/// Where reading the labels goes on: what changed last, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cursor {
    at: Option<Instant>,
    id: i64,
}

impl Cursor {
    /// What changed at a time or later; everything without one.
    pub const fn since(at: Option<Instant>) -> Self {
        Self { at, id: 0 }
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
    let rows = rows(connection, *cursor, page, None).await?;
    if let Some(last) = rows.last() {
        *cursor = Cursor { at: Some(last.updated_at), id: last.id };
    }
    labels(connection, &rows, tables).await
}

/// Reads the labels of submissions; one that has no label is not among them.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn of(
    connection: &mut PgConnection,
    submissions: &[i64],
    tables: &Arc<ReferenceTables>,
) -> Result<Vec<Changed>, sqlx::Error> {
    let rows = rows(connection, Cursor::default(), 0, Some(submissions)).await?;
    labels(connection, &rows, tables).await
}

/// The time by the clock of the database.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn now(connection: &mut PgConnection) -> Result<Instant, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT now() AS "now!""#).fetch_one(connection).await
}

/// Submissions that lost their label since a time, or whose label teaches of something else now. What is a day old is
/// cleared.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn to_look_at_again(connection: &mut PgConnection, since: Instant) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query!("DELETE FROM label_changes WHERE changed_at < now() - interval '1 day'")
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar!("SELECT DISTINCT submission_id FROM label_changes WHERE changed_at >= $1", since)
        .fetch_all(connection)
        .await
}

/// All submissions with their answers, as a history to play again.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn history(pool: &PgPool, tables: &Arc<ReferenceTables>) -> Result<History, sqlx::Error> {
    let (mut submissions, mut after) = (Vec::new(), 0);
    let mut connection = pool.acquire().await?;
    loop {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT s.id, s.created_at AS updated_at, s.id AS submission_id, o.initial_outcome AS "initial_outcome?",
                   s.predecessor, s.version_time, s.version_id, s.first_time,
                   s.body AS "body: Json<Box<serde_json::value::RawValue>>",
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
        .fetch_all(&mut *connection)
        .await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        let read: Vec<(&Row, Claim)> = rows.iter().filter_map(|row| Some((row, row.claim()?))).collect();
        let asked: Vec<Asked<'_>> = read.iter().map(|(row, claim)| (claim, row.sent())).collect();
        let scored = earlier::of_stored(&mut connection, &asked).await?;
        let apart = read.iter().filter(|(row, _)| row.taught() != row.sent());
        let asked: Vec<Asked<'_>> = apart.map(|(row, claim)| (claim, row.taught())).collect();
        let mut taught = earlier::of_stored(&mut connection, &asked).await?.into_iter();
        submissions.extend(read.iter().zip(scored).map(|((row, claim), scored)| {
            let apart = (row.taught() != row.sent()).then(|| row.facts(claim, tables, taught.next().flatten()));
            row.told(claim, &row.facts(claim, tables, scored), apart.as_ref())
        }));
    }
    Ok(History::of_submissions(submissions))
}

/// Labels behind a place, in the order of their last change, or those of submissions.
async fn rows(
    connection: &mut PgConnection,
    cursor: Cursor,
    page: i64,
    submissions: Option<&[i64]>,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"WITH wanted AS (
               (SELECT * FROM claim_outcomes WHERE $4::bigint[] IS NULL
                    AND (updated_at, id) > (coalesce($1, '-infinity'::timestamptz), $2)
                ORDER BY updated_at, id LIMIT $3)
               UNION ALL SELECT * FROM claim_outcomes WHERE submission_id = ANY($4))
           SELECT o.id AS "id!", o.updated_at AS "updated_at!", s.id AS submission_id, o.initial_outcome, s.predecessor, s.version_time, s.version_id,
               s.first_time, s.body AS "body: Json<Box<serde_json::value::RawValue>>", r.version_time AS "arrived?",
               r.trace_number AS "trace_number?",
               r.payer_claim_control_number AS "payer_number?", r.claim_ordinal AS "ordinal?",
               coalesce(o.initial_date, (r.version_time AT TIME ZONE 'UTC')::date) AS decided,
               (SELECT json_agg(json_build_array(l.control_number, coalesce(l.procedure_code, l.revenue_code), l.outcome)
                    ORDER BY l.line_number) FROM remittance_lines l WHERE l.remittance_id = r.id)
                   AS "lines: Json<Vec<LineRow>>"
           FROM wanted o JOIN claim_submissions s ON s.id = o.submission_id
           LEFT JOIN remittances r ON r.id = o.initial_remittance_id
           ORDER BY o.updated_at, o.id"#,
        cursor.at,
        cursor.id,
        page,
        submissions
    )
    .fetch_all(connection)
    .await
}

/// What rows teach: the claim as it was sent last, with what was known when the version that was answered was sent.
async fn labels(
    connection: &mut PgConnection,
    rows: &[Row],
    tables: &Arc<ReferenceTables>,
) -> Result<Vec<Changed>, sqlx::Error> {
    let claims: Vec<Option<Claim>> = rows.iter().map(Row::claim).collect();
    let read: Vec<(&Row, &Claim)> =
        rows.iter().zip(&claims).filter_map(|(row, claim)| Some((row, claim.as_ref()?))).collect();
    let asked: Vec<Asked<'_>> = read.iter().map(|(row, claim)| (*claim, row.taught())).collect();
    let mut earlier = earlier::of_stored(connection, &asked).await?.into_iter();
    let changed = rows.iter().zip(&claims).map(|(row, claim)| {
        let label = claim.as_ref().and_then(|claim| {
            let facts = row.facts(claim, tables, earlier.next().flatten());
            let (order, label) = row.answer(claim, &facts)?;
            Some((order, factors(claim, &facts), label))
        });
        Changed { submission_id: row.submission_id, label }
    });
    Ok(changed.collect())
}

struct Row {
    id: i64,
    updated_at: Instant,
    submission_id: i64,
    initial_outcome: Option<String>,
    predecessor: String,
    version_time: Instant,
    version_id: String,
    first_time: Instant,
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
    /// The claim as it was sent last. What is stored was read before, when its event came.
    fn claim(&self) -> Option<Claim> {
        wire::read_claim(self.body.0.get().as_bytes()).ok()
    }

    /// When it was sent last.
    fn sent(&self) -> Moment<'_> {
        (self.version_time, &self.version_id)
    }

    /// The moment of whose knowledge its answer teaches.
    fn taught(&self) -> Moment<'_> {
        let first = self.arrived.and_then(|arrived| taught_at(self.version_time, self.first_time, arrived));
        first.unwrap_or(self.sent())
    }

    fn facts(&self, claim: &Claim, tables: &Arc<ReferenceTables>, earlier: Option<Vec<EarlierClaim>>) -> Facts {
        Facts::of(claim, self.version_time.date_naive()).with_tables(Arc::clone(tables)).with_earlier(earlier)
    }

    /// The submission as it was scored, and with what its answer teaches of, where that is something apart.
    fn told(&self, claim: &Claim, facts: &Facts, taught: Option<&Facts>) -> Told {
        let answer = self.answer(claim, facts).and_then(|(order, label)| {
            let outcome = Outcome::parse(self.initial_outcome.as_deref()?)?;
            let features = taught.map(|taught| factors(claim, taught));
            Some(Answer { outcome, label, order, arrived: self.arrived?, features })
        });
        Told::of(claim, facts, (self.version_time, self.version_id.clone()), answer)
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
                control_number: control_number.clone().map(Phi::new),
                code: code.clone(),
                verdict: LineVerdict::parse(outcome).unwrap_or(LineVerdict::NoDecision),
            })
            .collect();
        let sent = facts.as_of.unwrap_or_else(|| self.version_time.date_naive());
        Some((order, Label::new(sent, decided, denied, line_labels(&of_claim, denied, &remitted))))
    }
}
