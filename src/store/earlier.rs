//! What was sent before for the patients of a batch or page of claims, and on which scores and labels it bears that came
//! late.
//!
//! Rows are found by half a digest of practice and member id; what they mean is told by `domain::earlier`. Must never: read
//! anything for members of whom nothing is stored, or write to rows of other claims, which would need their locks.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use sqlx::types::Json;

use super::claims::column;
use super::outcomes::{self, submission};
use crate::domain::claim::{Claim, Responsibility};
use crate::domain::earlier::{ClaimKey, DAYS_BACK, Found, Known, MOST_READ, Moment, Past, Sent, claim_key};
use crate::domain::member::MemberKey;
use crate::domain::rules::EarlierClaim;
use crate::domain::types::{Instant, Phi};
use crate::wire;

/// A claim, and the moment of whose knowledge it is judged.
pub type Asked<'a> = (&'a Claim, Moment<'a>);

/// What was sent before each claim; `None` for one without a usable member id.
pub type Earlier = Vec<Option<Vec<EarlierClaim>>>;

/// What was sent before the claims of a batch, and of which state of the database that was read.
#[derive(Debug, Default)]
pub struct Looked {
    /// What was sent before each claim.
    pub earlier: Earlier,
    /// The transactions that were visible, as PostgreSQL writes them; none when nothing was read.
    pub snapshot: Option<String>,
}

/// What was sent before claims that are stored, or are not to be.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn of_stored(connection: &mut PgConnection, asked: &[Asked<'_>]) -> Result<Earlier, sqlx::Error> {
    let keys = column!(asked, |(claim, _)| claim.member_key());
    let known = read(connection, asked, &keys).await?;
    Ok(answer(known, asked))
}

/// What was sent before claims that are about to be stored: what is stored, and the claims themselves. To be asked in a
/// transaction of one snapshot.
///
/// # Errors
/// PostgreSQL cannot be reached.
pub async fn of_batch(connection: &mut PgConnection, asked: &[Asked<'_>]) -> Result<Looked, sqlx::Error> {
    let snapshot =
        sqlx::query_scalar!(r#"SELECT pg_current_snapshot()::text AS "snapshot!""#).fetch_one(&mut *connection).await?;
    let keys = column!(asked, |(claim, _)| claim.member_key());
    let mut known = read(connection, asked, &keys).await?;
    let mut sorted: Vec<MemberKey> = keys.iter().flatten().copied().collect();
    sorted.sort_unstable();
    let mut concerned: BTreeSet<MemberKey> =
        sorted.windows(2).filter_map(|pair| pair.first().filter(|first| pair.last() == Some(first))).copied().collect();
    let members = known.values().flat_map(|known| &known.submissions).filter_map(|sent| sent.found.as_ref());
    concerned.extend(members.map(Found::member));
    for (((claim, moment), key), id) in asked.iter().zip(&keys).zip(i64::MIN..) {
        if key.is_some_and(|key| concerned.contains(&key)) {
            let key = claim_key(claim);
            known.entry(key.clone()).or_insert_with(|| Known::new(key)).take(Sent::of(claim, *moment, id));
        }
    }
    Ok(Looked { earlier: answer(known, asked), snapshot: Some(snapshot) })
}

fn answer(known: BTreeMap<ClaimKey, Known>, asked: &[Asked<'_>]) -> Earlier {
    let past = Past::new(known.into_values().collect());
    column!(asked, |(claim, moment)| past.earlier(claim, *moment))
}

/// The claims of the same members, as far as they may have been sent before, with all that was answered to them.
async fn read(
    connection: &mut PgConnection,
    asked: &[Asked<'_>],
    keys: &[Option<MemberKey>],
) -> Result<BTreeMap<ClaimKey, Known>, sqlx::Error> {
    let with_member: Vec<(i64, Moment<'_>)> =
        keys.iter().zip(asked).filter_map(|(key, (_, moment))| Some((key.as_ref()?.number(), *moment))).collect();
    if with_member.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query!(
        r#"SELECT r.place AS "place!", s.claim_id, s.alone AS "alone!"
           FROM unnest($1::bigint[], $2::timestamptz[], $3::text[]) WITH ORDINALITY AS r (member_key, time, event, place)
           CROSS JOIN LATERAL (SELECT s.claim_id, (s.version_time, s.version_id, s.first_time) = (r.time, r.event, r.time) AS alone
               FROM claim_submissions s
               WHERE s.member_key = r.member_key AND s.version_time >= r.time - make_interval(days => $4)
                 AND (s.version_time, s.version_id) <= (r.time, r.event COLLATE "C")
               ORDER BY s.version_time DESC, s.version_id DESC LIMIT $5) AS s
           ORDER BY r.place"#,
        &column!(with_member, |(key, _)| *key),
        &column!(with_member, |(_, (time, _))| *time),
        &column!(with_member, |(_, (_, event))| *event) as _,
        DAYS_BACK,
        i64::try_from(MOST_READ).unwrap_or(i64::MAX)
    )
    .fetch_all(&mut *connection)
    .await?;
    // A claim that finds nothing but itself, sent once, has no past.
    let of_claims =
        rows.chunk_by(|one, other| one.place == other.place).filter(|rows| !rows.iter().all(|row| row.alone));
    let claims: BTreeSet<i64> = of_claims.flatten().map(|row| row.claim_id).collect();
    let claims: Vec<i64> = claims.into_iter().collect();
    if claims.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut known = submissions(connection, &claims).await?;
    let mut answers = outcomes::answers(connection, &claims).await?;
    let acknowledged = outcomes::acknowledgements(connection, &claims).await?;
    for (claim_id, known) in &mut known {
        known.answers = answers.remove(claim_id).unwrap_or_default();
        known.acknowledged = acknowledged.get(claim_id).copied();
    }
    Ok(known.into_values().map(|known| (known.key.clone(), known)).collect())
}

/// The claims with all their submissions.
async fn submissions(connection: &mut PgConnection, claims: &[i64]) -> Result<BTreeMap<i64, Known>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT s.id, s.claim_id, s.frequency_code, s.predecessor, s.submitted_at, s.version_time, s.version_id,
               s.first_time, s.body AS "body: Json<Box<serde_json::value::RawValue>>", p.practice_key,
               c.patient_control_number, c.responsibility
           FROM claims c JOIN practices p ON p.id = c.practice_id JOIN claim_submissions s ON s.claim_id = c.id
           WHERE c.id = ANY($1) ORDER BY s.id"#,
        claims
    )
    .fetch_all(connection)
    .await?;
    let mut known: BTreeMap<i64, Known> = BTreeMap::new();
    for row in rows {
        let responsibility = Responsibility::parse(&row.responsibility).unwrap_or_default();
        let key = (row.practice_key, Phi::new(row.patient_control_number), responsibility);
        // What is stored was read before, when its event came.
        let claim = wire::read_claim(row.body.0.get().as_bytes()).ok();
        known.entry(row.claim_id).or_insert_with(|| Known::new(key)).submissions.push(Sent {
            submission: submission(row.id, row.frequency_code, row.predecessor, row.submitted_at, row.version_time),
            version_id: row.version_id,
            first_time: row.first_time,
            found: claim.as_ref().and_then(Found::of),
        });
    }
    Ok(known)
}

/// The members that submissions of claims name now, with the times of their first versions.
pub(super) async fn members_of(
    connection: &mut PgConnection,
    claims: &[i64],
) -> Result<Vec<(i64, Instant)>, sqlx::Error> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"SELECT member_key AS "member_key!", first_time FROM claim_submissions
           WHERE claim_id = ANY($1) AND member_key IS NOT NULL"#,
        claims
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.member_key, row.first_time)).collect())
}

/// How the claims that a batch stored were scored.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// The transaction that stored them, the lower half of its number; zero when none was stored.
    pub writer: i64,
    /// What was visible when it was read what was sent before them.
    pub snapshot: Option<String>,
}

/// What may bear on claims that were stored before it.
#[derive(Debug)]
pub(super) struct News<'a> {
    /// Claims that were sent.
    pub(super) sent: &'a [i64],
    /// How those of them were scored that this batch stored.
    pub(super) scored: &'a Scored,
    /// Members whom submissions named that name others now, and since when.
    pub(super) left: &'a [(i64, Instant)],
    /// Claims that may count for others now, or not any more.
    pub(super) unsteady: &'a [i64],
    /// Claims with answers.
    pub(super) answered: &'a [i64],
}

/// The claims on whose scores the news may bear; their labels are noted for the learner.
pub(super) async fn late(connection: &mut PgConnection, news: &News<'_>) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_file_scalar!(
        "src/store/sql/late.sql",
        news.sent,
        &column!(news.left, |(key, _)| *key),
        &column!(news.left, |(_, since)| *since),
        news.unsteady,
        news.answered,
        i64::try_from(MOST_READ + 10).unwrap_or(i64::MAX),
        news.scored.writer,
        news.scored.snapshot.as_deref()
    )
    .fetch_all(connection)
    .await
}
