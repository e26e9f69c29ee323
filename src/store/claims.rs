//! Stores claims: the claim's row, its submissions, its lines; its scores by `scores`. In bulk, arrays in, ids out.
//!
//! A claim's row shows its newest event; each submission keeps its own newest version and is scored on its own.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::apply::Item;
use super::scores::{self, Fresh};
use super::{UNIT_SEPARATOR, earlier};
use crate::domain::claim::Claim;
use crate::domain::earlier::frequency;
use crate::domain::link::normalise_control_number;
use crate::domain::member::MemberKey;
use crate::domain::score::{Score, expected_loss};
use crate::domain::types::Instant;
use crate::error::Failure;
use crate::wire::Reason;

/// Collects one column of a row set.
macro_rules! column {
    ($rows:expr, |$row:pat_param| $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}
pub(super) use column;

pub(super) type Identity<'a> = (i64, &'a str, &'static str);
pub(super) type SubmissionKey<'a> = (Identity<'a>, &'a str, &'a str);

/// A claim event of the batch.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) place: usize,
    pub(super) identity: Identity<'a>,
    pub(super) claim: &'a Claim,
    /// The claim as JSON, in the vocabulary of the events.
    data: &'a str,
    pub(super) score: &'a Score,
    pub(super) version: (Instant, &'a str),
    pub(super) payer_id: i64,
    pub(super) payer_name: Option<&'a str>,
    pub(super) provider_id: Option<i64>,
}

impl<'a> Row<'a> {
    pub(super) fn submission(&self) -> SubmissionKey<'a> {
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

/// What the claims of a batch left behind.
#[derive(Default)]
pub(super) struct Left {
    /// Members whom the claims named before, and since when.
    pub(super) members: Vec<(i64, Instant)>,
    /// The transaction that wrote them, the lower half of its number; zero when nothing was written.
    pub(super) writer: i64,
    /// Claims that were not known before, and came once in the batch.
    pub(super) fresh: Vec<Fresh>,
}

/// Stores the claims of a batch and notes in each item where it went.
pub(super) async fn store(connection: &mut PgConnection, items: &mut [Item<'_>]) -> Result<Left, Failure> {
    let rows = rows(items)?;
    if rows.is_empty() {
        return Ok(Left::default());
    }
    let newest = newest_by(&rows, |row| row.identity);
    let heads: Vec<Row<'_>> = newest.values().map(|place| rows[*place]).collect();
    let upserted = upsert_claims(connection, &heads).await?;
    let ids = with_older(connection, &newest, &upserted).await?;
    let submissions = newest_by(&rows, Row::submission);
    let is_new = |key: &Identity<'_>| upserted.get(key).is_some_and(|row| row.inserted);
    let known: Vec<i64> = ids.iter().filter(|(key, _)| !is_new(key)).map(|(_, id)| *id).collect();
    let members = earlier::members_of(connection, &known).await?;
    let (stored, writer) = upsert_submissions(connection, &rows, &submissions, &ids).await?;
    replace_lines(connection, &heads, &upserted).await?;
    let scored = scores::insert(connection, &rows, &newest, &upserted, &stored).await?;
    for row in &rows {
        let item = &mut items[row.place];
        item.stored.claim_id = ids.get(&row.identity).copied();
        let newest_version = submissions.get(&row.submission()).is_some_and(|at| rows[*at].place == row.place);
        item.stored.superseded = !(newest_version && stored.contains_key(&row.submission()));
    }
    Ok(Left { members, writer, fresh: scores::fresh(&rows, &upserted, scored) })
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
            data: event.data.expose(),
            score,
            version: (event.time, &event.id),
            payer_id,
            payer_name: item.payer_name,
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
pub(super) struct Upserted {
    pub(super) id: i64,
    pub(super) inserted: bool,
    pub(super) stored_at: Instant,
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
            (identity, Upserted { id: row.id, inserted: row.inserted, stored_at: row.created_at })
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

/// Inserts new submissions and new versions of known ones; answers the ids of those written, and the transaction.
async fn upsert_submissions<'a>(
    connection: &mut PgConnection,
    rows: &[Row<'a>],
    submissions: &BTreeMap<SubmissionKey<'a>, usize>,
    ids: &BTreeMap<Identity<'a>, i64>,
) -> Result<(BTreeMap<SubmissionKey<'a>, i64>, i64), Failure> {
    let mut newest: Vec<(i64, Row<'a>)> =
        submissions.values().filter_map(|at| Some((*ids.get(&rows[*at].identity)?, rows[*at]))).collect();
    newest.sort_unstable_by_key(|(claim_id, row)| (*claim_id, frequency(row.claim), predecessor(row.claim)));
    let first_times = first_times(rows, &newest);
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
           RETURNING id, claim_id, frequency_code, predecessor, s.xmin::text::bigint AS "writer!""#,
        &column!(newest, |(claim_id, _)| *claim_id),
        &column!(newest, |(_, row)| frequency(row.claim)) as _,
        &column!(newest, |(_, row)| predecessor(row.claim)) as _,
        &column!(newest, |(_, row)| row.claim.submitted_at) as _,
        &column!(newest, |(_, row)| row.data) as _,
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
    let of_row = |(claim_id, row): &(i64, Row<'a>)| {
        let id = written.get(&(*claim_id, frequency(row.claim), predecessor(row.claim)))?;
        Some((row.submission(), *id))
    };
    Ok((newest.iter().filter_map(of_row).collect(), answer.first().map_or(0, |row| row.writer)))
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
